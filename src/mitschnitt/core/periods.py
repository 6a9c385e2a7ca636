"""Days, ISO weeks and months by name: the periods of the draw and of published figures. Local to the policy's zone.

Reads no clock and no zone table: whoever knows the zone hands over a local time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from mitschnitt.errors import ConfigError

NAME = re.compile(r"([0-9]{4})-(?:W([0-9]{2})|([0-9]{2})(?:-([0-9]{2}))?)")
YEARS = range(2000, 2200)  # beyond them nothing is recorded, and dates cannot be reckoned


@dataclass(frozen=True, slots=True)
class Period:
    """A day `2026-11-26`, an ISO week `2026-W48` or a month `2026-11`; `first` and `last` are days in it."""

    name: str
    first: date
    last: date

    @property
    def is_month(self) -> bool:
        """Whether it is a whole month: what a day or a week would tell of calls, not everybody is told."""
        return self.name == month_of(self.first)

    def days(self) -> Iterator[date]:
        """Its days, in order."""
        for number in range((self.last - self.first).days + 1):
            yield self.first + timedelta(days=number)

    def over(self, local: datetime) -> bool:
        """Whether its last day has ended at this local time."""
        return local.date() > self.last


def parse_period(name: str) -> Period:
    """The period of this name; ConfigError says what was found and expected."""
    match = NAME.fullmatch(name)
    try:
        if match is None or int(match[1]) not in YEARS:
            raise ValueError("no period")
        year = int(match[1])
        if match[2]:
            first = date.fromisocalendar(year, int(match[2]), 1)
            return Period(name, first, first + timedelta(days=6))
        if match[4]:
            day = date(year, int(match[3]), int(match[4]))
            return Period(name, day, day)
        first = date(year, int(match[3]), 1)
    except ValueError as error:
        raise ConfigError(
            f"period: expected a day 2026-11-26, week 2026-W48 or month 2026-11; found {name!r}"
        ) from error
    following = date(year + 1, 1, 1) if first.month == 12 else date(year, first.month + 1, 1)
    return Period(name, first, following - timedelta(days=1))


def week_of(day: date) -> str:
    """The ISO week of a day, `2026-W48` (ISO 8601); its year may be another than the day's."""
    year, week, _ = day.isocalendar()
    return f"{year}-W{week:02d}"


def month_of(day: date) -> str:
    """The month of a day, `2026-11`."""
    return f"{day.year}-{day.month:02d}"
