"""One party of a play-back as it lies in time: which packets a stretch needs, and where their bytes are.

It holds places and times, never audio: bytes come from a `fetch` for each stretch and are not kept. It decides nothing
about who may hear them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mitschnitt.errors import Damaged, TooLarge
from mitschnitt.wire.stretch import ROW, Rows, Stretch, pack_stretch

MAX_STRETCH_BYTES = 64 * 1_048_576  # of one party's payload in one answer; longer recordings come in ranges
MAX_HOLE_BYTES = 65_536  # between two packets' bytes; a larger hole is not read, as opening it costs more than asking

Fetch = Callable[[int, int], bytes]  # media bytes of [start, stop)
Int64s = npt.NDArray[np.int64]
Ints = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True)
class LaidOut:
    """Packets in order of time; `offset` says where the payload of each begins in the media."""

    party: int
    rows: Rows
    offset: Int64s
    longest_ns: int  # of its packets

    @property
    def end_ns(self) -> int:
        """When the last packet ends, after the call's origin; 0 without packets."""
        return int((self.rows["first_ns"] + self.rows["span_ns"].astype(np.int64)).max()) if self.rows.size else 0

    def stretch(self, fetch: Fetch, start_ns: int, stop_ns: int, *, before: int) -> Stretch:
        """The packets that sound within [start_ns, stop_ns), and so many `before` them; and their payload.

        TooLarge above MAX_STRETCH_BYTES; Damaged when the media is shorter than these packets say, or from `fetch`.
        """
        low, high = self._within(start_ns, stop_ns, before)
        rows, offset = self.rows[low:high], self.offset[low:high]
        length = rows["length"].astype(np.int64)
        if int(length.sum()) > MAX_STRETCH_BYTES:
            raise TooLarge(f"{int(length.sum())} bytes are wanted; at most {MAX_STRETCH_BYTES} come in one answer")
        return Stretch(self.party, rows, _gathered(fetch, offset, length))

    def packed(self, fetch: Fetch, start_ns: int, stop_ns: int, *, before: int) -> bytes:
        """The same as `wire/stretch` packs it."""
        return pack_stretch(self.stretch(fetch, start_ns, stop_ns, before=before))

    def _within(self, start_ns: int, stop_ns: int, before: int) -> tuple[int, int]:
        first = self.rows["first_ns"]
        low = int(np.searchsorted(first, start_ns - self.longest_ns, side="left"))
        high = max(int(np.searchsorted(first, stop_ns, side="left")), low)
        ends = first[low:high] + self.rows["span_ns"][low:high].astype(np.int64)
        sounding = np.flatnonzero(ends > start_ns)
        if not sounding.size or stop_ns <= start_ns:
            return low, low
        return max(low + int(sounding[0]) - before, 0), high


def laid_out(
    party: int, *, first: Int64s, span: Int64s, length: Ints, codec: Ints, epoch: Ints, offset: Ints
) -> LaidOut:
    """A party's packets from the columns of its layout; `first` counts ns from the call's origin, ascending."""
    rows = np.zeros(first.size, ROW)
    columns = {"first_ns": first, "span_ns": span, "length": length, "codec": codec, "epoch": epoch}
    for name, column in columns.items():
        rows[name] = column
    return LaidOut(party, rows, offset.astype(np.int64, copy=False), int(span.max()) if span.size else 0)


def _gathered(fetch: Fetch, offset: Int64s, length: Int64s) -> bytes:
    """Payload in order of time; packets lie in the media in order of arrival."""
    if not offset.size:
        return b""
    ends = np.cumsum(length)
    if (np.diff(offset) == length[:-1]).all():
        return _whole(fetch, int(offset[0]), int(ends[-1]))
    by_place = np.argsort(offset, kind="stable")
    begin, end = offset[by_place], np.maximum.accumulate((offset + length)[by_place])
    cuts = np.flatnonzero(begin[1:] - end[:-1] > MAX_HOLE_BYTES) + 1
    starts = begin[np.concatenate(([0], cuts))]
    stops = end[np.concatenate((cuts - 1, [end.size - 1]))]
    sizes = stops - starts
    read = b"".join(_whole(fetch, int(a), int(n)) for a, n in zip(starts, sizes, strict=True))
    piece = np.searchsorted(starts, offset, side="right") - 1
    at = offset - starts[piece] + (np.cumsum(sizes) - sizes)[piece]
    every = np.arange(int(ends[-1])) - np.repeat(ends - length, length)
    return np.frombuffer(read, np.uint8)[np.repeat(at, length) + every].tobytes()


def _whole(fetch: Fetch, start: int, size: int) -> bytes:
    data = fetch(start, start + size)
    if len(data) != size:
        raise Damaged(f"the timeline names {size} bytes of media from {start} on, there are {len(data)}")
    return data
