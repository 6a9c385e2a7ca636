"""Lines: bound sockets, what may pass each of them, and the tables that a whole batch is judged by.

A line is gated (its filter on, kept nowhere) or open (whole packets, into one track). This file swaps
filters and sorts rows; it copies no audio, and calls nobody back.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from mitschnitt.errors import ConfigError
from mitschnitt.recorder import filters, ports
from mitschnitt.recorder.mapped import Mapped
from mitschnitt.recorder.ports import PortPool, Stream, Taken
from mitschnitt.recorder.sources import Sources, Sourcing
from mitschnitt.vault.artefact import Coded
from mitschnitt.wire import dtmf, red, rtp

AUDIO, EVENT, CONTROL, WRAPPED = 1, 2, 3, 4  # what a payload type is on a line; 0: not negotiated
CONTROL_TYPES = slice(64, 96)  # RTCP on the same port (RFC 5761, 4): no audio, so no leak
PAYLOAD_TYPES = 128  # 7 bits of the header
GATED = -1  # in place of a track's slot
FIRST_LINES = 256  # rows of the tables at the start; they double


@dataclass(frozen=True)
class Line:
    """A bound RTP port, as the session names it."""

    number: int  # its index in every batch, used again after release
    port: int


@dataclass
class LineState:
    """What is behind a line; `Lines` owns it."""

    line: Line
    sock: socket.socket
    event_types: Mapping[int, int]  # payload type -> RTP clock in Hz
    press: dtmf.Press | None = None
    newest: Stream | None = None  # that was kept of it
    is_released: bool = False
    pool: PortPool | None = None  # that its port goes back to; None: the lines' own


@dataclass(frozen=True)
class Sorted:
    """What the rows of a batch are, each array with one entry per row."""

    kept: NDArray[np.bool_]  # goes into a track: audio with payload, or an event on an open line
    event: NDArray[np.bool_]  # a telephone event on any line
    leaked: NDArray[np.bool_]  # any other RTP on a gated line
    strange: NDArray[np.bool_]  # valid, on an open line, of a type that was not negotiated


@dataclass
class Lines:
    """All lines of a recorder."""

    address: str
    pool: PortPool
    sourcing: Sourcing = Sourcing.SIGNALLED
    mapped: Mapped | None = None  # the packet ring, where there is one
    _states: dict[int, LineState] = field(default_factory=dict)
    _free: list[int] = field(default_factory=list)
    _released: list[int] = field(default_factory=list)  # their sockets are still open
    _into: dict[int, set[int]] = field(default_factory=dict)  # slot of a track -> its open lines
    _sockets: dict[bool, list[tuple[int, int]]] = field(default_factory=dict)  # until something changes
    _stale: dict[int, Taken] = field(default_factory=dict)  # lines whose port has not rested
    _wrapping: set[int] = field(default_factory=set)  # open lines that negotiated redundant audio
    _kinds: NDArray[np.uint8] = field(default_factory=lambda: np.zeros((FIRST_LINES, PAYLOAD_TYPES), np.uint8))
    _slots: NDArray[np.int32] = field(default_factory=lambda: np.full(FIRST_LINES, GATED, np.int32))

    def __post_init__(self) -> None:
        self.sources = Sources(self.sourcing, version=6 if ":" in self.address else 4)

    def add(self, event_types: Mapping[int, int], *, pool: PortPool | None = None) -> Line:
        """A new gated line, from another pool than the lines' own if one is given.

        NoPortLeft, or OSError when there is no socket or no filter for it.
        """
        number = self._free[-1] if self._free else len(self._states)
        self.sources.begin(number)
        program = filters.cutting_filter(event_types, self.sources.allowed(number))
        sock, taken = ports.open_from_pool(self.address, pool or self.pool, program)
        if self._free:
            self._free.pop()
        if number >= self._slots.size:
            self._kinds = np.concatenate([self._kinds, np.zeros_like(self._kinds)])
            self._slots = np.concatenate([self._slots, np.full_like(self._slots, GATED)])
        line = Line(number, taken.port)
        if taken.stale is not None:
            self._stale[number] = taken
        self._states[number] = LineState(line, sock, dict(event_types), pool=pool)
        self._describe(number, GATED, {})
        return line

    def state(self, line: Line) -> LineState:
        """What is behind the line. ConfigError when it was released."""
        state = self._states.get(line.number)
        if state is None or state.line is not line or state.is_released:
            raise ConfigError(f"line {line.number} on port {line.port} was released")
        return state

    def has_keys(self, line: Line) -> bool:
        """Whether any telephone event came to it; False once it is gone."""
        state = self._states.get(line.number)
        return state is not None and state.line is line and state.press is not None

    def slot(self, line: Line) -> int:
        """Slot of the track that the line goes into, or GATED."""
        return int(self._slots[line.number])

    def lines_into(self, slot: int) -> list[Line]:
        """The open lines of one track."""
        return [self._states[number].line for number in self._into.get(slot, ())]

    def listen(self, line: Line, event_types: Mapping[int, int]) -> None:
        """Swaps the filter of a gated line. ConfigError for an open one; OSError leaves the old one on."""
        state = self.state(line)
        if self.slot(line) != GATED:
            raise ConfigError(f"line {line.number} is open; shut it before its filter is changed")
        filters.attach(state.sock, filters.cutting_filter(event_types, self.sources.allowed(line.number)))
        state.event_types = dict(event_types)
        self._describe(line.number, GATED, {})

    def open(self, line: Line, slot: int, codecs: Mapping[int, Coded]) -> None:
        """Whole packets of its source pass; from the next one on the line goes into the track with this slot.

        Whoever sent to a line that was gated may be somebody else than its client: its port is learned anew.
        """
        state = self.state(line)
        was_gated = self.slot(line) == GATED
        self._describe(line.number, slot, codecs)
        if was_gated:
            self.sources.reopen(line.number)
            if self.mapped is not None and self.mapped.suits(line.port, codecs):
                self.mapped.enter(line.number, line.port, state.sock)
                self._sockets.clear()
            else:
                filters.attach(state.sock, filters.open_filter(self.sources.allowed(line.number)))

    def aim(self, line: Line, signalled: tuple[str, int] | None) -> None:
        """Where the line's client is, by signalling: its literal address and port; None when it gave none.

        Another one than before takes the lock off, and puts it on again with the next packet from there.
        """
        state = self.state(line)
        if self.sources.aim(line.number, signalled):
            self._refilter(state)

    def locked(self, numbers: Iterable[int]) -> None:
        """The sources of these lines were learned: from now on the kernel keeps all others out."""
        for number in numbers:
            self._refilter(self._states[number])

    def _refilter(self, state: LineState) -> None:
        """Puts the filter on that the line's source asks for; a socket that takes none hears nothing more."""
        number = state.line.number
        if self.mapped is not None and number in self.mapped:
            return  # the ring tells who sent each packet; the socket only holds the port
        source = self.sources.allowed(number)
        is_open = self._slots[number] != GATED
        program = filters.open_filter(source) if is_open else filters.cutting_filter(state.event_types, source)
        try:
            filters.attach(state.sock, program)
        except OSError:
            self._deafen(state)

    def _deafen(self, state: LineState) -> None:
        try:
            ports.deafen(state.sock)
        except OSError:
            state.sock.close()
            self._sockets.clear()

    def cut(self, line: Line) -> None:
        """Puts the filter back; what is queued before it still belongs to the line's track.

        When the system refuses the filter, the socket is made deaf: then nothing comes at all.
        """
        state = self.state(line)
        if self.slot(line) != GATED:
            self._leave_ring(state)
            try:
                source = self.sources.allowed(line.number)
                filters.attach(state.sock, filters.cutting_filter(state.event_types, source))
            except OSError:
                self._deafen(state)

    def shut(self, line: Line) -> None:
        """Puts the filter back and gates the line: rows that passed before the filter are dropped unread."""
        self.cut(line)
        self._describe(line.number, GATED, {})
        if self.mapped is not None:
            self.mapped.ring.discard(line.number)

    def unmap(self, number: int) -> bool:
        """Takes an open line out of the ring and opens it on its socket; False when it is not in there."""
        state = self._states.get(number)
        if state is None or self.mapped is None or number not in self.mapped:
            return False
        self._leave_ring(state)
        self._refilter(state)
        return True

    def unmap_unfit(self) -> int:
        """The same for the lines that the ring does not suit, as it found since asked last; how many there were."""
        if self.mapped is None or not self.mapped.ring.unfit:
            return 0
        unfit = set(self.mapped.ring.unfit)
        self.mapped.ring.unfit.clear()
        return sum(self.unmap(number) for number in unfit)

    def _leave_ring(self, state: LineState) -> None:
        if self.mapped is not None and state.line.number in self.mapped:
            self.mapped.leave(state.line.number, state.line.port, state.sock)
            self._sockets.clear()

    def kernel_drops(self, state: LineState) -> int:
        """Packets that the kernel lost at the line's socket since it was opened."""
        if self.mapped is not None:
            return self.mapped.kernel_drops(state.line.number, state.sock)
        return ports.kernel_drops(state.sock)

    def release(self, line: Line) -> None:
        """Gates the line for good; its socket stays until `close_released`."""
        self.shut(line)
        self.state(line).is_released = True
        self._released.append(line.number)

    def close_released(self) -> None:
        """Closes the sockets of released lines; not while a drain may still use their descriptors."""
        while self._released:
            number = self._released.pop()
            state = self._states.pop(number)
            self._sockets.clear()
            state.sock.close()
            self._free.append(number)
            self.sources.forget(number)
            self._stale.pop(number, None)
            if self.mapped is not None:
                self.mapped.forget(number)
            (state.pool or self.pool).give_back(state.line.port, state.newest)

    def sockets(self, *, listening_only: bool = False) -> list[tuple[int, int]]:
        """(descriptor, index) of all lines that are not in the ring, or of gated lines that wait for digits."""
        if listening_only not in self._sockets:
            self._sockets[listening_only] = [
                (state.sock.fileno(), number)
                for number, state in self._states.items()
                if not state.is_released
                and state.sock.fileno() >= 0
                and (self.mapped is None or number not in self.mapped)
                and (not listening_only or (state.event_types and self._slots[number] == GATED))
            ]
        return self._sockets[listening_only]

    def __iter__(self) -> Iterator[LineState]:
        return iter([state for state in self._states.values() if not state.is_released])

    def unwrap(self, headers: rtp.Headers, rows: NDArray[np.uint8]) -> None:
        """Of redundant audio on open lines (RFC 2198), the headers point at the newest block and have its type.

        So the events in it are events, and of the copies behind it nothing is kept.
        """
        if not self._wrapping:
            return
        at = np.flatnonzero(headers.valid & (self._kinds[headers.stream, headers.payload_type] == WRAPPED))
        if at.size:
            kind, begin, length = red.primaries(rows[at], headers.offset[at], headers.length[at])
            headers.length[at], headers.offset[at] = length, begin
            headers.payload_type[at[length > 0]] = kind[length > 0]

    def sort(self, headers: rtp.Headers) -> Sorted:
        """What each row is, by its line's state at this moment."""
        kind = self._kinds.ravel().take(headers.stream * np.int32(PAYLOAD_TYPES) + headers.payload_type)
        is_open = self._slots.take(headers.stream) != GATED
        if (kind == AUDIO).all() and is_open.all() and not headers.reason.any() and (headers.length > 0).all():
            none = np.zeros(kind.size, np.bool_)
            return Sorted(is_open, none, none, none)  # nearly every batch of open lines
        valid = headers.valid
        event = valid & (kind == EVENT) & (headers.length >= dtmf.EVENT_BYTES)
        audio = valid & (kind == AUDIO) & (headers.length > 0)
        leaked = valid & ~is_open & (kind != CONTROL) & ~event
        strange = valid & (kind == 0) & is_open
        return Sorted(is_open & (audio | event), event, leaked, strange)

    def refuse_stale(self, headers: rtp.Headers) -> None:
        """Marks what goes on where the former line of a port that has not rested left off: the same SSRC, and near it.

        A client that begins a new stream from the same port and under the same SSRC begins it elsewhere, unless by a
        chance of one in twenty; then, as when it goes on with one stream for two calls, what comes before the port has
        rested is not kept.
        """
        for number, taken in list(self._stale.items()):
            stale = taken.stale
            if stale is None or self.pool.has_rested(taken):
                del self._stale[number]
                continue
            rows = np.flatnonzero((headers.stream == number) & headers.valid & (headers.ssrc == stale.ssrc))
            moved = (headers.seq[rows] - np.uint16(stale.seq)).view(np.int16)
            rows = rows[(moved >= -rtp.MAX_MISORDER) & (moved <= rtp.MAX_DROPOUT)]
            if rows.size:
                headers.reason[rows] = rtp.Reason.STALE
                self._stale[number] = replace(taken, stale=replace(stale, seq=int(headers.seq[rows[-1]])))

    def idle(self, headers: rtp.Headers, found: Sorted) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Rows of open lines that are not kept: (RTP all the same, RTCP by its type), as row numbers."""
        is_open = (self._slots[headers.stream] != GATED) & ~found.kept
        is_control = is_open & (self._kinds[headers.stream, headers.payload_type] == CONTROL)
        # Read as RTP, an RTCP packet's counts look like contributors, extension or padding: no fault of its own.
        whole = (headers.reason != rtp.Reason.SHORT) & (headers.reason != rtp.Reason.VERSION)
        whole &= headers.reason != rtp.Reason.TRUNCATED
        return np.flatnonzero(is_open & headers.valid & ~is_control), np.flatnonzero(is_control & whole)

    def open_numbers(self) -> list[int]:
        """Numbers of all open lines."""
        return sorted(number for numbers in self._into.values() for number in numbers)

    def slots_of(self, stream: NDArray[np.int32]) -> NDArray[np.int32]:
        """Slot of the track of each row, or GATED."""
        return self._slots[stream]

    def state_at(self, number: int) -> LineState:
        """What is behind the line with this index of a batch."""
        return self._states[number]

    def _describe(self, number: int, slot: int, codecs: Mapping[int, Coded]) -> None:
        self._sockets.clear()
        kinds = self._kinds[number]
        kinds[:] = 0
        kinds[CONTROL_TYPES] = CONTROL
        kinds[list(codecs)] = AUDIO
        wrapping = [kind for kind, codec in codecs.items() if codec[0].upper() == red.NAME]
        kinds[wrapping] = WRAPPED
        (self._wrapping.add if wrapping else self._wrapping.discard)(number)
        kinds[list(self._states[number].event_types)] = EVENT
        before = int(self._slots[number])
        self._slots[number] = slot
        if before != GATED:
            self._into[before].discard(number)
            if not self._into[before]:
                del self._into[before]
        if slot != GATED:
            self._into.setdefault(slot, set()).add(number)
