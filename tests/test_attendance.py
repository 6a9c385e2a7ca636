"""What sums of a day, a week or a month tell of each agent, beside an attendance sheet (decision 0031).

Twenty years of twenty agents for each figure. What must hold is said with room; the figures are printed (`-s`).
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from attendance import (
    AGENTS,
    DAY,
    MONTH,
    TEAM,
    WEEK,
    Year,
    guessed,
    told_from_bundle,
    told_from_figures,
    told_from_lists,
    year,
)

YEARS = range(20)
Attack = Callable[[Year], int]


def on_average(attack: Attack, rate: float, *, leave: bool = False) -> float:
    """Agents that are told rightly, of 20."""
    return sum(attack(year(seed, rate, leave=leave)) for seed in YEARS) / len(YEARS)


def from_lists(days: int) -> Attack:
    return lambda lived: told_from_lists(lived, days)


def from_strata(days: int) -> Attack:
    return lambda lived: told_from_lists(lived, days, team=TEAM)


def from_bundle(days: int) -> Attack:
    return lambda lived: told_from_bundle(lived, days)


@pytest.mark.thorough
@pytest.mark.parametrize("leave", [False, True], ids=["days off", "days off and leave"])
@pytest.mark.parametrize("rate", [0.02, 0.05, 0.20, 1.0])
@pytest.mark.parametrize("attack", [from_lists, from_strata, from_bundle])
def test_the_coarser_the_period_the_fewer_agents_are_told(
    attack: Callable[[int], Attack], rate: float, leave: bool
) -> None:
    day, week, month = (on_average(attack(days), rate, leave=leave) for days in (DAY, WEEK, MONTH))
    guess = on_average(guessed, rate, leave=leave)
    what = f"{attack.__name__}, rate {rate}, {'leave' if leave else 'no leave'}"
    print(f"\n{what}: day {day:.1f}, week {week:.1f}, month {month:.1f}, guessed {guess:.1f}")
    assert day >= week >= month


@pytest.mark.parametrize("rate", [0.05, 0.20])
def test_days_tell_of_nearly_everybody(rate: float) -> None:
    assert on_average(from_lists(DAY), rate) > AGENTS - 1


def test_weeks_tell_of_nearly_everybody_at_a_high_rate_and_so_are_not_enough() -> None:
    assert on_average(from_lists(WEEK), 0.20) > AGENTS - 2


@pytest.mark.parametrize("rate, more", [(0.02, 1), (0.05, 1), (0.20, 2)])
def test_months_tell_hardly_more_than_a_guess(rate: float, more: int) -> None:
    assert on_average(from_lists(MONTH), rate) < on_average(guessed, rate) + more


def test_months_by_stratum_tell_of_nearly_everybody_where_strata_are_small_teams() -> None:
    """So outcomes of a month may be told of the whole site, and not of each stratum."""
    assert on_average(from_strata(MONTH), 0.20) > AGENTS - 2


def shares_told(group: int, rate: float) -> float:
    """Of the agents in figures of groups of this size, the part that is told rightly."""
    found = [told_from_figures(year(seed, rate), group) for seed in YEARS]
    return sum(right for right, _ in found) / sum(there for _, there in found)


def test_figures_of_small_groups_tell_more_than_those_of_large_ones() -> None:
    """What is not claimed (docs/threats.md): a year of figures of five people, beside an attendance sheet."""
    for rate in (0.02, 0.05, 0.20):
        five, ten, twenty = (shares_told(group, rate) for group in (5, 10, 20))
        print(f"\nfigures, rate {rate}: groups of five {five:.0%}, of ten {ten:.0%}, of twenty {twenty:.0%}")
    assert five > 0.9 > twenty
