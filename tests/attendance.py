"""Somebody who lays told sums beside an attendance sheet, and reckons who agrees: the attack, and a year to try it on.

From the telephone system the attacker knows who took how many calls on which day, and roughly how many agents and how
many callers agree. The best linear estimate from all of that is taken (least squares with what is known before), so
that where it fails, least squares alone fails as well.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

AGENTS, DAYS, CALLS_A_DAY = 20, 240, 60
TEAM = 5  # agents whose calls are a stratum of their own, where sums are told by stratum
AGENT_AGREES, CALLER_AGREES = 0.7, 0.6  # shares that the attacker knows
ABSENT = 0.25  # of all days of an agent
LEAVE_DAYS = 20  # in one piece, where there is leave
HOLDERS, PERCENT = 2, 0.01  # of each answer in a figure; the step in which its share is told
DAY, WEEK, MONTH = 1, 5, 20  # working days of a period

Counts = npt.NDArray[np.int64]
Reals = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Year:
    """By day and agent: calls taken, drawn of them, kept of these; and who agrees, which the attack must find."""

    taken: Counts
    drawn: Counts
    kept: Counts
    agrees: npt.NDArray[np.bool_]


def year(seed: int, rate: float, *, leave: bool = False) -> Year:
    """A simulated year; with `leave` each agent is also away for four weeks in one piece."""
    dice = np.random.default_rng(seed)
    there = dice.random((DAYS, AGENTS)) >= ABSENT
    if leave:
        for agent, first in enumerate(dice.integers(0, DAYS - LEAVE_DAYS, AGENTS)):
            there[first : first + LEAVE_DAYS, agent] = False
    agrees = dice.random(AGENTS) < AGENT_AGREES
    taken = there.astype(np.int64) * CALLS_A_DAY
    drawn = dice.binomial(taken, rate)
    return Year(taken, drawn, dice.binomial(drawn, CALLER_AGREES * agrees), agrees)


def told_from_lists(lived: Year, days: int, *, team: int = AGENTS) -> int:
    """How many agents are told rightly from drawn and kept calls of each period, summed over `team` agents each."""
    taken, drawn, kept = (_by_period(counts, days) for counts in (lived.taken, lived.drawn, lived.kept))
    right = 0
    for first in range(0, AGENTS, team):
        own = slice(first, first + team)
        all_taken = np.maximum(taken[:, own].sum(1, keepdims=True), 1)
        weights = taken[:, own] / all_taken * drawn[:, own].sum(1, keepdims=True)
        share = AGENT_AGREES * CALLER_AGREES
        noise = drawn[:, own].sum(1) * share * (1 - share)
        right += _rightly(weights, kept[:, own].sum(1), noise, lived.agrees[own])
    return right


def told_from_bundle(lived: Year, days: int) -> int:
    """The same for who knows each agent's drawn calls of each period (tags that were recognized), and all kept ones."""
    drawn, kept = _by_period(lived.drawn, days), _by_period(lived.kept, days).sum(1)
    noise = drawn.sum(1) * AGENT_AGREES * CALLER_AGREES * (1 - CALLER_AGREES)
    return _rightly(drawn.astype(np.float64), kept, noise, lived.agrees)


def told_from_figures(lived: Year, group: int) -> tuple[int, int]:
    """Of how many agents the figures of groups of this size tell rightly, and of how many there are figures.

    Figures as of 0029: a month, shares in whole percents, of groups in which both answers have two holders or more.
    """
    right = there = 0
    taken, drawn, kept = (_by_period(counts, MONTH) for counts in (lived.taken, lived.drawn, lived.kept))
    for first in range(0, AGENTS, group):
        own = slice(first, first + group)
        agrees = lived.agrees[own]
        if not HOLDERS <= agrees.sum() <= group - HOLDERS:
            continue
        calls = drawn[:, own].sum(1)
        told = np.round(kept[:, own].sum(1) / calls, 2) * calls
        weights = taken[:, own] / taken[:, own].sum(1, keepdims=True) * calls[:, None]
        share = AGENT_AGREES * CALLER_AGREES
        noise = calls * share * (1 - share) + (calls * PERCENT) ** 2 / 12
        right, there = right + _rightly(weights, told, noise, agrees), there + group
    return right, there


def guessed(lived: Year) -> int:
    """How many are told rightly by whoever knows no list, and says of all that they agree."""
    return int(lived.agrees.sum())


def _by_period(counts: Counts, days: int) -> Counts:
    found: Counts = counts.reshape(DAYS // days, days, -1).sum(1)
    return found


def _rightly(weights: Reals, kept: Counts | Reals, noise: Reals, agrees: npt.NDArray[np.bool_]) -> int:
    """`kept` is about `weights` times each agent's share, which is CALLER_AGREES or nought."""
    before = AGENT_AGREES * CALLER_AGREES
    spread = AGENT_AGREES * (1 - AGENT_AGREES) * CALLER_AGREES**2
    trust = (weights / np.maximum(noise, 1e-9)[:, None]).T
    known = trust @ weights + np.eye(weights.shape[1]) / spread
    share = before + np.linalg.solve(known, trust @ (kept - weights.sum(1) * before))
    return int(((share > CALLER_AGREES / 2) == agrees).sum())
