from __future__ import annotations

import logging
import platform
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from mitschnitt.config import Config, parse_config
from mitschnitt.recorder.receiving import (
    CAP_BPF,
    CAP_NET_RAW,
    Way,
    give_up_capabilities,
    open_ports,
    ports_of,
    told_at,
    way_for,
)
from ring_rig import needs_ring

SHARES = "[rtp]\nfirst_port = 10_000\nlast_port = 10_799\n"


def config_of(rtp: str = "", *, recorders: int = 1) -> Config:
    return parse_config(f"{SHARES}{rtp}\n[limits]\nrecorders = {recorders}\n", Path("/srv/site"))


def in_a_thread(work: Callable[[], None]) -> None:
    """Capabilities are a thread's own: what is given up there is given up there only."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - raised below
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]


def capabilities() -> int:
    """The permitted ones of this thread."""
    text = Path("/proc/thread-self/status").read_text(encoding="ascii")
    return int(next(line.split()[1] for line in text.splitlines() if line.startswith("CapPrm")), 16)


def close(way: Way) -> None:
    if way.mapped is not None:
        way.mapped.ring.close()


def test_every_recorder_has_ports_of_its_own() -> None:
    shares = [ports_of(config_of(recorders=3), number) for number in (1, 2, 3)]
    assert [len(share) for share in shares] == [266, 266, 266]
    assert shares[0].start == 10_000
    assert all(former.stop == share.start for former, share in zip(shares, shares[1:], strict=False))


def test_the_upper_half_of_a_share_is_only_told_to_clients_of_open_lines() -> None:
    assert open_ports(range(10_000, 10_800)) == range(10_400, 10_800)
    assert open_ports(range(10_001, 10_006)).start % 2 == 1, "the lower half keeps whole pairs"


def test_sockets_are_the_way_unless_another_is_asked_for() -> None:
    way = way_for(config_of(), 1)
    assert way.mapped is None
    assert way.told == "sockets"
    assert way.free == 400


@needs_ring
def test_a_recorder_with_a_ring_has_it_to_itself() -> None:
    def look() -> None:
        way = way_for(config_of('receiver = "ring"\nring_mib = 1', recorders=2), 2)
        assert way.mapped is not None
        assert way.told == "ring"
        assert way.free == 200
        assert way.pool.take().port == 10_400
        assert way.mapped.pool.take().port == 10_600
        close(way)

    in_a_thread(look)


@needs_ring
def test_what_a_ring_needed_is_given_up_once_it_is_there() -> None:
    def look() -> None:
        assert capabilities() & (1 << CAP_NET_RAW)
        assert capabilities() & (1 << CAP_BPF)
        way = way_for(config_of('receiver = "ring"\nring_mib = 1'), 1)
        assert not capabilities() & (1 << CAP_NET_RAW | 1 << CAP_BPF)
        assert way.mapped is not None
        way.mapped.ring.open(10_600, 1)
        close(way)

    in_a_thread(look)


def test_where_there_can_be_no_ring_sockets_take_its_place_and_one_line_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def look() -> None:
        give_up_capabilities()
        way = way_for(config_of('receiver = "ring"\nring_mib = 1'), 1)
        assert way.mapped is None
        assert way.free == 400
        assert way.told == "sockets: the packet ring cannot be had: Operation not permitted"

    with caplog.at_level(logging.WARNING):
        in_a_thread(look)
    [record] = caplog.records
    assert record.getMessage().startswith("the packet ring cannot be had: Operation not permitted; open lines")


def test_where_stores_come_out_of_order_sockets_take_the_rings_place(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    ways: list[Way] = []
    in_a_thread(lambda: ways.append(way_for(config_of('receiver = "ring"\nring_mib = 1'), 1)))
    [way] = ways
    assert way.mapped is None
    assert way.free == 400
    assert way.lacking.endswith("stores come out of order on aarch64, and a ring needs them in it")
    assert len(caplog.records) == 1


def test_a_recorder_says_how_it_receives_in_a_file_of_its_own() -> None:
    assert told_at(config_of(), 2) == Path("/srv/site/run/recorder-2.receiver")
