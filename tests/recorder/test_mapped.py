from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from loopback import FIRST_RTP_PORT, own_port, send_all
from media_rig import EVENTS, PCMA, Rig, Sender, read_party, stamps_in
from mitschnitt.recorder import ring as ring_module
from mitschnitt.recorder.mapped import Mapped
from mitschnitt.recorder.ports import PortPool
from mitschnitt.recorder.ring import FLOOD_PACKETS
from mitschnitt.recorder.sources import Sourcing
from ring_rig import needs_ring

pytestmark = needs_ring


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path, ring_mib=2)
    yield rig
    rig.close()


def mapped_of(rig: Rig) -> Mapped:
    assert rig.mapped is not None
    return rig.mapped


def test_an_open_line_is_in_the_ring_and_a_gated_one_is_not(rig: Rig) -> None:
    mapped, track = mapped_of(rig), rig.track()
    line = rig.media.line(event_types=EVENTS)
    assert line.number not in mapped
    rig.media.keep(line, track)
    assert line.number in mapped
    rig.media.shut(line)
    assert line.number not in mapped
    rig.media.keep(line, track)
    assert line.number in mapped
    rig.media.release(line)
    assert line.number not in mapped


def test_a_fresh_line_lies_where_the_ring_has_its_ports_and_any_other_line_does_not(rig: Rig) -> None:
    mapped = mapped_of(rig)
    first = own_port()
    mapped.pool = PortPool(first, first + 2)
    fresh = [rig.media.fresh_line() for _ in range(3)]
    assert [line.port for line in fresh[:2]] == [first, first + 2]
    assert fresh[2].port >= FIRST_RTP_PORT, "without a port of the ring's the line has a socket, as before"
    assert rig.media.line().port >= FIRST_RTP_PORT
    track = rig.track()
    for line in fresh:
        rig.media.keep(line, track)
    assert [line.number in mapped for line in fresh] == [True, True, False]
    for number, line in enumerate(fresh):
        Sender(line.port).stamped([number])
    rig.tick()
    assert rig.media.counts.kept == 3
    for line in fresh:
        rig.media.release(line)
    assert mapped.pool.free == 2


def test_the_ring_has_no_byte_of_a_line_that_was_never_opened(rig: Rig) -> None:
    ring = mapped_of(rig).ring
    gated, track = rig.media.line(event_types=EVENTS), rig.track()
    _, sender = rig.open_line(track)
    Sender(gated.port).stamped(range(5))
    assert b"STAMP" not in ring.memory.tobytes()
    sender.stamped(range(1))
    assert b"STAMP" in ring.memory.tobytes(), "the same search finds what was agreed to"


def test_what_comes_after_a_shut_is_cut_at_the_socket_and_counted_as_a_leak(rig: Rig) -> None:
    ring, track = mapped_of(rig).ring, rig.track()
    line, sender = rig.open_line(track)
    sender.stamped(range(3))
    rig.media.shut(line)
    assert not rig.holds(b"STAMP")
    sender.stamped(range(3, 8))
    assert b"STAMP" not in ring.memory.tobytes()
    rig.tick()
    assert rig.leaks == [(line.number, 5)]
    assert rig.media.counts.kept == 0


def test_a_key_is_heard_on_a_line_in_the_ring_and_once_it_is_shut(rig: Rig) -> None:
    line, sender = rig.open_line(rig.track())
    sender.key(1, 10, 800, end=True)
    rig.tick()
    rig.media.shut(line)
    rig.media.listen(line, EVENTS)
    sender.key(9, 9, 4_000, end=True)
    for _ in rig.media._digit_steps():
        pass
    assert [digit for _, digit, _ in rig.digits] == ["*", "9"]


def test_a_line_in_the_ring_answers_no_sender_that_nobody_listens(rig: Rig) -> None:
    line, _ = rig.open_line(rig.track())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.connect(("127.0.0.1", line.port))
        send_all(sender, [b"x"])
        sender.send(b"y")  # would raise if an ICMP message had come
        with pytest.raises(OSError, match="in use"), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.bind(("127.0.0.1", line.port))


def test_a_line_whose_packets_do_not_fit_goes_on_at_its_socket(rig: Rig) -> None:
    mapped, track = mapped_of(rig), rig.track()
    line, sender = rig.open_line(track)
    sender.packet(0, bytes(240))
    rig.tick()
    assert line.number not in mapped
    assert rig.media.counts.unfit == 1
    assert rig.media.counts.refused == {"TRUNCATED": 1}, "what came meanwhile is lost, and is counted"
    for number in range(1, 4):
        sender.packet(number, bytes(460 * number))
    rig.tick()
    assert rig.media.counts.kept == 3, "there is room for any length"
    assert rig.media.loss(line).received == 3


def test_long_codecs_stay_at_their_sockets_from_the_start(rig: Rig) -> None:
    mapped = mapped_of(rig)
    line = rig.media.line()
    assert mapped.suits(line.port, PCMA)
    assert not mapped.suits(line.port, {96: ("L16", 16_000)})
    assert not mapped.suits(9, PCMA), "not one of the ring's ports"


def test_a_flood_on_one_line_ends_at_its_own_socket(rig: Rig) -> None:
    mapped, track = mapped_of(rig), rig.track()
    flooded, flood = rig.open_line(track)
    _, quiet = rig.open_line(track)
    flood.stamped(range(FLOOD_PACKETS + 1))
    quiet.stamped(range(3))
    rig.tick()
    assert flooded.number not in mapped
    assert rig.media.counts.kept == FLOOD_PACKETS + 4, "what had room is kept all the same"


def test_packets_of_somebody_else_are_counted_and_not_recorded(tmp_path: Path) -> None:
    rig = Rig(tmp_path, ring_mib=2, sourcing=Sourcing.FIRST)
    try:
        track = rig.track()
        line, sender = rig.open_line(track)
        sender.stamped(range(3))
        rig.tick()
        Sender(line.port).stamped(range(3, 10))
        sender.stamped(range(3, 5))
        rig.tick()
        assert rig.media.counts.injected == 7
        rig.tick(8)
        media, timeline = read_party(rig.blobs, rig.finish(track))
        assert stamps_in(media) == [0, 1, 2, 3, 4]
        assert timeline.header["path"]["injected"] == 7
    finally:
        rig.close()


def test_control_packets_on_an_open_port_are_read(rig: Rig) -> None:
    line, sender = rig.open_line(rig.track())
    sender.stamped(range(1))
    sender.sends(b"\x80\xc8\x00\x06" + bytes(24))
    rig.tick()
    assert rig.media.counts.kept == 1
    assert rig.media.counts.strange == 0
    assert rig.media.counts.received == 2
    assert line.number in mapped_of(rig)


def test_what_the_ring_lost_is_shown_as_kernel_drops_and_what_its_sockets_dropped_is_not(rig: Rig) -> None:
    ring = mapped_of(rig).ring
    line, sender = rig.open_line(rig.track())
    sender.stamped(range(10))
    assert rig.media.read_drops() == 0
    rig.media.shut(line)
    assert rig.media.read_drops() == 0, "what the ring had instead of the socket is no loss"
    rig.media.keep(line, rig.track())
    sender.stamped(range(ring.frames + 7 - 10))
    rig.tick()
    assert rig.media.read_drops() == 7


def test_odd_packets_are_counted_apart(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    ring = mapped_of(rig).ring
    _, sender = rig.open_line(rig.track())
    monkeypatch.setattr(ring_module, "numbers_for", lambda _: (0, 0))
    assert not ring.follow_interface()
    sender.stamped(range(2))
    rig.media.read_drops()
    assert rig.media.counts.odd["ELSEWHERE"] == 2
