"""The end of a recorder that is wanted but not at once: no new calls, and those that run go on to their ends.

Decides only when it is over; who ends calls, seals and leaves is the process, as on SIGTERM.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

from mitschnitt.recorder.calls import Calls


class Drain:
    """`over` is set when no call is left, or the time is up; `clock` gives seconds that only run forward."""

    def __init__(self, calls: Calls, clock: Callable[[], float]) -> None:
        self._calls = calls
        self._clock = clock
        self._until = math.inf
        self.over = asyncio.Event()

    def begin(self, within_s: float) -> None:
        """From now on; said again it can only become shorter."""
        self._until = min(self._until, self._clock() + within_s)
        self._calls.drain()

    @property
    def left_s(self) -> float:
        """Seconds until calls are ended that still run."""
        return max(0.0, self._until - self._clock())

    def look(self) -> bool:
        """About once a second: whether it has begun; `over` is set when there is nothing more to wait for."""
        if self._calls.is_draining and (self._calls.is_idle or self._clock() >= self._until):
            self.over.set()
        return self._calls.is_draining
