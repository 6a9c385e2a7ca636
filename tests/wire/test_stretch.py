"""What the door gives of a party for a stretch of time: there and back, and no bytes pass for one that are none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitschnitt.errors import MalformedPacket
from mitschnitt.wire.stretch import HEAD, MAGIC, ROW, Stretch, pack_stretch, unpack_stretches

BY_HAND = bytes.fromhex((Path(__file__).parents[1] / "vectors/stretch/two_packets.hex").read_text(encoding="ascii"))


def stretch(party: int, *lengths: int) -> Stretch:
    rows = np.zeros(len(lengths), ROW)
    rows["first_ns"], rows["span_ns"] = np.arange(len(lengths)) * 20_000_000, 20_000_000
    rows["length"] = lengths
    return Stretch(party, rows, bytes(number % 251 for number in range(sum(lengths))))


def test_a_stretch_has_the_bytes_that_the_page_says() -> None:
    (found,) = unpack_stretches(BY_HAND)
    assert (found.party, bytes(found.payload)) == (3, b"abcde")
    assert found.rows[["first_ns", "span_ns", "length", "codec", "epoch"]].tolist() == [
        (-1, 20_000_000, 2, 0, 0),
        (20_000_000, 30_000_000, 3, 1, 7),
    ]
    assert pack_stretch(found) == BY_HAND


@given(st.lists(st.tuples(st.integers(0, 11), st.lists(st.integers(0, 1_500), max_size=5)), max_size=4))
def test_several_parties_come_one_after_the_other(parts: list[tuple[int, list[int]]]) -> None:
    sent = [stretch(party, *lengths) for party, lengths in parts]
    found = unpack_stretches(b"".join(map(pack_stretch, sent)))
    assert [(one.party, one.rows.tolist(), bytes(one.payload)) for one in found] == [
        (one.party, one.rows.tolist(), one.payload) for one in sent
    ]


@given(st.binary(max_size=80) | st.binary(max_size=60).map(lambda tail: MAGIC + tail))
def test_random_bytes_are_refused_or_are_stretches(data: bytes) -> None:
    try:
        found = unpack_stretches(data)
    except MalformedPacket:
        return
    assert b"".join(map(pack_stretch, found)) == data


@pytest.mark.parametrize(
    "data, sentence",
    [
        (BY_HAND[:10], "begins with 20 bytes, got 10"),
        (BY_HAND[:-1], "does not fit into 72 bytes"),
        (b"XXXX" + BY_HAND[4:], "does not fit"),
        (HEAD.pack(MAGIC, 0, 1, 0, 0, 0), "does not fit"),
        (HEAD.pack(MAGIC, 0, 0, 0, 1 << 31, 0), "does not fit"),
        (HEAD.pack(MAGIC, 0, 0, 0, 0, 2) + b"ab", "rows of a stretch count 0 payload bytes, it has 2"),
    ],
)
def test_what_is_cut_or_odd_is_refused(data: bytes, sentence: str) -> None:
    with pytest.raises(MalformedPacket, match=sentence):
        unpack_stretches(data)


def test_packets_out_of_order_are_no_stretch() -> None:
    wrong = stretch(0, 1, 1)
    wrong.rows["first_ns"] = [1, 0]
    with pytest.raises(MalformedPacket, match="not in order of time"):
        pack_stretch(wrong)
