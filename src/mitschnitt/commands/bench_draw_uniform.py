"""`mitschnitt bench draw --uniform`: whether the draw is even: chi-square of what is drawn, and how tickets spread.

Days and sources are counted through, so the same figures come out each time: nothing here is left to chance.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from mitschnitt.proof.draw_tickets import DOMAIN, draw_ids, winners

DAYS = 50
RATES = (Fraction(1, 100), Fraction(1, 20), Fraction(1, 3), Fraction(9, 10))
SECRET = b"mitschnitt bench draw --uniform"
POLICY_HASH = hashlib.sha256(b"uniform").digest()
SOURCES = ("keeper", "recorder-0")
# A fair draw exceeds either of them once in a thousand; for four strata and one spread, once in two hundred.
CHI_SQUARE_LIMIT = 86.66  # 50 degrees of freedom, 0.1 % (tables of the distribution)
SPREAD_LIMIT = 1.9495  # of sqrt(n) * D, Kolmogorov's distribution, 0.1 %


@dataclass(frozen=True, slots=True)
class Evenness:
    """Of one stratum: draws, those drawn, and chi-square over the days, `DAYS` degrees of freedom."""

    rate: Fraction
    calls: int
    drawn: int
    chi_square: float


def day_ids(number: int, stratum: int, calls: int) -> tuple[bytes, list[bytes]]:
    """Beacon and draw_ids of one stratum's calls on a day."""
    key = hashlib.sha256(SECRET + f"|key|{number}".encode()).digest()
    beacon = hashlib.sha256(SECRET + f"|beacon|{number}".encode()).digest()
    each = calls // len(SOURCES)
    first = stratum * each + 1
    ids = [draw_id for source in SOURCES for draw_id in draw_ids(key, source, range(first, first + each))]
    return beacon, ids


def evenness(stratum: int, calls_a_day: int) -> Evenness:
    """How evenly the days of a stratum are drawn, against the rate that the policy names."""
    rate = RATES[stratum]
    chi_square, calls, all_drawn = 0.0, 0, 0
    for number in range(DAYS):
        beacon, ids = day_ids(number, stratum, calls_a_day)
        drawn = sum(winners(POLICY_HASH, beacon, ids, rate))
        expected = float(rate) * len(ids)
        chi_square += (drawn - expected) ** 2 / (expected * float(1 - rate))
        calls, all_drawn = calls + len(ids), all_drawn + drawn
    return Evenness(rate, calls, all_drawn, chi_square)


def tickets(calls_a_day: int) -> Iterator[npt.NDArray[np.float64]]:
    """Tickets as shares of their range, in [0, 1), a block for each day."""
    for number in range(DAYS):
        beacon, ids = day_ids(number, 0, calls_a_day)
        prefix = DOMAIN + POLICY_HASH + beacon
        firsts = b"".join(hashlib.sha256(prefix + draw_id).digest()[:8] for draw_id in ids)
        yield np.frombuffer(firsts, ">u8").astype(np.float64) / 2.0**64


def spread(values: npt.NDArray[np.float64]) -> float:
    """sqrt(n) times the largest distance between what was found and an even spread (Kolmogorov and Smirnov)."""
    ordered, many = np.sort(values), len(values)
    steps = np.arange(1, many + 1) / many
    distance = max(float(np.max(steps - ordered)), float(np.max(ordered - steps + 1 / many)))
    return math.sqrt(many) * distance


def measure(calls_a_day: int) -> tuple[list[str], bool]:
    """Lines for people, and whether everything is within its limit."""
    found = [evenness(stratum, calls_a_day) for stratum in range(len(RATES))]
    distance = spread(np.concatenate(list(tickets(calls_a_day))))
    return told(found, distance), all(row.chi_square < CHI_SQUARE_LIMIT for row in found) and distance < SPREAD_LIMIT


def told(found: Sequence[Evenness], distance: float) -> list[str]:
    """The table."""
    lines = [f"{'rate':>6} {'calls':>10} {'drawn':>10} {'share':>9} {'chi-square':>11}  of {DAYS} days"]
    for row in found:
        share = row.drawn / row.calls
        lines.append(f"{row.rate!s:>6} {row.calls:10,} {row.drawn:10,} {share:9.5f} {row.chi_square:11.2f}")
    lines.append(f"chi-square of a fair draw is below {CHI_SQUARE_LIMIT} in 999 of 1000 cases")
    return [*lines, f"spread of tickets: {distance:.3f}; even ones are below {SPREAD_LIMIT} in 999 of 1000 cases"]
