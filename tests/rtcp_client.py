"""A client's side of some lines: RTP and RTCP ports in pairs, and RTCP put together and taken apart by hand.

Shares no code with the recorder's own RTCP (RFC 3550, 6.4 and 6.5).
"""

from __future__ import annotations

import contextlib
import socket
import struct
from dataclasses import dataclass

from loopback import all_delivered, send_all
from mitschnitt.recorder.rtcp import Peer

LOOPBACK = "127.0.0.1"


def sender_report(ssrc: int, *, ntp: int = 0xE8F1A2B380000000, rtp_time: int = 0, packets: int = 0) -> bytes:
    """SR without blocks."""
    return struct.pack(">BBHIQIII", 0x80, 200, 6, ssrc, ntp, rtp_time, packets, 0)


def named(ssrc: int, cname: bytes) -> bytes:
    """SDES with one CNAME."""
    chunk = struct.pack(">I", ssrc) + bytes((1, len(cname))) + cname + b"\0"
    chunk += bytes(-len(chunk) % 4)
    return struct.pack(">BBH", 0x81, 202, len(chunk) // 4) + chunk


def says_who(ssrc: int, cname: bytes) -> bytes:
    """What clients send every five seconds."""
    return sender_report(ssrc) + named(ssrc, cname)


def goodbye(ssrc: int) -> bytes:
    """BYE in a compound of its own."""
    return sender_report(ssrc) + struct.pack(">BBHI", 0x81, 203, 1, ssrc)


@dataclass(frozen=True)
class Report:
    """A receiver report as it came."""

    source: tuple[str, int]
    reporter: int
    cname: bytes
    ssrc: int = 0
    fraction: int = 0
    lost: int = 0
    highest: int = 0
    jitter: int = 0
    last_sr: int = 0
    delay: int = 0
    blocks: int = 0


def read_report(data: bytes, source: tuple[str, int]) -> Report:
    """RR of at most one block, and SDES with one CNAME."""
    bits, kind, words, reporter = struct.unpack_from(">BBHI", data)
    assert (bits & 0xE0, kind) == (0x80, 201)
    blocks = bits & 0x1F
    assert words == 1 + 6 * blocks
    at = 4 + 4 * words
    head, sdes, more, who = struct.unpack_from(">BBHI", data, at)
    assert (head, sdes, who, len(data)) == (0x81, 202, reporter, at + 4 + 4 * more)
    item, length = data[at + 8], data[at + 9]
    assert item == 1
    cname = data[at + 10 : at + 10 + length]
    assert set(data[at + 10 + length :]) == {0}
    if not blocks:
        return Report(source, reporter, cname)
    ssrc, shares, highest, jitter, last_sr, delay = struct.unpack_from(">6I", data, 8)
    lost = (shares & 0xFFFFFF) - (1 << 24 if shares & 0x800000 else 0)
    return Report(source, reporter, cname, ssrc, shares >> 24, lost, highest, jitter, last_sr, delay, blocks)


class Client:
    """One stream: RTP from an even port, RTCP from the odd one above it."""

    def __init__(self, ssrc: int = 0x51) -> None:
        self.ssrc, self.seq = ssrc, 0
        self.rtp, self.rtcp = _pair()
        self.port: int = self.rtp.getsockname()[1]

    @property
    def peer(self) -> Peer:
        """As an offer signals it."""
        return Peer(LOOPBACK, self.port, LOOPBACK, self.port + 1)

    @property
    def muxed(self) -> Peer:
        """As an offer with rtcp-mux signals it."""
        return Peer(LOOPBACK, self.port, LOOPBACK, self.port, is_muxed=True)

    def says(self, port: int, count: int = 1, *, csrc: tuple[int, ...] = (), mark: bytes = b"voice") -> None:
        """Sends that many packets of 20 ms PCMA."""
        for _ in range(count):
            self.seq += 1
            head = struct.pack(">BBHII", 0x80 | len(csrc), 8, self.seq & 0xFFFF, self.seq * 160, self.ssrc)
            named_too = b"".join(struct.pack(">I", one) for one in csrc)
            with contextlib.suppress(ConnectionRefusedError):
                send_all(self.rtp, [head + named_too + mark.ljust(160, b"\x55")], (LOOPBACK, port))

    def loses(self, count: int = 1) -> None:
        """Packets that never arrive."""
        self.seq += count

    def tells(self, port: int, data: bytes) -> None:
        """Sends RTCP to the odd port above this RTP port."""
        send_all(self.rtcp, [data], (LOOPBACK, port + 1))

    def heard(self) -> list[tuple[bytes, tuple[str, int]]]:
        """Everything that came to the RTCP port since last asked."""
        return _all(self.rtcp)

    def heard_on_rtp(self) -> list[bytes]:
        """Everything that came to the RTP port."""
        return [data for data, _ in _all(self.rtp)]

    def reports(self) -> list[Report]:
        """The reports among it; there is nothing else."""
        return [read_report(*one) for one in self.heard()]

    def close(self) -> None:
        """Both ports go."""
        self.rtp.close()
        self.rtcp.close()

    def __del__(self) -> None:
        self.close()  # tests make clients freely; the last reference closes


def _pair() -> tuple[socket.socket, socket.socket]:
    while True:
        even, odd = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        even.bind((LOOPBACK, 0))
        port = even.getsockname()[1]
        with contextlib.suppress(OSError):
            if port % 2 == 0:
                odd.bind((LOOPBACK, port + 1))
                even.setblocking(False)
                odd.setblocking(False)
                return even, odd
        even.close()
        odd.close()


def _all(sock: socket.socket) -> list[tuple[bytes, tuple[str, int]]]:
    all_delivered()
    found = []
    with contextlib.suppress(BlockingIOError):
        while True:
            found.append(sock.recvfrom(4_096))
    return found
