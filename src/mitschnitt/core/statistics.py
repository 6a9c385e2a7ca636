"""How sure a share is: Wilson's interval. Counts in, numbers out; knows no person, no call and no order of merit."""

from __future__ import annotations

import math
from dataclasses import dataclass

Z95 = 1.959963984540054  # 97.5 % quantile of the normal distribution: 95 % lie between minus and plus this


@dataclass(frozen=True, slots=True)
class Interval:
    """A share of `calls`, and between which shares the true one lies with 95 % confidence; all in [0, 1]."""

    calls: int
    share: float
    low: float
    high: float


def wilson(hits: int, calls: int) -> Interval:
    """The share `hits` of `calls` with its score interval at 95 % (Wilson 1927); ValueError unless 0 <= hits <= calls.

    Of no call the share is unknown: 0, between 0 and 1.
    """
    if not 0 <= hits <= calls:
        raise ValueError(f"a share needs 0 <= hits <= calls, got {hits} of {calls}")
    if calls == 0:
        return Interval(0, 0.0, 0.0, 1.0)
    share, squared = hits / calls, Z95 * Z95
    middle = (share + squared / (2 * calls)) / (1 + squared / calls)
    half = Z95 / (1 + squared / calls) * math.sqrt(share * (1 - share) / calls + squared / (4 * calls * calls))
    # Rounding must not put the interval beside its share: none and all are ends of it.
    return Interval(calls, share, max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half)))
