"""What a layout says of itself."""

from __future__ import annotations

import numpy as np
import pytest

from mitschnitt.wire.layout import GRID_NS, Layout, shifted

LAYOUT = Layout(
    1_000,
    first=np.array([0, 20_000_000]),
    span=np.array([20_000_000, 10_000_000]),
    codec=np.array([1, 2]),
    codecs=("", "PCMA", "CN"),
)


@pytest.mark.parametrize("rate, samples", [(8000, 240), (16_000, 480), (48_000, 1440), (44_100, 1323)])
def test_a_layout_has_its_length_at_every_rate(rate: int, samples: int) -> None:
    assert LAYOUT.duration_ns == 30_000_000
    assert LAYOUT.samples(rate) == samples


def test_nothing_has_no_length() -> None:
    assert (Layout(5).duration_ns, Layout(5).samples(8000), Layout(5).undecoded(())) == (0, 0, 0)


def test_comfort_noise_is_silence_and_not_undecoded() -> None:
    assert LAYOUT.undecoded({"PCMA": None}) == 0
    assert LAYOUT.undecoded({}) == 1


def test_what_lies_between_samples_is_stretched() -> None:
    assert not LAYOUT.is_stretched
    assert Layout(0, first=np.array([0, 20_010_000])).is_stretched


def test_a_common_origin_keeps_to_the_grid() -> None:
    moved = shifted(LAYOUT, 1_000 - 10 * GRID_NS - 40_000)
    assert moved.first.tolist() == [10 * GRID_NS, 20_000_000 + 10 * GRID_NS]
    assert moved.start_ns == 1_000 - 10 * GRID_NS - 40_000
