"""Peaks: least and most of each channel in each twentieth of a second, whatever the blocks were."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mitschnitt.gateways.peaks import PER_SECOND, Peaks

SAMPLES = np.random.default_rng(7).integers(-30_000, 30_000, (2_100, 2)).astype(np.int16)  # 5 steps and a rest of 100


@given(st.lists(st.integers(0, 2_100), max_size=6))
def test_blocks_do_not_matter(cuts: list[int]) -> None:
    peaks = Peaks(("caller", "agent"), 8_000)
    for block in np.split(SAMPLES, sorted(cuts)):
        peaks.add(block)
    found = peaks.finish()
    steps = [SAMPLES[at : at + 400] for at in range(0, 2_100, 400)]
    assert found["per_second"] == PER_SECOND == 20
    assert found["channels"] == ["caller", "agent"]
    assert found["min"] == [[int(step[:, channel].min()) for step in steps] for channel in (0, 1)]
    assert found["max"] == [[int(step[:, channel].max()) for step in steps] for channel in (0, 1)]


def test_nothing_has_no_peaks() -> None:
    found = Peaks(("caller",), 8_000).finish()
    assert (found["min"], found["max"]) == ([[]], [[]])
