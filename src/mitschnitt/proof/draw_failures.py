"""Whether somebody's calls fail more often than those of all others: "technical errors" must not hide calls.

One exact test for each group against the rest, with a share of the alarm that all together may raise by chance. Reckons
only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

FALSE_ALARM = 0.01  # of all tests of one check together, where failures have nothing to do with groups
NEGLIGIBLE = 1e-18  # terms of a tail that no longer change it


@dataclass(frozen=True, slots=True)
class Failing:
    """A group whose failures chance does not explain; `chance` is that of as many or more."""

    group: str
    failed: int
    drawn: int
    chance: float


def _log_choose(many: int, few: int) -> float:
    return math.lgamma(many + 1) - math.lgamma(few + 1) - math.lgamma(many - few + 1)


def chance_of(failed: int, drawn: int, all_failed: int, all_drawn: int) -> float:
    """The chance that a group of `drawn` among `all_drawn` has `failed` or more of `all_failed` failures.

    Hypergeometric, exact to about 1e-6 of itself (Fisher's exact test, one-sided).
    """
    most = min(drawn, all_failed)
    if failed <= max(0, drawn + all_failed - all_drawn):
        return 1.0
    if failed > most:
        return 0.0
    whole = _log_choose(all_drawn, drawn)
    term = math.exp(_log_choose(all_failed, failed) + _log_choose(all_drawn - all_failed, drawn - failed) - whole)
    total = 0.0
    for count in range(failed, most + 1):
        total += term
        if term < NEGLIGIBLE * total and count > drawn * all_failed / all_drawn:
            break
        beside = all_drawn - all_failed - drawn + count + 1
        term *= (all_failed - count) * (drawn - count) / ((count + 1) * beside)
    return min(1.0, total)


def failing(groups: Mapping[str, tuple[int, int]], tests: int) -> list[Failing]:
    """The groups (failed, drawn) that alarm, by name, when `tests` tests are made in all (Bonferroni)."""
    all_failed, all_drawn = (sum(pair[part] for pair in groups.values()) for part in (0, 1))
    found = []
    for group, (failed, drawn) in sorted(groups.items()):
        chance = chance_of(failed, drawn, all_failed, all_drawn)
        if chance < FALSE_ALARM / max(tests, 1):
            found.append(Failing(group, failed, drawn, chance))
    return found
