"""Days, weeks and months by name."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitschnitt.core.periods import YEARS, month_of, parse_period, week_of
from mitschnitt.errors import ConfigError


@pytest.mark.parametrize(
    "name, first, last",
    [
        ("2026-11-26", date(2026, 11, 26), date(2026, 11, 26)),
        ("2026-W48", date(2026, 11, 23), date(2026, 11, 29)),
        ("2026-W53", date(2026, 12, 28), date(2027, 1, 3)),
        ("2026-12", date(2026, 12, 1), date(2026, 12, 31)),
        ("2028-02", date(2028, 2, 1), date(2028, 2, 29)),
    ],
)
def test_a_period_has_its_first_and_last_day(name: str, first: date, last: date) -> None:
    period = parse_period(name)
    assert (period.first, period.last) == (first, last)
    assert len(list(period.days())) == (last - first).days + 1


@pytest.mark.parametrize(
    "name",
    ["", "2026", "2026-13", "2026-W54", "2025-W53", "2026-02-30", "0026-01-01", "2026-1-1", "٢026-01", "2026-01\n"],
)
def test_what_names_no_period_is_refused_with_what_was_found(name: str) -> None:
    with pytest.raises(ConfigError, match="expected a day 2026-11-26"):
        parse_period(name)


@given(st.dates(date(YEARS.start + 1, 1, 1), date(YEARS.stop - 2, 12, 31)))
def test_every_day_lies_in_its_week_and_month(day: date) -> None:
    assert day in set(parse_period(week_of(day)).days())
    assert day in set(parse_period(month_of(day)).days())


@pytest.mark.parametrize(
    "name, is_month",
    [("2026-11", True), ("2026-02", True), ("2026-W48", False), ("2026-11-01", False), ("2021-W05", False)],
)
def test_only_a_whole_month_is_one(name: str, is_month: bool) -> None:
    assert parse_period(name).is_month is is_month


def test_a_period_is_over_when_its_last_day_has_ended() -> None:
    week = parse_period("2026-W48")
    assert not week.over(datetime(2026, 11, 29, 23, 59, 59, tzinfo=UTC))
    assert week.over(datetime(2026, 11, 30, tzinfo=UTC))
