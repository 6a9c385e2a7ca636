"""Wall time that does not jump: anchored to the system clock, carried on by monotonic time.

A jump of the system clock by more than two seconds opens no new gate until the clock was steady for a minute;
running calls go on by monotonic time (design section 4). Who keeps something asks afterwards what happened meanwhile.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime

from mitschnitt.recorder.leaps import Leap

MAX_JUMP_NS = 2_000_000_000  # more than any step of a well-kept NTP client
STEADY_NS = 60_000_000_000  # how long the clock must run evenly before grants count again
MAX_TOLD = 64  # newest jumps and leaps that are remembered; a clock that jumps more often helps nobody


class SteadyClock:
    """`now()` never runs backwards; `check()` once a second notices jumps and follows slow corrections."""

    def __init__(
        self, wall_ns: Callable[[], int] = time.time_ns, monotonic_ns: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._wall_ns = wall_ns
        self._monotonic_ns = monotonic_ns
        self._last_ns, self._last_mono = wall_ns(), monotonic_ns()
        self._offset_ns = self._last_ns - self._last_mono
        self._unsteady_since: int | None = None
        self._strange_offset_ns = 0
        self.jumps = 0
        self._jumped: deque[Leap] = deque(maxlen=MAX_TOLD)  # what was noticed
        self._leaps: deque[Leap] = deque(maxlen=MAX_TOLD)  # what `now` did about it, a minute later

    def now_ns(self) -> int:
        """Nanoseconds since 1970, never less than the call before.

        Where the clock was set back it runs at half speed until the time is the same again: it must not stand
        still, for media is drained by it.
        """
        mono = self._monotonic_ns()
        slowly = self._last_ns + (mono - self._last_mono) // 2
        self._last_ns, self._last_mono = max(slowly, mono + self._offset_ns), mono
        return self._last_ns

    def now(self) -> datetime:
        """The same as an aware datetime in UTC."""
        return datetime.fromtimestamp(self.now_ns() / 1e9, UTC)

    @property
    def steady(self) -> bool:
        """Whether grants may count."""
        return self._unsteady_since is None

    def check(self) -> None:
        """Compare the two clocks; to be called about once a second."""
        mono = self._monotonic_ns()
        offset = self._wall_ns() - mono
        if self._unsteady_since is None:
            if abs(offset - self._offset_ns) <= MAX_JUMP_NS:
                self._offset_ns = offset
            else:
                self._jump(mono, offset, offset - self._offset_ns)
        elif abs(offset - self._strange_offset_ns) > MAX_JUMP_NS:
            self._jump(mono, offset, offset - self._strange_offset_ns)
        elif mono - self._unsteady_since >= STEADY_NS:
            at_ns, by_ns = self.now_ns(), offset - self._offset_ns
            self._unsteady_since, self._offset_ns = None, offset
            if by_ns:
                self._leaps.append(Leap(at_ns, by_ns))

    def jumped_since(self, at_ns: int) -> list[Leap]:
        """The jumps that were noticed from that stamp on, each with how far the system clock went."""
        return [jump for jump in self._jumped if jump.at_ns >= at_ns]

    def leaps_since(self, at_ns: int) -> list[Leap]:
        """Where `now` itself has leapt from that stamp on; `run_on` undoes it."""
        return [leap for leap in self._leaps if leap.at_ns >= at_ns]

    def _jump(self, mono: int, offset: int, by_ns: int) -> None:
        self.jumps += 1
        self._unsteady_since, self._strange_offset_ns = mono, offset
        self._jumped.append(Leap(self.now_ns(), by_ns))


def moment(nanoseconds: int) -> datetime:
    """Nanoseconds since 1970 as an aware datetime in UTC."""
    return datetime.fromtimestamp(nanoseconds / 1e9, UTC)


def nanoseconds(at: datetime) -> int:
    """The inverse of `moment`, to the microsecond."""
    return int(at.timestamp() * 1e6) * 1_000


def rfc3339(at: datetime) -> str:
    """UTC with microseconds and Z, as journals carry it."""
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
