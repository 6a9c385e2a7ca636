"""Vectors: tests/vectors/rtcp, written by tests/second/make_rtcp_vectors.py (RFC 3550, RFC 5506)."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitschnitt import errors
from mitschnitt.errors import MalformedPacket, TooLarge
from mitschnitt.wire import rtcp
from mitschnitt.wire.rtcp import ReceiverReport, ReportBlock, SenderReport, SourceName, compound, parse
from rtp_files import VECTORS

FOLDER = VECTORS / "rtcp"
GOOD: dict[str, dict[str, Any]] = json.loads((FOLDER / "good.json").read_text())
BAD: dict[str, tuple[str, str]] = json.loads((FOLDER / "bad.json").read_text())


def told(report: SenderReport | ReceiverReport) -> list[Any]:
    """A report as the vectors write it."""
    blocks = [
        [one.ssrc, one.fraction_lost, one.lost, one.highest, one.jitter, one.last_sr, one.delay]
        for one in report.blocks
    ]
    if isinstance(report, ReceiverReport):
        return ["RR", report.ssrc, blocks]
    return ["SR", report.ssrc, report.ntp, report.rtp_time, report.packets, report.octets, blocks]


@pytest.mark.parametrize("name", GOOD)
def test_a_datagram_reads_as_its_json_says(name: str) -> None:
    found, expected = parse((FOLDER / f"{name}.bin").read_bytes()), GOOD[name]
    assert [told(report) for report in found.reports] == expected["reports"]
    assert [[one.ssrc, one.cname.decode()] for one in found.names] == expected["names"]
    assert list(found.goodbyes) == expected["goodbyes"]
    assert (found.skipped, found.is_reduced) == (expected["skipped"], expected["reduced"])


@pytest.mark.parametrize("name", BAD)
def test_a_bad_datagram_is_refused_by_its_sentence(name: str) -> None:
    kind, sentence = BAD[name]
    with pytest.raises(getattr(errors, kind), match=sentence):
        parse((FOLDER / f"bad-{name}.bin").read_bytes())


def test_every_file_is_listed() -> None:
    assert {path.stem for path in FOLDER.glob("*.bin")} == set(GOOD) | {f"bad-{name}" for name in BAD}


def test_of_a_description_nothing_but_the_cname_is_left_in_what_was_read() -> None:
    data = (FOLDER / "only_the_cname_is_read.bin").read_bytes()
    assert b"Clara" in data
    found = parse(data)
    assert [(one.ssrc, one.cname) for one in found.names] == [(0x11223344, b"xml")]
    everything = f"{found} {found.names[0].cname!r}"
    assert not any(word in everything for word in ("Clara", "a@b", "+49", "note"))


def test_a_cname_is_not_shown_by_whoever_prints_it() -> None:
    assert "anna" not in repr(SourceName(7, b"anna@host.example.org"))


@pytest.mark.parametrize("name", ["rr_sdes", "sr_sdes"])
def test_what_is_written_is_what_the_vector_holds(name: str) -> None:
    data = (FOLDER / f"{name}.bin").read_bytes()
    found = parse(data)
    assert compound(found.reports[0], found.names[0]) == data


def test_a_cname_of_any_length_is_closed_by_one_to_four_zeros() -> None:
    for length in range(1, 12):
        data = compound(ReceiverReport(5), SourceName(5, b"c" * length))
        assert len(data) % 4 == 0
        assert data[8:].rstrip(b"\0") == data[8 : 8 + 10 + length]
        assert [one.cname for one in parse(data).names] == [b"c" * length]


def test_more_blocks_or_a_longer_cname_than_fit_are_not_written() -> None:
    with pytest.raises(TooLarge):
        compound(ReceiverReport(5, (ReportBlock(1, 0, 0, 0, 0),) * 32), SourceName(5, b"c"))
    with pytest.raises(TooLarge):
        compound(ReceiverReport(5), SourceName(5, b"c" * 256))


@pytest.mark.parametrize(
    ("lost", "written"), [(1 << 24, 0x7FFFFF), (-(1 << 24), -0x800000), (-1, -1), (8_388_607, 8_388_607)]
)
def test_a_loss_that_does_not_fit_is_written_as_the_most_that_does(lost: int, written: int) -> None:
    data = compound(ReceiverReport(5, (ReportBlock(1, 0, lost, 0, 0),)), SourceName(5, b"c"))
    assert parse(data).reports[0].blocks[0].lost == written


def test_the_middle_of_the_time_is_what_reports_echo() -> None:
    assert SenderReport(1, 0xE8F1A2B380000000, 0, 0, 0).last_sr == 0xA2B38000


@pytest.mark.parametrize(
    ("expected", "received", "share"),
    [(0, 0, 0), (100, 100, 0), (100, 120, 0), (100, 75, 64), (256, 255, 1), (257, 256, 0), (100, 0, 255)],
)
def test_the_share_that_was_lost_is_counted_in_256ths(expected: int, received: int, share: int) -> None:
    assert rtcp.fraction_lost(expected, received) == share


@given(st.floats(0, 1, exclude_max=True))
def test_reports_are_spread_around_the_interval_of_the_rfc_and_the_first_comes_within_half_of_it(luck: float) -> None:
    assert 2.5 <= rtcp.report_interval(luck, first=False) <= 7.5
    assert rtcp.report_interval(luck, first=True) == rtcp.report_interval(luck, first=False) / 2 <= 3.75


NUMBERS = st.integers(0, 0xFFFFFFFF)
BLOCKS = st.builds(
    ReportBlock, NUMBERS, st.integers(0, 255), st.integers(-(1 << 23), (1 << 23) - 1), NUMBERS, NUMBERS, NUMBERS,
    NUMBERS,
)  # fmt: skip
MANY = st.lists(BLOCKS, max_size=31).map(tuple)
REPORTS = st.one_of(
    st.builds(ReceiverReport, NUMBERS, MANY),
    st.builds(SenderReport, NUMBERS, st.integers(0, (1 << 64) - 1), NUMBERS, NUMBERS, NUMBERS, MANY),
)


@given(REPORTS, st.builds(SourceName, NUMBERS, st.binary(min_size=1, max_size=255)))
def test_what_is_written_reads_back_the_same(report: SenderReport | ReceiverReport, name: SourceName) -> None:
    found = parse(compound(report, name))
    assert found.reports == (report,)
    assert found.names == (name,)
    assert not found.is_reduced


DATAGRAMS = [path.read_bytes() for path in sorted(FOLDER.glob("*.bin"))]


@given(st.one_of(st.binary(max_size=1_600), st.sampled_from(DATAGRAMS)), st.data())
def test_whatever_comes_is_read_or_refused_by_name(datagram: bytes, data: st.DataObject) -> None:
    if datagram:
        at = data.draw(st.integers(0, len(datagram) - 1))
        datagram = datagram[:at] + data.draw(st.binary(max_size=8)) + datagram[at + data.draw(st.integers(0, 8)) :]
    with contextlib.suppress(MalformedPacket, TooLarge):
        found = parse(datagram)
        assert len(found.reports) + len(found.names) + len(found.goodbyes) <= len(datagram) // 4
