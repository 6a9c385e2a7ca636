"""Several parties on one axis of time: by our clock, or by their sender's, where its reports say it is the same one.

Arrival lays every party as late as its way to us is long. A client whose sender reports (RFC 3550, 6.4.1) time all
its streams by one clock tells their true places to each other. Pure; knows layouts and reports only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mitschnitt.wire.clocks import ns_of
from mitschnitt.wire.layout import SECOND_NS, Layout, shifted
from mitschnitt.wire.packets import CIRCLE, Packets

ONE_CLOCK_NS = 100_000_000  # two reported clocks that differ by more against ours are two, and say nothing together
STEADY_NS = 20_000_000  # reports of one party that scatter by more do not know its clock
NEAR_NS = 60 * SECOND_NS  # from a report to a packet of its source: further away, it may speak of another call

Int64s = NDArray[np.int64]
Report = Sequence[int]  # arrival_ns, ssrc, ntp_ns, rtp_time


def ahead_of_ours(reports: Sequence[Report], packets: Packets, begin_ns: Int64s) -> int | None:
    """Ns by which the sender's wall clock stands ahead of ours at the moment a sample was taken, by its reports.

    `begin_ns` is where each packet was laid by our clock. None without reports that agree with each other.
    """
    order = np.lexsort((packets.arrival_ns, packets.ssrc))
    source, arrival = packets.ssrc[order], packets.arrival_ns[order]
    found = []
    for came_ns, ssrc, ntp_ns, rtp_time in reports:  # at most 256 of a party
        low, high = np.searchsorted(source, (ssrc, ssrc + 1))
        if low == high:
            continue
        near = min(int(low + np.searchsorted(arrival[low:high], came_ns)), int(high) - 1)
        row = int(order[near])
        if abs(int(packets.arrival_ns[row]) - came_ns) > NEAR_NS:
            continue
        moved = (rtp_time - int(packets.rtp_time[row]) + CIRCLE // 2) % CIRCLE - CIRCLE // 2
        moment = int(begin_ns[row]) + int(ns_of(np.array([moved]), packets.clock[[row]])[0])
        found.append(ntp_ns - moment)
    if not found:
        return None
    middle = sorted(found)[len(found) // 2]
    scatter = sorted(abs(one - middle) for one in found)[len(found) // 2]
    return middle if scatter <= STEADY_NS else None


def lined_up(layouts: Sequence[Layout]) -> list[Layout]:
    """The same layouts, counted from one origin: the earliest start of those that have packets.

    Where reports show that one clock timed all of them, it says how they lie to each other; else arrival does.
    """
    present = [layout for layout in layouts if layout.first.size]
    if not present:
        return list(layouts)
    ahead = [layout.ahead_ns for layout in present if layout.ahead_ns is not None]
    if len(ahead) == len(present) and max(ahead) - min(ahead) <= ONE_CLOCK_NS:
        # The least delayed party has its clock furthest ahead of ours; the others came later by the difference.
        latest = max(ahead)
        moved = [
            layout if layout.ahead_ns is None else replace(layout, start_ns=layout.start_ns + layout.ahead_ns - latest)
            for layout in layouts
        ]
    else:
        moved = list(layouts)
    origin = min(layout.start_ns for layout in moved if layout.first.size)
    return [shifted(layout, origin) for layout in moved]
