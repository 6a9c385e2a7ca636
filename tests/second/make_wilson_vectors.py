"""Makes tests/vectors/statistics/wilson.json by solving the score test exactly, not by Wilson's closed form.

    python tests/second/make_wilson_vectors.py

The ends of the interval are the true shares p with (hits - calls * p)^2 = z^2 * calls * p * (1 - p), found by
bisection in 50 decimal digits. The four rows with `percent` are those of the field's literature on call samples.
"""

from __future__ import annotations

import json
from decimal import Decimal, getcontext
from pathlib import Path

getcontext().prec = 50
Z = Decimal("1.959963984540054235524594430520551527908")  # 97.5 % quantile of the normal distribution
CASES = [(4, 5), (8, 10), (17, 20), (43, 50), (0, 20), (20, 20), (1, 20), (850, 1000), (500, 1000), (1, 1)]
SPOKEN = {(4, 5): [38, 96], (8, 10): [49, 94], (17, 20): [64, 95], (43, 50): [74, 93]}


def refuted(hits: int, calls: int, p: Decimal) -> bool:
    """Whether a true share p is refuted at 95 %."""
    return (hits - calls * p) ** 2 > Z * Z * calls * p * (1 - p)


def end(hits: int, calls: int, *, outside: Decimal) -> Decimal:
    """Where, between the share and `outside`, refutation begins."""
    inside = Decimal(hits) / calls
    if inside == outside:
        return outside
    for _ in range(160):
        middle = (inside + outside) / 2
        inside, outside = (inside, middle) if refuted(hits, calls, middle) else (middle, outside)
    return inside


def main() -> None:
    rows = []
    for hits, calls in CASES:
        low = end(hits, calls, outside=Decimal(0))
        high = end(hits, calls, outside=Decimal(1))
        row: dict[str, object] = {"hits": hits, "calls": calls, "low": float(low), "high": float(high)}
        if (hits, calls) in SPOKEN:
            row["percent"] = SPOKEN[hits, calls]
        rows.append(row)
    target = Path(__file__).parent.parent / "vectors" / "statistics" / "wilson.json"
    target.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
