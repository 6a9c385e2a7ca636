"""Which sender's clock each packet's RTP time was read from, and that time unwrapped from its 32-bit circle.

What tells is arrival minus RTP time: for all packets of one clock it is the same, but for their delay. So two senders
that alternate, a sender that comes back and packets out of order need no case of their own, nor do wraps.
Nothing is placed in time here, and no Python statement is executed per packet.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mitschnitt.wire.packets import CIRCLE, MAX_CLOCK, Packets, kinds_of

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


def tell_apart(packets: Packets, origin_ns: int, reach: Int64s | None = None) -> tuple[Int64s, Int64s]:
    """(clock number, unwrapped RTP time in ticks) of each packet; clocks are numbered by first arrival.

    A packet may stand for others that came with it, up to `reach` ticks behind it: less than RESTART_SECONDS.
    Unwrapped RTP times of one clock are comparable, and less than a circle from arrival since `origin_ns`.
    """
    arrival = ticks_of(packets.arrival_ns - origin_ns, packets.clock)
    phase = (arrival - packets.rtp_time) & (CIRCLE - 1)
    first, group = kinds_of(packets.ssrc * MAX_CLOCK + packets.clock)
    least = RESTART_SECONDS * packets.clock
    turned = (phase - phase[first][group] + CIRCLE // 2) & (CIRCLE - 1)
    low, high = np.full(first.size, CIRCLE), np.zeros(first.size, np.int64)
    for seen in (turned,) if reach is None else (turned, (turned - reach) & (CIRCLE - 1)):
        np.minimum.at(low, group, seen)
        np.maximum.at(high, group, seen)
    turned -= low[group]
    number = group.copy()
    rest = np.flatnonzero((high - low > least[first])[group])  # the others are of one clock each, and need no sorting
    if rest.size:
        both, at = phase[rest], rest
        if reach is not None:
            both, at = np.append(both, (phase - reach)[rest] & (CIRCLE - 1)), np.append(rest, rest)
        order = np.lexsort((both, group[at]))
        clock, around = np.empty_like(both), np.empty_like(both)
        clock[order], around[order] = _around(both[order], by_first(group[at[order]]), least[at[order]])
        number[rest], turned[rest] = first.size + clock[: rest.size], around[: rest.size]
    return by_first(number), arrival - turned


def _around(phase: Int64s, group: Int64s, least: Int64s) -> tuple[Int64s, Int64s]:
    """(clock number, phase counted from behind the widest gap of its group's circle); no clock is cut in two by 0.

    `phase` rises within each group, and clocks of one are apart by more than `least`.
    """
    starts = np.flatnonzero(np.diff(group, prepend=-1))
    if not starts.size:
        return phase, phase
    ends = np.append(starts[1:], phase.size) - 1
    gap = np.diff(phase, prepend=0)
    gap[starts] = phase[starts] - phase[ends] + CIRCLE
    is_cut = gap > least
    goes_round = ~is_cut[starts]
    is_cut[starts] = True
    number = np.cumsum(is_cut) - 1
    same = np.arange(number[-1] + 1)
    same[number[starts[goes_round]]] = number[ends[goes_round]]
    widest = np.flatnonzero(gap == np.maximum.reduceat(gap, starts)[group])
    origin = phase[widest[np.searchsorted(widest, starts)]]
    return same[number], (phase - origin[group]) % CIRCLE


def by_first(number: Int64s) -> Int64s:
    """The same division, numbered 0, 1, ... in order of first appearance."""
    first, which = kinds_of(number)
    rank = np.empty_like(first)
    rank[np.argsort(first)] = np.arange(first.size)
    return rank[which]
