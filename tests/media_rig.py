"""A media plane on loopback with a clock that tests move, and senders whose packets are stamped."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from loopback import rtp_ports, send_all
from mitschnitt.errors import NoSpace
from mitschnitt.recorder.mapped import Mapped
from mitschnitt.recorder.media import Line, Media, Track
from mitschnitt.recorder.ports import PortPool
from mitschnitt.recorder.reception import Loss
from mitschnitt.recorder.ring import Ring
from mitschnitt.recorder.sources import Sourcing
from mitschnitt.vault.artefact import Timeline, parse_timeline
from mitschnitt.vault.blobs import Blobs, MemoryBlobs
from mitschnitt.vault.derive import Kind, artefact_context, artefact_key
from mitschnitt.vault.finish import SealedParty
from mitschnitt.vault.sealed import HEADER_BYTES, Opener, plain_size, read_range
from mitschnitt.vault.slice_files import SliceWriter

CALL = bytes(range(16))
LEAF = bytes(range(32))
PCMA = {8: ("PCMA", 8000)}
EVENTS = {101: 8000}
TICK_NS = 250_000_000
T0 = 1_700_000_000_000_000_000
AT = "2026-11-23T10:00:00.000000Z"


@dataclass
class Rig:
    directory: Path
    blobs: Blobs = field(default_factory=MemoryBlobs)
    now_ns: int = T0
    wall_moved_ns: int = 0
    digits: list[tuple[int, str, int]] = field(default_factory=list)
    leaks: list[tuple[int, int]] = field(default_factory=list)
    failed: list[tuple[Track, NoSpace]] = field(default_factory=list)
    doubts: list[tuple[int, str, int]] = field(default_factory=list)
    named: list[int] = field(default_factory=list)
    losses: list[tuple[int, Loss]] = field(default_factory=list)
    synced: int = 0
    address: str = "127.0.0.1"
    keepalive_ns: int = 0
    max_rtcp_sockets: int = 1_000
    ports: PortPool = field(default_factory=lambda: PortPool(*rtp_ports()))
    sourcing: Sourcing = Sourcing.FIRST  # most tests signal nothing
    ring_mib: int = 0  # of a packet ring that every open line is received by; 0: by sockets
    journal_in: Callable[[Path], SliceWriter] = SliceWriter

    def __post_init__(self) -> None:
        self.journal = self.journal_in(self.directory)
        self.mapped = Mapped(Ring(self.address, size_mib=self.ring_mib), self.ports) if self.ring_mib else None
        self.media = Media(
            address=self.address,
            ports=self.ports,
            mapped=self.mapped,
            journal=self.journal,
            blobs=self.blobs,
            clock=lambda: self.now_ns + self.wall_moved_ns,
            pace=lambda: self.now_ns,
            on_digit=lambda line, digit, at_ns: self.digits.append((line.number, digit, at_ns)),
            on_leak=lambda line, packets: self.leaks.append((line.number, packets)),
            on_failed=lambda track, error: self.failed.append((track, error)),
            on_synced=self._count_sync,
            on_doubt=lambda line, rule, since_ns: self.doubts.append((line.number, rule, since_ns)),
            on_named=lambda line: self.named.append(line.number),
            on_loss=lambda line, loss: self.losses.append((line.number, loss)),
            keepalive_ns=self.keepalive_ns,
            max_rtcp_sockets=self.max_rtcp_sockets,
            sourcing=self.sourcing,
        )

    def _count_sync(self) -> None:
        self.synced += 1

    def tick(self, count: int = 1) -> None:
        for _ in range(count):
            self.now_ns += TICK_NS
            self.media.tick(self.now_ns)

    def track(self, party: int = 0) -> Track:
        return self.media.track(call_id=CALL, party=party, leaf_key=LEAF, codecs=PCMA)

    def open_line(self, track: Track) -> tuple[Line, Sender]:
        line = self.media.line(event_types=EVENTS)
        self.media.keep(line, track)
        return line, Sender(line.port)

    def finish(self, track: Track, reason: str = "ended") -> SealedParty:
        return self.media.finish_soon(track, reason=reason, started_at=AT, ended_at=AT).result()

    def close(self) -> None:
        self.media.close()
        self.journal.close()

    def holds(self, marker: bytes) -> bool:
        """Whether the marker lies anywhere in the hold's or the arena's memory."""
        places = [block.bytes for block in self.media.hold.memory()] + self.media.receiver.places
        if self.mapped is not None:
            places += [self.mapped.ring.memory, self.mapped.ring.arena]
        return any(marker in place.tobytes() for place in places)


class Sender:
    """An RTP source towards one port."""

    def __init__(self, port: int, ssrc: int = 0x77) -> None:
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.connect(("127.0.0.1", port))
        self.ssrc = ssrc

    def packet(self, seq: int, payload: bytes, *, kind: int = 8, rtp_time: int | None = None) -> None:
        self.sends(self._datagram(seq, payload, kind, seq * 160 if rtp_time is None else rtp_time))

    def stamped(self, counters: Iterable[int], first_seq: int = 0) -> None:
        self.sends(*(self._datagram(seq, stamp(at), 8, seq * 160) for at in counters for seq in [first_seq + at]))

    def sends(self, *datagrams: bytes) -> None:
        send_all(self.sock, datagrams)

    def _datagram(self, seq: int, payload: bytes, kind: int, time: int) -> bytes:
        return struct.pack(">BBHII", 0x80, kind, seq & 0xFFFF, time & 0xFFFFFFFF, self.ssrc) + payload

    def key(self, seq: int, code: int, rtp_time: int, *, end: bool = False) -> None:
        self.packet(seq, bytes([code, 0x80 * end | 10, 1, 0x40]), kind=101, rtp_time=rtp_time)

    def __del__(self) -> None:
        self.sock.close()  # tests make senders freely; the last reference closes


def stamp(counter: int, size: int = 160) -> bytes:
    return (b"STAMP" + struct.pack(">I", counter)).ljust(size, b"\x55")


def stamps_in(media: bytes, size: int = 160) -> list[int]:
    found = []
    for at in range(0, len(media), size):
        counter = struct.unpack_from(">I", media, at + 5)[0]
        assert media[at : at + size] == stamp(counter, size)
        found.append(counter)
    return found


def read_blob(blobs: Blobs, name: str, kind: Kind, party: int) -> bytes:
    size = blobs.size(name)
    opener = Opener(
        artefact_key(LEAF, kind, party),
        header=blobs.read(name, 0, HEADER_BYTES),
        context=artefact_context(CALL, party, kind),
    )
    return read_range(opener, lambda a, b: blobs.read(name, a, b), size=size, start=0, stop=plain_size(size))


def read_party(blobs: Blobs, party: SealedParty) -> tuple[bytes, Timeline]:
    media = read_blob(blobs, party.media_name, Kind.MEDIA, party.party)
    timeline = read_blob(blobs, party.timeline_name, Kind.TIMELINE, party.party)
    return media, parse_timeline(timeline)
