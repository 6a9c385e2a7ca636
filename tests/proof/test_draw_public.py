"""One public list on its own: order, counts, tickets, and the draw_ids that somebody asks for."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from mitschnitt.proof import draw_format
from mitschnitt.proof.draw_public import check_public, class_of
from mitschnitt.proof.draw_report import Cheat, Report
from proof.drawn_lists import PUBLIC, WEEK, header_of, opened, records_of, said, with_header


def checked(data: bytes) -> Report:
    report = Report()
    check_public(opened(data), report)
    return report


def rewritten(records: bytes, **header: Any) -> bytes:
    """The honest list with other records, whose number and hash the header names."""
    named = {"seen": len(records) // 18, "records_sha256": hashlib.sha256(records).hexdigest()}
    return with_header(PUBLIC, {**header_of(PUBLIC), **named, **header})[: -len(records_of(PUBLIC))] + records


def test_the_honest_list_has_no_finding() -> None:
    assert checked(PUBLIC).findings == []


@pytest.mark.parametrize("block", [1, 7, 80])
def test_order_is_seen_within_blocks_and_across_them(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draw_format, "BLOCK_RECORDS", block)
    records = records_of(PUBLIC)
    assert checked(PUBLIC).findings == []
    swapped = records[18:36] + records[:18] + records[36:]
    assert "do not ascend" in said(checked(rewritten(swapped)))
    twice = records[:18] + records[:18] + records[36:]
    assert "one stands there twice" in said(checked(rewritten(twice)))


def test_records_that_were_changed_are_not_those_of_the_hash() -> None:
    records = records_of(PUBLIC)
    data = PUBLIC[: -len(records)] + records[:-1] + bytes([records[-1] ^ 1])
    assert "not those whose hash" in said(checked(data))


def test_a_class_that_nobody_named_is_a_filter_or_a_broken_list() -> None:
    records = records_of(PUBLIC)
    for place, cheat in ((b"\x80\x09", Cheat.FILTER), (b"\x00\x09", Cheat.BROKEN)):
        report = checked(rewritten(records[:16] + place + records[18:]))
        assert cheat in report.cheats()
        assert "which the header does not name" in said(report)


def test_outcomes_that_are_told_alone_and_in_a_sum_could_be_subtracted() -> None:
    header = header_of(PUBLIC)
    place = next(place for place, row in enumerate(header["strata"]) if row["drawn"])
    row = header["strata"][place]
    row["kept"], row["failed"], row["not_agreed"] = row["drawn"], 0, 0
    header["outcomes"] = {"strata": [place], "drawn": row["drawn"], "kept": row["drawn"], "failed": 0, "not_agreed": 0}
    assert "told alone and merged" in said(checked(with_header(PUBLIC, header)))
    header["outcomes"]["drawn"] += 1
    assert "another number of draws than their sum" in said(checked(with_header(PUBLIC, header)))


def test_draw_ids_that_are_asked_for_are_found_with_their_ticket() -> None:
    ids = [WEEK[0].id_of(draw) for draw in WEEK[0].draws]
    tally = check_public(opened(PUBLIC), Report(), [*ids, bytes(16)])
    assert set(tally.asked) == set(ids)
    for draw in WEEK[0].draws:
        won = draw.verdict == "drawn" or draw.verdict.startswith("capped")
        assert tally.asked[WEEK[0].id_of(draw)] == (draw.place, won)


def test_special_exclusions_stand_in_records_as_they_are() -> None:
    assert [class_of(0), class_of(9), class_of(65533), class_of(65535)] == [0x8000, 0x8009, 0xFFFD, 0xFFFF]
