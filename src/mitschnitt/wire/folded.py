"""A layout whose rows stand for several packets each: those that follow one another evenly are not told one by one.

An hour has 180,000 packets, but a few rows a second; whoever wants a second of it unfolds that second. Arrays only,
no bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mitschnitt.wire.layout import Layout
from mitschnitt.wire.packets import one_by_one

Int64s = NDArray[np.int64]
Rows = slice | Int64s


@dataclass(frozen=True)
class Even:
    """How the packets of each row follow its first one, in ns by the sender's clock; one entry per row."""

    step: Int64s  # from each to the next; above 0 where there is a next
    sounds: Int64s  # how long each one sounds, if the next one does not begin before
    since: Int64s  # from the begin of the epoch to the first packet of the row
    factor: NDArray[np.float64]  # ns by our clock that one by the sender's takes

    @classmethod
    def of(cls, rows: int) -> Even:
        """Of rows that have one packet each."""
        nothing = np.zeros(rows, np.int64)
        return cls(nothing, nothing, nothing, np.ones(rows))

    def where(self, rows: Rows) -> Even:
        """Some of the rows, in that order."""
        return Even(self.step[rows], self.sounds[rows], self.since[rows], self.factor[rows])

    def begins(self, inside: Int64s) -> Int64s:
        """Ns by our clock from the first packet of each row to that which lies so many further on."""
        return self._ours(self.since + inside * self.step) - self._ours(self.since)

    def lasts(self, inside: Int64s) -> Int64s:
        """Ns by our clock that a packet lasts, so many behind the first and before the last one."""
        begin = self.since + inside * self.step
        return self._ours(begin + np.minimum(self.sounds, self.step)) - self._ours(begin)

    def _ours(self, told_ns: Int64s) -> Int64s:
        if (self.factor == 1.0).all():
            return told_ns
        # A day of ns fits the 53 bits of a float, so rows of other senders, with a factor of 1, stay exact beside it.
        return np.rint(told_ns * self.factor).astype(np.int64)


@dataclass(frozen=True)
class Folded:
    """The kept packets of one party in order of time; `rows` has the first packet of each row.

    The others of a row are like it, and their bytes follow one another.
    """

    rows: Layout
    count: Int64s  # packets, 1 or more
    even: Even

    @property
    def duration_ns(self) -> int:
        """From the start to the end of the last packet."""
        lasts = np.where(self.count > 1, self.even.lasts(self.count - 1), self.rows.span)
        return int((self.last() + lasts).max()) if self.count.size else 0

    def packets(self) -> list[int]:
        """How many there are of each coding, in the order of `codecs`."""
        by_codec = np.bincount(self.rows.codec, weights=self.count, minlength=len(self.rows.codecs))
        found: list[int] = by_codec.astype(np.int64).tolist()
        return found

    def unfolded(self, low: int = 0, high: int | None = None) -> Layout:
        """Packet by packet: those of the rows from `low` on and before `high`, or all."""
        row, inside = one_by_one(self.count[low:high])
        return self.opened(row + low, inside)

    def last(self) -> Int64s:
        """Where the last packet of each row begins."""
        return self.rows.first + self.even.begins(self.count - 1)

    def opened(self, row: Int64s, inside: Int64s) -> Layout:
        """These packets: each so many behind the first of its row."""
        rows, even = self.rows, self.even.where(row)
        return replace(
            rows,
            first=rows.first[row] + even.begins(inside),
            span=np.where(inside > 0, even.lasts(inside), rows.span[row]),
            offset=rows.offset[row] + inside * rows.length[row],
            length=rows.length[row],
            codec=rows.codec[row],
            epoch=rows.epoch[row],
        )


def in_order(folded: Folded) -> Folded:
    """The same packets in order of time; as they were where two begin at once. Rows among others are opened."""
    first, last = folded.rows.first, folded.last()
    if (first[1:] >= last[:-1]).all():
        return folded
    alone = np.ones(first.size, np.bool_)
    alone[1:] &= first[1:] >= np.maximum.accumulate(last)[:-1]
    alone[:-1] &= last[:-1] <= np.minimum.accumulate(first[::-1])[::-1][1:]
    row, inside = one_by_one(np.where(alone, 1, folded.count))
    order = np.argsort(first[row] + folded.even.where(row).begins(inside), kind="stable")
    row, inside = row[order], inside[order]
    return Folded(folded.opened(row, inside), np.where(alone, folded.count, 1)[row], folded.even.where(row))
