"""The site of the scene `week`: signed by those whom its policy names, and a clock that never goes back."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from commands.week_stage import short_week
from mitschnitt.commands.week_site import (
    NEWCOMERS,
    TEAMS,
    WITHDRAWS,
    WITHOUT_CONSENT,
    WeekClock,
    agent_names,
    last_week,
)


def test_there_are_teams_of_nine_seven_and_four() -> None:
    assert sorted(TEAMS.values(), reverse=True) == [9, 7, 4]
    names = agent_names()
    assert len(set(names)) == 20
    assert {*WITHOUT_CONSENT, *NEWCOMERS, WITHDRAWS} <= set(names)


@pytest.mark.parametrize("today", [date(2026, 11, 23), date(2026, 11, 26), date(2026, 11, 29)])
def test_the_week_is_the_last_one_that_is_over(today: date) -> None:
    assert last_week(today) == date(2026, 11, 16)


def test_the_clock_runs_forward_only_and_both_clocks_go_together() -> None:
    began = datetime(2026, 11, 16, 8, tzinfo=UTC)
    clock = WeekClock(began)
    seconds = clock.monotonic()
    clock.until(began + timedelta(hours=1))
    clock.until(began)
    assert (clock.now() - began, clock.monotonic() - seconds) == (timedelta(hours=1), 3_600.0)


def test_officer_and_council_signed_and_the_policy_began_on_monday() -> None:
    site = short_week().week.site
    policy = site.policies.on(site.monday)
    assert policy is not None
    assert policy.signed_by == ("officer", "council")
    assert {signature.role for signature in site.policies.signatures.all_of(policy)} == {"officer", "council"}
    assert policy != site.policies.on(site.monday - timedelta(days=1))


def test_the_records_of_all_days_were_published_before_them() -> None:
    site = short_week().week.site
    for day in site.days():
        record = (site.directory / "draw" / day.isoformat() / "day.json").read_text()
        assert f'"opened_at":"{site.monday - timedelta(days=3)}' in record
