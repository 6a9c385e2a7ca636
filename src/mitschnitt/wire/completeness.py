"""What can be said of how complete one party's recording is: counts of packets, and each gap with its kind.

From the timeline alone, so that it can be said of every recording at any time. Decides nothing, prints nothing.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mitschnitt.wire import clocks, sequences
from mitschnitt.wire.codecs import codings
from mitschnitt.wire.layout import SECOND_NS, Layout
from mitschnitt.wire.packets import Packets, unfold
from mitschnitt.wire.skew import Skew
from mitschnitt.wire.timeline import lay_out

REORDER_NS = 200_000_000  # a packet is late when one that is so much newer came before it
MIN_GAP_NS = 5_000_000  # half of the shortest packet; less is a clock's rounding
LATE_START_NS = 200_000_000  # after the party's beginning; less is a client getting ready
HOLD_NS = 5 * SECOND_NS  # without a packet, comfort noise or a missing number: who is silent for so long is on hold
MAX_GAPS = 200  # that are told one by one; at 5 % loss an hour has thousands
STRETCH_SHIFT = 40  # numbers of one stretch stay far below
MS = 1_000_000  # ns

Int64s = NDArray[np.int64]
Flags = NDArray[np.bool_]


class GapKind(StrEnum):
    """Why nothing is heard for a while."""

    LATE_START = "late_start"  # nothing came yet
    HOLD = "hold"  # the sender paused, changed or began anew; no packet is missing
    PAUSE = "pause"  # the recorder kept nothing, because somebody asked for a pause or had not agreed
    LOSS = "loss"  # packets are missing
    DTX = "dtx"  # the sender had nothing to say, or sent comfort noise
    MASKED = "masked"  # a key was held; its packets are never kept


_KINDS = tuple(GapKind)
# Payload bytes of the shortest packet with speech; shorter ones are comfort noise (RFC 3551, 4.5.6; RFC 6716, 3.2.1;
# RFC 4867, 4.3.2: a descriptor of silence has 5 bytes, 2 of header with it, speech at least 13).
_SHORTEST = {"G729": 10, "OPUS": 4, "AMR": 13, "AMR-WB": 13}


@dataclass(frozen=True)
class Gap:
    """Silence in a recording; ms after the first packet, so a late start is before 0."""

    from_ms: int
    to_ms: int
    kind: GapKind


@dataclass(frozen=True)
class Completeness:
    """What one party's timeline says of its packets. A packet that came counts once in `received`, copies too."""

    expected: int  # by the sender's numbers, while it was kept
    received: int
    late: int  # came in after a packet that is more than 200 ms newer; they are in their place all the same
    duplicate: int
    lost: int
    masked: int  # telephone events, of which only the time was kept
    injected: int  # from elsewhere than the client; counted at the socket and never kept
    epochs: int  # stretches of one sender's clock
    undecoded: int  # of codings for which there is no decoder here
    skew: Skew
    gaps: tuple[Gap, ...]
    more_gaps: Mapping[str, tuple[int, int]]  # kind -> how many, ms together, of gaps behind the first MAX_GAPS

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it: `gaps` are [from, to, kind], `skew_ppm` is null where it is not known."""
        said = {name: value for name, value in vars(self).items() if isinstance(value, int)}
        is_known = self.skew.error_ppm > 0
        return said | {
            "skew_ppm": self.skew.ppm if is_known else None,
            "skew_error_ppm": self.skew.error_ppm if is_known else None,
            "skew_corrected": self.skew.is_corrected,
            "gaps": [[gap.from_ms, gap.to_ms, gap.kind.value] for gap in self.gaps],
            "more_gaps": {kind: list(rest) for kind, rest in self.more_gaps.items()},
        }


def statement(runs: NDArray[Any], header: Mapping[str, Any], *, decoders: Container[str] | None = None) -> Completeness:
    """What the timeline with this header says; without `decoders` nothing counts as undecoded.

    Raises what `lay_out` raises.
    """
    codecs = codings(header["codecs"], header.get("formats", {}))
    packets, layout = unfold(runs, codecs), lay_out(runs, codecs)
    numbers = _numbered(packets)
    path = header.get("path", {})
    gaps, in_pauses = _gaps(layout, _rows_of(layout, packets), numbers, _pauses(header, layout.start_ns))
    gaps = [*_late_start(layout, header), *gaps]
    unheld = max(0, int(path.get("received", 0)) - packets.seq.size)  # came, and had nothing that could be kept
    lost = max(0, numbers.expected - numbers.seen.size - in_pauses - unheld)
    return Completeness(
        expected=numbers.seen.size + lost,
        received=packets.seq.size,
        late=_late(layout, _rows_of(layout, packets)),
        duplicate=packets.seq.size - numbers.seen.size,
        lost=lost,
        masked=int(packets.is_event.sum()),
        injected=int(path.get("injected", 0)),
        epochs=int(layout.epoch.max()) + 1 if layout.epoch.size else 0,
        undecoded=layout.undecoded(decoders) if decoders is not None else 0,
        skew=layout.skew,
        gaps=tuple(gaps[:MAX_GAPS]),
        more_gaps=_summed(gaps[MAX_GAPS:]),
    )


def _summed(gaps: Sequence[Gap]) -> dict[str, tuple[int, int]]:
    """How many of each kind, and their ms together."""
    kinds = sorted({gap.kind.value for gap in gaps})
    lengths = {kind: [gap.to_ms - gap.from_ms for gap in gaps if gap.kind == kind] for kind in kinds}
    return {kind: (len(found), sum(found)) for kind, found in lengths.items()}


# --- numbers ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Numbers:
    """The sequence numbers of all packets, in order of arrival: stretch and number in one sortable key."""

    key: Int64s
    stretch: Int64s
    number: Int64s
    seen: Int64s  # different keys, in order
    events: Int64s  # of them those of telephone events
    expected: int  # from the first to the last of each stretch

    def missing(self, low: Int64s, high: Int64s) -> Int64s:
        """How many numbers between these packets never came; 0 where they are of different stretches."""
        came = np.searchsorted(self.seen, self.key[high]) - np.searchsorted(self.seen, self.key[low]) - 1
        between = self.number[high] - self.number[low] - 1
        return np.where(self.stretch[low] == self.stretch[high], np.maximum(between - came, 0), 0)

    def has_events(self, low: Int64s, high: Int64s) -> Flags:
        """Whether a key was held between these packets."""
        between = np.searchsorted(self.events, self.key[high]) > np.searchsorted(self.events, self.key[low])
        found: Flags = between & (self.stretch[low] == self.stretch[high])
        return found


def _numbered(packets: Packets) -> _Numbers:
    none = np.zeros(0, np.int64)
    if not packets.seq.size:
        return _Numbers(none, none, none, none, none, 0)
    clock, ticks = clocks.tell_apart(packets, int(packets.arrival_ns.min()))
    stretch, number = sequences.count_on(packets.seq, _senders(packets, clock), ticks, packets.span)
    key = (stretch << STRETCH_SHIFT) + number + (1 << STRETCH_SHIFT - 1)
    seen = np.unique(key)
    opens = np.flatnonzero(np.diff(seen >> STRETCH_SHIFT, prepend=-1))
    last = seen[np.append(opens[1:], seen.size) - 1]
    expected = int((last - seen[opens] + 1).sum())
    return _Numbers(key, stretch, number, seen, np.unique(key[packets.is_event]), expected)


def _senders(packets: Packets, clock: Int64s) -> Int64s:
    """Whose numbers belong together: the SSRC's, or the clock's where two senders alternate under one SSRC."""
    _, ssrc = np.unique(packets.ssrc, return_inverse=True)
    ssrc = ssrc.reshape(-1)
    sound = np.flatnonzero(~packets.is_event)
    by_source = sound[np.argsort(ssrc[sound], kind="stable")]
    turns = np.diff(clock[by_source], prepend=-1) != 0
    count = int(ssrc.max()) + 1
    changes = np.bincount(ssrc[by_source][turns], minlength=count)
    different = np.bincount(ssrc[sound][np.unique(clock[sound], return_index=True)[1]], minlength=count)
    alternates = changes > 2 * different
    return np.where(alternates[ssrc], count + clock, ssrc)


# --- places -------------------------------------------------------------------------------------------


def _rows_of(layout: Layout, packets: Packets) -> Int64s:
    """The packet of each row of the layout."""
    sound = np.flatnonzero((packets.length > 0) & ~packets.is_event)
    return sound[np.searchsorted(packets.offset[sound], layout.offset)]


def _late(layout: Layout, packet: Int64s) -> int:
    """Packets that came after one of their epoch that is more than REORDER_NS newer."""
    order = np.lexsort((packet, layout.epoch))
    apart = int(layout.duration_ns) + 1  # so that no epoch reaches into the next one
    time = (layout.first + layout.epoch * apart)[order]
    return int((np.maximum.accumulate(time) - time > REORDER_NS).sum()) if time.size else 0


def _is_noise(layout: Layout) -> Flags:
    """Packets that say how silence sounds, or that there is none to tell of."""
    bare = [name.partition(";")[0].partition("/")[0] for name in layout.codecs]
    kind = np.array([_SHORTEST.get(name, 0) for name in bare], np.int64)[layout.codec]
    found: Flags = (layout.length < kind) | (layout.span == 0)
    return found


def _gaps(
    layout: Layout, packet: Int64s, numbers: _Numbers, pauses: Sequence[tuple[int, int]]
) -> tuple[list[Gap], int]:
    """The gaps in order of time, and how many numbers the pauses among them left out."""
    sounding = np.flatnonzero(~_is_noise(layout))
    if sounding.size < 2:
        return [], 0
    first, reach = layout.first[sounding], np.maximum.accumulate((layout.first + layout.span)[sounding])
    at = np.flatnonzero(first[1:] - reach[:-1] > MIN_GAP_NS)
    begin, end = reach[at], first[at + 1]
    low, high = sounding[at], sounding[at + 1]
    missing = numbers.missing(packet[low], packet[high])
    is_pause = _overlap(begin, end, pauses) * 2 >= end - begin
    is_same = (layout.epoch[low] == layout.epoch[high]) & (
        numbers.stretch[packet[low]] == numbers.stretch[packet[high]]
    )
    kinds = np.select(
        [
            is_pause,
            missing * layout.span[low] * 2 >= end - begin,
            numbers.has_events(packet[low], packet[high]),
            ~is_same,
            (high - low > 1) | (end - begin < HOLD_NS),
        ],
        [_KINDS.index(kind) for kind in (GapKind.PAUSE, GapKind.LOSS, GapKind.MASKED, GapKind.HOLD, GapKind.DTX)],
        _KINDS.index(GapKind.HOLD),
    )
    told = zip((begin // MS).tolist(), (end // MS).tolist(), kinds.tolist(), strict=True)
    return [Gap(start, stop, _KINDS[kind]) for start, stop, kind in told], int(missing[is_pause].sum())


def _overlap(begin: Int64s, end: Int64s, pauses: Sequence[tuple[int, int]]) -> Int64s:
    """Ns of each gap that lie in pauses."""
    total = np.zeros(begin.size, np.int64)
    for start, stop in pauses:
        total += np.maximum(np.minimum(end, stop) - np.maximum(begin, start), 0)
    return total


# --- the header ---------------------------------------------------------------------------------------


def _ns(text: str) -> int:
    """Ns since 1970 of a time in RFC 3339; to the microsecond."""
    since = datetime.fromisoformat(text) - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * SECOND_NS + since.microseconds * 1_000


def _pauses(header: Mapping[str, Any], start_ns: int) -> list[tuple[int, int]]:
    """Pauses in ns after the start."""
    return [(_ns(begin) - start_ns, _ns(end) - start_ns) for begin, end in header.get("pauses", [])]


def _late_start(layout: Layout, header: Mapping[str, Any]) -> list[Gap]:
    """The silence before the first packet, where there is one."""
    if "started_at" not in header or not layout.first.size:
        return []
    before = layout.start_ns - _ns(header["started_at"])
    return [Gap(-(before // MS), 0, GapKind.LATE_START)] if before > LATE_START_NS else []
