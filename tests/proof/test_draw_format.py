"""Lists of the draw read strictly: any bytes are a list, a broken one, or none; in bounded memory."""

from __future__ import annotations

import io
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mitschnitt.errors import ConfigError, MalformedPacket, PeerError, TooLarge
from mitschnitt.proof import draw_format
from mitschnitt.proof.draw_format import DrawList
from mitschnitt.proof.draws import Verifier
from proof.drawn_lists import COUNCIL, PUBLIC, WEEK, header_of, opened, records_of, with_header


def test_a_header_says_what_the_writer_meant() -> None:
    header = opened(COUNCIL).header
    assert (header.day, header.seen) == (WEEK[0].day, 80)
    assert [(row.name, row.rate) for row in header.strata] == list(WEEK[0].strata)
    assert [row.name for row in header.exclusions] == ["works council", "night", "unmatched", "failed", "none"]
    assert header.bundle is not None
    assert header.bundle.day_key == WEEK[0].key
    assert len(header.bundle.allowances) == len(WEEK[0].allowances)


def test_records_come_in_blocks_and_as_often_as_they_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draw_format, "BLOCK_RECORDS", 33)
    found = opened(PUBLIC)
    for _ in range(2):
        blocks = list(found.rows())
        assert [len(block) for block in blocks] == [33, 33, 14]
        assert b"".join(block.tobytes() for block in blocks) == records_of(PUBLIC)


@pytest.mark.parametrize("data", [b"", b"MSDRAWP", b"MSDRAWX1" + bytes(40), b"%PDF-1.7", b"\x00" * 100])
def test_what_begins_otherwise_is_no_list_at_all(data: bytes) -> None:
    with pytest.raises(ConfigError, match="one begins with MSDRAWP1 or MSDRAWC1"):
        opened(data)


@given(st.integers(8, len(PUBLIC) - 1))
def test_a_list_that_is_cut_anywhere_is_broken(end: int) -> None:
    with pytest.raises(MalformedPacket):
        opened(PUBLIC[:end])


def test_a_list_with_more_than_its_records_is_broken() -> None:
    with pytest.raises(MalformedPacket, match="1440 bytes; found 1441"):
        opened(PUBLIC + b"x")


def test_a_header_longer_than_the_limit_is_not_read() -> None:
    with pytest.raises(TooLarge, match="4294967295 bytes, at most 16777216 are read"):
        opened(b"MSDRAWP1\xff\xff\xff\xff")


def test_a_file_that_shrinks_while_it_is_read_is_broken() -> None:
    stream = io.BytesIO(PUBLIC)
    found = DrawList(stream, "list")
    stream.truncate(len(PUBLIC) - 1)
    with pytest.raises(MalformedPacket, match="became shorter"):
        list(found.rows())


CHANGES: list[tuple[str, Any, str]] = [
    ("seen", 2**32, "whole number from 0 to 4294967295"),
    ("seen", -1, "whole number from 0 to"),
    ("seen", True, "whole number from 0 to"),
    ("v", 2, "expected version 1"),
    ("kind", "council", "the kind public"),
    ("day", "2026-11-31", "must be a date"),
    ("day", "20261123", "must be a date"),
    ("day", 5, "must be a date"),
    ("policy_hash", "AB" * 32, "must look like"),
    ("beacon", {"kind": "dice", "value": "00" * 32}, "of a kind none, commit, drand"),
    ("beacon", {"kind": "none"}, "must look like"),
    ("strata", [{}], "a stratum has exactly"),
    ("strata", {}, "must be a list"),
    ("exclusions", [{"number": 4096, "name": "x", "count": 0}], "in order of their numbers"),
    ("exclusions", [{"number": 1, "name": "x", "count": 0}] * 2, "in order of their numbers"),
    ("exclusions", [{"number": 1, "name": "", "count": 0}], "1 to 200 characters"),
    ("outcomes", {"strata": [7], "drawn": 1, "kept": 1, "failed": 0, "not_agreed": 0}, "places of strata"),
    ("outcomes", {"strata": [0], "drawn": 1, "kept": None, "failed": None, "not_agreed": None}, "are numbers"),
    ("more", 1, "a public header has exactly"),
]


@pytest.mark.parametrize("name, value, words", CHANGES)
def test_a_header_that_says_something_else_is_refused_in_words(name: str, value: Any, words: str) -> None:
    with pytest.raises(MalformedPacket, match=words):
        opened(with_header(PUBLIC, {**header_of(PUBLIC), name: value}))


@pytest.mark.parametrize("rate", ["1/0", "2/1", "2/4", "0.5", "-1/2", "01/2", "1/2 ", 1])
def test_a_rate_is_a_fraction_in_lowest_terms(rate: Any) -> None:
    header = header_of(PUBLIC)
    header["strata"][0]["rate"] = rate
    with pytest.raises(MalformedPacket, match="rate of a stratum"):
        opened(with_header(PUBLIC, header))


@pytest.mark.parametrize(
    "name, value, words",
    [
        ("sources", ["recorder-1", "keeper"], "in order of name"),
        ("sources", ["server-1"], "must look like"),
        ("day_key", "00", "must look like"),
        ("allowances", [["2026-11-23", "share", "keeper", "", 1, 1]], "an allowance is"),
        ("allowances", [["2026-11-23", "month", "keeper", "", 1, 1, 1]], "one of agent_week, agent_share, share"),
        ("allowances", [["2026-11-23", "share", "keeper", "", 1, -1, 1]], "`units` of an allowance"),
        ("caps", {"agent_week": 1.5, "agent_share": None, "share": None}, "numbers are whole"),
        ("caps", {"agent_week": 1, "agent_share": None}, "caps has exactly"),
    ],
)
def test_a_bundle_that_says_something_else_is_refused_in_words(name: str, value: Any, words: str) -> None:
    with pytest.raises(MalformedPacket, match=words):
        opened(with_header(COUNCIL, {**header_of(COUNCIL), name: value}))


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"{",
        b'{"a":1,"a":2}',
        b'{"b":1,"a":2}',
        b'{"a": 1}',
        b'{"a":1e2}',
        b'{"a":NaN}',
        b'{"a":"\\ud800"}',
        b"\xff",
        b"[" * 100_000,
        b'{"a":' + b"9" * 5_000 + b"}",
    ],
)
def test_a_header_is_one_object_in_canonical_json(text: bytes) -> None:
    with pytest.raises(MalformedPacket):
        opened(with_header(PUBLIC, text))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.thorough
@settings(max_examples=300)
@given(st.sampled_from([PUBLIC, COUNCIL]), st.data())
def test_any_value_in_any_field_is_a_list_or_an_error_of_ours(data: bytes, draw: st.DataObject) -> None:
    header = header_of(data)
    header[draw.draw(st.sampled_from(sorted(header)))] = draw.draw(VALUES)
    _verified(with_header(data, header))


@pytest.mark.thorough
@settings(max_examples=300)
@given(st.sampled_from([PUBLIC, COUNCIL]), st.integers(0, 10**9), st.binary(min_size=1, max_size=40))
def test_any_bytes_anywhere_end_in_findings_or_an_error_of_ours(data: bytes, place: int, other: bytes) -> None:
    at = place % len(data)
    _verified(data[:at] + other + data[at + len(other) :])


def _verified(data: bytes) -> None:
    """Whatever is in it, a verifier says so in one sentence each, and raises nothing but that it is no list."""
    verifier = Verifier()
    try:
        verifier.add_list(io.BytesIO(data), "list")
    except ConfigError:
        assert data[:8] not in (b"MSDRAWP1", b"MSDRAWC1")
        return
    verifier.check()
    assert all("\n" not in finding.sentence for finding in verifier.report.findings)
    assert all(finding.sentence for finding in verifier.report.findings)


def test_every_error_of_the_reader_is_one_of_a_peer() -> None:
    assert issubclass(MalformedPacket, PeerError)
    assert issubclass(TooLarge, PeerError)
