"""How fast a sender's clock runs against ours, from nothing but when its packets came.

Jitter, queues and the wait for a drain only ever delay. So the least delay of each window of time lies on a line,
and the slope of that line is the skew. Pure; knows no packets but their times.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SECOND_NS = 1_000_000_000
MIN_WINDOW_NS = 5 * SECOND_NS  # holds 20 drains: one of them is early
MAX_WINDOWS = 120  # over the whole call, so that an hour's are 30 s
MIN_WINDOWS = 6  # fewer say nothing
MIN_PACKETS = 100  # of one sender; fewer do not last so long
ERRORS = 3  # standard errors of the slope that are told as its error: 99.7 %
UNTOUCHED_NS = 15_000_000  # over an epoch; a smaller drift is left alone, so that samples stay exact
COARSE_NS = 10_000_000  # drains of 250 ms see packets of whole 10 ms in steps of so much; told as part of the error
MAX_PPM = 2_000  # crystals of telephones are within 100, bad ones within 500; more is no clock

Int64s = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Skew:
    """How fast a sender's clock was found to run against ours; 0 with an error of 0 is "not known"."""

    ppm: float = 0.0  # positive: it runs fast
    error_ppm: float = 0.0
    is_corrected: bool = False  # it was enough to matter, and clear enough to act on

    @property
    def factor(self) -> float:
        """Ns of ours that one of the sender's takes."""
        return 1.0 - self.ppm * 1e-6 if self.is_corrected else 1.0


def measure(epoch: Int64s, told_ns: Int64s, delay_ns: Int64s) -> Skew:
    """The skew of one sender's clock. Each packet has its epoch, its RTP time, and its arrival minus that.

    Epochs share the slope and nothing else: each one has its own beginning.
    """
    if not told_ns.size:
        return Skew()
    epoch, time, delay = _least(epoch, told_ns, delay_ns)
    used = np.ones(time.size, np.bool_)
    slope = error = 0.0
    for _ in range(3):  # fits again without windows in which not one packet came early
        if int(used.sum()) < MIN_WINDOWS:
            return Skew()
        slope, error, rest = _fit(epoch, time, delay, used)
        used = rest < 3 * max(float(np.median(np.abs(rest[used]))), 1e6)
    starts = np.flatnonzero(np.diff(epoch, prepend=-1))  # the points come in order of epoch
    longest = int((np.maximum.reduceat(time, starts) - np.minimum.reduceat(time, starts)).max())
    ppm, error_ppm = -slope * 1e6, (ERRORS * error + COARSE_NS / max(longest, 1)) * 1e6
    matters = abs(slope) * longest > UNTOUCHED_NS and error_ppm < abs(ppm) <= MAX_PPM
    return Skew(round(ppm, 2), round(error_ppm, 2), matters)


def windows(told_ns: Int64s) -> Int64s:
    """The window that each of a sender's packets lies in; that of its first packet and its last decide."""
    time = told_ns - told_ns.min()
    window: Int64s = time // max(MIN_WINDOW_NS, int(time.max()) // MAX_WINDOWS)
    return window


def _least(epoch: Int64s, time: Int64s, delay: Int64s) -> tuple[Int64s, Floats, Floats]:
    """The packet of least delay in each window of each epoch."""
    window = windows(time)
    key = epoch * (int(window.max()) + 1) + window
    order = np.argsort(key, kind="stable")  # which they are in, but for packets that end before a former one
    key, late = key[order], delay[order]
    opens = np.flatnonzero(np.diff(key, prepend=-1))
    sizes = np.diff(opens, append=key.size)
    least = np.flatnonzero(late == np.repeat(np.minimum.reduceat(late, opens), sizes))
    chosen = order[least[np.searchsorted(least, opens)]]
    return epoch[chosen], (time[chosen] - time.min()).astype(np.float64), delay[chosen].astype(np.float64)


def _fit(epoch: Int64s, time: Floats, delay: Floats, used: NDArray[np.bool_]) -> tuple[float, float, Floats]:
    """(slope, its standard error, what each point lies above the line of its epoch)."""
    _, number = np.unique(epoch, return_inverse=True)
    number = number.reshape(-1)
    weight = used.astype(np.float64)
    many = np.maximum(np.bincount(number, weight), 1.0)
    x = time - (np.bincount(number, weight * time) / many)[number]
    y = delay - (np.bincount(number, weight * delay) / many)[number]
    across = float((weight * x * x).sum())
    if not across:
        return 0.0, float("inf"), y
    slope = float((weight * x * y).sum()) / across
    rest: Floats = y - slope * x
    spare = max(float(weight.sum()) - many.size - 1, 1.0)
    return slope, float(np.sqrt((weight * rest * rest).sum() / spare / across)), rest
