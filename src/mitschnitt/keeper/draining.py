"""A site that drains: every recorder is told to take no new calls, and says how many still run.

Holds numbers only. A recorder that connects anew is told again; a keeper that was started anew learns it from the
recorders that still drain.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from mitschnitt.core.access import Action
from mitschnitt.errors import MalformedPacket
from mitschnitt.keeper.permission import require

LONGEST_SECONDS = 86_400.0  # no call runs longer than a day


class Drain:
    """`tell` reaches every connected recorder; `clock` gives seconds that only run forward."""

    def __init__(
        self, tell: Callable[[Mapping[str, Any]], None], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._tell = tell
        self._clock = clock
        self._until: float | None = None
        self._running: dict[int, int] = {}

    @property
    def is_on(self) -> bool:
        """Whether no new calls are taken."""
        return self._until is not None

    def begin(self, role: str, within_s: float) -> dict[str, Any]:
        """From now on; said again it can only become shorter. NotAllowed for a role that runs no machines."""
        require(role, Action.DRAIN)
        self._shorten(within_s)
        self._tell(self._message())
        return self.status()

    def greeting(self) -> list[Mapping[str, Any]]:
        """What a recorder is told that connects."""
        return [self._message()] if self.is_on else []

    def told(self, recorder: int, message: Mapping[str, Any]) -> None:
        """A recorder drains and says how far it is. MalformedPacket for what is no such frame."""
        running, left_s = message.get("running"), message.get("left_s")
        if type(running) is not int or running < 0 or not isinstance(left_s, int | float):
            raise MalformedPacket("`draining` has the count `running` and the seconds `left_s`")
        self._running[recorder] = running
        if not self.is_on:  # we were started anew while it drained
            self._shorten(float(left_s))
            self._tell(self._message())

    def look(self, role: str) -> dict[str, Any]:
        """The status, for whoever may drain. NotAllowed for others."""
        require(role, Action.DRAIN)
        return self.status()

    def status(self) -> dict[str, Any]:
        """For the command that waits: whether it is on, calls that run as far as recorders said, seconds left."""
        left_s = 0.0 if self._until is None else max(0.0, self._until - self._clock())
        return {"draining": self.is_on, "running": sum(self._running.values()), "left_s": round(left_s)}

    def _shorten(self, within_s: float) -> None:
        until = self._clock() + min(max(0.0, within_s), LONGEST_SECONDS)
        self._until = until if self._until is None else min(self._until, until)

    def _message(self) -> dict[str, Any]:
        left_s = LONGEST_SECONDS if self._until is None else max(0.0, self._until - self._clock())
        return {"type": "drain", "within_s": left_s}
