"""What is told of when a call was: a month, and nothing that splits it."""

from __future__ import annotations

import pytest

from mitschnitt.keeper.told_times import facts_by_month, listed_by_month, month_told

PARTY = {
    "party": 1,
    "role": "agent",
    "started_at": "2026-11-23T09:00:00.000000Z",
    "ended_at": "2026-11-23T09:03:12.250000Z",
    "reason": "ended",
    "pseudonym": "agent-1",
    "media_size": 480_000,
    "timeline_size": 300,
    "binding": [],
}
FACTS = {
    "call": "C",
    "state": "kept",
    "day": "2026-11-23",
    "purpose": "training",
    "policy": "ab",
    "due_at": "2026-12-23T09:03:12.250000Z",
    "parties": [PARTY],
}
LADDER = {"began_at": "2026-11-23T09:00:00.000000Z", "left_out": 0, "gap": 1, "rungs": [{"after_ms": 3}]}


def test_a_list_goes_by_month_and_id_so_that_its_order_follows_no_day() -> None:
    calls = [("B", "2026-11-02", "kept"), ("A", "2026-11-30", "not_kept"), ("C", "2026-10-31", "live")]
    assert listed_by_month(calls) == [
        {"call": "C", "month": "2026-10", "state": "live"},
        {"call": "A", "month": "2026-11", "state": "not_kept"},
        {"call": "B", "month": "2026-11", "state": "kept"},
    ]
    assert listed_by_month([]) == []


def test_facts_lose_whatever_says_when_in_its_month_the_call_was() -> None:
    assert facts_by_month(FACTS) == {
        "call": "C",
        "state": "kept",
        "month": "2026-11",
        "purpose": "training",
        "policy": "ab",
        "parties": [
            {"party": 1, "role": "agent", "reason": "ended", "pseudonym": "agent-1", "binding": [], "minutes": 4}
        ],
    }


def test_a_ladder_keeps_its_milliseconds_and_of_its_beginning_the_month() -> None:
    shown = facts_by_month({**FACTS, "ladders": [LADDER, {**LADDER, "began_at": ""}]})
    assert [ladder["began_at"] for ladder in shown["ladders"]] == ["2026-11", ""]
    assert shown["ladders"][0]["rungs"] == LADDER["rungs"]


@pytest.mark.parametrize(
    "ended_at, minutes",
    [
        ("2026-11-23T09:00:00.000001Z", 1),
        ("2026-11-23T09:01:00.000000Z", 1),
        ("2026-11-23T09:01:00.000001Z", 2),
        ("2026-11-23T09:00:00.000000Z", 0),
        ("2026-11-23T08:59:00.000000Z", 0),
        (None, None),
    ],
)
def test_a_length_is_told_in_minutes_begun(ended_at: str | None, minutes: int | None) -> None:
    (party,) = facts_by_month({**FACTS, "parties": [{**PARTY, "ended_at": ended_at}]})["parties"]
    assert party["minutes"] == minutes


def test_months_are_named_as_periods_are() -> None:
    assert [month_told("2026-01-31"), month_told("2026-12-01")] == ["2026-01", "2026-12"]
