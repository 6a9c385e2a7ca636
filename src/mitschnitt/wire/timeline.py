"""Where each kept packet of one party lies in time: runs in, a Layout out; `render` makes samples of any part of it.

    runs --unfold--> packets --clocks, epochs, skew--> Layout --render--> samples

Pure: the clock is in the runs. `lay_out` decides once per call; a play-back of an hour holds a block in memory and
not the hour. Pauses, losses and a late start become silence of exact length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mitschnitt.errors import TooLarge
from mitschnitt.wire import clocks, epochs, skew
from mitschnitt.wire.alignment import Report, ahead_of_ours
from mitschnitt.wire.alignment import lined_up as lined_up
from mitschnitt.wire.layout import GRID_NS, SECOND_NS
from mitschnitt.wire.layout import Layout as Layout
from mitschnitt.wire.layout import shifted as shifted
from mitschnitt.wire.packets import MAX_CLOCK, UNKNOWN_SPAN, Codecs, Packets, unfold
from mitschnitt.wire.packets import parse_runs as parse_runs
from mitschnitt.wire.render import Fetch as Fetch
from mitschnitt.wire.render import Samples as Samples
from mitschnitt.wire.render import render as render
from mitschnitt.wire.skew import Skew

MAX_SECONDS = 24 * 3600  # no call lasts a day; more is a damaged timeline, not silence to write out
MAX_PACKET_SECONDS = 0.12  # of one packet (RFC 3551, 4.2 allows 200 ms; Opus ends at 120); longer steps are pauses
USUAL_PACKET_SECONDS = 0.02  # where nothing tells
SURE_LENGTH_NS = 3 * SECOND_NS  # of an epoch: 12 drains, of which one brought a packet at once
SURE_NS, UNSURE_NS = 40_000_000, 250_000_000  # by which an epoch's place may be late if it is so long, or shorter

Int64s = NDArray[np.int64]


def lay_out(runs: NDArray[Any], codecs: Codecs, *, reports: Sequence[Report] = ()) -> Layout:
    """Each packet's place. `codecs` maps payload type to coding and RTP clock, as `codings` reads them from a header.

    `reports` are the header's: arrival in ns, SSRC, NTP time in ns and RTP time of each sender report.

    Raises TooLarge when the packets span more than a day, MalformedPacket for what no timeline can say.
    """
    packets = unfold(runs, codecs)
    packets = packets.where((packets.length > 0) & ~packets.is_event)
    if not packets.seq.size:
        return Layout(int(runs["arrival_ns"][0]) if runs.size else 0, codecs=packets.codecs)
    origin_ns = int(packets.arrival_ns.min())
    _check_length(int(packets.arrival_ns.max()) - origin_ns)
    clock, ticks = clocks.tell_apart(packets, origin_ns)
    end = clocks.ns_of(ticks + np.maximum(packets.span, 0), packets.clock)
    epoch = epochs.split(clock, packets.arrival_ns, packets.arrival_ns - origin_ns - end, end)
    order = np.lexsort((packets.seq, ticks, epoch))
    again = np.zeros(order.size, np.bool_)
    again[1:] = (np.diff(epoch[order]) == 0) & (np.diff(ticks[order]) == 0) & (np.diff(packets.seq[order]) == 0)
    kept = order[~again]
    layout = _placed(packets.where(kept), epoch[kept], ticks[kept], origin_ns, kept)
    return replace(layout, repeated=int(again.sum()), ahead_ns=_ahead(layout, packets, reports))


def _ahead(layout: Layout, packets: Packets, reports: Sequence[Report]) -> int | None:
    """What the reports say of the packets as they were laid."""
    if not reports:
        return None
    rows = np.searchsorted(packets.offset, layout.offset)
    return ahead_of_ours(reports, packets.where(rows), layout.start_ns + layout.first)


def _check_length(length_ns: int) -> None:
    if not 0 <= length_ns <= MAX_SECONDS * SECOND_NS:
        raise TooLarge(f"a timeline of {length_ns // SECOND_NS} s; at most {MAX_SECONDS} s are played")


def _placed(packets: Packets, epoch: Int64s, ticks: Int64s, origin_ns: int, rank: Int64s) -> Layout:
    """The layout of packets that are in order of epoch and RTP time; `rank` is their order of arrival."""
    span = _spans(packets, epoch, ticks)
    begin, end = clocks.ns_of(ticks, packets.clock), clocks.ns_of(ticks + span, packets.clock)
    arrival = packets.arrival_ns - origin_ns
    begin, end, found = _in_our_time(packets, epoch, begin, end, arrival)
    starts = np.flatnonzero(np.diff(epoch, prepend=-1))
    base = np.minimum.reduceat(arrival - end, starts)
    base = _apart(base, begin, end, rank, starts)
    begin, end = begin + base[epoch], end + base[epoch]
    end[:-1] = np.where(epoch[1:] == epoch[:-1], np.minimum(end[:-1], begin[1:]), end[:-1])
    order = np.argsort(begin, kind="stable")
    start = int(begin[order[0]])
    layout = Layout(
        start_ns=origin_ns + start,
        first=(begin - start)[order],
        span=(end - begin)[order],
        offset=packets.offset[order],
        length=packets.length[order],
        codec=packets.codec[order],
        epoch=epoch[order],
        codecs=packets.codecs,
        skew=found,
    )
    _check_length(layout.duration_ns)
    return layout


def _in_our_time(
    packets: Packets, epoch: Int64s, begin: Int64s, end: Int64s, arrival: Int64s
) -> tuple[Int64s, Int64s, Skew]:
    """Begin and end of each packet by our clock, but for each epoch's beginning; the skew of who sent most.

    Senders are looked at one by one, for their epochs share a skew: a call has a handful, and who sent less than
    `skew.MIN_PACKETS` is passed over.
    """
    _, owner = np.unique(packets.ssrc * MAX_CLOCK + packets.clock, return_inverse=True)
    by_owner = np.argsort(owner.reshape(-1), kind="stable")
    counts = np.bincount(owner.reshape(-1))
    starts = np.flatnonzero(np.diff(epoch, prepend=-1))
    origin = begin[starts][epoch]
    most, main = 0, Skew()
    for count, stop in zip(counts.tolist(), np.cumsum(counts).tolist(), strict=True):
        if count < skew.MIN_PACKETS:
            continue
        mine = by_owner[stop - count : stop]
        found = skew.measure(epoch[mine], end[mine], (arrival - end)[mine])
        if found.is_corrected:
            for times in (begin, end):
                times[mine] = origin[mine] + np.rint((times - origin)[mine] * found.factor).astype(np.int64)
        if count > most:
            most, main = count, found
    return begin, end, main


def _spans(packets: Packets, epoch: Int64s, ticks: Int64s) -> Int64s:
    """Ticks of each packet: what its bytes tell, else the step to the next, else what was usual so far."""
    unknown = packets.span == UNKNOWN_SPAN
    if not unknown.any():
        return packets.span
    step = np.diff(ticks, append=0)
    follows = (np.diff(epoch, append=-1) == 0) & ((np.diff(packets.seq, append=0) & 0xFFFF) == 1)
    told = follows & (step > 0) & (step <= MAX_PACKET_SECONDS * packets.clock)
    usual = (USUAL_PACKET_SECONDS * packets.clock).astype(np.int64)
    last = np.maximum.accumulate(np.where(told, np.arange(step.size), -1))
    alike = (last >= 0) & (packets.clock[last] == packets.clock)
    guessed = np.where(told, step, np.where(alike, step[last], usual))
    return np.where(unknown, guessed, packets.span)


def _apart(base: Int64s, begin: Int64s, end: Int64s, rank: Int64s, starts: Int64s) -> Int64s:
    """Bases on the grid; who was followed by another at once lies before it, as far as arrival leaves that open.

    A place is never too early, as packets only come late; so it is the former one that gives way. Per epoch and not
    vectorised, because each one's place depends on that of the next; calls have a handful.
    """
    first, last = np.minimum.reduceat(rank, starts), np.maximum.reduceat(rank, starts)
    opens, closes = begin[starts] + base, np.maximum.reduceat(end, starts) + base
    grid = int(opens[0])
    for row in range(base.size - 1, -1, -1):
        move = -((int(opens[row]) - grid + GRID_NS // 2) % GRID_NS - GRID_NS // 2)
        if row + 1 < base.size and first[row + 1] > last[row]:
            overlap = int(closes[row] - opens[row + 1])
            is_long = closes[row] - opens[row] >= SURE_LENGTH_NS
            if -move < overlap <= (SURE_NS if is_long else UNSURE_NS):
                move = (move - overlap) // GRID_NS * GRID_NS + move % GRID_NS
        base[row] += move
        opens[row] += move
        closes[row] += move
    return base
