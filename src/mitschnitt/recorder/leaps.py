"""What a leap of the clock does to the times of a recording that went on through it, and how that is undone.

Pure arithmetic on stamps of `SteadyClock`, in ns since 1970. Within one recording time runs as the monotonic clock
does, however the wall clock was set; stamps never run backwards, so a leap is known by the stamp at which it began.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mitschnitt.vault.artefact import PlainSlices


@dataclass(frozen=True, slots=True)
class Leap:
    """At this stamp the clock was set forward by `by_ns`, or, below 0, ran at half speed until it was back by that."""

    at_ns: int
    by_ns: int


def run_on(stamps: NDArray[np.int64], leaps: Sequence[Leap]) -> NDArray[np.int64]:
    """The stamps as if the clock had run on without these leaps, which are in the order in which they came."""
    for leap in reversed(leaps):
        since = stamps - leap.at_ns
        if leap.by_ns > 0:
            # Between the leap's two sides lies no stamp but the one that came at the very moment.
            stamps = stamps - np.clip(since, 0, leap.by_ns)
        else:
            stamps = stamps + np.clip(since, 0, -leap.by_ns)
    return stamps


def steadied(slices: Iterable[PlainSlices], leaps: Sequence[Leap]) -> Iterator[PlainSlices]:
    """The slices of a recording with the arrival times that the monotonic clock gives."""
    for piece in slices:
        runs = piece.runs.copy()
        runs["arrival_ns"] = run_on(runs["arrival_ns"].astype(np.int64), leaps)
        yield replace(piece, runs=runs)
