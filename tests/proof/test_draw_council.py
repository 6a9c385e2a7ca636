"""The bundle of one day: numbers, verdicts, and the public list beside it, in blocks and batches of any size."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest

from mitschnitt.errors import TooLarge
from mitschnitt.proof import draw_council, draw_format
from mitschnitt.proof.draw_council import check_council
from mitschnitt.proof.draw_report import Cheat, Report
from proof.drawn_lists import COUNCIL, PUBLIC, WEEK, header_of, opened, records_of, said, with_header


def checked(data: bytes, public: bytes | None = PUBLIC) -> Report:
    report = Report()
    check_council(opened(data), None if public is None else opened(public), report)
    return report


def changed(at: int, place: int, value: bytes, **header: Any) -> bytes:
    """The honest bundle with other bytes at a place of a record."""
    records = bytearray(records_of(COUNCIL))
    records[at * 18 + place : at * 18 + place + len(value)] = value
    named = {"records_sha256": hashlib.sha256(records).hexdigest()}
    return with_header(COUNCIL, {**header_of(COUNCIL), **named, **header})[: -len(records)] + bytes(records)


@pytest.mark.parametrize("block, batch", [(1, 1), (7, 20), (80, 1 << 20)])
def test_the_honest_bundle_has_no_finding_in_blocks_of_any_size(
    block: int, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(draw_format, "BLOCK_RECORDS", block)
    monkeypatch.setattr(draw_council, "BATCH_RECORDS", batch)
    assert checked(COUNCIL).findings == []


@pytest.mark.parametrize("block", [1, 7, 80])
def test_a_gap_and_a_repetition_are_seen_within_blocks_and_across_them(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(draw_format, "BLOCK_RECORDS", block)
    report = checked(changed(6, 2, (6).to_bytes(4, "big")))  # 1, 2, …, 6, 6, 8, …
    assert "1 numbers are missing of source keeper" in said(report)
    assert "1 numbers stand there twice of source keeper" in said(report)


def test_records_out_of_order_are_broken() -> None:
    report = checked(changed(6, 2, (1).to_bytes(4, "big")))
    assert "1 records do not ascend by source and number" in said(report)


def test_a_source_that_the_header_does_not_name_is_broken() -> None:
    assert "1 records name a source" in said(checked(changed(79, 0, b"\x00\x09")))


@pytest.mark.parametrize("place, value", [(16, b"\x09"), (17, b"\x02")])
def test_a_verdict_or_flag_that_nobody_knows_is_broken(place: int, value: bytes) -> None:
    assert "1 records have an unknown verdict or flag" in said(checked(changed(0, place, value)))


def test_only_drawn_calls_can_fail() -> None:
    at = next(at for at, row in enumerate(rows()) if row[16] == 1)
    assert "1 records are marked failed and were not drawn" in said(checked(changed(at, 17, b"\x01")))


def rows() -> list[bytes]:
    records = records_of(COUNCIL)
    return [records[at : at + 18] for at in range(0, len(records), 18)]


def test_without_a_public_list_the_bundle_is_checked_for_itself() -> None:
    assert checked(COUNCIL, None).findings == []
    assert Cheat.DROPPED in checked(changed(6, 2, (99).to_bytes(4, "big")), None).cheats()


def test_two_draw_ids_with_one_first_half_are_both_found() -> None:
    high = np.array([5, 5, 9], np.uint64)
    wanted = np.array([5, 9, 10], np.uint64)
    first, second = draw_council._candidates(high, wanted)
    assert (first.tolist(), second.tolist()) == ([0, 2, 2], [1, 2, 2])


def test_more_agents_than_a_site_can_have_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draw_council, "MAX_TAGS", 3)
    with pytest.raises(TooLarge, match="more than 3 agent tags"):
        checked(COUNCIL)


def test_what_a_day_says_of_an_agent_is_counted_in_strata_only() -> None:
    tally = check_council(opened(COUNCIL), None, Report())
    for tag, agent in tally.agents.items():
        own = [draw for draw in WEEK[0].draws if int.from_bytes(draw.tag, "big") == tag]
        assert agent.calls == sum(draw.place < 0x8000 for draw in own)
        assert agent.drawn == sum(draw.verdict == "drawn" for draw in own)
        assert agent.failed == sum(draw.outcome == "failed" for draw in own)
