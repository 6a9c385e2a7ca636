from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

import pytest

from loopback import rtp_ports
from media_rig import EVENTS, PCMA, Sender
from mitschnitt.errors import ConfigError
from mitschnitt.recorder import filters, ports
from mitschnitt.recorder.lines import GATED, Line, Lines, Sorted
from mitschnitt.recorder.ports import PortPool
from mitschnitt.recorder.sources import Sourcing
from mitschnitt.wire.dtmf import Press
from rtp_files import parsed


@pytest.fixture
def lines() -> Iterator[Lines]:
    lines = Lines("127.0.0.1", PortPool(*rtp_ports()), Sourcing.FIRST)
    yield lines
    for state in lines:
        lines.release(state.line)
    lines.close_released()


def received(lines: Lines, line: Line) -> bytes:
    sock = lines.state(line).sock
    sock.settimeout(30)
    data = sock.recv(2000)
    sock.setblocking(False)
    return data


def sorted_as(lines: Lines, line: Line, kind: int, payload: bytes, first: int = 0x80) -> Sorted:
    header = struct.pack(">BBHII", first, kind, 1, 160, 7)
    return lines.sort(parsed([header + payload], [line.number]))


def test_a_new_line_is_gated_and_cut(lines: Lines) -> None:
    line = lines.add(EVENTS)
    assert lines.slot(line) == GATED
    Sender(line.port).packet(1, b"marker")
    assert len(received(lines, line)) == 12


def test_an_open_line_gets_whole_packets_and_a_shut_one_does_not(lines: Lines) -> None:
    line = lines.add({})
    sender = Sender(line.port)
    lines.open(line, 5, PCMA)
    assert lines.lines_into(5) == [line]
    sender.packet(1, b"marker")
    assert received(lines, line)[12:] == b"marker"
    lines.shut(line)
    lines.shut(line)
    assert lines.lines_into(5) == []
    sender.packet(2, b"marker")
    assert len(received(lines, line)) == 12


def test_an_open_line_may_move_to_another_track(lines: Lines) -> None:
    line = lines.add({})
    lines.open(line, 5, PCMA)
    lines.open(line, 6, PCMA)
    assert (lines.lines_into(5), lines.lines_into(6)) == ([], [line])


def test_cutting_leaves_what_is_queued_to_the_track(lines: Lines) -> None:
    line = lines.add({})
    lines.open(line, 5, PCMA)
    lines.cut(line)
    assert lines.slot(line) == 5
    Sender(line.port).packet(1, b"marker")
    assert len(received(lines, line)) == 12


def test_when_the_system_refuses_the_filter_nothing_comes_any_more_and_no_other_socket_gets_its_descriptor(
    lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = lines.add({})
    lines.open(line, 5, PCMA)
    descriptor = lines.state(line).sock.fileno()
    sender = Sender(line.port)
    sender.packet(1, b"queued")

    def refuse(sock: socket.socket, program: bytes) -> None:
        raise OSError(12, "no memory for a filter")

    monkeypatch.setattr(filters, "attach", refuse)
    lines.shut(line)
    assert lines.slot(line) == GATED
    sender.packet(2, b"marker")
    with pytest.raises(BlockingIOError):
        lines.state(line).sock.recv(2_048, socket.MSG_DONTWAIT)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        assert other.fileno() != descriptor == lines.state(line).sock.fileno()


def test_where_there_is_no_socket_to_make_it_deaf_with_it_is_closed(
    lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = lines.add({})
    lines.open(line, 5, PCMA)

    def refuse(*_: object) -> None:
        raise OSError(12, "no memory")

    monkeypatch.setattr(filters, "attach", refuse)
    monkeypatch.setattr(ports, "deafen", refuse)
    lines.shut(line)
    assert lines.state(line).sock.fileno() == -1
    assert lines.sockets() == []


def test_only_a_gated_line_gets_other_event_types(lines: Lines) -> None:
    line = lines.add({})
    sender = Sender(line.port)
    lines.listen(line, {96: 8000})
    sender.packet(1, b"1234", kind=96)
    assert received(lines, line)[12:] == b"1234"
    lines.listen(line, {})
    sender.packet(1, b"1234", kind=96)
    assert len(received(lines, line)) == 12
    lines.open(line, 1, PCMA)
    with pytest.raises(ConfigError, match="is open; shut it"):
        lines.listen(line, EVENTS)


def test_rows_are_sorted_by_the_state_of_their_line(lines: Lines) -> None:
    line = lines.add(EVENTS)

    def what(kind: int, payload: bytes, first: int = 0x80) -> str:
        found = sorted_as(lines, line, kind, payload, first)
        names = ("kept", "event", "leaked", "strange")
        return " ".join(name for name in names if getattr(found, name)[0])

    assert what(101, b"1234") == "event"
    assert what(101, b"123") == "leaked"
    assert what(8, b"") == "leaked"
    assert what(8, b"audio that slipped through") == "leaked"
    assert what(8, b"", first=0x40) == ""
    assert what(72, b"", first=0x81) == ""
    lines.open(line, 1, PCMA)
    assert what(101, b"1234") == "kept event"
    assert what(8, b"audio") == "kept"
    assert what(8, b"") == ""
    assert what(0, b"audio") == "strange"
    assert what(72, b"control") == ""


def test_sockets_to_drain_follow_every_change(lines: Lines) -> None:
    first, second = lines.add(EVENTS), lines.add({})
    assert [number for _, number in lines.sockets()] == [0, 1]
    assert [number for _, number in lines.sockets(listening_only=True)] == [0]
    lines.listen(second, EVENTS)
    assert [number for _, number in lines.sockets(listening_only=True)] == [0, 1]
    lines.open(first, 1, PCMA)
    assert [number for _, number in lines.sockets(listening_only=True)] == [1]
    lines.release(second)
    assert [number for _, number in lines.sockets()] == [0]


def test_a_released_line_keeps_its_descriptor_until_told(lines: Lines) -> None:
    line = lines.add({})
    descriptor = lines.state(line).sock.fileno()
    lines.release(line)
    with pytest.raises(ConfigError, match="was released"):
        lines.state(line)
    second = lines.add({})
    assert second.number == 1
    assert lines.state(second).sock.fileno() != descriptor
    free = lines.pool.free
    lines.close_released()
    assert lines.pool.free == free + 1
    assert lines.add({}).number == 0


def test_a_line_that_was_released_is_not_its_successor(lines: Lines) -> None:
    old = lines.add({})
    lines.release(old)
    lines.close_released()
    new = lines.add({})
    assert new.number == old.number
    with pytest.raises(ConfigError, match="was released"):
        lines.open(old, 1, PCMA)


def test_the_tables_grow_and_keep_what_they_know(lines: Lines) -> None:
    made = [lines.add(EVENTS) for _ in range(300)]
    lines.open(made[3], 7, PCMA)
    lines.open(made[299], 8, PCMA)
    assert [lines.slot(made[n]) for n in (3, 4, 299)] == [7, GATED, 8]
    assert sorted_as(lines, made[299], 8, b"audio").kept[0]
    assert not sorted_as(lines, made[298], 8, b"audio").kept[0]
    assert lines.state_at(299).line is made[299]


def test_what_an_open_line_gets_and_does_not_keep_is_told_apart(lines: Lines) -> None:
    gated, line = lines.add({}), lines.add({})
    lines.open(line, 5, PCMA)
    assert lines.open_numbers() == [line.number]
    head = struct.pack(">HII", 1, 160, 7)
    packets = [
        b"\x80\x08" + head + b"audio",  # kept
        b"\x80\x08" + head,  # without payload
        b"\x80\x61" + head + b"unnegotiated",
        b"\x81\xc9" + head + bytes(20),  # RTCP
        b"\xbf\xc8\xff\xff" + bytes(24),  # RTCP that is no RTP at all: extension and padding would be wrong
        b"\x41\xc9" + head + bytes(20),  # neither
        b"\x81\xc9" + bytes(6),
    ]
    headers = parsed([*packets, packets[2], packets[3]], [line.number] * len(packets) + [gated.number] * 2)
    idle, control = lines.idle(headers, lines.sort(headers))
    assert (idle.tolist(), control.tolist()) == ([1, 2], [3, 4])


def test_whether_keys_came_is_known_until_the_line_is_gone(lines: Lines) -> None:
    line = lines.add({101: 8_000})
    assert not lines.has_keys(line)
    lines.state(line).press = Press(7, 160, 1, ended=True, seen_ns=0)
    assert lines.has_keys(line)
    lines.release(line)
    lines.close_released()
    assert not lines.has_keys(line)
