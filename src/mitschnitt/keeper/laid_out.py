"""One party of a play-back as it lies in time: which packets a stretch needs, and where their bytes are.

It holds places and times, never audio: bytes come from a `fetch` for each stretch and are not kept. It decides nothing
about who may hear them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mitschnitt.errors import Damaged, TooLarge
from mitschnitt.wire.folded import Folded
from mitschnitt.wire.layout import Layout
from mitschnitt.wire.stretch import ROW, Rows, Stretch, pack_stretch

MAX_STRETCH_BYTES = 64 * 1_048_576  # of one party's payload in one answer; longer recordings come in ranges
MAX_HOLE_BYTES = 65_536  # between two packets' bytes; a larger hole is not read, as opening it costs more than asking

Fetch = Callable[[int, int], bytes]  # media bytes of [start, stop)
Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True)
class LaidOut:
    """Where a party's packets lie in time and in its media; times count from the call's origin."""

    party: int
    folded: Folded

    @property
    def end_ns(self) -> int:
        """When the last packet ends, after the call's origin; 0 without packets."""
        return self.folded.duration_ns

    def stretch(self, fetch: Fetch, start_ns: int, stop_ns: int, *, before: int) -> Stretch:
        """The packets that sound within [start_ns, stop_ns), and so many `before` them; and their payload.

        TooLarge above MAX_STRETCH_BYTES; Damaged when the media is shorter than these packets say, or from `fetch`.
        """
        near = self._near(start_ns, stop_ns, before)
        at = _within(near, start_ns, stop_ns, before)
        length = near.length[at]
        if int(length.sum()) > MAX_STRETCH_BYTES:
            raise TooLarge(f"{int(length.sum())} bytes are wanted; at most {MAX_STRETCH_BYTES} come in one answer")
        return Stretch(self.party, _rows_of(near, at), _gathered(fetch, near.offset[at], length))

    def packed(self, fetch: Fetch, start_ns: int, stop_ns: int, *, before: int) -> bytes:
        """The same as `wire/stretch` packs it."""
        return pack_stretch(self.stretch(fetch, start_ns, stop_ns, before=before))

    def _near(self, start_ns: int, stop_ns: int, before: int) -> Layout:
        """All packets that may be in the stretch, and a few more: only their rows are unfolded."""
        first = self.folded.rows.first
        # The last packets of the row before may reach in, too.
        low = max(int(np.searchsorted(first, start_ns - self.folded.rows.longest_ns, side="left")) - 1, 0)
        high = max(int(np.searchsorted(first, stop_ns, side="left")), low)
        ahead = np.cumsum(self.folded.count[max(low - before, 0) : low][::-1])
        return self.folded.unfolded(low - min(int(np.searchsorted(ahead, before)) + 1, ahead.size), high)


def _within(near: Layout, start_ns: int, stop_ns: int, before: int) -> slice:
    sounding = np.flatnonzero(near.first + near.span > start_ns)
    high = int(np.searchsorted(near.first, stop_ns, side="left"))
    if not sounding.size or sounding[0] >= high or stop_ns <= start_ns:
        return slice(0, 0)
    return slice(max(int(sounding[0]) - before, 0), high)


def _rows_of(layout: Layout, at: slice) -> Rows:
    rows = np.zeros(layout.first[at].size, ROW)
    rows["first_ns"], rows["span_ns"] = layout.first[at], layout.span[at]
    rows["length"], rows["codec"], rows["epoch"] = layout.length[at], layout.codec[at], layout.epoch[at]
    return rows


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
