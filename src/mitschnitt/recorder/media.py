"""The media plane of a recorder: lines and tracks for the session, one timer, and the order of its steps.

    every tick: drain all lines -> judge rows -> hold | digits | leak counts; seal what is older than the hold
                -> one journal write -> sync in the background

Decides nothing: the session says which line is kept where, and when it is shut. Audio of gated lines is cut
in the kernel; what slips through is zeroed unread. Plaintext leaves the hold only sealed or zeroed.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from mitschnitt.errors import KeyGone, NoSpace, VaultError
from mitschnitt.recorder import ports
from mitschnitt.recorder.clock import SteadyClock, moment, rfc3339
from mitschnitt.recorder.hold import Hold, Kept, Parts, Tick
from mitschnitt.recorder.leaps import Leap, steadied
from mitschnitt.recorder.lines import GATED, Line, Lines, Sorted
from mitschnitt.recorder.ports import PortPool
from mitschnitt.recorder.receiver import Batch, Receiver
from mitschnitt.recorder.reception import Loss, Reception
from mitschnitt.recorder.rtcp import MAX_SOCKETS, OnDoubt, OnNamed, Peer, Rtcp
from mitschnitt.recorder.tracks import (
    FRAME_PARTS,
    Codecs,
    FrameBuilder,
    JournalFailed,
    Track,
    Tracks,
    as_no_space,
)
from mitschnitt.vault.artefact import PartyHeader
from mitschnitt.vault.blobs import Blobs
from mitschnitt.vault.derive import Kind, artefact_name
from mitschnitt.vault.finish import SALT_BYTES, SealedParty, finish_party, opened
from mitschnitt.vault.slice_files import SliceWriter
from mitschnitt.wire import dtmf, rtp

HOLD_NS = 1_500_000_000  # newest audio that a withdrawal still takes back unsealed (design section 4)
TICK_NS = 250_000_000  # between drains; hold + tick + the work of a tick stay below the 2 s that a kill may cost
DIGIT_TICK_NS = 50_000_000  # between drains of gated lines that wait for a digit: how late a key may act
FINISH_THREADS = 2  # parties whose files are written at the same time; they mostly wait for the disk
DROPS_EVERY_TICKS = 40  # ticks between two readings of the kernel's drop counters, and looks at losses (10 s)
LOSS_ALARM_SHARE = 0.02  # of a line's packets; more is heard as gaps, and somebody should look at the path
LOSS_ALARM_PACKETS = 500  # least that a line must have expected before its share says anything: 10 s
MIXED = "binding.mixed"
DEFAULT_CLOCK = 8_000  # Hz; of a track without codecs, which keeps nothing

__all__ = ["Line", "Media", "MediaCounts", "Track"]


@dataclass
class MediaCounts:
    """Counters since the start; packets unless named otherwise."""

    received: int = 0
    kept: int = 0
    kept_octets: int = 0
    events: int = 0
    leaked: int = 0  # on gated lines, cut to 12 bytes by the kernel
    strange: int = 0  # payload type not negotiated
    refused: dict[str, int] = field(default_factory=dict)  # not RTP, by reason
    kernel_drops: int = 0  # receive buffers that ran over; read every 10 s and at release
    lost: int = 0  # by the sequence numbers of lines that are no longer open
    mixed: int = 0  # lines whose packets named several contributing sources
    late_ticks: int = 0  # that began a whole tick or more after their time
    wiped_octets: int = 0
    no_space: int = 0  # writes and syncs of journal or sealed files that a disk refused


class Media:
    """See the module. One event loop owns it; `finish` alone uses other threads."""

    def __init__(
        self,
        *,
        address: str,
        ports: PortPool,
        journal: SliceWriter,
        blobs: Blobs,
        hold_ns: int = HOLD_NS,
        tick_ns: int = TICK_NS,
        clock: Callable[[], int] | None = None,
        pace: Callable[[], int] = time.monotonic_ns,
        on_digit: Callable[[Line, str, int], None] = lambda line, digit, at_ns: None,  # noqa: ARG005
        on_leak: Callable[[Line, int], None] = lambda line, packets: None,  # noqa: ARG005
        on_failed: Callable[[Track, NoSpace], None] = lambda track, error: None,  # noqa: ARG005
        on_synced: Callable[[], None] = lambda: None,
        on_doubt: OnDoubt = lambda line, rule, since_ns: None,  # noqa: ARG005
        on_named: OnNamed = lambda line: None,  # noqa: ARG005
        on_loss: Callable[[Line, Loss], None] = lambda line, loss: None,  # noqa: ARG005
        keepalive_ns: int = 0,
        max_rtcp_sockets: int = MAX_SOCKETS,
        finish_threads: int = FINISH_THREADS,
    ) -> None:
        self.counts = MediaCounts()
        self.lines = Lines(address, ports)
        self._tracks = Tracks()
        self._journal = journal
        self._blobs = blobs
        self._frames = FrameBuilder(self._tracks, journal)
        self.hold = Hold()
        self.receiver = Receiver()
        self._hold_ns, self._tick_ns = hold_ns, tick_ns
        self.clock = clock or SteadyClock().now_ns  # stamps packets, ns since 1970
        self._pace = pace  # says when to drain and what is old; a wall clock may be set, and then stand still
        self._on_digit, self._on_leak = on_digit, on_leak
        self._on_failed, self._on_synced = on_failed, on_synced
        self._finishers = ThreadPoolExecutor(finish_threads, "finish")
        self._on_doubt, self._on_loss = on_doubt, on_loss
        self._pending: list[Callable[[], None]] = []  # callbacks that wait until the arena is empty
        self.reception = Reception()
        self.rtcp = Rtcp(
            self.lines, self.reception, clock=self.clock, tell=self._pending.append, on_doubt=on_doubt,
            on_named=on_named, keepalive_ns=keepalive_ns, max_sockets=max_rtcp_sockets,
        )  # fmt: skip
        self._lossy: set[int] = set()  # open lines whose loss was told
        self._leaks: dict[int, int] = {}
        self._drops: dict[int, int] = {}
        self._is_draining = False
        self._is_stopping = False
        self._ticks = 0

    @property
    def is_locked(self) -> bool:
        """Whether all memory that can hold agreed audio is kept out of swap; else swap must be off."""
        blocks = self.hold.memory()
        return self.receiver.is_locked and all(block.memory.is_locked for block in blocks)

    # Lines

    def line(self, *, event_types: Mapping[int, int] | None = None) -> Line:
        """A bound, gated line; `event_types` (payload type -> RTP clock) pass whole, all else is cut.

        Raises NoPortLeft; OSError when the system gives no socket or takes no filter.
        """
        return self.lines.add(event_types or {})

    def listen(self, line: Line, event_types: Mapping[int, int]) -> None:
        """From now on these event types pass a gated line whole; with none nothing does."""
        self.lines.listen(line, event_types)

    def keep(self, line: Line, track: Track) -> None:
        """Filter off: packets that arrive from now on go whole into the track."""
        if track not in self._tracks or track.failed is not None:
            raise VaultError("this track was dropped, settled, or its journal failed: nothing can be kept")
        self._settle(line)  # it may have gone into another track before
        self.reception.begin(line.number, next((clock for _, clock in track.codecs.values()), DEFAULT_CLOCK))
        self.lines.open(line, track.slot, track.codecs)
        self.rtcp.open(line)

    def aim(self, line: Line, peer: Peer | None) -> None:
        """Where the line's client is, as it signalled; None when it gave no address."""
        self.rtcp.aim(line, peer)

    def follow(self, old: Line, new: Line) -> None:
        """The client of one line is told to move to another."""
        self.rtcp.follow(old, new)

    def trust(self, line: Line) -> None:
        """Signalling has said anew whose voice the line carries."""
        self.rtcp.trust(line)

    def loss(self, line: Line) -> Loss:
        """What the line lost since it was opened."""
        return self.reception.loss(line.number)

    def shut(self, line: Line, *, since_ns: int | None = None) -> int:
        """Closes an open line: filter back, queue thrown away, and its track's newest audio taken back.

        Wiped is what arrived at or after `since_ns`, at least the newest 1.5 s. Returns how many slices
        that were sealed already no longer count.
        """
        now_ns = self.clock()
        slot = self.lines.slot(line)
        self._gate(line)
        self._discard_queue(line)
        track = self._tracks.at(slot) if slot != GATED else None
        if track is None:
            return 0
        self.counts.wiped_octets += self.hold.wipe(slot)
        newest_ns = now_ns - self._hold_ns
        try:
            first, count = track.take_back(newest_ns if since_ns is None else min(since_ns, newest_ns), self._journal)
            if count:
                # Until this row is written a crash would let recovery keep what was taken back; it is
                # written before the caller can tell anybody that the line is shut.
                self._frames.take_back(track, first, count)
        except VaultError as error:
            self._fail([track], as_no_space(error))
            return 0
        return count

    def release(self, line: Line) -> None:
        """Closes the line's socket; its port rests at the end of the list. What was queued is kept first."""
        self._close_in_order(line)
        state = self.lines.state(line)
        if state.sock.fileno() >= 0:
            self._count_drops(line.number, ports.kernel_drops(state.sock))
        self._drops.pop(line.number, None)
        self._leaks.pop(line.number, None)
        self.rtcp.forget(line)
        self.lines.release(line)
        if not self._is_draining:
            self.lines.close_released()

    # Tracks

    def track(self, *, call_id: bytes, party: int, leaf_key: bytes, codecs: Codecs) -> Track:
        """Where a party's kept media goes; journal its number before the first `keep`."""
        return self._tracks.add(call_id, party, leaf_key, codecs)

    def has_media(self, track: Track) -> bool:
        """Whether anything was kept in it: sealed already, or still held."""
        return bool(track.frames) or bool(self.hold.parts_of(track.slot))

    def has_keys(self, line: Line) -> bool:
        """Whether any telephone event came to a line; of a released one that is not known."""
        return self.lines.has_keys(line)

    def finish(
        self, track: Track, *, reason: str, started_at: str, ended_at: str,
        pauses: Sequence[tuple[str, str]] = (), jumps: Sequence[Leap] = (), leaps: Sequence[Leap] = (),
    ) -> asyncio.Future[SealedParty]:  # fmt: skip
        """`finish_soon` for an event loop."""
        return asyncio.wrap_future(
            self.finish_soon(
                track, reason=reason, started_at=started_at, ended_at=ended_at, pauses=pauses, jumps=jumps, leaps=leaps
            )
        )

    def finish_soon(
        self, track: Track, *, reason: str, started_at: str, ended_at: str,
        pauses: Sequence[tuple[str, str]] = (), jumps: Sequence[Leap] = (), leaps: Sequence[Leap] = (),
    ) -> Future[SealedParty]:  # fmt: skip
        """Keeps what is queued, gates the track's lines, seals its hold and writes its files in a thread.

        The future fails with NoSpace when the store is full; it may be tried again then. It fails with KeyGone
        when the track is dropped meanwhile. The journal keeps the slices until `settled`, which the caller says
        once its own `sealed` entry is durable. `jumps` of the clock are noted, its `leaps` are taken out of the times.
        """
        for line in self.lines.lines_into(track.slot):
            self._close_in_order(line)
        self._flush(track)
        header = PartyHeader(
            track.codecs, started_at, ended_at, reason, tuple(pauses), track.loss.expected, track.loss.received,
            jumps=[(rfc3339(moment(jump.at_ns)), jump.by_ns // 1_000_000) for jump in jumps],
        )  # fmt: skip
        is_again, track.has_tried = track.has_tried, True
        return self._finishers.submit(self._write_files, track, header, leaps, again=is_again)

    def settled(self, track: Track) -> None:
        """The track's files are durable and reported: its slices may go."""
        self._journal.release(track.owner)
        self._tracks.forget(track)

    def drop(self, track: Track) -> None:
        """Withdrawal: gates the track's lines, wipes its hold, forgets its key and index."""
        for line in self.lines.lines_into(track.slot):
            self._gate(line)
            self._discard_queue(line)
        self.counts.wiped_octets += self.hold.wipe(track.slot)
        self.settled(track)

    # Time

    async def run(self) -> None:
        """The timer loop, until `stop`: digits every 50 ms, everything every tick."""
        ratio = max(1, self._tick_ns // DIGIT_TICK_NS)
        step_ns = self._tick_ns // ratio
        due_ns, turn = self._pace(), 0
        while not self._is_stopping:
            for _ in self._steps(due_ns) if turn % ratio == 0 else self._digit_steps():
                await asyncio.sleep(0)  # signalling goes on between two batches
            turn, due_ns = turn + 1, due_ns + step_ns
            now_ns = self._pace()
            if now_ns - due_ns > self._tick_ns:
                self.counts.late_ticks += 1
                turn, due_ns = 0, now_ns
            await asyncio.sleep(max(0, due_ns - now_ns) / 1e9)

    def stop(self) -> None:
        """Ends `run` after the step that is under way."""
        self._is_stopping = True

    def tick(self, now_ns: int) -> None:
        """One whole tick at once, `now_ns` by `pace`: for tests, and for programs without an event loop."""
        for _ in self._steps(now_ns):
            pass

    def close(self) -> None:
        """Closes lines and threads, and zeroes whatever is still held."""
        self._finishers.shutdown()
        self.rtcp.close_all()
        for state in self.lines:
            self.lines.release(state.line)
        self.lines.close_released()
        while (tick := self.hold.oldest(not_after_ns=1 << 63)) is not None:
            self.hold.forget(tick)

    def _steps(self, now_ns: int) -> Iterator[None]:
        self.hold.begin(now_ns)
        yield from self._drain(self.lines.sockets())
        self._report_leaks()
        while (tick := self.hold.oldest(not_after_ns=now_ns - self._hold_ns)) is not None:
            yield from self._seal(tick)
        self._check_sync()
        self._ticks += 1
        if self._ticks % DROPS_EVERY_TICKS == 0:
            self.read_drops()
            self._report_losses()
        yield from self.rtcp.turn(now_ns)
        self._deliver()

    def _digit_steps(self) -> Iterator[None]:
        yield from self._drain(self.lines.sockets(listening_only=True))
        self._deliver()

    # Receiving

    def _drain(self, sockets: list[tuple[int, int]]) -> Iterator[None]:
        outermost, self._is_draining = not self._is_draining, True
        try:
            for _ in self.receiver.drain(sockets, self._process):
                self._deliver()
                yield
        finally:
            if outermost:
                self._is_draining = False
                self.lines.close_released()

    def _process(self, batch: Batch) -> None:
        arrival_ns = self.clock()  # after the receive: no packet of the batch is younger than its stamp
        headers = rtp.parse(batch.rows, batch.lengths, batch.stream)
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
        runs, first = self.hold.store(what, self.lines.slots_of(headers.stream), self.receiver.arena, arrival_ns)
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
            self._pending.append(partial(self._on_doubt, self.lines.state_at(number).line, MIXED, arrival_ns))

    def _read_digits(self, batch: Batch, headers: rtp.Headers, found: Sorted, arrival_ns: int) -> None:
        """Turns the event packets of a batch into digits; few lines have any."""
        rows = np.flatnonzero(found.event)
        self.counts.events += rows.size
        places = headers.offset[rows][:, None] + np.arange(dtmf.EVENT_BYTES)
        payload = batch.rows[rows[:, None], places]
        stream = headers.stream[rows]
        for number in sorted(set(stream.tolist())):
            mine = stream == number
            packets = dtmf.EventPackets(headers.ssrc[rows[mine]], headers.rtp_time[rows[mine]], payload[mine])
            state = self.lines.state_at(number)
            state.press, digits = dtmf.read(state.press, packets, now_ns=arrival_ns)
            for digit in digits:
                self._pending.append(partial(self._on_digit, state.line, digit, arrival_ns))

    def _count_others(self, batch: Batch, headers: rtp.Headers, found: Sorted) -> None:
        self.counts.strange += int(found.strange.sum())
        idle, control = self.lines.idle(headers, found)
        if idle.size:
            self.reception.count_idle(headers.stream[idle], headers.ssrc[idle])
        for row in control.tolist():  # one in some seconds of each line that is muxed
            number = int(headers.stream[row])
            if self.rtcp.is_muxed(number):
                data = batch.rows[row, : batch.lengths[row]].tobytes()
                self._pending.append(partial(self.rtcp.take, number, data))  # once this batch is counted
                headers.reason[row] = rtp.Reason.VALID  # not as RTP, but it was no stray packet either
        for reason, count in headers.refused().items():
            self.counts.refused[reason.name] = self.counts.refused.get(reason.name, 0) + count
        if found.leaked.any():
            for number, count in enumerate(np.bincount(headers.stream[found.leaked]).tolist()):
                if count:
                    self._leaks[number] = self._leaks.get(number, 0) + count

    def _close_in_order(self, line: Line) -> None:
        """Filter back, what came before it into the hold, then gated: nothing is lost, nothing leaks."""
        state = self.lines.state(line)
        if self.lines.slot(line) != GATED:
            self.lines.cut(line)
            now_ns = self._pace()
            if self.hold.newest_ns() + self._tick_ns < now_ns:
                self.hold.begin(now_ns)
            for _ in self._drain([(state.sock.fileno(), line.number)]):
                pass
        self._gate(line)

    def _gate(self, line: Line) -> None:
        """Filter back; RTCP goes, and what the line lost is added to its track."""
        self._settle(line)
        self.rtcp.close(line)
        self.lines.shut(line)

    def _settle(self, line: Line) -> None:
        slot = self.lines.slot(line)
        track = self._tracks.at(slot) if slot != GATED else None
        if track is not None:
            loss = self.reception.loss(line.number)
            track.loss += loss
            self.counts.lost += loss.lost
            self.reception.begin(line.number, DEFAULT_CLOCK)
            self._lossy.discard(line.number)

    def _discard_queue(self, line: Line) -> None:
        """Throws away, unread, what is queued at a gated line."""
        descriptor = self.lines.state(line).sock.fileno()
        if descriptor >= 0:
            for _ in self.receiver.drain([(descriptor, line.number)], lambda _: None):
                pass

    # Sealing

    def _seal(self, tick: Tick) -> Iterator[None]:
        """Seals a tick frame by frame and zeroes it; a frame that cannot be written fails its tracks."""
        parts = tick.all_parts()
        for start in range(0, parts.size, FRAME_PARTS):
            stop = start + FRAME_PARTS
            self._write([(tick, parts[start:stop])])
            self.hold.wipe_sealed(tick, start, stop)
            yield
        self.hold.forget(tick)
        self._journal.sync()

    def _flush(self, track: Track) -> None:
        """Seals everything held of one track at once."""
        found = self.hold.parts_of(track.slot)
        self._write([(tick, tick.all_parts()[number : number + 1]) for tick, number in found])
        self.hold.wipe(track.slot)

    def _write(self, groups: Sequence[tuple[Tick, Parts]]) -> None:
        try:
            self._frames.write(groups)
        except JournalFailed as failed:
            self._fail(failed.tracks, failed.error)

    def _write_files(self, track: Track, header: PartyHeader, leaps: Sequence[Leap], *, again: bool) -> SealedParty:
        if again:
            self._delete_files(track)
        try:
            slices = opened(track.sealed(self._journal), leaf_key=track.leaf_key, party=track.party)
            party = finish_party(
                steadied(slices, leaps) if leaps else slices,
                leaf_key=track.leaf_key,
                call_id=track.call_id,
                party=track.party,
                header=header,
                blobs=self._blobs,
                salts=(secrets.token_bytes(SALT_BYTES), secrets.token_bytes(SALT_BYTES)),
            )
        except (VaultError, LookupError, AttributeError) as error:
            self.counts.no_space += isinstance(error, NoSpace)
            if track in self._tracks:
                raise
            raise KeyGone("withdrawn while its files were written") from None  # key and index went under us
        if track not in self._tracks:
            # Whoever drops after this line erases by name, as for any withdrawal.
            self._delete_files(track)
            raise KeyGone("withdrawn while its files were written")
        return party

    def _delete_files(self, track: Track) -> None:
        for kind in (Kind.MEDIA, Kind.TIMELINE):
            self._blobs.delete(artefact_name(track.call_id, track.party, kind))

    def _check_sync(self) -> None:
        try:
            if self._journal.has_synced():
                self._on_synced()
                self._journal.sync()
        except VaultError as error:
            # Which frames the kernel lost is not known: no open track may go on as if nothing happened.
            self._fail(list(self._tracks), as_no_space(error))

    def _fail(self, tracks: Sequence[Track], error: NoSpace) -> None:
        """The disk took no more: gates the lines of these tracks and wipes what is held of them."""
        self.counts.no_space += 1
        for track in tracks:
            if track.failed is None:
                self._tracks.fail(track, error)
                for line in self.lines.lines_into(track.slot):
                    self._gate(line)
                self.counts.wiped_octets += self.hold.wipe(track.slot)
                self._pending.append(partial(self._on_failed, track, error))

    # Telling

    def _report_leaks(self) -> None:
        if not self._leaks:
            return
        leaks, self._leaks = self._leaks, {}
        for state in self.lines:
            if count := leaks.get(state.line.number, 0):
                self.counts.leaked += count
                self._pending.append(partial(self._on_leak, state.line, count))

    def _report_losses(self) -> None:
        """Tells of each open line once that it loses much."""
        watched = [number for number in self.lines.open_numbers() if number not in self._lossy]
        for number in self.reception.lossy(watched, share=LOSS_ALARM_SHARE, least=LOSS_ALARM_PACKETS):
            self._lossy.add(number)
            loss = self.reception.loss(number)
            self._pending.append(partial(self._on_loss, self.lines.state_at(number).line, loss))

    def read_drops(self) -> int:
        """Packets that the kernel dropped at our sockets since the start, asked now."""
        for state in self.lines:
            if state.sock.fileno() >= 0:
                self._count_drops(state.line.number, ports.kernel_drops(state.sock))
        return self.counts.kernel_drops

    def _count_drops(self, number: int, drops: int) -> None:
        self.counts.kernel_drops += drops - self._drops.get(number, 0)
        self._drops[number] = drops

    def _deliver(self) -> None:
        """Calls back while no packet is in the arena: a callback may shut, keep or release any line."""
        while self._pending:
            self._pending.pop(0)()
