"""What a recorder knows of the world around its calls: the newest view, its age, and whether the clock is steady."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from mitschnitt.core.gate import VIEW_TOO_OLD_FOR_GRANTS, VIEW_TOO_OLD_FOR_KEEPING, Surroundings
from mitschnitt.core.view import View, view_from_json
from mitschnitt.recorder.clock import SteadyClock

log = logging.getLogger("mitschnitt.recorder")
STORE_LOCKED = "store.locked"  # the keeper's database takes nothing: calls that run go on, nothing new begins


class Outlook:
    """Takes views, tells `Surroundings`; `monotonic` gives seconds that only run forward."""

    def __init__(
        self, clock: SteadyClock, monotonic: Callable[[], float], *, hindrance: Callable[[], str] = lambda: ""
    ) -> None:
        self._clock = clock
        self._monotonic = monotonic
        self._hindrance = hindrance  # the rule by which our own disks would keep nothing new, "" if they would
        self._keepers_rule = ""  # the same of the keeper's database and policy, as the newest view tells
        self._view: View | None = None
        self._view_at = 0.0
        self._told: tuple[bool, bool, bool, str] = (False, False, True, "")

    def take(self, data: Mapping[str, Any]) -> bool:
        """Believe a `view` frame once it has been read whole; whether it says anything new."""
        view, rule = view_from_json(data), STORE_LOCKED if data.get("store_locked") else str(data.get("closed") or "")
        is_new = (view, rule) != (self._view, self._keepers_rule)  # a new keeper counts its versions anew
        self._view, self._keepers_rule, self._view_at = view, rule, self._monotonic()
        return is_new

    def surroundings(self) -> Surroundings:
        """What holds for all calls at this moment."""
        age = timedelta(seconds=self._monotonic() - self._view_at)
        return Surroundings(self._view, age, self._clock.steady, self._hindrance() or self._keepers_rule)

    @property
    def view_age(self) -> float:
        """Seconds since the newest view came; since the machine's start when there was none."""
        return self._monotonic() - self._view_at

    @property
    def is_fresh(self) -> bool:
        """Whether there is a view that is new enough for somebody to be asked."""
        return self._view is not None and timedelta(seconds=self.view_age) <= VIEW_TOO_OLD_FOR_GRANTS

    def changed(self) -> bool:
        """Whether, since the last question, the view has become too old or fresh again, the clock has jumped, or
        a disk began or ceased to refuse.
        """
        self._check_clock()
        around = self.surroundings()
        now = (
            around.view_age > VIEW_TOO_OLD_FOR_GRANTS,
            around.view_age > VIEW_TOO_OLD_FOR_KEEPING,
            around.clock_steady,
            around.hindrance,
        )
        before, self._told = self._told, now
        return now != before

    def _check_clock(self) -> None:
        jumps, was_steady = self._clock.jumps, self._clock.steady
        self._clock.check()
        if self._clock.jumps > jumps:
            log.warning("the system clock jumped; calls go on, and nothing new begins until it was steady for a minute")
        elif self._clock.steady and not was_steady:
            log.warning("the system clock has been steady for a minute; its time counts from now on")
