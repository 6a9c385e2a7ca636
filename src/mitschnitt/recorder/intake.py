"""What becomes of the rows of a batch: held, read as digits, handed to RTCP, or counted and forgotten.

    Batch --parse, sort--> kept rows -> hold, reception | events -> digits | RTCP, leaks, refused -> counters

Calls nobody back while a packet is in the arena: what has to be told is put aside with `tell`. Decides nothing about
consent: what a row is says its line.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from mitschnitt.recorder.counts import MediaCounts, Watch
from mitschnitt.recorder.filters import FOREIGN_BYTES
from mitschnitt.recorder.hold import Hold, Kept
from mitschnitt.recorder.lines import Line, Lines, Sorted
from mitschnitt.recorder.receiver import Batch
from mitschnitt.recorder.reception import Reception
from mitschnitt.recorder.rtcp import Rtcp
from mitschnitt.recorder.sources import Keys
from mitschnitt.wire import dtmf, rtp

MIXED = "binding.mixed"


@dataclass(frozen=True)
class Intake:
    """See the module."""

    lines: Lines
    hold: Hold
    reception: Reception
    rtcp: Rtcp
    counts: MediaCounts
    watch: Watch
    tell: Callable[[Callable[[], None]], None]  # takes what is to be called once no packet is in the arena
    on_digit: Callable[[Line, str, int], None]
    on_doubt: Callable[[Line, str, int], None]

    def take(self, batch: Batch, arrival_ns: int) -> None:
        """Every row of a batch finds its place; no packet of it may be younger than its stamp, ns since 1970."""
        if batch.sources is not None:
            self._cut_foreign(batch, batch.sources)
        headers = rtp.parse(batch.rows, batch.lengths, batch.stream)
        self.lines.refuse_stale(headers)
        self.lines.unwrap(headers, batch.rows)
        found = self.lines.sort(headers)
        self.counts.received += batch.count
        if found.event.any():
            self._read_digits(batch, headers, found, arrival_ns)
        if found.kept.all():
            self._keep_rows(batch, headers, found.event, None, arrival_ns)
            return
        rows = np.flatnonzero(found.kept)
        if rows.size:
            self._keep_rows(batch, headers.where(rows), found.event[rows], rows, arrival_ns)
        self._count_others(batch, headers, found)

    def _cut_foreign(self, batch: Batch, sources: Keys) -> None:
        """Rows of other sources end as the kernel would have left them; who sent first is locked from now on."""
        fits, locked = self.lines.sources.admit(batch.stream, sources, rtp.may_be_media(batch.rows, batch.lengths))
        foreign = ~fits
        if foreign.any():
            batch.lengths[foreign] = FOREIGN_BYTES
        self.lines.locked(locked)

    def _keep_rows(
        self, batch: Batch, headers: rtp.Headers, is_event: NDArray[np.bool_], rows: NDArray[np.intp] | None,
        arrival_ns: int,
    ) -> None:  # fmt: skip
        """Rows of open lines go into the hold and are counted; `rows` are their places, None when it is all of them."""
        has_events = bool(is_event.any())
        if has_events:
            headers.length[is_event] = 0
        what = Kept(headers, rows, is_event if has_events else None)
        self.counts.kept += headers.seq.size
        self.counts.kept_octets += int(headers.length.sum())
        runs, first = self.hold.store(what, self.lines.slots_of(headers.stream), batch.rows, arrival_ns)
        if changed := self.reception.count(headers.stream[first], runs, arrival_ns):
            self.rtcp.changed(changed)
        if headers.contributors.any():
            self._look_for_mixes(batch, what, arrival_ns)

    def _look_for_mixes(self, batch: Batch, kept: Kept, arrival_ns: int) -> None:
        """Contributing sources: more than one on a line, and it is not known who is heard."""
        headers = kept.headers
        named = np.flatnonzero(headers.contributors)
        first = rtp.first_contributor(batch.rows, named if kept.rows is None else kept.rows[named])
        for number in self.reception.mix(headers.stream[named], headers.contributors[named], first):
            self.counts.mixed += 1
            self.tell(partial(self.on_doubt, self.lines.state_at(number).line, MIXED, arrival_ns))

    def _read_digits(self, batch: Batch, headers: rtp.Headers, found: Sorted, arrival_ns: int) -> None:
        """Turns the event packets of a batch into digits; few lines have any."""
        rows = np.flatnonzero(found.event)
        self.counts.events += rows.size
        places = headers.offset[rows][:, None] + np.arange(dtmf.EVENT_BYTES)
        payload = batch.rows[rows[:, None], places]
        stream = headers.stream[rows]
        for number in sorted(set(stream.tolist())):
            mine = stream == number
            at = rows[mine]
            kinds = headers.payload_type[at]
            packets = dtmf.EventPackets(headers.ssrc[at], headers.rtp_time[at], payload[mine], kinds)
            state = self.lines.state_at(number)
            state.press, digits = dtmf.read(state.press, packets, now_ns=arrival_ns)
            for digit in digits:
                self.tell(partial(self.on_digit, state.line, digit, arrival_ns))

    def _count_others(self, batch: Batch, headers: rtp.Headers, found: Sorted) -> None:
        self.counts.strange += int(found.strange.sum())
        idle, control = self.lines.idle(headers, found)
        if idle.size:
            self.reception.count_idle(headers.stream[idle], headers.ssrc[idle])
        for row in control.tolist():  # one in some seconds of each line that is muxed
            number = int(headers.stream[row])
            if self.rtcp.is_muxed(number):
                data = batch.rows[row, : batch.lengths[row]].tobytes()
                self.tell(partial(self.rtcp.take, number, data))  # once this batch is counted
                headers.reason[row] = rtp.Reason.VALID  # not as RTP, but it was no stray packet either
        foreign = np.flatnonzero(batch.lengths == FOREIGN_BYTES)
        if foreign.size:
            self.counts.injected += foreign.size
            sources = batch.sources[foreign] if batch.sources is not None else None
            self.lines.sources.count_foreign(batch.stream[foreign], sources)
            headers.reason[foreign] = rtp.Reason.VALID  # counted already
        for reason, count in headers.refused().items():
            self.counts.refused[reason.name] = self.counts.refused.get(reason.name, 0) + count
        if found.leaked.any():
            for number, count in enumerate(np.bincount(headers.stream[found.leaked]).tolist()):
                if count:
                    self.watch.leaked(number, count)
