"""Whether the time of an answer tells which kind of call it was about: pairs of times, ratio, interval, permutations.

Reckons only: asks nobody, and knows no door. Figures of a machine that does something else meanwhile are worth nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

RESAMPLES = 2_000  # of the bootstrap and of the permutations; the interval then moves in its third digit
LEVEL = 0.95  # of the interval
SEED = 5  # the same figures give the same interval

Times = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Compared:
    """One kind of call against the first kind, by what each round took."""

    kind: str
    ratio: float  # median over the rounds; 1 = equally long
    low: float
    high: float
    chance: float  # how often shuffled pairs differ as much: near 0, the times tell the kinds apart

    @property
    def line(self) -> str:
        """As it is printed."""
        return f"{self.kind:<28} {self.ratio:8.4f}   {self.low:8.4f} to {self.high:8.4f}   {self.chance:6.3f}"


def rounds(
    ask: Callable[[str], float], kinds: Sequence[str], count: int, *, dice: np.random.Generator
) -> dict[str, Times]:
    """What `ask` took for each kind in `count` rounds, seconds; in each round all kinds, in an order of its own."""
    found = {kind: np.zeros(count) for kind in kinds}
    for number in range(count):
        for place in dice.permutation(len(kinds)):
            kind = kinds[int(place)]
            found[kind][number] = ask(kind)
    return found


def compare(times: Mapping[str, Times]) -> list[Compared]:
    """Every kind but the first against the first, in pairs of one round."""
    (_, first), *others = times.items()
    return [_compared(kind, np.log(other) - np.log(first)) for kind, other in others]


def _compared(kind: str, differences: Times) -> Compared:
    dice = np.random.default_rng(SEED)
    size = differences.size
    drawn = differences[dice.integers(0, size, (RESAMPLES, size))]
    low, high = np.quantile(np.median(drawn, axis=1), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    middle = float(np.median(differences))
    # Were the kinds alike, either of a pair could as well have been the other.
    signs = dice.choice([-1.0, 1.0], (RESAMPLES, size))
    as_much = np.abs(np.median(signs * differences, axis=1)) >= abs(middle)
    chance = (1 + int(as_much.sum())) / (1 + RESAMPLES)
    return Compared(kind, float(np.exp(middle)), float(np.exp(low)), float(np.exp(high)), chance)
