"""Runs that need not be unfolded to be put in order: where both ends of one lie, so does what is between them.

An hour has 180,000 packets, but a few runs a second. A run whose RTP time goes on evenly and not for long is stood for
by its first and its last packet; all others, and those that turn out to lie among others, are taken packet by packet.
Which packet lies where is not decided here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mitschnitt.wire.layout import SECOND_NS
from mitschnitt.wire.packets import Codecs, Packets, first_packets, one_by_one

MAX_WHOLE_SECONDS = 0.5  # from the first packet of a run to its last; far below what makes another clock or drain

Int64s = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Sounding:
    """Runs of packets with payload, in order of arrival; one entry per run in each array."""

    first: Packets  # of each run
    count: Int64s  # packets, 1 or more
    step: Int64s  # ticks from each to the next, modulo 2**32

    def even(self, max_step_seconds: float) -> Flags:
        """Runs that both ends can stand for; `max_step_seconds` is for packets whose bytes do not tell their time."""
        clock, reach = self.first.clock, self.step * (self.count - 1)
        is_told = (self.first.span >= 0) | (self.step <= max_step_seconds * clock)
        # By whole ns, or unfolding one would have to round.
        goes_on = (self.step > 0) & (reach <= MAX_WHOLE_SECONDS * clock) & (self.step * SECOND_NS % clock == 0) & is_told
        return goes_on & (self.count > 1)

    def picked(self, whole: Flags) -> Picked:
        """The ends of `whole` runs (which have two), and all packets of the others."""
        run, inside = one_by_one(np.where(whole, 2, self.count))
        stands = whole[run]
        inside = np.where(stands, inside * (self.count[run] - 1), inside)
        packets = self.first.where(run).further(inside, self.step[run])
        return Picked(packets, run, inside, self.step[run], np.where(stands & (inside == 0), self.count[run] - 1, 1))


@dataclass(frozen=True)
class Picked:
    """Packets that stand for all; one entry per packet that was picked."""

    packets: Packets
    run: Int64s  # its row among the runs
    inside: Int64s  # packets before it in its run
    step: Int64s  # ticks from it to the next of its run
    count: Int64s  # packets it stands for: itself and those up to the end of its run, if that is whole

    def where(self, rows: NDArray[Any]) -> Picked:
        """Some of them (mask or indices), in that order."""
        return Picked(self.packets.where(rows), self.run[rows], self.inside[rows], self.step[rows], self.count[rows])


def sounding(runs: NDArray[Any], codecs: Codecs) -> Sounding:
    """The runs without telephone events and empty packets. MalformedPacket as `unfold` raises it."""
    first, count = first_packets(runs, codecs), runs["count"].astype(np.int64)
    step, sounds = runs["step"].astype(np.int64), (count > 0) & (first.length > 0) & ~first.is_event
    if sounds.all():
        return Sounding(first, count, step)
    return Sounding(first.where(sounds), count[sounds], step[sounds])


def torn(picked: Picked, whole: Flags, order: Int64s, epoch: Int64s, ticks: Int64s) -> Flags:
    """Of the runs that were taken as `whole`, those between whose ends others lie, or that lie between others' ends.

    `order` is by `epoch` and unwrapped RTP time, both of each picked packet.
    """
    run, stands = picked.run[order], whole[picked.run[order]]
    opens = stands & (picked.inside[order] == 0)
    depth = np.cumsum(np.where(opens, 1, np.where(stands, -1, 0)))
    apart = np.ones(order.size + 1, np.bool_)  # from the one before
    apart[1:-1] = (np.diff(epoch[order]) != 0) | (np.diff(ticks[order]) > 0)
    found = whole.copy()
    alone = opens[:-1] & (run[1:] == run[:-1]) & (depth[:-1] == 1) & apart[:-2] & apart[2:]
    found[run[:-1][alone]] = False
    return found
