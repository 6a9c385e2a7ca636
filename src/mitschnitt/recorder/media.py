"""The media plane of a recorder: lines and tracks for the session, one timer, and the order of its steps.

    every tick: seal what is older than the hold -> one journal write -> drain all lines -> judge rows
                -> hold | digits | leak counts; sync in the background

Decides nothing: the session says which line is kept where, and when it is shut. Audio of gated lines is cut
in the kernel; what slips through is zeroed unread. Plaintext leaves the hold only sealed or zeroed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

from mitschnitt.errors import KeyGone, NoSpace, VaultError
from mitschnitt.recorder.clock import SteadyClock, moment, rfc3339
from mitschnitt.recorder.counts import MediaCounts, Watch
from mitschnitt.recorder.forwarding import Forwarder
from mitschnitt.recorder.hold import Hold, Parts, Tick
from mitschnitt.recorder.intake import Intake
from mitschnitt.recorder.leaps import Leap, steadied
from mitschnitt.recorder.lines import GATED, Line, Lines
from mitschnitt.recorder.mapped import Mapped
from mitschnitt.recorder.ports import NoPortLeft, PortPool
from mitschnitt.recorder.receiver import ROUNDS, SOCKET_BUDGET, Batch, Receiver
from mitschnitt.recorder.reception import Loss, Reception
from mitschnitt.recorder.rtcp import MAX_SOCKETS, OnDoubt, OnNamed, Peer, Rtcp
from mitschnitt.recorder.sources import Sourcing
from mitschnitt.recorder.tracks import (
    FRAME_PARTS,
    Codecs,
    FrameBuilder,
    JournalFailed,
    Track,
    Tracks,
    as_no_space,
)
from mitschnitt.telemetry.metrics import Buckets
from mitschnitt.vault.artefact import PartyHeader, Report
from mitschnitt.vault.blobs import Blobs
from mitschnitt.vault.derive import Kind, artefact_name
from mitschnitt.vault.finish import SALT_BYTES, SealedParty, finish_party, opened
from mitschnitt.vault.slice_files import SliceWriter

HOLD_NS = 1_500_000_000  # newest audio that a withdrawal still takes back unsealed (design section 4)
TICK_NS = 250_000_000  # between drains; hold + tick + the work of a tick stay below the 2 s that a kill may cost
DIGIT_TICK_NS = 50_000_000  # between drains of gated lines that wait for a digit: how late a key may act
FINISH_THREADS = 2  # parties whose files are written at the same time; they mostly wait for the disk
FINISH_NICE = 5  # steps by which those threads stand back: a file may wait, a full socket loses packets
DROPS_EVERY_TICKS = 40  # ticks between two readings of the kernel's drop counters, and looks at losses (10 s)
TURN_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)  # buckets of the metrics
DEFAULT_CLOCK = 8_000  # Hz; of a track without codecs, which keeps nothing

__all__ = ["Line", "Media", "MediaCounts", "Track"]


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
        sourcing: Sourcing = Sourcing.SIGNALLED,
        mapped: Mapped | None = None,
    ) -> None:
        self.counts = MediaCounts()
        self.lines = Lines(address, ports, sourcing, mapped)
        self._tracks = Tracks()
        self._journal = journal
        self._blobs = blobs
        self._frames = FrameBuilder(self._tracks, journal)
        self.forwarder = Forwarder(self._tracks, journal)
        self.hold = Hold()
        self.receiver = Receiver(version=6 if ":" in address else 4)
        self._mapped = mapped
        self._hold_ns, self._tick_ns = hold_ns, tick_ns
        self.clock = clock or SteadyClock().now_ns  # stamps packets, ns since 1970
        self._pace = pace  # says when to drain and what is old; a wall clock may be set, and then stand still
        self._on_digit, self._on_leak = on_digit, on_leak
        self._on_failed, self._on_synced = on_failed, on_synced
        self._finishers = ThreadPoolExecutor(finish_threads, "finish", initializer=_stand_back)
        self._on_doubt, self._on_loss = on_doubt, on_loss
        self._pending: list[Callable[[], None]] = []  # callbacks that wait until the arena is empty
        self.reception = Reception()
        self.rtcp = Rtcp(
            self.lines, self.reception, clock=self.clock, tell=self._pending.append, on_doubt=on_doubt,
            on_named=on_named, on_report=self._log_report, keepalive_ns=keepalive_ns, max_sockets=max_rtcp_sockets,
        )  # fmt: skip
        self.watch = Watch(self.lines, self.reception, self.counts)
        self._intake = Intake(
            self.lines, self.hold, self.reception, self.rtcp, self.counts, self.watch, self._pending.append,
            lambda *digit: self._on_digit(*digit), lambda *doubt: self._on_doubt(*doubt),
        )  # fmt: skip
        self._is_draining = False
        self._is_stopping = False
        self._ticks = 0
        self.turns = Buckets(TURN_SECONDS)  # from when a turn was due until it was done
        self.turned_at = self._pace() / 1e9  # seconds by `pace`, of the newest turn

    @property
    def is_locked(self) -> bool:
        """Whether all memory that can hold agreed audio is kept out of swap; else swap must be off."""
        arenas = [self.receiver.is_locked, *([self._mapped.ring.is_locked] if self._mapped else [])]
        return all(arenas) and all(block.memory.is_locked for block in self.hold.memory())

    # Lines

    def line(self, *, event_types: Mapping[int, int] | None = None) -> Line:
        """A bound, gated line; `event_types` (payload type -> RTP clock) pass whole, all else is cut.

        Raises NoPortLeft; OSError when the system gives no socket or takes no filter.
        """
        return self.lines.add(event_types or {})

    def fresh_line(self) -> Line:
        """A gated line that a client is told to move to before it is kept: there in the packet ring, if there is one.

        Raises as `line` does.
        """
        if self._mapped is not None:
            with contextlib.suppress(NoPortLeft):
                return self.lines.add({}, pool=self._mapped.pool)
        return self.line()

    def listen(self, line: Line, event_types: Mapping[int, int]) -> None:
        """From now on these event types pass a gated line whole; with none nothing does."""
        self.lines.listen(line, event_types)

    def keep(self, line: Line, track: Track) -> None:
        """Filter off: packets that arrive from now on go whole into the track."""
        if track not in self._tracks or track.failed is not None:
            raise VaultError("this track was dropped, settled, or its journal failed: nothing can be kept")
        self._settle(line)  # it may have gone into another track before
        self.lines.sources.forget_others(line.number)
        self.reception.begin(line.number, next((codec[1] for codec in track.codecs.values()), DEFAULT_CLOCK))
        self.lines.open(line, track.slot, track.codecs)
        self.rtcp.open(line)

    def aim(self, line: Line, peer: Peer | None) -> None:
        """Where the line's client is, as it signalled; None when it gave no address."""
        self.lines.aim(line, None if peer is None else (peer.address, peer.rtp_port))
        self.rtcp.aim(line, peer)

    def follow(self, old: Line, new: Line) -> None:
        """The client of one line is told to move to another: it sends there from the address that it has signalled."""
        self.aim(new, self.rtcp.peer(old))
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
        self.watch.forget(line)
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
        return bool(track.starts) or bool(self.hold.parts_of(track.slot))

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
            track.codecs, started_at, ended_at, reason, tuple(pauses), track.path, track.reports.told(),
            [(rfc3339(moment(jump.at_ns)), jump.by_ns // 1_000_000) for jump in jumps],
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
            now_ns = self._pace()
            self.turns.add((now_ns - due_ns) / 1e9)
            self.turned_at = now_ns / 1e9
            turn, due_ns = turn + 1, due_ns + step_ns
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
        if self._mapped is not None:
            self._mapped.ring.close()
        while (tick := self.hold.oldest(not_after_ns=1 << 63)) is not None:
            self.hold.forget(tick)

    def _steps(self, now_ns: int) -> Iterator[None]:
        self.hold.begin(now_ns)
        # Sealed first: what a crash may cost is then the hold and a tick, and not the time of a drain on top.
        while (tick := self.hold.oldest(not_after_ns=now_ns - self._hold_ns)) is not None:
            yield from self._seal(tick)
        if self._mapped is not None:
            yield from self._drain_ring(self._mapped)
        yield from self._drain(self.lines.sockets())
        self._tell_of_leaks()
        self._check_sync()
        self._forward()
        self._ticks += 1
        if self._ticks % DROPS_EVERY_TICKS == 0:
            self.read_drops()
            self._tell_of_losses()
        yield from self.rtcp.turn(now_ns)
        self._deliver()

    def _digit_steps(self) -> Iterator[None]:
        yield from self._drain(self.lines.sockets(listening_only=True))
        self._deliver()

    # Receiving

    def _drain(self, sockets: list[tuple[int, int]]) -> Iterator[None]:
        sources = self.lines.sources
        pending = sources.pending({number for _, number in sockets}.__contains__)
        yield from self._handed_over(self.receiver.drain(sockets, self._process, named=sources.named))
        sources.drained(pending, most=ROUNDS * SOCKET_BUDGET)

    def _drain_ring(self, mapped: Mapped) -> Iterator[None]:
        pending = self.lines.sources.pending(mapped.__contains__)
        yield from self._handed_over(mapped.ring.drain(self._process))
        self.lines.sources.drained(pending, most=mapped.ring.frames)
        self.counts.unfit += self.lines.unmap_unfit()

    def _handed_over(self, batches: Iterator[int]) -> Iterator[None]:
        outermost, self._is_draining = not self._is_draining, True
        try:
            for _ in batches:
                self._deliver()
                yield
        finally:
            if outermost:
                self._is_draining = False
                self.lines.close_released()

    def _process(self, batch: Batch) -> None:
        # Stamped after the receive: no packet of the batch is younger than its stamp.
        self._intake.take(batch, self.clock())

    def _close_in_order(self, line: Line) -> None:
        """Filter back, what came before it into the hold, then gated: nothing is lost, nothing leaks."""
        state = self.lines.state(line)
        if self.lines.slot(line) != GATED:
            self.lines.cut(line)
            now_ns = self._pace()
            if self.hold.newest_ns() + self._tick_ns < now_ns:
                self.hold.begin(now_ns)
            if self._mapped is not None:
                self._mapped.ring.take(line.number, self._process)
                self._deliver()
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
            path = self.reception.path(line.number) + self.lines.sources.told(line.number)
            self.lines.sources.forget_others(line.number)
            track.path += path
            state = self.lines.state(line)
            state.newest = self.reception.newest(line.number) or state.newest
            self.counts.lost += max(0, path.expected - path.received)
            self.counts.late += path.late
            self.counts.duplicates += path.duplicates
            self.reception.begin(line.number, DEFAULT_CLOCK)
            self.watch.closes(line)

    def _log_report(self, line: Line, report: Report) -> None:
        """A sender report of a line that is kept goes with its track."""
        slot = self.lines.slot(line)
        track = self._tracks.at(slot) if slot != GATED else None
        if track is not None:
            track.reports.add(report)

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
        except (VaultError, LookupError, OSError) as error:
            self.counts.no_space += isinstance(error, NoSpace)
            if track in self._tracks:
                raise
            self._delete_files(track)
            raise KeyGone("withdrawn while its files were written") from None  # key, index and journal went under us
        if track not in self._tracks:
            # Whoever drops after this line erases by name, as for any withdrawal.
            self._delete_files(track)
            raise KeyGone("withdrawn while its files were written")
        return party

    def _delete_files(self, track: Track) -> None:
        for kind in (Kind.MEDIA, Kind.TIMELINE):
            self._blobs.delete(artefact_name(track.call_id, track.party, kind))

    def _forward(self) -> None:
        try:
            self.forwarder.step()
        except VaultError:
            self.counts.no_space += 1  # what was to be copied lies where it lay

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
                    self._discard_queue(line)  # it came while the line was open, and is no leak
                self.counts.wiped_octets += self.hold.wipe(track.slot)
                self._pending.append(partial(self._on_failed, track, error))

    # Telling

    def _tell_of_leaks(self) -> None:
        for line, packets in self.watch.leaks():
            self._pending.append(partial(self._on_leak, line, packets))

    def _tell_of_losses(self) -> None:
        for line, loss in self.watch.losses():
            self._pending.append(partial(self._on_loss, line, loss))

    def read_drops(self) -> int:
        """Packets that the kernel dropped at our sockets since the start, asked now."""
        return self.watch.read_drops()

    def _deliver(self) -> None:
        """Calls back while no packet is in the arena: a callback may shut, keep or release any line."""
        while self._pending:
            self._pending.pop(0)()


def _stand_back() -> None:
    """Of the calling thread alone: Linux has a priority for each."""
    with contextlib.suppress(OSError):  # a stricter system: then all threads stand alike
        mine = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, mine, os.getpriority(os.PRIO_PROCESS, mine) + FINISH_NICE)
