"""A sender's clock against ours: found from arrivals that only ever come late."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mitschnitt.wire.skew import MAX_PPM, Skew, measure

SECOND_NS = 1_000_000_000
TICK_NS = 250_000_000
DRAINS = 14_400  # an hour


def an_hour(ppm: float, jitter_ms: float, seed: int = 1, *, epochs: int = 1) -> Skew:
    """The newest packet of each drain of an hour; its sender's clock is `ppm` fast."""
    luck = np.random.default_rng(seed)
    arrival = np.arange(1, DRAINS + 1) * TICK_NS
    time = ((arrival - luck.random(DRAINS) * jitter_ms * 1e6) * (1 + ppm * 1e-6) // 20e6).astype(np.int64) * 20_000_000
    epoch = np.arange(DRAINS) * epochs // DRAINS
    return measure(epoch, time, arrival - time + epoch * 7_000_000_000)


@pytest.mark.parametrize("ppm", [-500, -50, -7, 7, 50, 500])
@pytest.mark.parametrize("jitter_ms", [0, 200])
def test_an_hours_skew_is_found_within_the_error_that_is_told(ppm: int, jitter_ms: int) -> None:
    found = an_hour(ppm, jitter_ms)
    assert abs(found.ppm - ppm) <= found.error_ppm <= 6
    assert found.is_corrected
    assert found.factor == pytest.approx(1 - ppm * 1e-6, abs=6e-6)


@pytest.mark.parametrize("ppm", [0, 1, -3])
def test_a_drift_that_nobody_hears_is_left_alone(ppm: int) -> None:
    found = an_hour(ppm, 200)
    assert not found.is_corrected
    assert found.factor == 1.0


def test_epochs_share_the_slope_and_not_the_beginning() -> None:
    assert an_hour(100, 50, epochs=5).ppm == pytest.approx(100, abs=5)


def test_what_no_crystal_does_is_not_corrected() -> None:
    found = an_hour(3 * MAX_PPM, 0)
    assert not found.is_corrected


def test_a_path_that_is_slow_for_a_minute_does_not_look_like_skew() -> None:
    arrival = np.arange(1, DRAINS + 1) * TICK_NS
    time = arrival // 20_000_000 * 20_000_000
    delay = arrival - time
    delay[7000:7240] += 400_000_000
    found = measure(np.zeros(DRAINS, np.int64), time, delay)
    assert abs(found.ppm) < 3
    assert not found.is_corrected


def test_too_little_says_nothing() -> None:
    none = np.zeros(0, np.int64)
    assert measure(none, none, none) == Skew()
    few = np.arange(20) * SECOND_NS
    assert measure(np.zeros(20, np.int64), few, few // 1000) == Skew()


@settings(max_examples=20, deadline=None)
@given(st.floats(-500, 500), st.integers(0, 2**31))
def test_no_jitter_makes_a_correction_worse_than_what_it_corrects(ppm: float, seed: int) -> None:
    found = an_hour(ppm, 200, seed)
    left = (1 + ppm * 1e-6) * found.factor - 1
    assert abs(left) * 3600 < 0.02
