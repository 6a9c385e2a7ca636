"""Runs that need not be unfolded to be put in order: where both ends of one lie, so does what is between them.

An hour has 180,000 packets, but a few runs a second. A run whose RTP time goes on evenly and not for long is stood for
by its first packet; all others, and those that turn out to lie among others, are taken packet by packet.
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
        """Runs that the first packet can stand for; `max_step_seconds`: where bytes do not tell a packet's time."""
        clock, reach = self.first.clock, self.step * (self.count - 1)
        is_told = (self.first.span >= 0) | (self.step <= max_step_seconds * clock)
        goes_on = (self.step > 0) & (reach <= MAX_WHOLE_SECONDS * clock) & is_told
        # By whole ns, or unfolding one would have to round.
        even: Flags = goes_on & (self.count > 1) & (self.step * SECOND_NS % clock == 0)
        return even

    def picked(self, whole: Flags) -> Picked:
        """The first packets of `whole` runs, and all packets of the others."""
        if whole.all():
            run, inside = np.arange(self.count.size), np.zeros(self.count.size, np.int64)
            return Picked(self.first, run, inside, self.step, self.count)
        run, inside = one_by_one(np.where(whole, 1, self.count))
        packets = self.first.where(run).further(inside, self.step[run])
        return Picked(packets, run, inside, self.step[run], np.where(whole, self.count, 1)[run])


@dataclass(frozen=True)
class Picked:
    """Packets that stand for all; one entry per packet that was picked."""

    packets: Packets
    run: Int64s  # its row among the runs
    inside: Int64s  # packets before it in its run
    step: Int64s  # ticks from it to the next of its run
    count: Int64s  # packets it stands for: itself and those behind it in its run, if that is whole

    @property
    def reach(self) -> Int64s:
        """Ticks from each to the last one that it stands for."""
        return self.step * (self.count - 1)

    def where(self, rows: NDArray[Any]) -> Picked:
        """Some of them (mask or indices), in that order."""
        return Picked(self.packets.where(rows), self.run[rows], self.inside[rows], self.step[rows], self.count[rows])

    def in_two(self, torn: Flags) -> tuple[Picked, Int64s, Int64s]:
        """Where `torn`, the last one that it stands for on its own; and from which row each is, how much further on."""
        row, is_last = one_by_one(np.where(torn & (self.count > 1), 2, 1))
        further = is_last * (self.count[row] - 1)
        packets = self.packets.where(row).further(further, self.step[row])
        count = np.where(is_last > 0, 1, self.count[row])
        count[:-1] -= is_last[1:]
        return Picked(packets, self.run[row], self.inside[row] + further, self.step[row], count), row, further


def sounding(runs: NDArray[Any], codecs: Codecs) -> Sounding:
    """The runs without telephone events and empty packets. MalformedPacket as `unfold` raises it."""
    first, count = first_packets(runs, codecs), runs["count"].astype(np.int64)
    step, sounds = runs["step"].astype(np.int64), (count > 0) & (first.length > 0) & ~first.is_event
    if sounds.all():
        return Sounding(first, count, step)
    return Sounding(first.where(sounds), count[sounds], step[sounds])


def torn(picked: Picked, order: Int64s, epoch: Int64s, ticks: Int64s) -> Flags:
    """Picked packets that cannot stand for others: these lie among others, or others lie among them.

    `order` is by `epoch` and unwrapped RTP time, both of each picked packet.
    """
    found = np.zeros(order.size, np.bool_)
    ticks, reach = ticks - ticks.min(), picked.reach
    apart = int((ticks + reach).max()) + 1  # no epoch reaches into the next one
    first = (ticks + epoch * apart)[order]
    last = first + reach[order]
    found[1:] = first[1:] <= np.maximum.accumulate(last)[:-1]
    found[:-1] |= last[:-1] >= first[1:]
    here: Flags = np.zeros(order.size, np.bool_)
    here[order] = found
    return here & (picked.count > 1)
