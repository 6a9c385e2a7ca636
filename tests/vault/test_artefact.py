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

from examples import many
from mitschnitt.errors import Damaged
from mitschnitt.vault import artefact
from mitschnitt.vault.artefact import (
    RUN,
    PartyHeader,
    PathCounts,
    Report,
    pack_slice,
    pack_timeline,
    parse_timeline,
    path_of,
    reports_of,
    unpack_slice,
    unpack_slices,
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

PATH = PathCounts(expected=9, received=8, late=1, duplicates=2, injected=4, other_sources=3)
REPORTS = [
    Report(1_700_000_000_100_000_000, 0xDEADBEEF, 1_700_000_000_000_000_000, 2**32 - 960),
    Report(1_700_000_005_100_000_000, 0xDEADBEEF, -2_208_988_795_000_000_000, 39_040),
]


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


def test_a_timeline_with_path_and_reports_opens_and_packs_to_the_same_bytes() -> None:
    plain = (VECTORS / "timeline_path.bin").read_bytes()
    found = parse_timeline(plain)
    assert found.header == json.loads((VECTORS / "timeline_path.json").read_text())
    assert path_of(found.header) == PATH
    assert reports_of(found.header) == REPORTS
    header = replace(HEADER, path=PATH, reports=REPORTS)
    assert pack_timeline(CALL, 1, header, found.runs, flags=artefact.DIGITS_PRESENT) == plain


def test_a_timeline_names_channels_and_parameters_beside_the_codecs_where_they_matter() -> None:
    plain = (VECTORS / "timeline_formats.bin").read_bytes()
    found = parse_timeline(plain)
    assert found.header == json.loads((VECTORS / "timeline_formats.json").read_text())
    codecs: dict[int, artefact.Coded] = {
        8: ("PCMA", 8000),
        10: ("L16", 44100, 2, ""),
        97: ("AMR-WB", 16000, 1, "octet-align=1"),
    }
    header = replace(HEADER, codecs=codecs)
    assert pack_timeline(CALL, 1, header, found.runs, flags=artefact.DIGITS_PRESENT) == plain


def test_an_older_timeline_has_no_reports_and_counts_nothing_that_it_does_not_tell() -> None:
    header = parse_timeline((VECTORS / "timeline.bin").read_bytes()).header
    assert (path_of(header), reports_of(header)) == (PathCounts(), [])
    assert path_of({"path": {"expected": 5, "received": 3}}) == PathCounts(5, 3)


@pytest.mark.parametrize("told", [[], {"late": -1}, {"late": True}, {"late": "1"}, {"late": 1.0}])
def test_a_path_that_counts_nothing_countable_is_damaged(told: object) -> None:
    with pytest.raises(Damaged, match="object of counts"):
        path_of({"path": told})


@pytest.mark.parametrize(
    "told",
    [
        {},
        [["1", 7, "2", 3]] * 257,
        [{}],
        [["1", 7, "2"]],
        [[1, 7, 2, 3]],
        [["1", True, "2", 3]],
        [["1", 7, "2x", 3]],
        [["1", 7, "9" * 20, 3]],
        [["1", -1, "2", 3]],
        [["1", 7, "2", 1 << 32]],
    ],
)
def test_reports_that_are_none_are_damaged(told: object) -> None:
    with pytest.raises(Damaged, match="report"):
        reports_of({"reports": told})


def test_paths_add_up() -> None:
    assert PATH + PathCounts(expected=1, other_sources=2) == PathCounts(10, 8, 1, 2, 4, 5)


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


@settings(max_examples=many(100), deadline=None)
@given(st.binary(max_size=120))
def test_no_bytes_break_the_readers(data: bytes) -> None:
    for read in (lambda: unpack_slice(data, track=0, number=0), lambda: parse_timeline(b"MTL1" + data)):
        try:
            found = read()
        except Damaged:
            continue
        assert artefact.octets(found.runs) >= 0


Shapes = st.lists(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 20)), max_size=5), min_size=1, max_size=6)


@settings(max_examples=many(200), deadline=None)
@given(Shapes, st.data())
def test_many_slices_are_unpacked_as_one_after_the_other(
    shapes: list[list[tuple[int, int]]], data: st.DataObject
) -> None:
    plains = [
        bytearray(pack_slice(runs, data.draw(st.binary(min_size=octets, max_size=octets)), flags=number))
        for number, shape in enumerate(shapes)
        for runs in (runs_of(*shape),)
        for octets in (artefact.octets(runs),)
    ]
    if data.draw(st.booleans()):
        spoiled = plains[data.draw(st.integers(0, len(plains) - 1))]
        spoiled[data.draw(st.integers(0, min(3, len(spoiled) - 1)))] ^= data.draw(st.integers(1, 255))
    together, sizes = memoryview(b"".join(plains)), [len(plain) for plain in plains]
    try:
        one_by_one = [unpack_slice(bytes(plain), track=0, number=0) for plain in plains]
    except Damaged:
        with pytest.raises(Damaged):
            unpack_slices(together, sizes)
        return
    found = unpack_slices(together, sizes)
    assert found.runs.tobytes() == b"".join(piece.runs.tobytes() for piece in one_by_one)
    assert found.payload == b"".join(piece.payload for piece in one_by_one)
    flags = 0
    for piece in one_by_one:
        flags |= piece.flags
    assert found.flags == flags


@pytest.mark.parametrize("sizes", [[], [3], [3, 100]])
def test_what_is_shorter_than_a_slice_is_damaged_among_others_too(sizes: list[int]) -> None:
    with pytest.raises(Damaged, match="at least 4 bytes"):
        unpack_slices(memoryview(bytes(200)), sizes)


@settings(max_examples=many(100), deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 20)), max_size=5), st.integers(0, 255))
def test_what_is_packed_is_unpacked(shape: list[tuple[int, int]], flags: int) -> None:
    runs = runs_of(*shape)
    payload = bytes(artefact.octets(runs))
    found = unpack_slice(pack_slice(runs, payload, flags=flags), track=0, number=0)
    assert (found.runs == runs).all()
    assert (bytes(found.payload), found.flags) == (payload, flags)
