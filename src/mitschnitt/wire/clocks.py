"""Which sender's clock each packet's RTP time was read from, and that time unwrapped from its 32-bit circle.

What tells is arrival minus RTP time: for all packets of one clock it is the same, but for their delay. So two senders
that alternate, a sender that comes back and packets out of order need no case of their own, nor do wraps.
Nothing is placed in time here, and no Python statement is executed per packet.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mitschnitt.wire.packets import CIRCLE, Packets

SECOND_NS = 1_000_000_000
RESTART_SECONDS = 5  # arrival minus RTP time apart by more: another clock. No stall and no jitter is so long

Int64s = NDArray[np.int64]


def ticks_of(at_ns: Int64s, clock: Int64s) -> Int64s:
    """A time in ticks of each clock, rounded down."""
    seconds = at_ns // SECOND_NS
    ticks: Int64s = seconds * clock + (at_ns - seconds * SECOND_NS) * clock // SECOND_NS
    return ticks


def ns_of(ticks: Int64s, clock: Int64s) -> Int64s:
    """Ticks of each clock in ns, to the nearest."""
    # One divisor for all, as in most calls, divides ten times as fast as an array of them.
    by = clock[:1] if clock.size and (clock == clock[0]).all() else clock
    seconds = ticks // by
    time: Int64s = seconds * SECOND_NS + ((ticks - seconds * by) * SECOND_NS + by // 2) // by
    return time


def tell_apart(packets: Packets, origin_ns: int) -> tuple[Int64s, Int64s]:
    """(clock number, unwrapped RTP time in ticks) of each packet; clocks are numbered by first arrival.

    Unwrapped RTP times of one clock are comparable, and less than a circle from arrival since `origin_ns`.
    """
    arrival = ticks_of(packets.arrival_ns - origin_ns, packets.clock)
    phase = (arrival - packets.rtp_time) % CIRCLE
    order = np.lexsort((phase, packets.clock, packets.ssrc))
    opens = _changes(packets.ssrc[order]) | _changes(packets.clock[order])
    turned = np.empty_like(phase)
    turned[order] = _turned(phase[order], opens)
    order = np.lexsort((turned, packets.clock, packets.ssrc))
    apart = np.diff(turned[order], prepend=0) > RESTART_SECONDS * packets.clock[order]
    number = np.empty_like(phase)
    number[order] = np.cumsum(opens | apart) - 1
    return by_first(number), arrival - turned


def _turned(phase: Int64s, opens: NDArray[np.bool_]) -> Int64s:
    """Phases counted from behind the widest gap of each group's circle, so that none of its clocks is cut in two.

    `phase` rises within each group; `opens` marks where groups begin.
    """
    starts = np.flatnonzero(opens)
    if not starts.size:
        return phase
    sizes = np.diff(starts, append=phase.size)
    group = np.repeat(np.arange(starts.size), sizes)
    before = np.roll(phase, 1)
    before[starts] = phase[starts + sizes - 1] - CIRCLE
    gap = phase - before
    widest = np.lexsort((-gap, group))[starts]
    turned: Int64s = (phase - phase[widest][group]) % CIRCLE
    return turned


def _changes(values: Int64s) -> NDArray[np.bool_]:
    """True where a value differs from the one before, and at the first."""
    found = np.ones(values.size, np.bool_)
    found[1:] = values[1:] != values[:-1]
    return found


def by_first(number: Int64s) -> Int64s:
    """The same division, numbered 0, 1, ... in order of first appearance."""
    _, first, which = np.unique(number, return_index=True, return_inverse=True)
    rank = np.empty_like(first)
    rank[np.argsort(first)] = np.arange(first.size)
    return rank[which.reshape(-1)].astype(np.int64)
