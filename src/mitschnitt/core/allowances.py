"""Units of the caps: one pot per (week, agent), one per day for all calls; sources take from what they were lent.

Reckons only. A unit is one draw. Who holds the pot lends whole units, and never gets one back: what a source was
lent it can take at any moment, without asking, so the sum of all that was lent is what a cap bounds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from fractions import Fraction
from math import floor

from mitschnitt.core.draw import KEEPER, Cap
from mitschnitt.core.policy import Caps


def units(share: Fraction, seen: int) -> int:
    """Units that a share allows after so many calls. The first one is always there: without it the first 19 calls
    of a share of 5 % could never be drawn, and who takes few calls never would be.
    """
    return max(1, floor(share * seen))


def agent_cap(caps: Caps, *, given: int, seen: int) -> Cap | None:
    """The cap that allows no further unit for an agent who has `seen` calls this week; None: one is free."""
    if caps.agent_week is not None and given >= caps.agent_week:
        return Cap.AGENT_WEEK
    if caps.agent_share is not None and given >= units(caps.agent_share, seen):
        return Cap.AGENT_SHARE
    return None


def agent_free(caps: Caps, *, given: int, seen: int) -> int | None:
    """Units of an agent's week that nobody was given yet; None: there is no cap per agent."""
    limits = [] if caps.agent_week is None else [caps.agent_week]
    limits += [] if caps.agent_share is None else [units(caps.agent_share, seen)]
    return max(0, min(limits) - given) if limits else None


def whole_cap(caps: Caps, *, given: int, seen: int) -> Cap | None:
    """The cap that allows no further unit of a day with `seen` calls so far; None: one is free."""
    return Cap.SHARE if whole_free(caps, given=given, seen=seen) == 0 else None


def whole_free(caps: Caps, *, given: int, seen: int) -> int | None:
    """Units of a day that nobody was given yet; None: there is no cap on the whole."""
    return None if caps.share is None else max(0, units(caps.share, seen) - given)


def lend(pot: str, free: int, untaken: Mapping[str, int]) -> dict[str, int]:
    """What each recorder is lent now of `free` units; `untaken` is what each of them still holds.

    All that is left belongs in equal parts to the keeper, whose part stays in the pot, and to the recorders. Where
    it does not divide, the pot's name says whose turn is first, so that no source has every agent's only unit.
    """
    each, over = divmod(free + sum(untaken.values()), len(untaken) + 1)
    if all(held >= each + bool(over) for held in untaken.values()):
        return {}  # as nearly always
    turns = in_turn(pot, [KEEPER, *untaken])
    lent: dict[str, int] = {}
    for place, source in enumerate(turns):
        wanted = each + (place < over) - untaken.get(source, 0)
        if source != KEEPER and wanted > 0 and free > 0:
            lent[source] = min(wanted, free)
            free -= lent[source]
    return lent


def in_turn(pot: str, sources: Iterable[str]) -> list[str]:
    """The sources in the order of this pot: another pot has another, and everybody reckons the same."""
    return sorted(sources, key=lambda source: hashlib.sha256(f"{pot}|{source}".encode()).digest())


class Purse:
    """What one source was lent and has taken, by pot. Totals only grow, so to be told twice changes nothing."""

    def __init__(self) -> None:
        self._lent: dict[str, int] = {}
        self._taken: dict[str, int] = {}

    def lent(self, totals: Mapping[str, int]) -> None:
        """All that this source was lent since each pot began."""
        _raise(self._lent, totals)

    def spent(self, totals: Mapping[str, int]) -> None:
        """What a former life of this source had taken."""
        _raise(self._taken, totals)

    def holds(self, pot: str) -> bool:
        """Whether a unit of this pot is here."""
        return self._taken.get(pot, 0) < self._lent.get(pot, 0)

    def take(self, pot: str) -> bool:
        """Take a unit, once and for all; False, and nothing happened, when there is none."""
        if not self.holds(pot):
            return False
        self._taken[pot] = self._taken.get(pot, 0) + 1
        return True

    def keep(self, periods: Collection[str]) -> None:
        """Forget all pots but those of these days and weeks (`period_of`): the others are over.

        The pot of an agent who is not there any more stays: who comes back has taken what was taken.
        """
        for totals in (self._lent, self._taken):
            for pot in [pot for pot in totals if period_of(pot) not in periods]:
                del totals[pot]


def agent_pot(week: str, agent: str) -> str:
    """The pot of an agent's week; that of a day has the day's own name."""
    return f"{week}|{agent}"


def period_of(pot: str) -> str:
    """The day or the week whose pot it is."""
    return pot.partition("|")[0]


def _raise(known: dict[str, int], totals: Mapping[str, int]) -> None:
    for pot, total in totals.items():
        known[pot] = max(known.get(pot, 0), total)
