"""Caps by lent units: whatever sources do in whatever order, no cap is exceeded and no unit is given twice."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mitschnitt.core.allowances import (
    Purse,
    agent_cap,
    agent_free,
    agent_pot,
    in_turn,
    lend,
    units,
    whole_cap,
    whole_free,
)
from mitschnitt.core.draw import KEEPER, Cap
from mitschnitt.core.policy import Caps

FIVE_PERCENT = Fraction(1, 20)
AGENTS = ("a", "b", "c")
RECORDERS = ("recorder-1", "recorder-2")
WHOLE = "2026-11-26"


@pytest.mark.parametrize("seen, expected", [(0, 1), (1, 1), (39, 1), (40, 2), (59, 2), (60, 3), (2000, 100)])
def test_a_share_allows_its_part_of_what_was_seen_and_one_from_the_beginning(seen: int, expected: int) -> None:
    assert units(FIVE_PERCENT, seen) == expected


def test_of_two_caps_per_agent_the_tighter_one_counts() -> None:
    caps = Caps(agent_week=3, agent_share=FIVE_PERCENT)
    assert [agent_free(caps, given=0, seen=seen) for seen in (0, 40, 80, 1000)] == [1, 2, 3, 3]
    assert agent_cap(caps, given=1, seen=10) is Cap.AGENT_SHARE
    assert agent_cap(caps, given=3, seen=1000) is Cap.AGENT_WEEK
    assert agent_cap(caps, given=2, seen=1000) is None


def test_without_caps_nothing_is_spent() -> None:
    assert (agent_cap(Caps(), given=10**6, seen=0), whole_cap(Caps(), given=10**6, seen=0)) == (None, None)
    assert (agent_free(Caps(), given=0, seen=0), whole_free(Caps(), given=0, seen=0)) == (None, None)


def test_a_cap_of_no_draws_allows_none() -> None:
    assert agent_cap(Caps(agent_week=0), given=0, seen=100) is Cap.AGENT_WEEK
    assert agent_free(Caps(agent_week=0), given=0, seen=100) == 0


def test_the_share_of_a_day_is_spent_when_its_units_are_given() -> None:
    caps = Caps(share=FIVE_PERCENT)
    assert [whole_cap(caps, given=given, seen=60) for given in (0, 2, 3, 4)] == [None, None, Cap.SHARE, Cap.SHARE]


@given(
    st.text("0123456789abcdef", min_size=16, max_size=16), st.integers(0, 50), st.lists(st.integers(0, 9), max_size=5)
)
def test_never_more_is_lent_than_is_free_and_never_to_the_keeper(pot: str, free: int, held: list[int]) -> None:
    untaken = {f"recorder-{number}": count for number, count in enumerate(held, 1)}
    lent = lend(pot, free, untaken)
    assert sum(lent.values()) <= free
    assert set(lent) <= set(untaken)
    assert all(count > 0 for count in lent.values())


def test_what_is_left_belongs_in_equal_parts_to_keeper_and_recorders() -> None:
    assert lend("00", 9, {"recorder-1": 0, "recorder-2": 0}) == {"recorder-1": 3, "recorder-2": 3}
    assert lend("00", 4, {"recorder-1": 0, "recorder-2": 2}) == {"recorder-1": 2}


def test_who_has_the_only_unit_changes_with_the_pot() -> None:
    first = Counter(in_turn(f"{number:016x}", [KEEPER, *RECORDERS])[0] for number in range(300))
    assert set(first) == {KEEPER, *RECORDERS}
    assert min(first.values()) > 60
    alone = [lend(f"{number:016x}", 1, dict.fromkeys(RECORDERS, 0)) for number in range(300)]
    assert sum(not lent for lent in alone) == first[KEEPER]


def test_a_purse_gives_each_unit_once() -> None:
    purse = Purse()
    assert not purse.take("a")
    purse.lent({"a": 2})
    purse.lent({"a": 2})
    assert [purse.take("a") for _ in range(3)] == [True, True, False]
    purse.lent({"a": 1})  # an older view
    assert not purse.holds("a")


def test_what_a_former_life_took_is_not_there_any_more() -> None:
    purse = Purse()
    purse.spent({"a": 2})
    purse.lent({"a": 3})
    assert [purse.take("a"), purse.take("a")] == [True, False]


def test_pots_that_are_over_are_forgotten() -> None:
    purse = Purse()
    purse.lent({"a": 1, "b": 1})
    purse.keep(["b"])
    assert (purse.holds("a"), purse.holds("b")) == (False, True)


def test_an_agents_pot_is_there_as_long_as_its_week() -> None:
    purse = Purse()
    purse.lent({agent_pot("2026-W48", "a|b"): 1, agent_pot("2026-W47", "a|b"): 1})
    purse.keep(["2026-W48"])
    held = [purse.holds(agent_pot(week, "a|b")) for week in ("2026-W48", "2026-W47")]
    assert held == [True, False]


@dataclass
class Site:
    """A keeper that knows of its recorders' draws only what was applied, and recorders with older or newer views."""

    caps: Caps
    seen: Counter[str] = field(default_factory=Counter)  # by pot, as it is
    drawn: Counter[str] = field(default_factory=Counter)
    known_seen: Counter[str] = field(default_factory=Counter)  # by pot, as the keeper knows it
    given: Counter[str] = field(default_factory=Counter)
    totals: dict[str, Counter[str]] = field(default_factory=lambda: {name: Counter() for name in RECORDERS})
    applied: dict[str, Counter[str]] = field(default_factory=lambda: {name: Counter() for name in RECORDERS})
    journal: dict[str, list[tuple[str, bool]]] = field(default_factory=lambda: {name: [] for name in RECORDERS})
    purses: dict[str, Purse] = field(default_factory=lambda: {name: Purse() for name in RECORDERS})

    def _pots(self, agent: str) -> dict[str, bool]:
        """The pots of a call and whether they are limited at all."""
        by_agent = self.caps.agent_week is not None or self.caps.agent_share is not None
        return {agent: by_agent, WHOLE: self.caps.share is not None}

    def _free(self, pot: str) -> int | None:
        reckon = whole_free if pot == WHOLE else agent_free
        return reckon(self.caps, given=self.given[pot], seen=self.known_seen[pot])

    def at_keeper(self, agent: str) -> None:
        for pot in (agent, WHOLE):
            self.seen[pot] += 1
            self.known_seen[pot] += 1
        if all(self._free(pot) != 0 for pot in (agent, WHOLE)):
            for pot in (agent, WHOLE):
                self.given[pot] += 1
                self.drawn[pot] += 1

    def at_recorder(self, name: str, agent: str) -> None:
        limited = [pot for pot, is_limited in self._pots(agent).items() if is_limited]
        is_drawn = all(self.purses[name].holds(pot) for pot in limited)
        for pot in (agent, WHOLE):
            self.seen[pot] += 1
            self.journal[name].append((pot, is_drawn))
            self.drawn[pot] += is_drawn
        for pot in limited if is_drawn else ():
            assert self.purses[name].take(pot)

    def apply(self, name: str) -> None:
        for pot, is_drawn in self.journal[name]:
            self.known_seen[pot] += 1
            self.applied[name][pot] += is_drawn
        self.journal[name].clear()

    def push_view(self, name: str) -> None:
        for pot in (*AGENTS, WHOLE):
            free = self._free(pot)
            if free is not None:
                untaken = {other: self.totals[other][pot] - self.applied[other][pot] for other in RECORDERS}
                for other, count in lend(pot, free, untaken).items():
                    self.totals[other][pot] += count
                    self.given[pot] += count
        self.purses[name].lent(self.totals[name])

    def restart(self, name: str) -> None:
        self.apply(name)
        self.purses[name] = Purse()
        self.purses[name].spent(self.applied[name])

    def check(self) -> None:
        for agent in AGENTS:
            if self.caps.agent_week is not None:
                assert self.drawn[agent] <= self.caps.agent_week
            if self.caps.agent_share is not None:
                assert self.drawn[agent] <= units(self.caps.agent_share, self.seen[agent])
        if self.caps.share is not None:
            assert self.drawn[WHOLE] <= units(self.caps.share, self.seen[WHOLE])


Act = tuple[Literal["keeper", "draw", "apply", "view", "restart"], str, str]
ACTS = st.lists(
    st.tuples(
        st.sampled_from(["keeper", "draw", "draw", "apply", "view", "restart"]),
        st.sampled_from(RECORDERS),
        st.sampled_from(AGENTS),
    ),
    max_size=120,
)
SHARES = st.one_of(st.none(), st.fractions(Fraction(1, 50), 1))
CAPS = st.builds(Caps, st.one_of(st.none(), st.integers(0, 5)), SHARES, SHARES)


@pytest.mark.thorough
@settings(max_examples=300)
@given(CAPS, ACTS)
def test_in_any_interleaving_of_sources_no_cap_is_exceeded(caps: Caps, acts: list[Act]) -> None:
    site = Site(caps)
    for kind, name, agent in acts:
        if kind == "keeper":
            site.at_keeper(agent)
        elif kind == "draw":
            site.at_recorder(name, agent)
        elif kind == "apply":
            site.apply(name)
        elif kind == "view":
            site.push_view(name)
        else:
            site.restart(name)
        site.check()


def test_units_do_reach_recorders_and_are_used_up_to_the_last() -> None:
    site = Site(Caps(agent_week=3))
    for _ in range(12):
        for name in RECORDERS:
            site.push_view(name)
            site.at_recorder(name, "a")
            site.apply(name)
    assert site.drawn["a"] == 3
