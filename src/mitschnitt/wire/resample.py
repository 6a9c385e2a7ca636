"""Samples between samples: a windowed sinc at any fractional place. Knows no packets, keeps no state.

At whole places and unchanged band it gives the very samples that went in.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.int16]
Floats = NDArray[np.float64]

REACH = 12  # samples on either side that a place looks at; more is heard by nobody at telephone quality
PHASES = 512  # places between two samples that have a filter of their own; rounding is below 16-bit noise
BETA = 8.0  # of the Kaiser window: 80 dB between what passes and what does not


@lru_cache(maxsize=16)  # a handful of pairs of rates; 100 kB each
def _filters(band: float) -> NDArray[np.float32]:
    """(PHASES + 1, taps) weights for a pass band of `band` times half the source's rate."""
    reach = reach_of(band)
    places = np.arange(1 - reach, reach + 1)[None, :] - np.arange(PHASES + 1)[:, None] / PHASES
    window = np.i0(BETA * np.sqrt(np.clip(1 - (places / reach) ** 2, 0, 1))) / np.i0(BETA)
    weights = band * np.sinc(band * places) * window
    if band < 1:
        weights /= weights.sum(axis=1, keepdims=True)
    return weights.astype(np.float32)


def reach_of(band: float) -> int:
    """Samples on either side of a place that count, for this band."""
    return int(np.ceil(REACH / min(band, 1.0)))


def at(source: Samples, places: Floats, band: float = 1.0) -> Samples:
    """The source's value at each place, counted in its samples; what lies outside of it is silence.

    `band` below 1 keeps frequencies out that a lower rate could not hold: target rate / source rate.
    """
    band = min(band, 1.0)
    reach, filters = reach_of(band), _filters(band)
    whole = np.floor(places).astype(np.int64)
    phase = np.rint((places - whole) * PHASES).astype(np.int64)
    padded = np.concatenate((np.zeros(reach, np.float32), source.astype(np.float32), np.zeros(reach + 1, np.float32)))
    inside = np.clip(whole, -1, source.size)
    sums = np.zeros(places.size, np.float32)
    for tap in range(2 * reach):
        sums += padded[inside + tap + 1] * filters[phase, tap]
    values: Samples = np.clip(np.rint(sums), -32768, 32767).astype(np.int16)
    return values
