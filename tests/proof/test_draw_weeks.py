"""Caps on agents over the days of a week: bounds, units, and what can be said with some days only."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from fractions import Fraction

import pytest

from mitschnitt.proof.draw_council import Agent, CouncilTally
from mitschnitt.proof.draw_format import Allowance, Caps, Header
from mitschnitt.proof.draw_report import Report
from mitschnitt.proof.draw_share import GRACE_NUMBERS
from mitschnitt.proof.draw_weeks import Week, week_of
from proof.drawn_lists import COUNCIL, opened, said

HEADER = opened(COUNCIL).header
MONDAY, TUESDAY = date(2026, 11, 23), date(2026, 11, 24)
TAG = 7
CAPS = Caps(3, Fraction(1, 10), None)


def header(day: date, lots: list[tuple[date, str, int, int, int]], caps: Caps = CAPS) -> Header:
    """A day whose bundle names these units of the agent: (day, source, from_n, units, taken)."""
    assert HEADER.bundle is not None
    allowances = tuple(
        Allowance(on, "agent_week", source, TAG, from_n, units, taken) for on, source, from_n, units, taken in lots
    )
    return replace(HEADER, day=day, bundle=replace(HEADER.bundle, allowances=allowances, caps=caps))


def tally(calls: int, drawn: int, capped: tuple[str, int] | None = None) -> CouncilTally:
    last = {} if capped is None else {(capped[0], TAG): capped[1]}
    return CouncilTally(agents={TAG: Agent(calls, drawn, 0)}, last_capped=last)


def checked(*days: tuple[Header, CouncilTally]) -> Report:
    report = Report()
    week = Week("2026-W48", report)
    for day, counted in days:
        week.add(day, counted)
    return report


def test_weeks_are_named_as_iso_8601_does() -> None:
    assert (week_of(MONDAY), week_of(date(2027, 1, 1))) == ("2026-W48", "2026-W53")


def test_an_agent_within_the_caps_is_no_finding() -> None:
    report = checked((header(MONDAY, [(MONDAY, "keeper", 1, 2, 2)]), tally(20, 2)))
    assert report.findings == []
    assert report.unproved == []


def test_the_week_is_bounded_over_its_days() -> None:
    first = header(MONDAY, [(MONDAY, "keeper", 1, 2, 2)])
    second = header(TUESDAY, [(MONDAY, "keeper", 1, 2, 2), (TUESDAY, "keeper", 1, 2, 2)])
    report = checked((first, tally(50, 2)), (second, tally(50, 2)))
    assert "1 agents have more draws in 2026-W48 than their cap: tag 0000000000000007 4 of 3" in said(report)
    assert "1 agents have more units" in said(report)


def test_the_share_of_an_agents_calls_is_bounded_when_all_days_since_monday_are_there() -> None:
    day = header(MONDAY, [(MONDAY, "keeper", 1, 2, 2)])
    assert "2 of 1" in said(checked((day, tally(19, 2))))
    report = checked((header(TUESDAY, [(TUESDAY, "keeper", 1, 2, 2)]), tally(19, 2)))
    assert report.findings == []
    assert any("since Monday" in sentence for sentence in report.unproved)


def test_each_draw_of_an_agent_takes_a_unit_wherever_it_was_lent() -> None:
    lots = [(MONDAY, "recorder-0", 1, 1, 1), (MONDAY, "recorder-1", 1, 1, 1)]
    assert checked((header(MONDAY, lots), tally(20, 2))).findings == []
    assert "more draws in 2026-W48 than units were taken" in said(checked((header(MONDAY, lots[:1]), tally(20, 2))))


def test_no_unit_is_taken_that_nobody_gave() -> None:
    report = checked((header(MONDAY, [(MONDAY, "keeper", 1, 1, 2)]), tally(20, 1)))
    assert "more units were taken than a source was given" in said(report)


def test_units_that_were_taken_without_a_draw_are_a_question() -> None:
    report = checked((header(MONDAY, [(MONDAY, "keeper", 1, 2, 2)]), tally(20, 1)))
    assert report.findings == []
    assert report.unproved == ["2026-W48: what took the units of 1 agents beyond their draws"]


@pytest.mark.parametrize(
    "lot, needless",
    [
        ((MONDAY, "recorder-0", 1, 1, 0), True),  # lent yesterday, still there
        ((TUESDAY, "recorder-0", 1, 1, 0), True),  # lent long before the call
        ((TUESDAY, "recorder-0", 300, 1, 0), False),  # on its way
        ((MONDAY, "recorder-0", 1, 1, 1), False),  # taken
        ((MONDAY, "recorder-1", 1, 1, 0), False),  # another source's
    ],
)
def test_a_recorder_that_caps_a_call_has_no_unit_that_it_knew_of(
    lot: tuple[date, str, int, int, int], needless: bool
) -> None:
    monday = header(MONDAY, [])
    capped = tally(20, 0, ("recorder-0", GRACE_NUMBERS + 10))
    taken = tally(20, lot[4])
    report = checked((monday, tally(20, 0)), (header(TUESDAY, [lot]), replace_agents(capped, taken)))
    assert ("a unit of theirs was free" in said(report)) is needless


def replace_agents(one: CouncilTally, other: CouncilTally) -> CouncilTally:
    return CouncilTally(agents=other.agents, last_capped=one.last_capped)


def test_of_calls_that_the_keeper_numbered_it_is_asked_where_they_ran() -> None:
    report = checked((header(MONDAY, []), tally(40, 0, ("keeper", 5))))
    assert report.findings == []
    assert any("had a unit where they ran" in sentence for sentence in report.unproved)


def test_who_is_capped_by_a_cap_that_the_policy_does_not_have_is_found() -> None:
    report = checked((header(MONDAY, [], Caps(None, None, None)), tally(20, 0, ("keeper", 5))))
    assert "the policy has none" in said(report)


def test_a_cap_that_became_tighter_in_the_week_makes_no_cheat_of_what_was_given_before() -> None:
    wide, tight = Caps(5, None, None), Caps(3, None, None)
    lots = [(MONDAY, "recorder-0", 1, 5, 2)]
    first, second = header(MONDAY, lots, wide), header(TUESDAY, [(MONDAY, "recorder-0", 1, 5, 4)], tight)
    assert checked((first, tally(50, 2)), (second, tally(50, 2))).findings == []
    more = header(TUESDAY, [(MONDAY, "recorder-0", 1, 5, 5), (TUESDAY, "keeper", 1, 1, 1)], tight)
    assert "1 agents have more units in 2026-W48 than their cap" in said(
        checked((first, tally(50, 2)), (more, tally(50, 4)))
    )


def test_draws_before_the_first_cap_of_a_week_need_no_unit() -> None:
    free, capped = header(MONDAY, [], Caps(None, None, None)), header(TUESDAY, [(TUESDAY, "keeper", 1, 1, 1)])
    assert checked((free, tally(50, 9)), (capped, tally(50, 1))).findings == []
    assert "than units were taken" in said(checked((free, tally(50, 9)), (capped, tally(50, 2))))


def test_with_some_days_only_no_cap_on_an_agent_is_said_to_be_checked_in_full() -> None:
    report = checked((header(TUESDAY, [], Caps(3, None, None)), tally(20, 0)))
    assert any("since Monday" in sentence for sentence in report.unproved)
