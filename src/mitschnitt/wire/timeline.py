"""Where each kept packet of one party lies in time: runs in, a Layout out; `render` makes samples of any part of it.

    runs --whole ones as one--> packets --clocks, epochs, skew--> Folded --unfolded--> Layout --render--> samples

Pure: the clock is in the runs. `fold` decides once per call, `lay_out` unfolds all of it; a play-back of an hour holds
a block in memory and not the hour. Pauses, losses and a late start become silence of exact length.
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
from mitschnitt.wire.folded import Even, Folded, in_order
from mitschnitt.wire.layout import GRID_NS, SECOND_NS
from mitschnitt.wire.layout import Layout as Layout
from mitschnitt.wire.layout import shifted as shifted
from mitschnitt.wire.packets import MAX_CLOCK, UNKNOWN_SPAN, Codecs, kinds_of, one_by_one
from mitschnitt.wire.packets import parse_runs as parse_runs
from mitschnitt.wire.render import Fetch as Fetch
from mitschnitt.wire.render import Samples as Samples
from mitschnitt.wire.render import render as render
from mitschnitt.wire.skew import Skew
from mitschnitt.wire.whole_runs import Picked, Sounding, sounding, torn

MAX_SECONDS = 24 * 3600  # no call lasts a day; more is a damaged timeline, not silence to write out
MAX_PACKET_SECONDS = 0.12  # of one packet (RFC 3551, 4.2 allows 200 ms; Opus ends at 120); longer steps are pauses
USUAL_PACKET_SECONDS = 0.02  # where nothing tells
SURE_LENGTH_NS = 3 * SECOND_NS  # of an epoch: 12 drains, of which one brought a packet at once
SURE_NS, UNSURE_NS = 40_000_000, 250_000_000  # by which an epoch's place may be late if it is so long, or shorter

Int64s = NDArray[np.int64]


def lay_out(runs: NDArray[Any], codecs: Codecs, *, reports: Sequence[Report] = ()) -> Layout:
    """Each packet's place, one by one; else as `fold`."""
    return fold(runs, codecs, reports=reports).unfolded()


def fold(runs: NDArray[Any], codecs: Codecs, *, reports: Sequence[Report] = ()) -> Folded:
    """Each packet's place, in rows. `codecs` maps payload type to coding and RTP clock, as `codings` reads them.

    `reports` are the header's: arrival in ns, SSRC, NTP time in ns and RTP time of each sender report.

    Raises TooLarge when the packets span more than a day, MalformedPacket for what no timeline can say.
    """
    heard = sounding(runs, codecs)
    if not heard.count.size:
        nothing = Layout(int(runs["arrival_ns"][0]) if runs.size else 0, codecs=heard.first.codecs)
        return Folded(nothing, nothing.first, Even.of(0))
    origin_ns = int(heard.first.arrival_ns.min())
    _check_length(int(heard.first.arrival_ns.max()) - origin_ns)
    picked, epoch, ticks, order = _in_order(heard, origin_ns)
    seq = picked.packets.seq[order]
    again = np.zeros(order.size, np.bool_)
    again[1:] = (np.diff(epoch[order]) == 0) & (np.diff(ticks[order]) == 0) & (np.diff(seq) == 0)
    kept = order[~again]
    rank = (np.cumsum(heard.count) - heard.count)[picked.run] + picked.inside
    placed = _placed(picked.where(kept), epoch[kept], ticks[kept], origin_ns, rank[kept], reports)
    return replace(placed, rows=replace(placed.rows, repeated=int(again.sum())))


def _in_order(heard: Sounding, origin_ns: int) -> tuple[Picked, Int64s, Int64s, Int64s]:
    """(packets that stand for all, the epoch and the unwrapped RTP time of each, their order by these)."""
    even = heard.even(MAX_PACKET_SECONDS)
    picked = heard.picked(even)
    packets, reach_ns = picked.packets, picked.reach * SECOND_NS // picked.packets.clock
    clock, ticks = clocks.tell_apart(packets, origin_ns, picked.reach)
    end = clocks.ns_of(ticks + np.maximum(packets.span, 0), packets.clock)
    until = end + reach_ns
    epoch = epochs.split(clock, packets.arrival_ns, packets.arrival_ns - origin_ns - until, end, until)
    order = np.lexsort((packets.seq, ticks, epoch))
    among_others = torn(picked, order, epoch, ticks)
    if among_others.any():
        whole = even.copy()
        whole[picked.run[among_others]] = False
        picked, before = heard.picked(whole), picked
        # What was told of a run's first packet goes for the run; the uneven ones were taken packet by packet before.
        further = np.where(even[picked.run], picked.inside, 0)
        row = np.searchsorted(before.run, picked.run) + picked.inside - further
        epoch, ticks = epoch[row], ticks[row] + picked.step * further
        order = np.lexsort((picked.packets.seq, ticks, epoch))
    return picked, epoch, ticks, order


def _check_length(length_ns: int) -> None:
    if not 0 <= length_ns <= MAX_SECONDS * SECOND_NS:
        raise TooLarge(f"a timeline of {length_ns // SECOND_NS} s; at most {MAX_SECONDS} s are played")


def _placed(
    picked: Picked, epoch: Int64s, ticks: Int64s, origin_ns: int, rank: Int64s, reports: Sequence[Report]
) -> Folded:
    """The layout of packets that are in order of epoch and RTP time; `rank` is their order of arrival."""
    if (picked.packets.span == UNKNOWN_SPAN).any():  # what is usual is learned from packet to packet
        picked, row, further = picked.in_two(picked.count > 1)
        epoch, ticks, rank = epoch[row], ticks[row] + picked.step * further, rank[row] + further
    packets, span = picked.packets, _spans(picked, epoch, ticks)
    step_ns = picked.step * SECOND_NS // packets.clock
    reach_ns = (picked.count - 1) * step_ns
    told, told_end = clocks.ns_of(ticks, packets.clock), clocks.ns_of(ticks + span, packets.clock)
    found, factor = _skews(picked, epoch, told_end, step_ns, origin_ns)
    starts = np.flatnonzero(np.diff(epoch, prepend=-1))
    origin = told[starts][epoch]
    begin, end = _in_our_time(told, origin, factor), _in_our_time(told_end + reach_ns, origin, factor)
    base = np.minimum.reduceat(packets.arrival_ns - origin_ns - end, starts)
    base = _apart(base, begin, end, (rank, rank + picked.count - 1), starts)[epoch]
    begin, end = begin + base, end + base
    even = Even(step_ns, told_end - told, told - origin, factor)
    ahead = _ahead(picked, begin + origin_ns, even, reports)
    end_lasts = _end_lasts(begin + even.begins(picked.count - 1), begin, end, epoch)
    lasts = np.where(picked.count > 1, even.lasts(np.zeros_like(begin)), end_lasts)
    cut = (picked.count > 1) & (even.lasts(picked.count - 1) != end_lasts)
    if cut.any():  # the next row begins before the last packet of this one ends, so that one is not like the others
        picked, row, further = picked.in_two(cut)
        even, epoch, packets = even.where(row), epoch[row], picked.packets
        begin, lasts = begin[row] + even.begins(further), np.where(further > 0, end_lasts[row], lasts[row])
    start = int(begin.min())
    rows = Layout(
        start_ns=origin_ns + start,
        first=begin - start,
        span=lasts,
        offset=packets.offset,
        length=packets.length,
        codec=packets.codec,
        epoch=epoch,
        codecs=packets.codecs,
        skew=found,
        ahead_ns=ahead,
    )
    folded = Folded(rows, picked.count, even)
    _check_length(folded.duration_ns)
    return in_order(folded)


def _end_lasts(last: Int64s, begin: Int64s, end: Int64s, epoch: Int64s) -> Int64s:
    """Ns that the last packet of each row lasts, from `last` on: to its end, or to the next row of its epoch."""
    is_last = np.diff(epoch, append=-1) != 0
    return np.where(is_last, end, np.minimum(end, np.append(begin[1:], end[-1]))) - last


def _in_our_time(told_ns: Int64s, origin: Int64s, factor: NDArray[np.float64]) -> Int64s:
    """By our clock what is `told_ns` by the sender's, but for where its epoch begins; `origin`: by the sender's."""
    if (factor == 1.0).all():
        return told_ns
    moved = origin + np.rint((told_ns - origin) * factor).astype(np.int64)
    return np.where(factor == 1.0, told_ns, moved)


def _ahead(picked: Picked, begin_ns: Int64s, even: Even, reports: Sequence[Report]) -> int | None:
    """What the reports say of packets that were laid there."""
    if not reports:
        return None
    both, row, further = picked.in_two(picked.count > 1)
    begin_ns = begin_ns[row] + even.where(row).begins(further)
    order = np.argsort(begin_ns, kind="stable")
    return ahead_of_ours(reports, both.packets.where(order), begin_ns[order])


def _skews(
    picked: Picked, epoch: Int64s, end_ns: Int64s, step_ns: Int64s, origin_ns: int
) -> tuple[Skew, NDArray[np.float64]]:
    """The skew of who sent most, and what takes each packet's out; `end_ns` is its RTP time behind it.

    Senders are looked at one by one, for their epochs share a skew: a call has a handful, and who sent less than
    `skew.MIN_PACKETS` is passed over.
    """
    packets = picked.packets
    _, owner = kinds_of(packets.ssrc * MAX_CLOCK + packets.clock)
    by_owner = np.argsort(owner, kind="stable")
    until_ns = end_ns + (picked.count - 1) * step_ns
    factor = np.ones(owner.size)
    most, main, stop = 0, Skew(), 0
    for size in np.bincount(owner).tolist():
        mine = by_owner[stop : stop + size]
        stop += size
        counts = picked.count[mine]
        count = int(counts.sum())
        if count < skew.MIN_PACKETS:
            continue
        # Within a run the last packet is the least delayed, in each window that it reaches into.
        window = skew.windows(np.concatenate((end_ns[mine], until_ns[mine]))).reshape(2, -1)
        is_seen = window[0] != window[1]
        is_seen[np.argmin(end_ns[mine])] = True  # windows are counted from the very first packet
        which, inside = one_by_one(np.where(is_seen, counts, 1))
        row, inside = mine[which], np.where(is_seen[which], inside, counts[which] - 1)
        times = end_ns[row] + inside * step_ns[row]
        found = skew.measure(epoch[row], times, packets.arrival_ns[row] - origin_ns - times)
        factor[mine] = found.factor
        if count > most:
            most, main = count, found
    return main, factor


def _spans(picked: Picked, epoch: Int64s, ticks: Int64s) -> Int64s:
    """Ticks of each packet: what its bytes tell, else the step to the next, else what was usual so far."""
    packets, stands = picked.packets, picked.count > 1
    unknown = packets.span == UNKNOWN_SPAN
    if not unknown.any():
        return packets.span
    step = np.where(stands, picked.step, np.diff(ticks, append=0))
    follows = stands | (np.diff(epoch, append=-1) == 0) & ((np.diff(packets.seq, append=0) & 0xFFFF) == 1)
    told = follows & (step > 0) & (step <= MAX_PACKET_SECONDS * packets.clock)
    usual = (USUAL_PACKET_SECONDS * packets.clock).astype(np.int64)
    last = np.maximum.accumulate(np.where(told, np.arange(step.size), -1))
    alike = (last >= 0) & (packets.clock[last] == packets.clock)
    guessed = np.where(told, step, np.where(alike, step[last], usual))
    return np.where(unknown, guessed, packets.span)


def _apart(base: Int64s, begin: Int64s, end: Int64s, ranks: tuple[Int64s, Int64s], starts: Int64s) -> Int64s:
    """Bases on the grid; who was followed by another at once lies before it, as far as arrival leaves that open.

    A place is never too early, as packets only come late; so it is the former one that gives way. Per epoch and not
    vectorised, because each one's place depends on that of the next; calls have a handful.
    """
    first, last = np.minimum.reduceat(ranks[0], starts), np.maximum.reduceat(ranks[1], starts)
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
