"""The wall clock of a recorder, carried on by monotonic time: a clock that is set anew cannot tear a call.

Only tells time; who must act on a jump asks `jump_ns`.
"""

from __future__ import annotations

import time


class SteadyClock:
    """Nanoseconds since 1970 as they were at the start, plus the monotonic time since then."""

    def __init__(self) -> None:
        self._offset = time.time_ns() - time.monotonic_ns()

    def __call__(self) -> int:
        """Now, in ns since 1970; never goes back."""
        return time.monotonic_ns() + self._offset

    def jump_ns(self) -> int:
        """By how much the wall clock has been set ahead (or back, negative) since the start, in ns."""
        return time.time_ns() - self()
