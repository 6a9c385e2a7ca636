"""How long something is kept: a span of the calendar as ISO 8601 writes it, `P30D`, `P6M`, `P1Y`. No clock times.

Reckons with dates that it is given; reads no clock.
"""

from __future__ import annotations

import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from mitschnitt.errors import ConfigError

FORM = re.compile(r"P(?:([0-9]{1,3})Y)?(?:([0-9]{1,4})M)?(?:([0-9]{1,4})W)?(?:([0-9]{1,5})D)?")
MAX_DAYS = 30 * 366  # 30 years: the longest period that any law names for recordings is 10, from the year's end
DAYS_A_MONTH, DAYS_A_YEAR = 31, 366  # the most that a span can be: by it two spans are compared


@dataclass(frozen=True, slots=True)
class Duration:
    """A span of the calendar: years, then months, then days."""

    years: int = 0
    months: int = 0
    days: int = 0

    def after(self, begin: datetime) -> datetime:
        """The time this long after `begin`, in UTC: the same day of a later month, or its last where it has fewer."""
        begin = begin.astimezone(UTC)  # on local clocks a day may have 23 hours, or 25
        count = begin.year * 12 + begin.month - 1 + self.years * 12 + self.months
        year, month = divmod(count, 12)
        day = min(begin.day, monthrange(year, month + 1)[1])
        return begin.replace(year=year, month=month + 1, day=day) + timedelta(days=self.days)

    @property
    def most_days(self) -> int:
        """The most days that it can last, whenever it begins."""
        months = self.years * 12 + self.months
        whole_years, rest = divmod(months, 12)
        return min(whole_years * DAYS_A_YEAR + rest * DAYS_A_MONTH, months * DAYS_A_MONTH) + self.days

    def __str__(self) -> str:
        """The shortest text that reads as this span."""
        parts = ((self.years, "Y"), (self.months, "M"), (self.days, "D"))
        return "P" + "".join(f"{number}{unit}" for number, unit in parts if number)


def parse_duration(text: str) -> Duration:
    """The span of this text (ISO 8601-1, 5.5.2.2: whole years, months, weeks, days); ConfigError says what is wrong."""
    match = FORM.fullmatch(text)
    if match is None or text == "P":
        raise ConfigError(f"a duration must be whole days, weeks, months or years such as P30D or P6M, found {text!r}")
    years, months, weeks, days = (int(number or 0) for number in match.groups())
    found = Duration(years, months, 7 * weeks + days)
    if found == Duration():
        raise ConfigError(f"a duration must be longer than nothing: whole days such as P30D, found {text!r}")
    if found.most_days > MAX_DAYS:
        raise ConfigError(f"a duration must be at most 30 years, found {text!r}")
    return found
