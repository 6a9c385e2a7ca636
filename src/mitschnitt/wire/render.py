"""Any stretch of one party's time as samples: what was not kept, or cannot be decoded, is silence of exact length.

It holds the block that is asked for and never the call. Which packet lies where is not decided here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mitschnitt.errors import MalformedPacket
from mitschnitt.wire import resample
from mitschnitt.wire.codecs import Decoder, Decoders
from mitschnitt.wire.layout import SECOND_NS, Layout

MAX_HOLE_BYTES = 1 << 18  # of media between two packets of a stretch; above it they are fetched one by one
NEAR_NS = 2  # times are whole ns, each off by half of one: nearer than this is the same
MAX_STRETCH = 0.002  # share by which a packet's time may differ from its samples' and still be a clock's skew
GUARD_NS = 10_000_000  # around a block: more than a resampling filter reaches at 8 kHz

Fetch = Callable[[int, int], bytes]  # payload bytes of [start, stop)
Int64s = NDArray[np.int64]
Samples = NDArray[np.int16]


def render(layout: Layout, fetch: Fetch, decoders: Decoders, start: int, stop: int, rate: int) -> Samples:
    """Samples [start, stop) at `rate` per second; silence where nothing was kept, also outside the layout.

    Voices of two epochs at the same time are added. MalformedPacket when the media is shorter than the layout says.
    """
    out = np.zeros(max(stop - start, 0), np.int32)
    begin, end = start * SECOND_NS // rate, stop * SECOND_NS // rate
    rows = _rows_between(layout, begin, end)
    for kind in sorted(set(_kinds(layout, rows).tolist())):
        make = decoders.get(layout.codecs[kind >> 32])
        if make is not None:
            decoder = make()
            if decoder.rate != rate or layout.is_stretched:
                rows = _rows_between(layout, begin - GUARD_NS, end + GUARD_NS)
            chosen = _with_preroll(layout, rows[_kinds(layout, rows) == kind], decoder.preroll)
            _add(out, _decode(layout, fetch, decoder, chosen), start, rate)
    return np.clip(out, -32768, 32767).astype(np.int16)


def _rows_between(layout: Layout, begin_ns: int, end_ns: int) -> Int64s:
    """Rows that lie in this time at least in part."""
    low = int(np.searchsorted(layout.first, begin_ns - layout.longest_ns, side="left"))
    rows = np.arange(low, max(low, int(np.searchsorted(layout.first, end_ns, side="left"))))
    return rows[layout.first[rows] + layout.span[rows] > begin_ns]


def _kinds(layout: Layout, rows: Int64s) -> Int64s:
    """What is decoded together: codec and epoch."""
    kinds: Int64s = layout.codec[rows] << 32 | layout.epoch[rows]
    return kinds


def _with_preroll(layout: Layout, rows: Int64s, preroll: int) -> Int64s:
    """The rows, and in front of them so many of the same codec and epoch."""
    if not preroll:
        return rows
    low = int(rows[0])
    before = np.flatnonzero(_kinds(layout, np.arange(low)) == _kinds(layout, rows[:1]))
    return np.concatenate((before[-preroll:], rows))


@dataclass(frozen=True)
class _Decoded:
    """Packets of one codec and epoch, decoded; per packet: where in time, how many samples, where they lie."""

    samples: Samples
    rate: int  # samples per second
    counts: Int64s
    at: Int64s  # place of the packet's first sample in `samples`; behind a gap there is silence for the filter
    first: Int64s  # ns
    length_ns: Int64s  # of its samples
    end: Int64s  # ns; the layout lets no packet reach into the next one


def _decode(layout: Layout, fetch: Fetch, decoder: Decoder, rows: Int64s) -> _Decoded:
    payload = _payload(fetch, layout.offset[rows], layout.length[rows])
    samples, counts = decoder.decode(payload, layout.length[rows])
    first, span = layout.first[rows], layout.span[rows]
    nominal = counts * SECOND_NS // decoder.rate
    length_ns = np.where(np.abs(span - nominal) <= nominal * MAX_STRETCH + NEAR_NS, span, nominal)
    end = first + np.minimum(length_ns, span)
    gap = np.zeros(rows.size, np.int64)
    gap[1:] = (first[1:] - end[:-1] > NEAR_NS) * 2 * resample.REACH
    at = np.cumsum(counts + gap) - counts
    if gap.any():
        spread = np.zeros(samples.size + int(gap.sum()), np.int16)
        spread[np.arange(samples.size) + np.repeat(np.cumsum(gap), counts)] = samples
        samples = spread
    return _Decoded(samples, decoder.rate, counts, at, first, length_ns, end)


def _payload(fetch: Fetch, offset: Int64s, length: Int64s) -> NDArray[np.uint8]:
    """The payload of these packets, one behind the other."""
    if (offset[1:] == (offset + length)[:-1]).all():
        return _fetched(fetch, int(offset[0]), int(offset[-1] + length[-1]))
    order = np.argsort(offset, kind="stable")
    holes = np.flatnonzero(offset[order][1:] - (offset + length)[order][:-1] > MAX_HOLE_BYTES) + 1
    pieces, base, have = [], np.zeros(offset.size, np.int64), 0
    for part in np.split(order, holes):
        begin, end = int(offset[part].min()), int((offset + length)[part].max())
        pieces.append(_fetched(fetch, begin, end))
        base[part] = have - begin
        have += end - begin
    inside = np.arange(int(length.sum())) - np.repeat(np.cumsum(length) - length, length)
    return np.concatenate(pieces)[np.repeat(offset + base, length) + inside]


def _fetched(fetch: Fetch, begin: int, end: int) -> NDArray[np.uint8]:
    """Payload bytes [begin, end); MalformedPacket when there are fewer."""
    found = np.frombuffer(fetch(begin, end), np.uint8)
    if found.size != end - begin:
        raise MalformedPacket(f"the timeline names {end - begin} bytes of media, got {found.size}")
    return found


def _add(out: NDArray[np.int32], found: _Decoded, start: int, rate: int) -> None:
    """Adds what was decoded to the block that begins at sample `start`."""
    begin = np.clip(_first_sample(found.first, rate) - start, 0, out.size)
    end = np.clip(_first_sample(found.end, rate) - start, begin, out.size)
    sizes = end - begin
    total = int(sizes.sum())
    if not total:
        return
    inside = np.arange(total) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    into = np.repeat(begin, sizes) + inside
    # Where each of these samples lies within its packet, in ns times `rate`, so that it stays whole.
    within = (into + start) * SECOND_NS - np.repeat(found.first * rate, sizes)
    lengths = np.maximum(found.length_ns, 1)
    if found.rate == rate and (np.abs(lengths * rate - found.counts * SECOND_NS) <= NEAR_NS * rate).all():
        inside = (within + SECOND_NS // 2) // SECOND_NS
        values = found.samples[np.repeat(found.at, sizes) + np.minimum(inside, np.repeat(found.counts - 1, sizes))]
    else:
        places = np.repeat(found.at, sizes) + within * np.repeat(found.counts / (lengths * rate), sizes)
        values = resample.at(found.samples, places, rate / found.rate)
    out[into] += values


def _first_sample(at_ns: Int64s, rate: int) -> Int64s:
    """The first sample at or after this time."""
    return -((NEAR_NS - at_ns) * rate // SECOND_NS)
