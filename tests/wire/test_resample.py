"""Samples between samples: exact where one lies, and as a tone would be in between."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from mitschnitt.wire import resample


def tone(hertz: float, rate: int, seconds: float) -> NDArray[np.int16]:
    angle = 2 * np.pi * hertz / rate * np.arange(int(rate * seconds))
    return np.array(np.rint(10_000 * np.sin(angle)), np.int16)


def test_whole_places_give_the_very_samples() -> None:
    source = np.arange(-32768, 32767, 97).astype(np.int16)
    assert (resample.at(source, np.arange(source.size, dtype=np.float64)) == source).all()


def test_outside_of_the_source_is_silence() -> None:
    source = np.full(100, 1000, np.int16)
    assert resample.at(source, np.array([-1000.0, -20.0, 150.0, 1e6])).tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("hertz", [300, 1000, 3000])
def test_a_tone_that_is_stretched_stays_a_clean_tone(hertz: int) -> None:
    source = tone(hertz, 8000, 1)
    places = np.array(np.arange(100, 7800) * (1 - 500e-6), np.float64)
    expected = 10_000 * np.sin(2 * np.pi * hertz * places / 8000)
    error = resample.at(source, places).astype(np.float64) - expected
    assert np.abs(error).max() < 40  # -48 dB


def test_what_a_lower_rate_cannot_hold_is_kept_out() -> None:
    kept = resample.at(tone(1000, 16_000, 1), np.arange(400, 14_000, 2.0), band=0.5)
    gone = resample.at(tone(6000, 16_000, 1), np.arange(400, 14_000, 2.0), band=0.5)
    assert np.abs(kept).max() == pytest.approx(10_000, rel=0.01)
    assert np.abs(gone).max() < 40
