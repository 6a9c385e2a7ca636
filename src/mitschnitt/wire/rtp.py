"""RTP by the batch: the headers of thousands of packets at once, and the runs they form (RFC 3550).

    rows (n x slot bytes), lengths, streams --parse--> Headers --runs--> RUN records + where each begins

Pure numpy: no I/O, no clock, and no Python statement is executed per packet. Nothing here copies payload.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mitschnitt.errors import MalformedPacket

HEADER_BYTES = 12  # fixed part of the header (RFC 3550, 5.1)
RTCP_HEADER_BYTES = 8  # the least that a packet of RTCP has (RFC 3550, 6.4.2)
MAX_DROPOUT = 3000  # packets; a larger jump forward is a new epoch (RFC 3550, A.1)
MAX_MISORDER = 100  # packets; a larger step back is a new epoch (RFC 3550, A.1)

MARKER_ON_FIRST = 1  # Run.flags bit 0: the first packet of the run carries the marker
EVENT_NOT_KEPT = 2  # Run.flags bit 1: telephone events stood here; their payload was never kept

RUN = np.dtype(
    [
        ("arrival_ns", "<u8"),  # wall clock of the drain that brought the packets, ns since 1970
        ("rtp_time", "<u4"),  # of the first packet
        ("step", "<u4"),  # RTP time from one packet to the next, modulo 2**32; 0 in a run of one
        ("seq", "<u2"),  # of the first packet
        ("count", "<u2"),  # packets; their sequence numbers rise by one on the 16-bit circle
        ("length", "<u2"),  # payload bytes of each packet
        ("payload_type", "u1"),
        ("flags", "u1"),
        ("ssrc", "<u4"),
        ("reserved", "<u4"),  # 0
    ]
)
MAX_RUN_PACKETS = 0xFFFF  # what `count` holds

_PLAIN_BITS = np.uint8(0x80)  # version 2, no padding, no extension, nobody contributes
_WIRE = np.dtype([("bits", "u1"), ("type", "u1"), ("seq", ">u2"), ("rtp_time", ">u4"), ("ssrc", ">u4")])
_WIRE_ITEM = np.dtype((np.void, _WIRE.itemsize))  # as one piece: moved byte by byte, or field by field, it takes longer

Bytes2 = NDArray[np.uint8]
Ints = NDArray[np.int64]


class Reason(IntEnum):
    """Why a packet is not valid RTP; VALID is 0."""

    VALID = 0
    SHORT = 1  # fewer than 12 bytes
    VERSION = 2  # not version 2
    TRUNCATED = 3  # longer than a slot: the kernel kept its tail back
    OVERRUN = 4  # CSRC list or header extension reaches behind the end
    PADDING = 5  # padding of length 0, or longer than what follows the header
    STALE = 6  # of a stream that ended before: its bytes do not tell, but who knows the port does


@dataclass(frozen=True)
class Headers:
    """One array entry per row; of a row that is not `valid` only `reason` and `stream` mean something."""

    stream: NDArray[np.int32]
    reason: NDArray[np.uint8]
    payload_type: NDArray[np.uint8]
    marker: NDArray[np.bool_]
    seq: NDArray[np.uint16]
    rtp_time: NDArray[np.uint32]
    ssrc: NDArray[np.uint32]
    offset: NDArray[np.int32]  # where the payload begins in the row, bytes
    length: NDArray[np.int32]  # payload without padding, bytes
    contributors: NDArray[np.uint8]  # how many sources a mixer or translator names behind the header

    @property
    def valid(self) -> NDArray[np.bool_]:
        """True where the row holds a packet that parses."""
        return np.equal(self.reason, np.uint8(Reason.VALID))

    def refused(self) -> dict[Reason, int]:
        """How many packets do not parse, by reason; only reasons that occur."""
        counts = np.bincount(self.reason, minlength=len(Reason))
        return {reason: int(counts[reason]) for reason in Reason if reason and counts[reason]}

    def where(self, rows: NDArray[Any]) -> Headers:
        """The same headers for some rows only (mask or indices), in that order."""
        return Headers(
            self.stream[rows],
            self.reason[rows],
            self.payload_type[rows],
            self.marker[rows],
            self.seq[rows],
            self.rtp_time[rows],
            self.ssrc[rows],
            self.offset[rows],
            self.length[rows],
            self.contributors[rows],
        )


def parse(rows: Bytes2, lengths: NDArray[np.int32], stream: NDArray[np.int32]) -> Headers:
    """The headers of all rows (RFC 3550, 5.1; extension 5.3.1).

    `rows` is (n, slot); `lengths` are datagram lengths in bytes and may exceed the slot (truncated).
    Raises MalformedPacket only for arrays that do not belong together.
    """
    count, slot = rows.shape
    if lengths.shape != (count,) or stream.shape != (count,):
        raise MalformedPacket(f"{count} rows need as many lengths and streams, got {lengths.shape}")
    if slot < HEADER_BYTES:
        raise MalformedPacket(f"a slot holds at least {HEADER_BYTES} bytes, got {slot}")
    wire = np.ascontiguousarray(rows[:, :HEADER_BYTES].view(_WIRE_ITEM)[:, 0]).view(_WIRE)
    bits, kind = wire["bits"].copy(), wire["type"].copy()
    reason = np.zeros(count, np.uint8)
    offset = np.full(count, HEADER_BYTES, np.int32)
    length = lengths - np.int32(HEADER_BYTES)
    # Read without a sign, a length below zero is a large one: nearly every batch passes these two looks whole.
    fits = count == 0 or int(length.view(np.uint32).max()) <= slot - HEADER_BYTES
    if not fits or bool((bits != _PLAIN_BITS).any()):
        reason[bits >> 6 != 2] = Reason.VERSION
        reason[lengths < HEADER_BYTES] = Reason.SHORT
        reason[lengths > slot] = Reason.TRUNCATED
        unusual = np.flatnonzero((bits & 0x3F != 0) & (reason == Reason.VALID))
        if unusual.size:
            _unusual(rows, bits, lengths, unusual, offset, length, reason)
    return Headers(
        stream,
        reason,
        kind & np.uint8(0x7F),
        kind >= 0x80,
        wire["seq"].astype(np.uint16),
        wire["rtp_time"].astype(np.uint32),
        wire["ssrc"].astype(np.uint32),
        offset,
        length,
        bits & np.uint8(0x0F),
    )


def may_be_media(rows: Bytes2, lengths: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Rows that RTP or RTCP of version 2 may stand in: nothing else says who a line's client is."""
    found: NDArray[np.bool_] = (lengths >= RTCP_HEADER_BYTES) & (rows[:, 0] >> 6 == 2)
    return found


def first_contributor(rows: Bytes2, at: NDArray[Any]) -> NDArray[np.uint32]:
    """The first contributing source of the rows `at`, each a valid packet that names one (RFC 3550, 5.1)."""
    words = rows[at, HEADER_BYTES : HEADER_BYTES + 4]
    return np.ascontiguousarray(words).view(">u4")[:, 0].astype(np.uint32)


def _unusual(
    rows: Bytes2,
    bits: NDArray[np.uint8],
    lengths: NDArray[np.int32],
    at: NDArray[np.intp],
    offset: NDArray[np.int32],
    length: NDArray[np.int32],
    reason: NDArray[np.uint8],
) -> None:
    """Corrects `offset`, `length` and `reason` of the rows `at`, which have CSRCs, extension or padding."""
    bits, end = bits[at].astype(np.int32), lengths[at].astype(np.int32)
    begin = HEADER_BYTES + 4 * (bits & 0x0F)
    has_extension = bits & 0x10 != 0
    # A header that is cut inside its extension reads length 0 here and is caught as an overrun below.
    fits = has_extension & (begin + 4 <= end)
    words = np.zeros(at.size, np.int32)
    words[fits] = rows[at[fits], begin[fits] + 2].astype(np.int32) << 8 | rows[at[fits], begin[fits] + 3]
    begin = begin + np.where(has_extension, 4 + 4 * words, 0)
    overrun = begin > end
    has_padding = (bits & 0x20 != 0) & ~overrun
    padding = np.where(has_padding, rows[at, end - 1], 0).astype(np.int32)
    impossible = has_padding & ((padding == 0) | (padding > end - begin))
    reason[at[overrun]] = Reason.OVERRUN
    reason[at[impossible]] = Reason.PADDING
    sound = ~(overrun | impossible)
    offset[at[sound]] = begin[sound]
    length[at[sound]] = (end - begin - padding)[sound]


def runs(headers: Headers, arrival_ns: int) -> tuple[NDArray[Any], Ints]:
    """Splits rows, in arrival order and grouped by stream, into runs: (RUN records, first row of each).

    In a run the sequence rises by one on the 16-bit circle, RTP time by a constant step; length, payload
    type and SSRC stay. A marker behind an unmarked packet begins a run. Only valid rows may come in.
    """
    count = headers.seq.size
    if not count:
        return np.zeros(0, RUN), np.zeros(0, np.int64)
    begins = _breaks(headers)
    first = np.flatnonzero(begins)
    found = np.zeros(first.size, RUN)
    counts = lengths_of(first, count)
    found["arrival_ns"] = arrival_ns
    found["rtp_time"] = headers.rtp_time[first]
    second = np.minimum(first + 1, count - 1)
    step = headers.rtp_time[second] - headers.rtp_time[first]
    found["step"] = np.where(counts > 1, step, 0)
    found["seq"] = headers.seq[first]
    found["count"] = counts
    found["length"] = headers.length[first]
    found["payload_type"] = headers.payload_type[first]
    found["flags"] = headers.marker[first]
    found["ssrc"] = headers.ssrc[first]
    return found, first


def lengths_of(first: Ints, end: int) -> Ints:
    """Rows of each stretch that begins at `first` (ascending, at least one), the last of which ends at `end`."""
    counts = np.empty(first.size, np.int64)
    np.subtract(first[1:], first[:-1], out=counts[:-1])
    counts[-1] = end - first[-1]
    return counts


def _breaks(headers: Headers) -> NDArray[np.bool_]:
    """True where a run begins."""
    seq, marker = headers.seq, headers.marker
    count = seq.size
    if count > MAX_RUN_PACKETS:
        raise MalformedPacket(f"a batch has at most {MAX_RUN_PACKETS} rows, got {count}")
    begins = np.ones(count, np.bool_)
    hard = seq[1:] != seq[:-1] + np.uint16(1)
    hard |= headers.length[1:] != headers.length[:-1]
    hard |= headers.payload_type[1:] != headers.payload_type[:-1]
    hard |= headers.ssrc[1:] != headers.ssrc[:-1]
    hard |= headers.stream[1:] != headers.stream[:-1]
    hard |= marker[1:] > marker[:-1]
    begins[1:] = hard
    step = headers.rtp_time[1:] - headers.rtp_time[:-1]
    other = step[1:] != step[:-1]  # the step into a packet differs from the step into the one before
    other &= ~(hard[1:] | hard[:-1])
    changed = np.flatnonzero(other) + 2
    if changed.size:
        # Behind a break the next step is free. So in a chain of adjacent changes every second one
        # begins a run: the first of the chain, the third, ...
        opens = np.ones(changed.size, np.bool_)
        opens[1:] = np.diff(changed) != 1
        chain_start = np.maximum.accumulate(np.where(opens, changed, 0))
        begins[changed[(changed - chain_start) % 2 == 0]] = True
    return begins
