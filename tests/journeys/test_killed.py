"""kill -9 of recorder and keeper in the middle of 20 calls, again and again: at most two seconds are lost.

Each packet is marked, so what was recovered is compared with what had been sent when the kill came. How many rounds,
and calls in each, MITSCHNITT_KILL_ROUNDS and MITSCHNITT_KILL_CALLS say.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from journeys.memory import files_below
from journeys.running import RTP_PORTS, Site, report_rows, running_site
from journeys.starved import JOURNAL_SYNCS, Waits, sync_seconds
from journeys.test_nothing_unconsented import opened_stamps
from mitschnitt.gateways.stamp import find_stamps

ROUNDS = int(os.environ.get("MITSCHNITT_KILL_ROUNDS", "10"))
CALLS = int(os.environ.get("MITSCHNITT_KILL_CALLS", "20"))
RATE = max(20, CALLS // 3)  # calls that begin per second: all within the first three
KILL_AFTER_SECONDS = 13.0 + CALLS / RATE  # all calls were answered after 10 s; the shortest ends at 18 s
MAX_LOST_SECONDS = 2.0
LAST_SECONDS = 3.0  # before the kill, in which whatever is lost came
OPEN_NS = round(MAX_LOST_SECONDS * 1e9) + 1_000_000_000  # of a call; what is younger may be lost whole
PACKET_SECONDS = 0.020

pytestmark = [pytest.mark.journey, pytest.mark.timeout((60 + CALLS) * ROUNDS)]


def sent_before(stream: Mapping[str, Any], at_ns: int) -> int:
    """The counter of the last audio packet of a stream that was sent before a moment; -1 for none."""
    last = -1
    for segment in stream["segments"]:
        for counter, when in [(segment["first"], segment["first_ns"]), *segment["beats"]]:
            if when <= at_ns:
                last = max(last, min(counter + int((at_ns - when) / 1e9 / PACKET_SECONDS), segment["last"]))
    return last


def was_open(row: Mapping[str, Any], killed_at: int) -> bool:
    """Whether both voices had moved to where the opening says long enough ago that something must be kept."""
    moved = [stream["segments"][-1]["first_ns"] for stream in row["streams"] if len(stream["segments"]) > 1]
    return len(moved) == len(row["streams"]) and max(moved) < killed_at - OPEN_NS


def killed_round(site: Site, root: Path, number: int, parts: tuple[str, ...]) -> list[float]:
    """One round; how many seconds each stream lost: two at most while the machine lets the recorder run."""
    report = root / f"report-{number}.jsonl"
    before = {call["call"] for call in site.calls()}
    # Streams are numbered anew in each run, so the round looks at its own calls only.
    arguments = ("--calls", str(CALLS), "--rate", str(RATE), "--mix", "agreed_by_act=1,agreed_by_digit=1", "--stamp")
    centre = site.centre(*arguments, "--leaky", "--seed", str(number), "--report", str(report))
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            centre.communicate(timeout=KILL_AFTER_SECONDS + 0.37 * (number % 5) - LAST_SECONDS)
        with Waits([site.pid("recorder-1")]) as waits, pytest.raises(subprocess.TimeoutExpired):
            centre.communicate(timeout=LAST_SECONDS)
        machines = waits.whole() + sync_seconds(root, JOURNAL_SYNCS)
        killed_at = time.time_ns()
        for part in parts:
            os.kill(site.pid(part), signal.SIGKILL)
        centre.communicate(timeout=60 + CALLS)
    finally:
        if centre.poll() is None:
            centre.kill()
            centre.wait()
    site.wait_ready()
    site.wait_closed(len(before) + CALLS, seconds=40 + CALLS)
    rows = report_rows(report)
    new = {call["call"]: call["state"] for call in site.calls() if call["call"] not in before}
    # A busy machine opens some calls too late to be killed open.
    must = {row["control"] for row in rows if was_open(row, killed_at)}
    assert len(must) >= CALLS // 4
    assert must <= {call for call, state in new.items() if state == "kept"}
    reasons = {
        party["reason"] for call in must for party in site.door.get(f"/calls/{call}", **{"as": "coach"})["parties"]
    }
    assert reasons == ({"truncated"} if "recorder-1" in parts else {"ended"})
    recovered = opened_stamps(site, only=must)
    lost = []
    for row in (row for row in rows if row["control"] in must):
        for stream in row["streams"]:
            counters = recovered[stream["stream"]]
            end = sent_before(stream, killed_at) if "recorder-1" in parts else stream["segments"][-1]["last"]
            lost.append((end - max(counters)) * PACKET_SECONDS)
            kept = sorted(counters)
            assert kept == list(range(kept[0], kept[-1] + 1)), "packets are missing in the middle"
    assert max(lost) <= MAX_LOST_SECONDS + machines, f"the machine's own part was {machines:.2f} s"
    return lost


def test_row_42_at_most_two_seconds_are_lost_when_recorder_and_keeper_are_killed(tmp_path: Path) -> None:
    kinds = (("recorder-1",), ("keeper",), ("recorder-1", "keeper"))
    worst: dict[tuple[str, ...], float] = {}
    streams = 0
    with running_site(tmp_path, rtp_ports=max(RTP_PORTS, 20 * CALLS)) as site:
        for number in range(ROUNDS):
            parts = kinds[number % len(kinds)]
            lost = killed_round(site, tmp_path, number, parts)
            streams += len(lost)
            print(f"\nround {number}: {'+'.join(parts)} killed, {len(lost)} streams open, most lost {max(lost):.2f} s")
            worst[parts] = max(worst.get(parts, 0.0), *lost)
            for path, data in files_below(site.demo.directory, tmp_path / "site.keys"):
                assert len(find_stamps(data)) == 0, f"plaintext in {path.name}"
    told = ", ".join(f"{'+'.join(parts)} {seconds:.2f} s" for parts, seconds in worst.items())
    print(f"\nkilled in {ROUNDS} rounds of {CALLS} calls, {streams} streams were open; most lost: {told}")
    assert set(worst) == set(kinds[:ROUNDS])
