"""Voices whose payloads are given, beside a sipp: any codec, at its own clock, with telephone events among them."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from journeys.sipp_run import HOST

TICK_SECONDS = 0.020  # of each packet
EVENT_TYPE = 101
EVENT_PACKETS = 8  # of one press: five updates and the end three times (RFC 4733, 2.5.1.4)


@dataclass
class CodedVoice:
    """One stream: what it says, and after how many packets it presses a key."""

    name: str  # as a=rtpmap has it
    payloads: Sequence[bytes]
    payload_type: int
    step: int  # RTP ticks of a packet
    events_at: int = 0  # Hz of telephone events; 0: it has none
    key: int = -1  # event code; -1: it presses none
    key_after: int = 0  # packets
    _sock: socket.socket = field(default_factory=lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))

    def __post_init__(self) -> None:
        self._sock.bind((HOST, 0))
        events = [_event(self.key, at, self.step) for at in range(EVENT_PACKETS)] if self.key >= 0 else []
        said = [(self.payload_type, payload) for payload in self.payloads]
        pressed = [(EVENT_TYPE, event) for event in events]
        self.packets = [*said[: self.key_after], *pressed, *said[self.key_after :]]

    def line(self, label: int) -> str:
        """Its m-line and what belongs to it."""
        port, kind = self._sock.getsockname()[1], self.payload_type
        events = [f"a=rtpmap:{EVENT_TYPE} telephone-event/{self.events_at}"] if self.events_at else []
        formats = f"{kind} {EVENT_TYPE}" if self.events_at else str(kind)
        head = [
            f"m=audio {port} RTP/AVP {formats}",
            f"c=IN IP4 {HOST}",
            f"a=label:{label}",
            f"a=rtpmap:{kind} {self.name}",
        ]
        return "\n".join([*head, *events, "a=sendonly", "a=ptime:20"])

    def send(self, number: int, port: int) -> None:
        """One packet; a press keeps the time at which it began."""
        kind, payload = self.packets[number]
        at = self.key_after if kind == EVENT_TYPE else number
        header = struct.pack(">BBHII", 0x80, kind, number, at * self.step, 1_000 + self.payload_type)
        self._sock.sendto(header + payload, (HOST, port))

    def close(self) -> None:
        """No more of it."""
        self._sock.close()


def speak(voices: Sequence[CodedVoice], ports: Sequence[int]) -> None:
    """Everything that they have to say, side by side and in time."""
    due = time.monotonic()
    for number in range(max(len(voice.packets) for voice in voices)):
        for voice, port in zip(voices, ports, strict=True):
            if number < len(voice.packets):
                voice.send(number, port)
        due += TICK_SECONDS
        time.sleep(max(0.0, due - time.monotonic()))


def _event(key: int, at: int, step: int) -> bytes:
    has_ended = at >= EVENT_PACKETS - 3
    return struct.pack(">BBH", key, 0x80 * has_ended | 10, min(at + 1, EVENT_PACKETS - 2) * step)
