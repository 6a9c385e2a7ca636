"""A stranger on the network sends audio and keys to every port of a site: nothing of it is kept, and nothing acts.

Budget: 20 s.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from journeys.running import Site, report_rows, running_site
from journeys.speaker import Ports, ports_of_site
from keeper.site_on_disk import open_holdings
from mitschnitt.config import load_config
from mitschnitt.core.call import decode_call_id
from mitschnitt.gateways.stamp import STAMP_BYTES, find_stamps
from mitschnitt.store.queries import call_by_id
from mitschnitt.vault.artefact import PathCounts, parse_timeline, path_of
from mitschnitt.vault.derive import Kind
from played import played

STRANGER = "127.0.0.2"  # another host of loopback; the simulated centre sends from 127.0.0.1
EVERY_SECONDS = 0.02
KEYS = {"1": 1, "*": 10, "9": 9, "0": 0}
PACKET_BYTES = 160
CALLS = 4

pytestmark = [pytest.mark.journey, pytest.mark.timeout(90)]


@contextlib.contextmanager
def injecting(ports: Ports) -> Iterator[None]:
    """While this lasts, the stranger speaks to all these ports, and presses 1 and *9 again and again."""
    quiet = threading.Event()
    thread = threading.Thread(target=_inject, args=(ports, quiet))
    thread.start()
    try:
        yield
    finally:
        quiet.set()
        thread.join()


def _inject(ports: Ports, quiet: threading.Event) -> None:
    turn = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mouth:
        mouth.bind((STRANGER, 0))
        while not quiet.wait(EVERY_SECONDS):
            turn += 1
            key = "1*9"[turn // 5 % 3]
            heads = [struct.pack(">BBHII", 0x80, kind, turn & 0xFFFF, turn // 5 * 800, 0xBAD) for kind in (8, 101)]
            event = struct.pack(">BBH", KEYS[key], 0x80 * (turn % 5 > 1) | 10, 160 * (turn % 5))
            for port in ports():
                with contextlib.suppress(OSError):
                    mouth.sendto(heads[0] + b"STRANGER" * 20, ("127.0.0.1", port))
                    mouth.sendto(heads[1] + event, ("127.0.0.1", port))


def paths(site: Site, calls: Iterable[str]) -> Iterator[PathCounts]:
    """What the timelines of these calls say of the way their packets came; the site has stopped, its keys open them."""
    with open_holdings(load_config(site.demo.directory)) as holdings:
        for call in calls:
            row = holdings.writer.submit(partial(call_by_id, call_id=call)).result(10)
            assert row is not None
            assert row.tree_index is not None
            for party in (0, 1):
                raw = decode_call_id(call)
                size = holdings.vault.size(raw, party, Kind.TIMELINE)
                yield path_of(
                    parse_timeline(holdings.vault.read(raw, row.tree_index, party, Kind.TIMELINE, 0, size)).header
                )


def sent_while_open(stream: dict[str, Any], after: int) -> list[int]:
    """Counters of the packets that a stream sent to its open port, from the first after the act on."""
    return [
        counter
        for segment in stream["segments"]
        if segment["allowed"]
        for counter in range(segment["first"], segment["last"] + 1)
        if counter >= after
    ]


def test_a_stranger_who_speaks_and_presses_keys_changes_no_byte_and_ends_nothing(tmp_path: Path) -> None:
    report = tmp_path / "report.jsonl"
    with running_site(tmp_path) as site, injecting(ports_of_site(site.demo.directory / "config.toml")):
        arguments = ("--calls", str(CALLS), "--rate", "8", "--mix", "agreed_by_act=1,silent=1", "--max-talk", "2")
        centre = site.centre(*arguments, "--stamp", "--report", str(report))
        centre.communicate(timeout=60)
        assert centre.returncode == 0
        site.wait_closed(CALLS)
        rows = {row["control"]: row for row in report_rows(report)}
        assert {row["scenario"] for row in rows.values()} == {"agreed_by_act", "silent"}
        kept = []
        for call, row in rows.items():
            assert not row["errors"]
            if row["scenario"] == "silent":
                assert site.rule(call) == "consent.caller.silent"  # the stranger's 1 is no yes
                continue
            assert site.wait_outcome(call) == "kept"  # nor is its *9 a withdrawal
            expected = {stream["stream"]: sent_while_open(stream, 0) for stream in row["streams"]}
            kept.append(call)
            for party in played(site.door, call):
                media = party.payload
                stamps = find_stamps(media)
                (stream,) = {int(number) for number in stamps["stream"]}
                assert stamps["offset"].tolist() == list(range(0, len(media), PACKET_BYTES))
                assert stamps["counter"].tolist() == expected[stream]
                assert b"STRANGER" not in media
                assert STAMP_BYTES * len(stamps) < len(media)
    found = list(paths(site, kept))
    assert len(found) == 2 * len(kept) > 0
    for path in found:
        assert path.injected > 10
        assert path.other_sources == 1
        assert path.received == path.expected
