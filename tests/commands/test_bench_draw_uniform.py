"""R20: the draw is even per stratum and day, and its tickets spread evenly; the same figures each time.

`-s` shows them; `mitschnitt bench draw --uniform --calls N` takes more calls.
"""

from __future__ import annotations

import numpy as np
import pytest

from mitschnitt.commands.bench_draw_uniform import (
    CHI_SQUARE_LIMIT,
    DAYS,
    RATES,
    SPREAD_LIMIT,
    evenness,
    measure,
    spread,
    tickets,
)

CALLS_A_DAY = 2_000  # of each stratum: 100,000 in 50 days


@pytest.mark.thorough
@pytest.mark.parametrize("stratum", range(len(RATES)), ids=lambda stratum: str(RATES[stratum]))
def test_a_hundred_thousand_calls_of_a_stratum_are_drawn_evenly_over_fifty_days(stratum: int) -> None:
    found = evenness(stratum, CALLS_A_DAY)
    print(f"rate {found.rate}: {found.drawn} of {found.calls} drawn, chi-square {found.chi_square:.2f} of {DAYS} days")
    assert found.calls >= 100_000
    assert found.chi_square < CHI_SQUARE_LIMIT


def test_a_hundred_thousand_tickets_spread_evenly() -> None:
    values = np.concatenate(list(tickets(CALLS_A_DAY)))
    print(f"spread of {len(values)} tickets: {spread(values):.3f}, below {SPREAD_LIMIT}")
    assert len(values) >= 100_000
    assert spread(values) < SPREAD_LIMIT


def test_both_measures_see_what_is_uneven() -> None:
    even = np.arange(10_000) / 10_000
    assert spread(even) < 0.1
    assert spread(even**1.1) > SPREAD_LIMIT
    assert spread(np.minimum(even, 0.97)) > SPREAD_LIMIT


def test_what_is_measured_is_told_in_a_table() -> None:
    lines, even = measure(200)
    assert even
    assert len(lines) == 3 + len(RATES)
    assert "10,000" in lines[1]
