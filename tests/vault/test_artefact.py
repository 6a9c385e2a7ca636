"""Vectors: tests/vectors/artefact, put together by tests/second/make_slice_vectors.py."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mitschnitt.errors import Damaged
from mitschnitt.vault import artefact
from mitschnitt.vault.artefact import (
    RUN,
    PartyHeader,
    pack_slice,
    pack_timeline,
    parse_timeline,
    unpack_slice,
)

VECTORS = Path(__file__).parent.parent / "vectors" / "artefact"
CALL = bytes(range(16))
HEADER = PartyHeader(
    {8: ("PCMA", 8000)},
    "2026-11-23T10:00:00.000000Z",
    "2026-11-23T10:03:00.000000Z",
    "ended",
    [("2026-11-23T10:01:00.000000Z", "2026-11-23T10:02:00.000000Z")],
)


def runs_of(*counts_and_lengths: tuple[int, int]) -> artefact.Runs:
    runs = np.zeros(len(counts_and_lengths), RUN)
    runs["count"] = [count for count, _ in counts_and_lengths]
    runs["length"] = [length for _, length in counts_and_lengths]
    runs["payload_type"] = 8
    return runs


def test_the_slice_of_the_vector_file_opens_to_what_its_json_says() -> None:
    expected = json.loads((VECTORS / "slice.json").read_text())
    plain = (VECTORS / "slice.bin").read_bytes()
    found = unpack_slice(plain, track=3, number=4)
    assert (found.track, found.number, found.flags) == (3, 4, expected["flags"])
    assert bytes(found.payload) == bytes.fromhex(expected["payload"])
    assert [[int(run[name]) for name in RUN.names or ()] for run in found.runs] == expected["runs"]
    assert pack_slice(found.runs, bytes(found.payload), flags=found.flags) == plain


def test_the_timeline_of_the_vector_file_opens_and_packs_to_the_same_bytes() -> None:
    plain = (VECTORS / "timeline.bin").read_bytes()
    found = parse_timeline(plain)
    assert found.header == json.loads((VECTORS / "timeline.json").read_text())
    assert pack_timeline(CALL, 1, HEADER, found.runs, flags=artefact.DIGITS_PRESENT) == plain


def test_what_was_lost_on_the_way_is_told_where_it_was_counted() -> None:
    runs = runs_of((3, 160))
    counted = parse_timeline(pack_timeline(CALL, 1, replace(HEADER, expected=5, received=3), runs, flags=0))
    assert counted.header["path"] == {"expected": 5, "received": 3}
    assert "path" not in parse_timeline(pack_timeline(CALL, 1, HEADER, runs, flags=0)).header


def test_packets_without_payload_count_as_none() -> None:
    runs = runs_of((3, 160), (4, 0))
    assert (artefact.packets(runs), artefact.octets(runs)) == (3, 480)


@pytest.mark.parametrize(
    ("plain", "why"),
    [
        (b"\1\0", "at least 4 bytes"),
        (b"\2\0\0\0", "version 2"),
        (b"\1\0\1\0", "1 runs in 4 bytes"),
        (pack_slice(runs_of((1, 3)), b"ab"), "count 3 payload bytes, it has 2"),
    ],
)
def test_a_slice_that_does_not_agree_with_itself_is_damaged(plain: bytes, why: str) -> None:
    with pytest.raises(Damaged, match=why):
        unpack_slice(plain, track=0, number=0)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda plain: b"MTL2" + plain[4:], "begins with"),
        (lambda plain: plain[:-1], "cannot have a header"),
        (lambda plain: plain[:4] + b"\xff\xff\xff\xff" + plain[8:], "cannot have a header"),
        (lambda plain: plain[:-32], "its runs"),
        (lambda plain: plain[:8] + b"x" + plain[9:], "not the JSON object"),
        (lambda plain: b"MTL1" + (2).to_bytes(4, "big") + b"{}", "not the JSON object"),
        (lambda plain: b"MTL1" + (2).to_bytes(4, "big") + b"[]", "not the JSON object"),
    ],
)
def test_a_timeline_that_is_not_one_is_damaged(change: Callable[[bytes], bytes], why: str) -> None:
    plain = pack_timeline(CALL, 1, HEADER, runs_of((3, 160)), flags=0)
    with pytest.raises(Damaged, match=why):
        parse_timeline(change(plain))


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=120))
def test_no_bytes_break_the_readers(data: bytes) -> None:
    for read in (lambda: unpack_slice(data, track=0, number=0), lambda: parse_timeline(b"MTL1" + data)):
        try:
            found = read()
        except Damaged:
            continue
        assert artefact.octets(found.runs) >= 0


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 20)), max_size=5), st.integers(0, 255))
def test_what_is_packed_is_unpacked(shape: list[tuple[int, int]], flags: int) -> None:
    runs = runs_of(*shape)
    payload = bytes(artefact.octets(runs))
    found = unpack_slice(pack_slice(runs, payload, flags=flags), track=0, number=0)
    assert (found.runs == runs).all()
    assert (bytes(found.payload), found.flags) == (payload, flags)
