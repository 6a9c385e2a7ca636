"""Which timer falls due next, for any number of owners; time is what the caller says it is.

A heap with lazy removal: a recorder holds tens of thousands of transactions and asks after every message.
"""

from __future__ import annotations

import heapq
from itertools import count

TimerKey = tuple[str, str]  # (owner id, timer name)

MIN_SWEEP = 1024  # stale heap entries tolerated before a sweep; below that a sweep costs more than it frees


class Timers:
    """At most one deadline per key; setting a key again moves it."""

    def __init__(self) -> None:
        self._deadlines: dict[TimerKey, tuple[float, int]] = {}
        self._heap: list[tuple[float, int, TimerKey]] = []
        self._order = count()

    def __len__(self) -> int:
        return len(self._deadlines)

    def set(self, key: TimerKey, at: float) -> None:
        """Due at `at`, in seconds of the caller's clock."""
        order = next(self._order)
        self._deadlines[key] = (at, order)
        heapq.heappush(self._heap, (at, order, key))
        if len(self._heap) > 2 * len(self._deadlines) + MIN_SWEEP:
            self._heap = [(at, order, key) for key, (at, order) in self._deadlines.items()]
            heapq.heapify(self._heap)

    def stop(self, key: TimerKey) -> None:
        """Not due any more; unknown keys are fine."""
        self._deadlines.pop(key, None)

    def next(self) -> float | None:
        """When the earliest falls due, None when there is none."""
        self._drop_stale()
        return self._heap[0][0] if self._heap else None

    def pop_due(self, now: float) -> TimerKey | None:
        """The earliest key due at `now`, removed; None when nothing is due."""
        self._drop_stale()
        if not self._heap or self._heap[0][0] > now:
            return None
        key = heapq.heappop(self._heap)[2]
        del self._deadlines[key]
        return key

    def _drop_stale(self) -> None:
        while self._heap and self._deadlines.get(self._heap[0][2]) != self._heap[0][:2]:
            heapq.heappop(self._heap)
