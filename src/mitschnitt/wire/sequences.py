"""Sequence numbers counted on over their wraps, so that what is missing can be counted (RFC 3550, A.1).

Places nothing in time: a sender's packets lie where its RTP time says, whatever their numbers are.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mitschnitt.wire.clocks import by_first
from mitschnitt.wire.rtp import MAX_DROPOUT, MAX_MISORDER

AGREES = 0.05  # share by which time may differ from the packets that a jump counts, and still speak for them

Int64s = NDArray[np.int64]


def count_on(seq: Int64s, sender: Int64s, ticks: Int64s, span: Int64s) -> tuple[Int64s, Int64s]:
    """(stretch, number counted on) of each packet, in order of arrival; stretches are numbered by first arrival.

    A jump that RFC 3550 A.1 takes for a restart begins a stretch, unless RTP time (`ticks`, and `span` of a packet)
    has gone as far as the numbers: then so many packets are missing. A sender that jumps while others are heard did
    not lose what it sent elsewhere.
    """
    order = np.argsort(sender, kind="stable")
    seq, sender, ticks, span = seq[order], sender[order], ticks[order], span[order]
    moved = (np.diff(seq, prepend=0) + 0x8000) % 0x10000 - 0x8000
    opens = np.diff(sender, prepend=-1) != 0
    passed = np.diff(ticks, prepend=0)
    is_long = (moved > MAX_DROPOUT) | (moved < -MAX_MISORDER)
    is_told = (span > 0) & (np.abs(passed - moved * span) <= AGREES * np.abs(moved * span))
    was_away = (moved > MAX_MISORDER) & (np.diff(order, prepend=0) > 1)  # and somebody else was heard
    begins = opens | (is_long & ~is_told) | was_away
    if not seq.size:
        return seq, seq
    moved[begins] = 0
    walked = np.cumsum(moved)
    starts = np.flatnonzero(begins)
    which = np.cumsum(begins) - 1
    stretch, number = np.empty_like(seq), np.empty_like(seq)
    stretch[order] = which
    number[order] = walked - walked[starts][which] + seq[starts][which]
    return by_first(stretch), number
