"""Paced RTP for many streams of one process: speech, telephone events, stamps; and a record of what was sent.

A stream sends exactly where it was last aimed, and nothing while it is aimed nowhere; the call goes on all
the same, so its RTP time and its speech advance. Who may be sent what is decided by the caller of `aim`.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field

from mitschnitt.gateways.stamp import STAMP_BYTES, pack_stamp
from mitschnitt.wire import g711

TICK_SECONDS = 0.020  # packet time of G.711 (RFC 3551, section 4.2)
PACKET = 160  # samples and bytes of 20 ms
DIGIT_TICKS = 5  # updates of a digit: held for 100 ms, above the 40 ms that ITU-T Q.24 asks for
END_PACKETS = 3  # the end of an event is sent three times (RFC 4733, section 2.5.1.4)
DIGIT_GAP_TICKS = 4  # 80 ms of audio between two digits
EVENT_VOLUME = 10  # -10 dBm0 (RFC 4733, section 2.3.4)
BEAT_PACKETS = 50  # the time of every 50th packet is noted: one a second
MAX_CATCH_UP_TICKS = 25  # half a second; a process that slept longer skips rather than floods
EVENTS = {key: code for code, key in enumerate("0123456789*#ABCD")}  # RFC 4733, table 3

_HEADER = struct.Struct(">BBHII")
_EVENT = struct.Struct(">BBH")


@dataclass(frozen=True)
class Aim:
    """Where a stream sends; `allowed` says whether the recorder's answer asks for it."""

    host: str
    port: int
    allowed: bool


@dataclass
class Segment:
    """What went to one destination without a break: `first` and `last` are counters of audio packets."""

    host: str
    port: int
    allowed: bool
    first_ns: int
    last_ns: int
    first: int
    last: int = -1
    audio: int = 0  # packets
    events: int = 0  # telephone-event packets
    beats: list[tuple[int, int]] = field(default_factory=list)  # (counter, wall clock in ns)


@dataclass(frozen=True)
class StreamReport:
    """All that one stream sent; `unsent` counts packets the kernel refused, `muted` ticks without aim."""

    stream: int
    label: str
    ssrc: int
    audio: int
    events: int
    leaked: int  # packets sent although the answer did not ask for them
    unsent: int
    muted: int
    digits_lost: str
    segments: tuple[Segment, ...]


@dataclass(frozen=True)
class StreamSetup:
    """What the offer said of a stream, and where its numbers begin (RFC 3550, section 5.1: anywhere)."""

    stream: int  # goes into stamps
    label: str
    ssrc: int
    first_seq: int
    first_time: int
    law: g711.Law = g711.Law.PCMA
    payload_type: int = 8
    event_type: int = 101
    stamped: bool = field(default=False, kw_only=True)


class RtpStream:
    """One outgoing stream with a socket of its own, bound to `address` and any free port."""

    def __init__(self, setup: StreamSetup, *, address: str = "127.0.0.1") -> None:
        self.setup = setup
        self._socket = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind((address, 0))
        self.port: int = self._socket.getsockname()[1]
        self._aim: Aim | None = None
        self._seq = setup.first_seq
        self._time = setup.first_time
        self._counter = 0
        self._speech = b""
        self._spoken = 0
        self._silence = bytes([g711.silence(setup.law)]) * PACKET
        self._keys: deque[str] = deque()
        self._event: Iterator[bytes | None] | None = None
        self._fresh = True  # the next audio packet begins a talk spurt and carries the marker
        self._segments: list[Segment] = []
        self._unsent = self._muted = 0
        self._digits_lost = ""

    def aim(self, aim: Aim | None) -> None:
        """From the next tick on, send there; None sends nothing."""
        if aim != self._aim:
            self._aim = aim
            self._fresh = True

    @property
    def aimed(self) -> Aim | None:
        """Where the next packet goes."""
        return self._aim

    @property
    def counter(self) -> int:
        """Audio packets sent so far; the next stamp's counter."""
        return self._counter

    def speak(self, audio: bytes) -> None:
        """From the next tick on, this A-law speech; silence after its end."""
        if self.setup.law is not g711.Law.PCMA:
            audio = g711.encode(g711.decode(audio, g711.Law.PCMA), self.setup.law)
        self._speech, self._spoken = audio, 0

    def press(self, keys: str) -> None:
        """The keys one after the other, as telephone events in place of audio."""
        self._keys.extend(keys)

    def tick(self, now_ns: int) -> None:
        """One packet of 20 ms, or none; `now_ns` is the wall clock that the report notes."""
        payload = self._next_audio()
        packet = self._next_event() if self._event or self._keys else None
        is_audio = packet is None
        if self._aim is None:
            self._muted += 1
        elif packet is not None:
            self._send(packet, self._aim, now_ns, is_audio=False)
        else:
            if self.setup.stamped:
                payload = pack_stamp(self.setup.stream, self._counter) + payload[STAMP_BYTES:]
            marker = 0x80 if self._fresh else 0
            self._fresh = False
            self._send(self._header(self.setup.payload_type | marker, self._time) + payload, self._aim, now_ns)
        # After an event, audio goes on at the time it would have had (RFC 4733, section 2.5.1.2).
        self._fresh = self._fresh or not is_audio
        self._time = (self._time + PACKET) & 0xFFFF_FFFF

    def skip(self, ticks: int) -> None:
        """Time that passed without a chance to send."""
        self._time = (self._time + ticks * PACKET) & 0xFFFF_FFFF
        self._spoken += ticks * PACKET

    def _next_audio(self) -> bytes:
        payload = self._speech[self._spoken : self._spoken + PACKET]
        self._spoken += PACKET
        return payload if len(payload) == PACKET else payload + self._silence[len(payload) :]

    def _header(self, second: int, rtp_time: int) -> bytes:
        header = _HEADER.pack(0x80, second, self._seq, rtp_time, self.setup.ssrc)
        if self._aim is not None:
            self._seq = (self._seq + 1) & 0xFFFF
        return header

    def _next_event(self) -> bytes | None:
        """The packet of this tick, if an event claims it."""
        if self._event is None:
            self._event = self._event_packets(self._keys.popleft())
        for packet in self._event:
            return packet
        self._event = None
        return self._next_event() if self._keys else None

    def _event_packets(self, key: str) -> Iterator[bytes | None]:
        """What each tick of one key press sends: updates, three ends, then audio (None) for a gap."""
        begin = self._time
        if self._aim is None:
            self._digits_lost += key
        for tick in range(DIGIT_TICKS + END_PACKETS):
            ended = tick >= DIGIT_TICKS
            held = min(tick + 1, DIGIT_TICKS + 1) * PACKET
            marker = 0x80 if tick == 0 else 0
            body = _EVENT.pack(EVENTS[key], (0x80 if ended else 0) | EVENT_VOLUME, held)
            yield self._header(self.setup.event_type | marker, begin) + body
        for _ in range(DIGIT_GAP_TICKS):
            yield None

    def _send(self, packet: bytes, aim: Aim, now_ns: int, *, is_audio: bool = True) -> None:
        try:
            self._socket.sendto(packet, (aim.host, aim.port))
        except OSError:
            # A full buffer or an address that does not answer: as on a network, the packet is gone.
            self._unsent += 1
            return
        segment = self._segment(aim, now_ns)
        segment.last_ns = now_ns
        if not is_audio:
            segment.events += 1
            return
        if segment.audio % BEAT_PACKETS == 0:
            segment.beats.append((self._counter, now_ns))
        segment.audio += 1
        segment.last = self._counter
        self._counter += 1

    def _segment(self, aim: Aim, now_ns: int) -> Segment:
        last = self._segments[-1] if self._segments else None
        if last is not None and (last.host, last.port, last.allowed) == (aim.host, aim.port, aim.allowed):
            return last
        segment = Segment(aim.host, aim.port, aim.allowed, now_ns, now_ns, self._counter)
        self._segments.append(segment)
        return segment

    def close(self) -> StreamReport:
        """Gives the port back; the report of all that was sent."""
        self._socket.close()
        self._aim = None
        return StreamReport(
            stream=self.setup.stream,
            label=self.setup.label,
            ssrc=self.setup.ssrc,
            audio=sum(segment.audio for segment in self._segments),
            events=sum(segment.events for segment in self._segments),
            leaked=sum(s.audio + s.events for s in self._segments if not s.allowed),
            unsent=self._unsent,
            muted=self._muted,
            digits_lost=self._digits_lost,
            segments=tuple(self._segments),
        )


class RtpSender:
    """Ticks all streams on a monotonic clock; a late tick is made up for, so that the pace is kept."""

    def __init__(
        self,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        wall_ns: Callable[[], int] = time.time_ns,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._monotonic, self._wall_ns = monotonic, wall_ns
        self._sleep = sleep
        self._streams: dict[int, RtpStream] = {}
        self.ticks = 0
        self.skipped = 0  # ticks left out after the process slept for long
        self.worst_late = 0.0  # seconds

    def add(self, stream: RtpStream) -> None:
        """From the next tick on, the stream is sent."""
        self._streams[stream.setup.stream] = stream

    def remove(self, stream: RtpStream) -> StreamReport:
        """Ends the stream; its report."""
        self._streams.pop(stream.setup.stream, None)
        return stream.close()

    async def run(self) -> None:
        """Until cancelled."""
        begin = self._monotonic()
        while True:
            due = begin + (self.ticks + self.skipped + 1) * TICK_SECONDS
            await self._sleep(max(0.0, due - self._monotonic()))
            late = self._monotonic() - due
            self.worst_late = max(self.worst_late, late)
            self._make_up_for(late)
            self.tick()

    def _make_up_for(self, late: float) -> None:
        missed = int(late / TICK_SECONDS)
        if missed > MAX_CATCH_UP_TICKS:
            self.skipped += missed
            for stream in self._streams.values():
                stream.skip(missed)

    def tick(self) -> None:
        """One packet time of every stream."""
        now_ns = self._wall_ns()
        for stream in list(self._streams.values()):
            stream.tick(now_ns)
        self.ticks += 1
