from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

import pytest

from loopback import send_all
from mitschnitt.errors import ConfigError
from mitschnitt.recorder import filters
from mitschnitt.wire.rtcp import MAX_BYTES

MARKER = b"AUDIO-THAT-NOBODY-AGREED-TO" * 4


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(30)
        sender.connect(receiver.getsockname())
        yield receiver, sender


def rtp(kind: int, payload: bytes, first: int = 0x80) -> bytes:
    return struct.pack(">BBHII", first, kind, 1, 160, 7) + payload


def through(pair: tuple[socket.socket, socket.socket], datagram: bytes) -> bytes:
    send_all(pair[1], [datagram])
    return pair[0].recv(2000)


def test_audio_is_cut_to_its_header_and_the_marker_never_arrives(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    filters.attach(pair[0], filters.cutting_filter([101]))
    assert through(pair, rtp(8, MARKER)) == rtp(8, b"")


def test_an_event_passes_whole_with_and_without_marker_bit(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    filters.attach(pair[0], filters.cutting_filter([101, 96]))
    for kind in (101, 96, 101 | 0x80):
        assert through(pair, rtp(kind, b"\x01\x0a\x00\xa0")) == rtp(kind, b"\x01\x0a\x00\xa0")


@pytest.mark.parametrize(
    "datagram",
    [
        rtp(101, MARKER, first=0x40),  # version 1
        rtp(101, MARKER),  # audio that calls itself an event
        rtp(100, b"\x01\x0a\x00\xa0"),
        rtp(102, b"\x01\x0a\x00\xa0"),
    ],
)
def test_what_only_resembles_an_event_is_cut(pair: tuple[socket.socket, socket.socket], datagram: bytes) -> None:
    filters.attach(pair[0], filters.cutting_filter([101]))
    assert through(pair, datagram) == datagram[:12]


@pytest.mark.parametrize("length", [0, 1, 2, 9, 11, 12])
def test_short_datagrams_are_not_dropped(pair: tuple[socket.socket, socket.socket], length: int) -> None:
    filters.attach(pair[0], filters.cutting_filter([101]))
    assert through(pair, b"\x80" * length) == b"\x80" * length


def test_without_event_types_nothing_passes_whole(pair: tuple[socket.socket, socket.socket]) -> None:
    filters.attach(pair[0], filters.cutting_filter([]))
    for kind in (0, 8, 101):
        assert through(pair, rtp(kind, b"\x01\x0a\x00\xa0")) == rtp(kind, b"")


def test_a_swap_lets_later_packets_through_but_queued_ones_stay_cut(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    filters.attach(pair[0], filters.cutting_filter([101]))
    send_all(pair[1], [rtp(8, MARKER)])
    filters.attach(pair[0], filters.open_filter(filters.ANYBODY))
    send_all(pair[1], [rtp(8, MARKER)])
    assert pair[0].recv(2000) == rtp(8, b"")
    assert pair[0].recv(2000) == rtp(8, MARKER)
    filters.attach(pair[0], filters.cutting_filter([]))
    assert through(pair, rtp(8, MARKER)) == rtp(8, b"")


def test_sixteen_types_fit_and_each_passes(pair: tuple[socket.socket, socket.socket]) -> None:
    filters.attach(pair[0], filters.cutting_filter(range(96, 112)))
    for kind in range(94, 114):
        assert through(pair, rtp(kind, b"1234")) == rtp(kind, b"1234" if 96 <= kind < 112 else b"")


@pytest.mark.parametrize("types", [[128], [-1], range(17)])
def test_impossible_types_are_refused(types: list[int]) -> None:
    with pytest.raises(ConfigError, match="up to 16 payload types"):
        filters.cutting_filter(types)


def test_a_socket_that_takes_no_filter_raises() -> None:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        filters.attach(sock, filters.cutting_filter([101]))


@pytest.mark.parametrize("kind", [192, 200, 201, 202, 203, 207, 223])
def test_rtcp_passes_its_filter_whole(pair: tuple[socket.socket, socket.socket], kind: int) -> None:
    filters.attach(pair[0], filters.rtcp_filter())
    datagram = bytes((0x81, kind)) + bytes(range(30))
    assert through(pair, datagram) == datagram
    assert through(pair, datagram[:4]) == datagram[:4]


@pytest.mark.parametrize(
    "datagram",
    [rtp(8, MARKER), b"\x80\xbf" + MARKER, b"\x80\xe0" + MARKER, b"\x40\xc8" + MARKER, b"\x80\xc8\x00"],
    ids=["rtp", "type below", "type above", "version one", "short"],
)
def test_of_anything_else_one_byte_passes_the_filter_of_rtcp(
    pair: tuple[socket.socket, socket.socket], datagram: bytes
) -> None:
    filters.attach(pair[0], filters.rtcp_filter())
    assert through(pair, datagram) == datagram[:1]


def test_an_rtcp_datagram_is_cut_to_one_byte_more_than_is_read(pair: tuple[socket.socket, socket.socket]) -> None:
    filters.attach(pair[0], filters.rtcp_filter())
    assert len(through(pair, b"\x80\xc8" + bytes(1_800))) == MAX_BYTES + 1


FAMILIES = [(socket.AF_INET, "127.0.0.1", "127.0.0.2"), (socket.AF_INET6, "::1", "::2")]


@pytest.mark.parametrize(("family", "here", "elsewhere"), FAMILIES)
def test_of_a_packet_from_another_source_one_byte_is_left(
    family: socket.AddressFamily, here: str, elsewhere: str
) -> None:
    with socket.socket(family, socket.SOCK_DGRAM) as receiver, socket.socket(family, socket.SOCK_DGRAM) as sender:
        receiver.bind((here, 0))
        receiver.settimeout(30)
        sender.bind((here, 0))
        sender.connect(receiver.getsockname())
        port = sender.getsockname()[1]
        whole, cut, event = rtp(8, MARKER), rtp(8, b""), rtp(101, b"1234")
        for source, is_his in (
            ((here, port), True),
            ((here, None), True),
            ((None, port), True),
            (filters.ANYBODY, True),
            ((here, port ^ 1), False),
            ((elsewhere, port), False),
            ((elsewhere, None), False),
            (filters.NOBODY, False),
        ):
            filters.attach(receiver, filters.open_filter(source))
            assert through((receiver, sender), whole) == (whole if is_his else whole[:1])
            assert through((receiver, sender), b"\x80" * 11) == (b"" if is_his else b"\x80")
            assert through((receiver, sender), b"") == b""
            filters.attach(receiver, filters.cutting_filter([101], source))
            assert through((receiver, sender), whole) == (cut if is_his else whole[:1])
            assert through((receiver, sender), event) == (event if is_his else event[:1])
            assert through((receiver, sender), b"\x80") == (b"" if is_his else b"\x80")


def test_a_program_of_the_longest_kind_is_taken() -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        filters.attach(sock, program := filters.cutting_filter(range(96, 112), ("2001:db8::7", 65_535)))
        assert len(program) // 8 < 64
