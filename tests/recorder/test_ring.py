from __future__ import annotations

import os
import socket
import struct
from pathlib import Path

import numpy as np
import pytest

from loopback import delivered, own_port
from mitschnitt.recorder.receiver import Batch
from mitschnitt.recorder.ring import FLOOD_PACKETS, FRAME_BYTES, NOBODY
from ring_rig import (
    drained,
    ethernet,
    holds,
    ipv4,
    is_clean,
    needs_ring,
    packets,
    ring_on,
    send,
    send_frames,
    udp,
)

pytestmark = needs_ring

PORT = own_port(for_good=True)  # a ring sees what anybody sends there
OTHER = PORT + 2
MARKER = b"MARKER-OF-AUDIO"
VOICE = b"\x80\x08" + MARKER.ljust(170, b"\x55")
UDP_SEGMENT = 103


# What comes


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_datagrams_come_grouped_by_line_in_order_of_arrival(address: str) -> None:
    with ring_on(address) as ring:
        ring.open(PORT, 9)
        ring.open(OTHER, 3)
        for number in range(5):
            send(PORT, b"a%d" % number, address=address)
            send(OTHER, b"b%d" % number, address=address)
        assert packets(ring) == [(3, b"b%d" % n) for n in range(5)] + [(9, b"a%d" % n) for n in range(5)]
        assert packets(ring) == []
        assert is_clean(ring)


def test_a_ring_is_the_kernels_again_and_again() -> None:
    with ring_on() as ring:
        ring.open(PORT, 1)
        for turn in range(5):
            sent = [b"%d-%d" % (turn, n) for n in range(ring.frames // 2)]
            send(PORT, *sent)
            assert [data for _, data in packets(ring)] == sent
        assert ring.drops() == 0
        assert is_clean(ring)


def test_a_batch_ends_between_two_lines_and_a_long_line_has_batches_of_its_own() -> None:
    with ring_on(rows=10) as ring:
        for line in range(3):
            ring.open(PORT + 2 * line, line)
        send(PORT, *[b"0-%d" % n for n in range(4)])
        send(PORT + 2, *[b"1-%d" % n for n in range(23)])
        send(PORT + 4, b"2-0")
        batches = drained(ring)
        assert [len(batch) for batch in batches] == [4, 10, 10, 4]
        assert [data for batch in batches for _, data, _ in batch] == [
            *[b"0-%d" % n for n in range(4)],
            *[b"1-%d" % n for n in range(23)],
            b"2-0",
        ]


def test_a_batch_is_zeroed_whatever_becomes_of_it() -> None:
    with ring_on() as ring:
        ring.open(PORT, 1)
        send(PORT, VOICE)

        def fail(batch: Batch) -> None:
            assert MARKER in batch.rows.tobytes()
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            list(ring.drain(fail))
        assert not holds(ring, MARKER)
        send(PORT, b"next")
        assert packets(ring) == [(1, b"next")]


# What must not come


def test_what_comes_to_a_port_that_is_not_open_is_never_in_our_memory() -> None:
    with ring_on() as ring:
        ring.open(PORT, 1)
        send(OTHER, VOICE)
        send(PORT, b"agreed")
        assert not holds(ring, MARKER)
        assert packets(ring) == [(1, b"agreed")]
        assert ring.strays == 0


def test_the_same_search_finds_what_comes_to_an_open_port() -> None:
    with ring_on() as ring:
        ring.open(PORT, 1)
        send(PORT, VOICE)
        assert holds(ring, MARKER)


def test_a_port_that_is_shut_is_shut_for_the_next_packet() -> None:
    with ring_on() as ring:
        ring.open(PORT, 1)
        send(PORT, b"before")
        ring.shut(PORT)
        send(PORT, VOICE)
        assert not holds(ring, MARKER)
        assert packets(ring) == [(1, b"before")]


def test_what_a_shut_line_brought_is_zeroed_in_place_without_waiting_for_a_drain() -> None:
    with ring_on() as ring:
        ring.open(PORT, 1)
        ring.open(OTHER, 2)
        send(PORT, VOICE, VOICE)
        send(OTHER, b"stays")
        ring.shut(PORT)
        assert holds(ring, MARKER)
        assert ring.discard(1) == 2
        assert not holds(ring, MARKER)
        assert packets(ring) == [(2, b"stays")]


def test_what_a_shut_line_brought_can_be_taken_before_all_others() -> None:
    with ring_on() as ring:
        ring.open(PORT, 1)
        ring.open(OTHER, 2)
        send(PORT, b"a")
        send(OTHER, b"b")
        send(PORT, b"c")
        ring.shut(PORT)
        taken: list[bytes] = []
        assert ring.take(1, lambda batch: taken.extend(row[:1].tobytes() for row in batch.rows)) == 2
        assert taken == [b"a", b"c"]
        assert packets(ring) == [(2, b"b")]


def test_a_line_that_is_shut_between_two_batches_of_a_drain_brings_nothing_more() -> None:
    with ring_on(rows=2) as ring:
        ring.open(PORT, 1)
        ring.open(OTHER, 2)
        send(PORT, b"a", b"b")
        send(OTHER, VOICE, VOICE)
        got: list[int] = []
        steps = ring.drain(lambda batch: got.extend(batch.stream.tolist()))
        assert next(steps) == 2
        ring.shut(OTHER)
        ring.discard(2)
        assert not holds(ring, MARKER)
        assert list(steps) == []
        assert got == [1, 1]
        assert is_clean(ring)


def test_a_line_that_is_taken_between_two_batches_of_a_drain_comes_once() -> None:
    with ring_on(rows=2) as ring:
        ring.open(PORT, 1)
        ring.open(OTHER, 2)
        send(PORT, b"a", b"b")
        send(OTHER, b"c", b"d")
        got: list[int] = []
        steps = ring.drain(lambda batch: got.extend(batch.stream.tolist()))
        next(steps)
        assert ring.take(2, lambda batch: got.extend(batch.stream.tolist())) == 2
        assert list(steps) == []
        assert got == [1, 1, 2, 2]


def test_a_port_that_is_opened_for_another_line_brings_nothing_of_the_former() -> None:
    with ring_on() as ring:
        ring.open(PORT, 1)
        send(PORT, b"former")
        ring.shut(PORT)
        ring.discard(1)
        ring.open(PORT, 2)
        send(PORT, b"new")
        assert packets(ring) == [(2, b"new")]


def test_a_packet_whose_port_was_shut_while_it_came_is_zeroed_and_counted() -> None:
    with ring_on() as ring:
        ring.open(PORT, 1)
        ring._line_of[PORT] = NOBODY  # the filter had passed it already
        send(PORT, VOICE)
        assert packets(ring) == []
        assert ring.strays == 1
        assert is_clean(ring)


# Traps


def test_a_ring_that_is_full_counts_what_it_lost() -> None:
    with ring_on() as ring:
        ring.open(PORT, 1)
        send(PORT, *[b"%d" % n for n in range(ring.frames + 500)])
        assert [data for _, data in packets(ring)] == [b"%d" % n for n in range(ring.frames)]
        assert ring.drops() == 500
        send(PORT, b"again")
        assert packets(ring) == [(1, b"again")]
        assert ring.drops() == 500


def test_a_checksum_that_nobody_vouches_for_is_checked() -> None:
    with ring_on() as ring:
        ring.open(PORT, 1)
        send_frames(
            ethernet(ipv4(udp(PORT, b"right"))),
            ethernet(ipv4(udp(PORT, VOICE, right=False))),
            ethernet(ipv4(udp(PORT, b"right too"))),
        )
        assert packets(ring) == [(1, b"right"), (1, b"right too")]
        assert ring.refused == {"CHECKSUM": 1}
        assert is_clean(ring)


def test_a_datagram_that_is_shorter_than_it_says_is_refused() -> None:
    with ring_on() as ring:
        ring.open(PORT, 1)
        send_frames(ethernet(ipv4(udp(PORT, VOICE), longer=40)), ethernet(ipv4(udp(PORT, VOICE))[:24]))
        assert packets(ring) == []
        assert ring.refused == {"LENGTH": 1, "SHORT": 1}
        assert is_clean(ring)


@pytest.mark.parametrize(
    ("frame", "kind"),
    [
        (ethernet(ipv4(udp(PORT, VOICE)), vlan=7), "ELSEWHERE"),
        (ethernet(ipv4(udp(PORT, VOICE)), target=bytes([2, 0, 0, 0, 0, 9])), "ELSEWHERE"),
        (ethernet(ipv4(udp(PORT, VOICE), fragment=0x2000)), "FRAGMENT"),
        (ethernet(ipv4(udp(PORT, VOICE), options=b"\x94\x04\0\0")), "HEADER"),
    ],
    ids=["with a VLAN tag", "for another host", "in a fragment", "with IP options"],
)
def test_an_odd_packet_is_counted_and_never_in_our_memory(frame: bytes, kind: str) -> None:
    with ring_on() as ring:
        ring.open(PORT, 1)
        send_frames(frame)
        assert not holds(ring, MARKER)
        assert ring.odd()[kind] == 1
        assert sum(ring.odd().values()) == 1
        assert packets(ring) == []


@pytest.mark.parametrize(
    "frame",
    [
        ethernet(ipv4(udp(PORT, VOICE)[8:], fragment=0x0001)),
        ethernet(ipv4(udp(PORT, VOICE), protocol=6)),
        ethernet(ipv4(udp(PORT, VOICE, target=bytes([127, 0, 0, 2])), target=bytes([127, 0, 0, 2]))),
        ethernet(ipv4(udp(PORT, VOICE)), kind=0x86DD),
    ],
    ids=["a later fragment", "TCP", "to another address", "under the number of IPv6"],
)
def test_what_is_not_for_an_open_port_of_ours_is_nothing_to_us(frame: bytes) -> None:
    with ring_on() as ring:
        ring.open(PORT, 1)
        send_frames(frame)
        assert not holds(ring, MARKER)
        assert packets(ring) == []
        assert not sum(ring.odd().values())


def test_extension_headers_of_ipv6_are_counted_and_never_in_our_memory() -> None:
    local = bytes(15) + b"\1"
    body = b"\x11\0\1\4\0\0\0\0" + udp(PORT, VOICE)
    with ring_on("::1") as ring:
        ring.open(PORT, 1)
        send_frames(ethernet(struct.pack(">IHBB", 6 << 28, len(body), 0, 64) + local * 2 + body, kind=0x86DD))
        assert not holds(ring, MARKER)
        assert ring.odd()["HEADER"] == 1


def test_what_we_send_ourselves_is_seen_once() -> None:
    with ring_on() as ring:
        ring.open(PORT, 1)
        send(PORT, b"once")
        assert packets(ring) == [(1, b"once")]


def test_a_packet_that_does_not_fit_a_frame_is_told_by_its_length_and_its_line_is_named() -> None:
    with ring_on() as ring:
        ring.open(PORT, 1)
        ring.open(OTHER, 2)
        send(PORT, bytes(ring.width))
        send(OTHER, bytes(ring.width + 1))
        assert [(line, length) for batch in drained(ring) for line, _, length in batch] == [
            (1, ring.width),
            (2, ring.width + 1),
        ]
        assert ring.unfit == {2}
        assert is_clean(ring)


def test_datagrams_that_a_sender_on_this_host_joins_are_told_by_their_length_too() -> None:
    with ring_on() as ring, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        ring.open(PORT, 1)
        sender.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 172)
        with delivered():
            sender.sendto(bytes(10 * 172), ("127.0.0.1", PORT))
        drained(ring)
        assert ring.unfit == {1}


def test_a_flooded_line_is_named() -> None:
    with ring_on() as ring:
        ring.open(PORT, 1)
        ring.open(OTHER, 2)
        send(PORT, *[b"x"] * FLOOD_PACKETS)
        send(OTHER, *[b"x"] * (FLOOD_PACKETS + 1))
        assert len(packets(ring)) == 2 * FLOOD_PACKETS + 1
        assert ring.unfit == {2}


# Its memory


def test_the_ring_is_in_no_core_dump_and_no_child() -> None:
    with ring_on() as ring:
        begin = ring.memory.ctypes.data
        lines = iter(Path("/proc/self/smaps").read_text().splitlines())
        assert any(line.startswith(f"{begin:x}-") for line in lines)
        flags = next(line for line in lines if line.startswith("VmFlags")).split()
        assert {"dd", "dc"} <= set(flags)


def test_a_ring_that_is_closed_leaves_nothing_behind() -> None:
    with ring_on() as ring:
        ring.open(PORT, 1)
        send(PORT, VOICE)
        memory = ring.memory
    assert MARKER not in memory.tobytes()
    send(PORT, VOICE)
    assert MARKER not in memory.tobytes()


def test_every_byte_that_a_packet_can_take_of_a_frame_is_zeroed() -> None:
    with ring_on() as ring:
        ring.open(PORT, 1)
        send(PORT, os.urandom(1_000), b"\xff" * ring.width)
        frames = ring.memory.reshape(ring.frames, FRAME_BYTES)
        assert frames[:2, -1].all()
        drained(ring)
        assert not np.any(frames[:, 64:])
