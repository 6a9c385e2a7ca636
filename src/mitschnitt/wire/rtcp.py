"""RTCP: compound packets read, and the reports of a receiver written (RFC 3550, 6; reduced size: RFC 5506).

    datagram --parse--> Compound (reports, CNAMEs, goodbyes)      reports, CNAME --compound--> datagram

Of a source's description only the CNAME is taken; names, addresses, numbers and notes are stepped over and never
copied out of the datagram. No sockets, no clock, no randomness: whoever sends brings time and luck along.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from mitschnitt.errors import MalformedPacket, TooLarge

MAX_BYTES = 1_500  # of a datagram: one Ethernet frame; a report on one stream with its CNAME has about 100
MAX_PACKETS = 32  # in one datagram; real ones have two to four
MAX_REPORTS = 31  # report blocks in one packet: what its five-bit count holds
MAX_CNAME_BYTES = 255  # what the length byte of an item holds

FIRST_TYPE, LAST_TYPE = 192, 223  # RTCP's share of the second byte; others are RTP (RFC 5761, 4)
SENDER_REPORT, RECEIVER_REPORT, SOURCE_DESCRIPTION, GOODBYE = 200, 201, 202, 203
CNAME = 1  # item type (RFC 3550, 6.5.1); the only one that is read

MIN_INTERVAL_SECONDS = 5.0  # between two reports (RFC 3550, 6.2); two members never need a longer one
LSR_UNITS = 65_536  # in a second, of "last SR" and of the delay since

_HEAD = struct.Struct(">BBH")
_SSRC = struct.Struct(">I")
_SENDER = struct.Struct(">IQIII")
_BLOCK = struct.Struct(">6I")


@dataclass(frozen=True, slots=True)
class ReportBlock:
    """What a receiver says of one source (RFC 3550, 6.4.1)."""

    ssrc: int
    fraction_lost: int  # 256ths, since the report before
    lost: int  # packets since the beginning, [-2**23, 2**23 - 1]; duplicates can make it negative
    highest: int  # sequence number, with the wraps so far in its upper half
    jitter: int  # in units of the RTP clock
    last_sr: int = 0  # middle half of the newest sender report's NTP time; 0: none came
    delay: int = 0  # since that report came, in 1/65536 s

    def __bytes__(self) -> bytes:
        """24 bytes on the wire."""
        lost = max(-(1 << 23), min(self.lost, (1 << 23) - 1)) & 0xFFFFFF
        shares = self.fraction_lost << 24 | lost
        return _BLOCK.pack(self.ssrc, shares, self.highest, self.jitter, self.last_sr, self.delay)


@dataclass(frozen=True, slots=True)
class SenderReport:
    """What a sender says of itself, and of others (RFC 3550, 6.4.1)."""

    ssrc: int
    ntp: int  # 64 bits, 1/2**32 s since 1900
    rtp_time: int  # of the same moment
    packets: int
    octets: int
    blocks: tuple[ReportBlock, ...] = ()

    def __bytes__(self) -> bytes:
        """The packet on the wire."""
        head = _SENDER.pack(self.ssrc, self.ntp, self.rtp_time, self.packets, self.octets)
        return _packet(SENDER_REPORT, len(self.blocks), head + b"".join(map(bytes, self.blocks)))

    @property
    def last_sr(self) -> int:
        """The middle half of its NTP time, as report blocks echo it."""
        return self.ntp >> 16 & 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class ReceiverReport:
    """What somebody who sends no media says of others (RFC 3550, 6.4.2); without blocks: "I am here"."""

    ssrc: int
    blocks: tuple[ReportBlock, ...] = ()

    def __bytes__(self) -> bytes:
        """The packet on the wire."""
        return _packet(RECEIVER_REPORT, len(self.blocks), _SSRC.pack(self.ssrc) + b"".join(map(bytes, self.blocks)))


@dataclass(frozen=True, slots=True)
class SourceName:
    """The CNAME of one source: what stays the same when its SSRC changes (RFC 3550, 6.5.1)."""

    ssrc: int
    cname: bytes = field(repr=False)  # may hold a user's name and host: compared, never shown

    def __bytes__(self) -> bytes:
        """A source description with this one item."""
        chunk = _SSRC.pack(self.ssrc) + bytes((CNAME, len(self.cname))) + self.cname
        return _packet(SOURCE_DESCRIPTION, 1, chunk + bytes(4 - len(chunk) % 4))


@dataclass(frozen=True, slots=True)
class Compound:
    """All that one datagram tells."""

    reports: tuple[SenderReport | ReceiverReport, ...] = ()
    names: tuple[SourceName, ...] = ()
    goodbyes: tuple[int, ...] = ()  # SSRCs that end; the call does not
    skipped: int = 0  # packets of other types
    is_reduced: bool = False  # begins with neither SR nor RR (RFC 5506)


# --- reading ------------------------------------------------------------------------------------------


def parse(data: bytes) -> Compound:
    """One datagram, checked as RFC 3550, A.2 asks; its first packet may be of any type (RFC 5506).

    Raises MalformedPacket for what is no RTCP, or disagrees with its own lengths; TooLarge above a limit.
    """
    if len(data) > MAX_BYTES:
        raise TooLarge(f"an RTCP datagram has at most {MAX_BYTES} bytes, got {len(data)}")
    if not data or len(data) % 4:
        raise MalformedPacket(f"an RTCP datagram has whole words of 4 bytes, got {len(data)} bytes")
    reports: list[SenderReport | ReceiverReport] = []
    names: list[SourceName] = []
    goodbyes: list[int] = []
    kinds: list[int] = []
    at = 0
    while at < len(data):
        kind, count, body, at = _next(data, at)
        kinds.append(kind)
        if len(kinds) > MAX_PACKETS:
            raise TooLarge(f"an RTCP datagram has at most {MAX_PACKETS} packets")
        if kind == SENDER_REPORT:
            reports.append(_sender_report(body, count))
        elif kind == RECEIVER_REPORT:
            reports.append(_receiver_report(body, count))
        elif kind == SOURCE_DESCRIPTION:
            names += _names(body, count)
        elif kind == GOODBYE:
            goodbyes += _goodbyes(body, count)
    skipped = sum(not SENDER_REPORT <= kind <= GOODBYE for kind in kinds)
    reduced = kinds[0] not in (SENDER_REPORT, RECEIVER_REPORT)
    return Compound(tuple(reports), tuple(names), tuple(goodbyes), skipped, reduced)


def _next(data: bytes, at: int) -> tuple[int, int, bytes, int]:
    """(type, count, body without padding, where the next one begins) of the packet at `at`."""
    bits, kind, words = _HEAD.unpack_from(data, at)
    if bits >> 6 != 2:
        raise MalformedPacket(f"an RTCP packet has version 2, got {bits >> 6}")
    if not FIRST_TYPE <= kind <= LAST_TYPE:
        raise MalformedPacket(f"an RTCP packet has a type of {FIRST_TYPE} to {LAST_TYPE}, got {kind}")
    start, end = at + _HEAD.size, at + _HEAD.size + 4 * words
    if end > len(data):
        raise MalformedPacket(f"an RTCP packet says {4 * words} bytes, {len(data) - start} are left")
    padding = 0
    if bits & 0x20:
        padding = data[end - 1] if words else 0
        if end != len(data) or not padding or padding % 4 or padding > 4 * words:
            raise MalformedPacket("RTCP padding stands in the last packet, in whole words, and fits it")
    return kind, bits & 0x1F, data[start : end - padding], end


def _sender_report(body: bytes, count: int) -> SenderReport:
    _need(body, _SENDER.size + _BLOCK.size * count, "a sender report")
    ssrc, ntp, rtp_time, packets, octets = _SENDER.unpack_from(body)
    return SenderReport(ssrc, ntp, rtp_time, packets, octets, _blocks(body, _SENDER.size, count))


def _receiver_report(body: bytes, count: int) -> ReceiverReport:
    _need(body, _SSRC.size + _BLOCK.size * count, "a receiver report")
    return ReceiverReport(_SSRC.unpack_from(body)[0], _blocks(body, _SSRC.size, count))


def _blocks(body: bytes, start: int, count: int) -> tuple[ReportBlock, ...]:
    """`count` report blocks; what stands behind them is a profile's own and not read."""
    blocks = []
    for at in range(start, start + count * _BLOCK.size, _BLOCK.size):
        ssrc, shares, highest, jitter, last_sr, delay = _BLOCK.unpack_from(body, at)
        lost = (shares & 0xFFFFFF) - ((shares & 0x800000) << 1)
        blocks.append(ReportBlock(ssrc, shares >> 24, lost, highest, jitter, last_sr, delay))
    return tuple(blocks)


def _names(body: bytes, count: int) -> list[SourceName]:
    """The first CNAME of each chunk that has one (RFC 3550, 6.5)."""
    names, at = [], 0
    for _ in range(count):
        _need(body, at + _SSRC.size, "a chunk of a source description")
        (ssrc,), at = _SSRC.unpack_from(body, at), at + _SSRC.size
        cname, at = _items(body, at)
        if cname:
            names.append(SourceName(ssrc, cname))
    return names


def _items(body: bytes, at: int) -> tuple[bytes, int]:
    """(CNAME or nothing, where the next chunk begins). A last chunk without its closing 0 is taken."""
    cname = b""
    while at < len(body) and body[at]:
        _need(body, at + 2, "an item of a source description")
        kind, length = body[at], body[at + 1]
        _need(body, at + 2 + length, "an item of a source description")
        if kind == CNAME and not cname:
            cname = body[at + 2 : at + 2 + length]
        at += 2 + length
    return cname, at // 4 * 4 + 4  # one to four zeros close a chunk


def _goodbyes(body: bytes, count: int) -> list[int]:
    """The sources that end; why, in their own words, is not read."""
    _need(body, _SSRC.size * count, "a goodbye")
    return [_SSRC.unpack_from(body, _SSRC.size * number)[0] for number in range(count)]


def _need(body: bytes, size: int, what: str) -> None:
    if len(body) < size:
        raise MalformedPacket(f"{what} needs {size} bytes, got {len(body)}")


# --- writing ------------------------------------------------------------------------------------------


def _packet(kind: int, count: int, body: bytes) -> bytes:
    return _HEAD.pack(0x80 | count, kind, len(body) // 4) + body


def compound(report: SenderReport | ReceiverReport, name: SourceName) -> bytes:
    """A datagram as RFC 3550, 6.1 asks: a report first, then the CNAME. TooLarge for more than these can hold."""
    if len(report.blocks) > MAX_REPORTS or len(name.cname) > MAX_CNAME_BYTES:
        raise TooLarge(f"at most {MAX_REPORTS} report blocks and {MAX_CNAME_BYTES} bytes of CNAME")
    return bytes(report) + bytes(name)


def fraction_lost(expected: int, received: int) -> int:
    """256ths of `expected` packets that did not come; 0 when there were none or more than expected (A.3)."""
    lost = expected - received
    return min((lost << 8) // expected, 255) if expected > 0 and lost > 0 else 0


def report_interval(luck: float, *, first: bool) -> float:
    """Seconds until the next report of one of two members (RFC 3550, 6.2 and 6.3.1); `luck` is in [0, 1).

    2.5 to 7.5 s, half of that for the first. Two members never need more: some 20 octets a second are far below
    5 % of any voice codec. Nor do they reconsider, so the factor that makes up for that (1.21828) is left out.
    """
    return (MIN_INTERVAL_SECONDS / 2 if first else MIN_INTERVAL_SECONDS) * (0.5 + luck)
