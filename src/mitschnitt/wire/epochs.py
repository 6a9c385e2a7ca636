"""Where one sender's RTP time stopped to tell the time: it stood still while the sender paused, or was moved on.

What tells is how late packets are against their clock. Jitter and stalls only make them late for a moment; a clock
that was stopped or set makes everything that follows late, or early, for good.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mitschnitt.wire.clocks import SECOND_NS, by_first

MIN_STEP_NS = 100_000_000  # between two drains; below it nothing is looked at
NEAR_DRAINS, FAR_DRAINS = 3, 12  # before and behind a step whose least delay counts; 12 are 3 s at 4 drains a second
SURE_NS = 150_000_000  # by which the least delays on both sides differ, where both have FAR_DRAINS
UNSURE_NS = 600_000_000  # the same with fewer: the last packet of all may be held up, and then wait for its drain
MAX_SKEW = 1e-3  # of a clock; over a long silence so much difference is no step
DRAIN_NS = 250_000_000  # what a drain brings as a rule; in one that brings more or less, the newest packet waited
SAME_DRAIN_NS = SECOND_NS // 2  # RTP times of one drain that are further apart may lie on both sides of a step

Int64s = NDArray[np.int64]


def split(
    clock: Int64s, arrival_ns: Int64s, delay_ns: Int64s, told_ns: Int64s, until_ns: Int64s | None = None
) -> Int64s:
    """The epoch of each packet, numbered by first arrival; packets in order of arrival.

    `told_ns` is the RTP time of its end by its clock, or of those that it stands for from there to `until_ns`.
    `delay_ns` is arrival minus that, the least of them.
    """
    until_ns = told_ns if until_ns is None else until_ns
    if not clock.size:
        return clock
    is_sorted = (clock[1:] >= clock[:-1]).all()
    order = slice(None) if is_sorted else np.argsort(clock, kind="stable")
    clock, arrival_ns, told_ns, until_ns = clock[order], arrival_ns[order], told_ns[order], until_ns[order]
    drain = _drains(clock, arrival_ns, told_ns, until_ns)
    opens = np.flatnonzero(drain)
    newest = np.maximum.reduceat(until_ns, opens)
    oldest = np.minimum.reduceat(told_ns, opens)
    is_first = np.diff(clock[opens], prepend=-1) != 0
    begins = is_first | _steps(
        np.minimum.reduceat(delay_ns[order], opens),
        np.abs(newest - oldest - DRAIN_NS),
        oldest,
        newest,
        arrival_ns[opens],
        is_first,
    )
    epoch = np.empty_like(clock)
    epoch[order] = (np.cumsum(begins) - 1)[np.cumsum(drain) - 1]
    return by_first(epoch)


def _drains(clock: Int64s, arrival_ns: Int64s, told_ns: Int64s, until_ns: Int64s) -> NDArray[np.bool_]:
    """True where the packets of another drain, or of another clock, begin."""
    opens = np.ones(clock.size, np.bool_)
    apart = np.abs(told_ns[1:] - until_ns[:-1]) > SAME_DRAIN_NS
    opens[1:] = (np.diff(clock) != 0) | (np.diff(arrival_ns) != 0) | apart
    return opens


def _steps(
    delay: Int64s, waited: Int64s, oldest: Int64s, newest: Int64s, arrival_ns: Int64s, is_first: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Drains with which an epoch begins inside a clock.

    Per drain: the least delay, how much of it may be the wait for the drain, its RTP times from oldest to newest. A
    loop over the drains that look like it, not vectorised because what came before reaches back to the last epoch
    only. Quiet lines have none, jitter of 200 ms one in a second.
    """
    found = np.zeros(delay.size, np.bool_)
    starts = np.flatnonzero(is_first)
    stops = np.append(starts[1:], delay.size)
    moves = [np.abs(np.diff(level, prepend=0)) > MIN_STEP_NS for level in (delay, delay - waited)]
    looks = np.flatnonzero(~is_first & (moves[0] | moves[1]))
    begin, owner = -1, np.searchsorted(starts, looks, side="right") - 1
    for at, start, stop in zip(looks.tolist(), starts[owner].tolist(), stops[owner].tolist(), strict=True):
        begin = max(begin, start)
        low, high = max(begin, at - FAR_DRAINS), min(stop, at + FAR_DRAINS)
        before, behind = delay[low:at], delay[at:high]
        is_sure = before.size == behind.size == FAR_DRAINS
        least = (SURE_NS if is_sure else UNSURE_NS) + round(int(arrival_ns[at] - arrival_ns[at - 1]) * MAX_SKEW)
        is_late = _is_above(behind - waited[at:high], before[::-1], least)
        # A path that becomes quicker brings all packets early, but none is left out as when a clock is moved on.
        is_moved_on = int(oldest[at]) - int(newest[low:at].max()) > least
        is_early = is_moved_on and _is_above((before - waited[low:at])[::-1], behind, least)
        # Stragglers at the end of a sender's words are late and bring nothing new.
        goes_on = behind.size == FAR_DRAINS or int(newest[at]) > int(newest[low:at].max())
        if (is_late and goes_on) or is_early:
            found[at] = True
            begin = at
    return found


def _is_above(upper: Int64s, lower: Int64s, least: int) -> bool:
    """Whether all of `upper` lie by more than `least` above the lowest of `lower`, near the step and far from it."""
    return all(int(upper[:reach].min()) - int(lower[:reach].min()) > least for reach in (NEAR_DRAINS, FAR_DRAINS))
