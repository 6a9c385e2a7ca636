"""How loud each voice is, 20 times a second, for whoever draws a recording. Samples in, one JSON object out.

Peaks show who spoke when: they are personal data as the audio is. They are made for whoever plays a call, from what
the door gave, and go only where that person asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

PER_SECOND = 20  # pairs of least and most; a page draws one each 50 ms

Samples = npt.NDArray[np.int16]


class Peaks:
    """Takes blocks of (samples, channels) at one rate, of any size."""

    def __init__(self, channels: Sequence[str], rate: int) -> None:
        self._channels = tuple(channels)
        self._step = rate // PER_SECOND
        self._rest = np.zeros((0, len(channels)), np.int16)
        self._least: list[npt.NDArray[np.int16]] = []
        self._most: list[npt.NDArray[np.int16]] = []

    def add(self, block: Samples) -> None:
        """The next samples."""
        together = np.concatenate((self._rest, block))
        whole = len(together) // self._step * self._step
        self._take(together[:whole].reshape(-1, self._step, len(self._channels)))
        self._rest = together[whole:]

    def finish(self) -> dict[str, Any]:
        """`min` and `max` of each channel in 16-bit samples; the last pair may stand for less than its 50 ms."""
        if len(self._rest):
            self._take(self._rest[None])
            self._rest = self._rest[:0]
        empty = np.zeros((0, len(self._channels)), np.int16)
        least, most = (np.concatenate((empty, *found)) for found in (self._least, self._most))
        return {
            "per_second": PER_SECOND,
            "channels": list(self._channels),
            "min": least.T.tolist(),
            "max": most.T.tolist(),
        }

    def _take(self, steps: npt.NDArray[np.int16]) -> None:
        self._least.append(steps.min(axis=1))
        self._most.append(steps.max(axis=1))
