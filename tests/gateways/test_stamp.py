"""Stamps are found wherever they lie, and nothing else is taken for one."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mitschnitt.gateways import stamp

WORD = st.integers(0, (1 << 32) - 1)


def test_a_stamp_has_its_20_bytes() -> None:
    packed = stamp.pack_stamp(7, 1)
    assert packed[:18] == b"MITSCHNITT" + bytes([0, 0, 0, 7, 0, 0, 0, 1])
    assert len(packed) == stamp.STAMP_BYTES == 20
    assert packed[18:].hex() == "92e1"  # the low half of the CRC-32 that gzip computes for them


@given(st.lists(st.tuples(st.binary(max_size=40), WORD, WORD), max_size=10), st.integers(0, 1 << 48))
def test_every_stamp_in_a_heap_is_found_at_its_offset(heap: list[tuple[bytes, int, int]], base: int) -> None:
    data, expected = bytearray(), []
    for noise, stream, counter in heap:
        data += noise.replace(b"M", b"m")
        expected.append((base + len(data), stream, counter))
        data += stamp.pack_stamp(stream, counter)
    assert stamp.find_stamps(data, base=base).tolist() == expected


def test_the_bare_name_a_cut_stamp_and_a_broken_one_are_no_stamps() -> None:
    whole = stamp.pack_stamp(1, 2)
    broken = whole[:-1] + bytes([whole[-1] ^ 1])
    assert len(stamp.find_stamps(b"MITSCHNITT is a program that asks first, and can prove it")) == 0
    assert len(stamp.find_stamps(whole[:-1])) == 0
    assert len(stamp.find_stamps(broken)) == 0
    assert len(stamp.find_stamps(memoryview(broken + whole))) == 1


def test_counters_of_one_stream_come_in_order() -> None:
    data = b"".join(stamp.pack_stamp(stream, counter) for counter in range(5) for stream in (1, 2))
    found = stamp.counters_of(stamp.find_stamps(data), 2)
    assert (found == np.arange(5)).all()
