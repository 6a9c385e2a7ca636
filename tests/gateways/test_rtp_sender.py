"""What a stream puts on the wire, tick by tick: audio, digits, stamps, and nothing where it is not asked."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from loopback import delivered
from mitschnitt.gateways import stamp
from mitschnitt.gateways.rtp_sender import Aim, RtpSender, RtpStream, StreamReport, StreamSetup
from mitschnitt.wire import g711

NOON = 1_795_435_200_000_000_000
TICK_NS = 20_000_000


@dataclass(frozen=True)
class Packet:
    marker: bool
    payload_type: int
    seq: int
    time: int
    ssrc: int
    payload: bytes


class Wire:
    """A stream under test and the socket that it sends to."""

    def __init__(self, *, stamped: bool = False, law: g711.Law = g711.Law.PCMA) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.setblocking(False)
        payload_type = 8 if law is g711.Law.PCMA else 0
        setup = StreamSetup(5, "1", 0xABCD, 65_534, (1 << 32) - 160, law, payload_type=payload_type, stamped=stamped)
        self.stream = RtpStream(setup)
        self.ticks = 0

    def aim(self, *, allowed: bool = True) -> None:
        self.stream.aim(Aim("127.0.0.1", self.socket.getsockname()[1], allowed))

    def tick(self, count: int = 1) -> list[Packet]:
        """The packets that `count` ticks put on the wire."""
        with delivered():
            for _ in range(count):
                self.stream.tick(NOON + self.ticks * TICK_NS)
                self.ticks += 1
        return list(self._arrived())

    def _arrived(self) -> Iterator[Packet]:
        while True:
            try:
                data = self.socket.recv(2048)
            except BlockingIOError:
                return
            first, second, seq, rtp_time, ssrc = struct.unpack(">BBHII", data[:12])
            assert first == 0x80
            yield Packet(bool(second & 0x80), second & 0x7F, seq, rtp_time, ssrc, data[12:])

    def close(self) -> StreamReport:
        self.socket.close()
        return self.stream.close()


def test_speech_goes_out_in_packets_of_20_ms_and_wraps() -> None:
    wire = Wire()
    wire.aim()
    wire.stream.speak(bytes([1]) * 160 + bytes([2]) * 100)
    packets = wire.tick(3)
    assert [(p.marker, p.payload_type, p.seq, p.time) for p in packets] == [
        (True, 8, 65_534, (1 << 32) - 160),
        (False, 8, 65_535, 0),
        (False, 8, 0, 160),
    ]
    assert packets[0].payload == bytes([1]) * 160
    assert packets[1].payload == bytes([2]) * 100 + b"\xd5" * 60
    assert packets[2].payload == b"\xd5" * 160
    assert {p.ssrc for p in packets} == {0xABCD}
    wire.close()


def test_without_an_aim_nothing_is_sent_and_time_goes_on() -> None:
    wire = Wire()
    wire.stream.speak(bytes(range(1, 11)) * 160)
    assert wire.tick(3) == []
    wire.aim()
    (packet,) = wire.tick()
    assert (packet.marker, packet.seq, packet.time) == (True, 65_534, 2 * 160)
    assert packet.payload[:10] == bytes(range(1, 11))  # 480 samples on; the pattern has 10
    wire.stream.aim(None)
    assert wire.tick(5) == []
    report = wire.close()
    assert (report.audio, report.muted, report.leaked) == (1, 8, 0)


def test_a_digit_is_one_event_with_updates_and_three_ends() -> None:
    wire = Wire()
    wire.aim()
    wire.tick(2)
    wire.stream.press("1")
    packets = wire.tick(9)
    events = [p for p in packets if p.payload_type == 101]
    assert [p.payload for p in events[:5]] == [struct.pack(">BBH", 1, 10, 160 * n) for n in range(1, 6)]
    assert [p.payload for p in events[5:]] == [struct.pack(">BBH", 1, 0x8A, 960)] * 3
    assert {p.time for p in events} == {160}
    assert [p.marker for p in events] == [True] + [False] * 7
    assert [p.seq for p in events] == list(range(8))
    (after,) = packets[8:]
    assert (after.payload_type, after.marker, after.seq, after.time) == (8, True, 8, 160 + 8 * 160)
    report = wire.close()
    assert (report.events, report.audio) == (8, 3)


def test_a_sequence_of_keys_has_audio_between_them() -> None:
    wire = Wire()
    wire.aim()
    wire.stream.press("*9")
    kinds = [p.payload[0] if p.payload_type == 101 else "audio" for p in wire.tick(22)]
    assert kinds == [10] * 8 + ["audio"] * 4 + [9] * 8 + ["audio"] * 2
    wire.close()


def test_a_digit_pressed_into_a_closed_stream_is_reported_lost() -> None:
    wire = Wire()
    wire.stream.press("1")
    assert wire.tick(12) == []
    report = wire.close()
    assert (report.digits_lost, report.events) == ("1", 0)


def test_every_stamped_payload_begins_with_stream_and_counter() -> None:
    wire = Wire(stamped=True)
    wire.aim()
    wire.stream.speak(bytes([7]) * 1600)
    before = wire.tick(3)
    wire.stream.aim(None)
    wire.tick(4)
    wire.stream.press("2")
    wire.aim()
    after = wire.tick(10)
    audio = [p.payload for p in before + after if p.payload_type == 8]
    found = stamp.find_stamps(b"".join(audio))
    assert found["offset"].tolist() == [160 * n for n in range(len(audio))]
    assert stamp.counters_of(found, 5).tolist() == list(range(len(audio)))
    assert before[0].payload[20:] == bytes([7]) * 140
    assert wire.stream.counter == len(audio)
    wire.close()


def test_the_other_law_is_spoken_too() -> None:
    wire = Wire(law=g711.Law.PCMU)
    wire.aim()
    wire.stream.speak(b"\xd5" * 160)
    first, second = wire.tick(2)
    assert first.payload_type == 0
    assert first.payload == g711.encode(g711.decode(b"\xd5" * 160, g711.Law.PCMA), g711.Law.PCMU)
    assert second.payload == b"\xff" * 160
    wire.close()


def test_the_report_says_what_went_where_and_when() -> None:
    wire = Wire()
    wire.aim(allowed=False)
    wire.tick(60)
    wire.aim()
    wire.tick(10)
    report = wire.close()
    closed, allowed = report.segments
    assert (closed.allowed, closed.first, closed.last, closed.audio) == (False, 0, 59, 60)
    assert closed.beats == [(0, NOON), (50, NOON + 50 * TICK_NS)]
    assert (allowed.allowed, allowed.first, allowed.last) == (True, 60, 69)
    assert (allowed.first_ns, allowed.last_ns) == (NOON + 60 * TICK_NS, NOON + 69 * TICK_NS)
    assert (report.audio, report.leaked, report.stream, report.label) == (70, 60, 5, "1")


def test_an_address_that_cannot_be_reached_is_counted_not_raised() -> None:
    wire = Wire()
    wire.stream.aim(Aim("127.0.0.1", 0, allowed=True))
    wire.tick(2)
    assert wire.close().unsent == 2


class Clock:
    """A monotonic clock that sleeping moves; `overslept` is added once to the sleep of that number."""

    def __init__(self, overslept: dict[int, float] | None = None) -> None:
        self.now, self.sleeps, self.overslept = 100.0, 0, overslept or {}

    async def sleep(self, seconds: float) -> None:
        self.now += seconds + self.overslept.get(self.sleeps, 0.0)
        self.sleeps += 1
        await asyncio.sleep(0)


def ticks_of(clock: Clock, seconds: float) -> RtpSender:
    async def run() -> RtpSender:
        sender = RtpSender(monotonic=lambda: clock.now, wall_ns=lambda: NOON, sleep=clock.sleep)
        task = asyncio.ensure_future(sender.run())
        while clock.now < 100.0 + seconds:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return sender

    return asyncio.run(run())


def test_the_pace_is_fifty_a_second() -> None:
    assert ticks_of(Clock(), 10.0).ticks in (499, 500, 501)


def test_a_late_tick_is_made_up_for() -> None:
    sender = ticks_of(Clock({100: 0.25}), 10.0)
    assert sender.ticks in (499, 500, 501)
    assert sender.skipped == 0
    assert sender.worst_late == pytest.approx(0.25)


def test_a_long_sleep_skips_instead_of_flooding() -> None:
    sender = ticks_of(Clock({100: 3.0}), 10.0)
    assert sender.skipped == 150
    assert sender.ticks in (349, 350, 351)


def test_streams_come_and_go() -> None:
    wire = Wire()
    wire.aim()
    sender = RtpSender(wall_ns=lambda: NOON)
    sender.add(wire.stream)
    sender.tick()
    report = sender.remove(wire.stream)
    sender.tick()
    assert (report.audio, sender.ticks) == (1, 2)
    wire.socket.close()
