"""Redundant audio: packets put together by hand from RFC 2198, section 3, and the example of section 4."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitschnitt.wire.red import MAX_BLOCKS, primaries

BEFORE = 12  # bytes of RTP header in front


def payload(primary: tuple[int, bytes], *redundant: tuple[int, int, bytes]) -> bytes:
    """Block headers of (payload type, time offset, bytes), the primary's, and then the blocks in that order."""
    heads = b"".join(struct.pack(">I", 1 << 31 | kind << 24 | back << 10 | len(data)) for kind, back, data in redundant)
    return heads + bytes([primary[0]]) + b"".join(data for _, _, data in redundant) + primary[1]


def found(*payloads: bytes) -> list[tuple[int, bytes]]:
    rows = np.full((len(payloads), 400), 0xEE, np.uint8)
    for row, data in zip(rows, payloads, strict=True):
        row[BEFORE : BEFORE + len(data)] = np.frombuffer(data, np.uint8)
    lengths = np.array([len(data) for data in payloads], np.int32)
    kind, begin, size = primaries(rows, np.full(len(payloads), BEFORE, np.int32), lengths)
    return [
        (int(what), row[start : start + count].tobytes())
        for what, row, start, count in zip(kind, rows, begin.tolist(), size.tolist(), strict=True)
    ]


def test_the_primary_is_found_behind_none_one_and_more_copies() -> None:
    assert found(
        payload((8, b"newest")),
        payload((8, b"newest"), (8, 160, b"before")),
        payload((5, b"dvi4"), (7, 160, b"lpc")),  # the RFC's example
        payload((96, b"third"), (96, 320, b"first" * 60), (96, 160, b"")),
    ) == [(8, b"newest"), (8, b"newest"), (5, b"dvi4"), (96, b"third")]


def test_a_block_of_the_greatest_length_is_passed_over() -> None:
    rows = np.zeros((1, 1100), np.uint8)
    data = payload((8, b"newest"), (8, 0x3FFF, bytes(1023)))
    rows[0, : len(data)] = np.frombuffer(data, np.uint8)
    kind, begin, size = primaries(rows, np.zeros(1, np.int32), np.array([len(data)], np.int32))
    assert (kind.tolist(), rows[0, begin[0] : begin[0] + size[0]].tobytes()) == ([8], b"newest")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x08",  # a header, and nothing it speaks of
        payload((8, b"x"), (8, 160, b"before"))[:3],  # half a header
        payload((8, b"x"), (8, 160, b"before"))[:9],  # the copy is cut
        payload((8, b"x"), *[(8, 160, b"")] * (MAX_BLOCKS + 1)),
        b"\xff" * 300,
    ],
)
def test_a_packet_without_a_whole_primary_has_none(data: bytes) -> None:
    assert found(data)[0][1] == b""


def test_as_many_copies_as_are_allowed_are_passed_over() -> None:
    assert found(payload((8, b"x"), *[(8, 160, b"copy")] * MAX_BLOCKS)) == [(8, b"x")]


@given(st.lists(st.binary(max_size=300), max_size=8))
def test_any_bytes_give_a_piece_of_their_own_packet(payloads: list[bytes]) -> None:
    for data, (kind, primary) in zip(payloads, found(*payloads), strict=True):
        assert data.endswith(primary)
        assert kind < 128
