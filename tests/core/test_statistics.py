"""Wilson's interval: known values, and what holds of any."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitschnitt.core.statistics import Z95, Interval, wilson

VECTORS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parent.parent / "vectors" / "statistics" / "wilson.json").read_text(encoding="utf-8")
)


@pytest.mark.parametrize("case", VECTORS, ids=lambda case: f"{case['hits']} of {case['calls']}")
def test_known_intervals(case: dict[str, Any]) -> None:
    found = wilson(case["hits"], case["calls"])
    assert found.low == pytest.approx(case["low"], abs=1e-12)
    assert found.high == pytest.approx(case["high"], abs=1e-12)
    if "percent" in case:
        assert [round(100 * found.low), round(100 * found.high)] == case["percent"]


@given(st.integers(1, 10_000), st.data())
def test_the_ends_are_where_the_share_is_just_not_refuted(calls: int, data: st.DataObject) -> None:
    hits = data.draw(st.integers(0, calls))
    found = wilson(hits, calls)
    assert 0 <= found.low <= found.share <= found.high <= 1
    for end in (found.low, found.high):
        # The score test of a true share `end` (the definition, not the formula): |share - end| = z * sd(end).
        assert math.isclose(abs(found.share - end), Z95 * math.sqrt(end * (1 - end) / calls), abs_tol=1e-6)


@given(st.integers(1, 1_000), st.data())
def test_what_is_a_hit_and_what_a_miss_can_be_exchanged(calls: int, data: st.DataObject) -> None:
    hits = data.draw(st.integers(0, calls))
    one, other = wilson(hits, calls), wilson(calls - hits, calls)
    assert one.low == pytest.approx(1 - other.high)
    assert one.high == pytest.approx(1 - other.low)


def test_of_no_call_nothing_is_known() -> None:
    assert wilson(0, 0) == Interval(0, 0.0, 0.0, 1.0)


@pytest.mark.parametrize("hits, calls", [(-1, 5), (6, 5), (1, 0), (0, -1)])
def test_counts_that_cannot_be_are_refused(hits: int, calls: int) -> None:
    with pytest.raises(ValueError, match="0 <= hits <= calls"):
        wilson(hits, calls)
