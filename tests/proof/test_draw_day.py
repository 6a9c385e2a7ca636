"""Beacons reckoned anew, day records, and rounds of drand that were recorded."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from mitschnitt.errors import MalformedPacket
from mitschnitt.proof.draw_day import check_beacon, check_day, check_round, read_day
from mitschnitt.proof.draw_format import Beacon, Header
from mitschnitt.proof.draw_report import Cheat, From, Report
from mitschnitt.proof.draw_tickets import drand_beacon
from proof.drawn_lists import PUBLIC, WEEK, opened, said
from second.draw_lists import day_record

HEADER = opened(PUBLIC).header
DRAND = json.loads((Path(__file__).parent.parent / "vectors" / "drand" / "quicknet.json").read_text(encoding="utf-8"))


def with_beacon(**told: Any) -> Header:
    value = bytes.fromhex(told.get("value", "00" * 32))
    return replace(HEADER, beacon=Beacon(told["kind"], value, told))


def reckoned(header: Header) -> Report:
    report = Report()
    check_beacon(header, report, From.PUBLIC)
    return report


def test_values_that_were_committed_to_make_the_beacon() -> None:
    assert reckoned(HEADER).findings == []


@pytest.mark.parametrize(
    "shares",
    [{}, None, {"council": {}}, {role: {"commitment": 1, "value": 2} for role in ("council", "officer", "operator")}],
)
def test_a_beacon_without_its_values_cannot_be_reckoned(shares: Any) -> None:
    report = reckoned(with_beacon(kind="commit", shares=shares))
    assert "cannot be reckoned" in said(report)
    assert report.cheats() == {Cheat.REDRAWN}


def test_no_beacon_is_right_only_where_everybody_is_drawn() -> None:
    assert "not every rate is 1" in said(reckoned(with_beacon(kind="none")))
    everybody = tuple(replace(row, rate=Fraction(1)) for row in HEADER.strata)
    assert reckoned(replace(with_beacon(kind="none"), strata=everybody)).findings == []


def drand(number: int, signature: str, value: bytes | None = None) -> Header:
    found = value or drand_beacon(number, bytes.fromhex(signature))
    return with_beacon(kind="drand", value=found.hex(), chain="quicknet", round=number, signature=signature)


def recorded() -> tuple[int, str]:
    told = DRAND["rounds"][0]
    return int(told["round"]), str(told["signature"])


def test_a_recorded_round_makes_the_beacon_and_a_forged_one_does_not() -> None:
    number, signature = recorded()
    assert reckoned(drand(number, signature)).findings == []
    assert "cannot be reckoned" in said(reckoned(drand(number + 1, signature)))
    assert "cannot be reckoned" in said(reckoned(drand(number, "00" * 48)))
    assert "not the one that its proof makes" in said(reckoned(drand(number, signature, bytes(32))))


@pytest.mark.parametrize("told", [{"round": "1"}, {"signature": "xx"}, {"chain": "casino"}, {"round": 0}])
def test_a_round_that_is_none_cannot_be_reckoned(told: dict[str, Any]) -> None:
    number, signature = recorded()
    proof = {"kind": "drand", "chain": "quicknet", "round": number, "signature": signature, **told}
    assert "cannot be reckoned" in said(reckoned(with_beacon(**proof)))


def test_the_round_is_the_first_one_hour_before_the_days_midnight() -> None:
    # 23 November 2026, 00:00 in Berlin is 22 November 23:00 UTC; an hour before, 22:00 UTC = 1795384800 s.
    expected = (1_795_384_800 - 1_692_803_367 + 2) // 3 + 1
    for number, findings in ((expected, 0), (expected + 1, 1), (expected - 1, 1)):
        report = Report()
        header = replace(drand(number, "00" * 48), day=date(2026, 11, 23))
        check_round(header, "Europe/Berlin", report, From.PUBLIC)
        assert len(report.findings) == findings
    other = Report()
    check_round(HEADER, "Europe/Berlin", other, From.PUBLIC)
    assert other.findings == []


def against(record: dict[str, Any]) -> Report:
    report = Report()
    check_day(HEADER, record, report)
    return report


def test_a_day_keeps_to_its_record() -> None:
    record = dict(read_day(day_record(WEEK[0])))
    assert against(record).findings == []
    assert against({**record, "policy_hash": "00"}).cheats() == {Cheat.POLICY}
    assert against({**record, "key_sha256": "00"}).cheats() == {Cheat.GROUND}
    assert against({**record, "beacon": {"kind": "drand"}}).cheats() == {Cheat.REDRAWN}
    assert against({**record, "commitments": {}}).cheats() == {Cheat.REDRAWN}


def test_commitments_count_also_where_they_stand_within_the_beacon() -> None:
    record = dict(read_day(day_record(WEEK[0])))
    committed = record.pop("commitments")
    assert against({**record, "beacon": {"kind": "commit", "commitments": committed}}).findings == []


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b'{"day":1,"key_sha256":""}', b'{"day": "2026-11-23"}'])
def test_what_is_no_day_record_is_said(text: bytes) -> None:
    with pytest.raises(MalformedPacket):
        read_day(text)
