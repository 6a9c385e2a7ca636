"""AMR and AMR-WB payloads taken apart into frames (RFC 4867), octet-aligned and bandwidth-efficient.

Nothing is decoded here. Interleaving, robust sorting and several channels are refused: no telephone sends them.
"""

from __future__ import annotations

from dataclasses import dataclass

from mitschnitt.errors import MalformedPacket

MAX_FRAMES = 12  # of a packet: 240 ms, the most that RFC 4867 (section 8, maxptime) speaks of
NO_DATA = 15  # frame type: nothing was sent for its 20 ms
UNREADABLE = frozenset({"interleaving", "robust-sorting"})  # parameters that order the bits in another way
# Bits of each frame type; -1 for those that are reserved (3GPP TS 26.101, table 1a, and TS 26.201, table 2).
NARROW_BITS = (95, 103, 118, 134, 148, 159, 204, 244, 39, -1, -1, -1, -1, -1, -1, 0)
WIDE_BITS = (132, 177, 253, 285, 317, 365, 397, 461, 477, 40, -1, -1, -1, -1, 0, 0)


@dataclass(frozen=True, slots=True)
class AmrFormat:
    """How a stream packs its frames."""

    rate: int  # samples per second: 8000 or 16000
    bits: tuple[int, ...]  # of each frame type
    silence_type: int  # the first frame type that is no speech
    is_aligned: bool = False
    has_crc: bool = False

    @property
    def frame_samples(self) -> int:
        """Samples of a frame, 20 ms."""
        return self.rate // 50


@dataclass(frozen=True, slots=True)
class AmrFrame:
    """One frame of 20 ms; `stored` is as a file holds it (RFC 4867, section 5.3), type byte first."""

    kind: int
    is_good: bool  # the quality bit: False says that the radio damaged it
    is_speech: bool
    stored: bytes


class _Bits:
    """A payload, bit by bit."""

    def __init__(self, payload: bytes) -> None:
        self._number = int.from_bytes(payload, "big")
        self.left = len(payload) * 8

    def take(self, bits: int) -> int:
        """The next bits as a number. MalformedPacket when there are not as many."""
        if bits > self.left:
            raise MalformedPacket(f"an AMR payload ends {bits - self.left} bits before what it announces")
        self.left -= bits
        return self._number >> self.left & (1 << bits) - 1


def amr_format(coding: str) -> AmrFormat | None:
    """The format that a coding of `codecs.coding` names; None where its bits cannot be read by us."""
    name, _, fmtp = coding.partition(";")
    pairs = (entry.partition("=") for entry in fmtp.lower().split(";"))
    wanted = {key.strip(): value.strip() for key, _, value in pairs}
    if any(wanted.get(key, "0") != "0" for key in UNREADABLE) or name not in ("AMR", "AMR-WB"):
        return None
    has_crc = wanted.get("crc", "0") == "1"
    is_aligned = wanted.get("octet-align", "0") == "1" or has_crc  # the CRC is of the octet-aligned form only
    if name == "AMR":
        return AmrFormat(8_000, NARROW_BITS, 8, is_aligned, has_crc)
    return AmrFormat(16_000, WIDE_BITS, 9, is_aligned, has_crc)


def parse_frames(payload: bytes, form: AmrFormat) -> tuple[AmrFrame, ...]:
    """The frames of a packet, oldest first. MalformedPacket when its table of contents and its length disagree."""
    reader = _Bits(payload)
    take = reader.take
    pad = 2 if form.is_aligned else 0
    take(8 if form.is_aligned else 4)  # which mode is asked of the other side
    entries: list[tuple[int, bool]] = []
    more = True
    while more:
        entry = take(6 + pad) >> pad
        more = bool(entry >> 5)
        entries.append((entry >> 1 & 15, bool(entry & 1)))
        if len(entries) > MAX_FRAMES:
            raise MalformedPacket(f"an AMR payload has at most {MAX_FRAMES} frames, got more")
    sizes = [form.bits[kind] for kind, _ in entries]
    if min(sizes) < 0:
        raise MalformedPacket("an AMR payload names a reserved frame type")
    if form.has_crc:
        take(8 * sum(1 for size in sizes if size))
    frames = []
    for (kind, is_good), size in zip(entries, sizes, strict=True):
        bits = take(size)
        fill = -size % 8
        if form.is_aligned:
            take(fill)
        data = (bits << fill).to_bytes((size + fill) // 8, "big")
        is_speech = kind < form.silence_type
        frames.append(AmrFrame(kind, is_good, is_speech, bytes([kind << 3 | is_good << 2]) + data))
    if reader.left >= 8:
        raise MalformedPacket(f"an AMR payload of {len(payload)} bytes has {reader.left // 8} more than it announces")
    return tuple(frames)
