"""Whether the wall clock can be trusted with days: against the monotonic clock, and against what was seen before.

A day that is opened or begun by a wrong clock cannot be taken back. So a clock that jumps, or that after a start is
behind or far ahead of what was last noted, draws nobody and opens nothing until it is right or somebody says it is.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

MAX_JUMP = timedelta(minutes=5)  # against monotonic time; two machines' clocks differ by less, a time zone by more
MAX_ABSENCE = timedelta(days=7)  # a site that was off longer is asked whether the date is right
BACK, AHEAD = "clock.back", "clock.ahead"


class TimeWatch:
    """Looks at pairs of wall and monotonic time (s). `seen` is the newest wall time that an earlier process noted."""

    def __init__(self, seen: datetime | None, monotonic: Callable[[], float]) -> None:
        self._seen = seen
        self._monotonic = monotonic
        self._anchor: tuple[datetime, float] | None = None

    def look(self, now: datetime) -> str:
        """The rule by which the clock is not trusted, "" while it is."""
        monotonic = self._monotonic()
        if self._anchor is None:
            rule = _fault(now, self._seen, MAX_ABSENCE)
        else:
            wall, then = self._anchor
            rule = _fault(now, wall + timedelta(seconds=monotonic - then), MAX_JUMP)
        if not rule:
            # Slow drift moves the anchor along; a jump leaves it, so the clock is right again when it comes back.
            self._anchor = now, monotonic
        return rule

    def remember(self, seen: datetime) -> None:
        """An earlier process noted this time, too: the newest that was noted counts, also against what was trusted."""
        self._seen = seen if self._seen is None else max(seen, self._seen)
        if self._anchor is not None and _fault(self._anchor[0], self._seen, MAX_ABSENCE):
            self._anchor = None

    def confirm(self, now: datetime) -> None:
        """Somebody looked: this is the time."""
        self._anchor = now, self._monotonic()


def _fault(now: datetime, expected: datetime | None, leeway: timedelta) -> str:
    if expected is None:
        return ""
    if now < expected - MAX_JUMP:
        return BACK
    return AHEAD if now > expected + leeway else ""
