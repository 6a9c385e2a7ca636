"""Opus packets (RFC 6716, section 3; RFC 7587): their frames and how long they last. Nothing is decoded here.

All lengths of time are samples at 48,000 per second, which is also Opus's RTP clock, whatever was recorded.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from mitschnitt.errors import MalformedPacket

RATE = 48_000  # samples per second, and RTP clock (RFC 7587, section 4.1)
MAX_SAMPLES = 5_760  # of a packet: 120 ms (RFC 6716, requirement R5)
MAX_FRAME_BYTES = 1_275  # (R2)
MAX_PACKET_BYTES = 61_298  # 48 frames of that size with their lengths, and the two bytes before them
STEREO = 0x04  # bit of the first byte
SECOND_LENGTH = 252  # a first length byte from here on is followed by a second (section 3.2.1)
SILENT_FRAME = b"\xff\xfe"  # a CELT frame whose silence flag is set, so that nothing else is in it
SILENCE_TOCS = {960: 0xF8, 480: 0xF0, 240: 0xE8, 120: 0xE0}  # samples -> one channel, full band, one frame
SIX_FRAMES = b"\xfb\x06"  # 20 ms each, of equal length (code 3): what a silence of 120 ms begins with

Int64s = npt.NDArray[np.int64]


class Mode(StrEnum):
    """Which of Opus's two coders made the frames."""

    SILK = "silk"
    HYBRID = "hybrid"
    CELT = "celt"


@dataclass(frozen=True, slots=True)
class OpusPacket:
    """What the first bytes of a packet say of it."""

    mode: Mode
    bandwidth: str  # NB, MB, WB, SWB or FB: 4, 6, 8, 12 or 20 kHz
    channels: int  # of the coding; the stream is decoded as whatever is asked
    frame_samples: int
    frames: tuple[int, ...]  # bytes of each

    @property
    def samples(self) -> int:
        """Samples that the packet gives."""
        return self.frame_samples * len(self.frames)

    @property
    def is_dtx(self) -> bool:
        """Whether nothing was sent for its time: all frames are empty (RFC 6716, section 3.2.1)."""
        return not any(self.frames)


def _configurations() -> tuple[tuple[Mode, str, int], ...]:
    """Mode, bandwidth and samples of a frame for each of the 32 configurations (RFC 6716, table 2)."""
    silk = [(Mode.SILK, band, samples) for band in ("NB", "MB", "WB") for samples in (480, 960, 1920, 2880)]
    hybrid = [(Mode.HYBRID, band, samples) for band in ("SWB", "FB") for samples in (480, 960)]
    celt = [(Mode.CELT, band, samples) for band in ("NB", "WB", "SWB", "FB") for samples in (120, 240, 480, 960)]
    return (*silk, *hybrid, *celt)


CONFIGURATIONS = _configurations()
_FRAME_SAMPLES = np.array([samples for _, _, samples in CONFIGURATIONS], np.int64)


def parse_packet(packet: bytes) -> OpusPacket:
    """The packet's frames. MalformedPacket where it breaks a requirement R1 to R7 of RFC 6716, section 3.4."""
    if not packet:
        raise MalformedPacket("an Opus packet has at least 1 byte, got 0")
    mode, bandwidth, samples = CONFIGURATIONS[packet[0] >> 3]
    code, body = packet[0] & 3, packet[1:]
    if code == 0:
        frames = [len(body)]
    elif code == 1:
        if len(body) % 2:
            raise MalformedPacket(f"two Opus frames of equal length take an even number of bytes, got {len(body)}")
        frames = [len(body) // 2] * 2
    elif code == 2:
        first, taken = _length(body, 0)
        frames = [first, len(body) - taken - first]
    else:
        frames = _counted(body, samples)
    if min(frames) < 0 or max(frames) > MAX_FRAME_BYTES:
        raise MalformedPacket(f"an Opus frame has 0 to {MAX_FRAME_BYTES} bytes, the packet says {min(frames)} or more")
    return OpusPacket(mode, bandwidth, 2 if packet[0] & STEREO else 1, samples, tuple(frames))


def _length(body: bytes, at: int) -> tuple[int, int]:
    """(length of a frame, where the next byte is)."""
    if at < len(body) and body[at] < SECOND_LENGTH:
        return body[at], at + 1
    if at + 1 < len(body):
        return body[at] + 4 * body[at + 1], at + 2
    raise MalformedPacket(f"the length of an Opus frame is cut: {max(len(body) - at, 0)} bytes are left")


def _counted(body: bytes, samples: int) -> list[int]:
    """Lengths of the frames of a packet of code 3 (section 3.2.5)."""
    if not body:
        raise MalformedPacket("an Opus packet of code 3 has at least 2 bytes, got 1")
    count, has_padding, is_variable = body[0] & 0x3F, body[0] & 0x40, body[0] & 0x80
    if not 1 <= count * samples <= MAX_SAMPLES:
        raise MalformedPacket(f"an Opus packet lasts up to {MAX_SAMPLES} samples, got {count} frames of {samples}")
    at, padding = 1, 0
    while has_padding:
        if at >= len(body):
            raise MalformedPacket("the padding of an Opus packet has no length")
        more, at = body[at], at + 1
        padding += min(more, 254)
        has_padding = more == 255
    lengths: list[int] = []
    if is_variable:
        for _ in range(count - 1):
            length, at = _length(body, at)
            lengths.append(length)
    left = len(body) - at - padding - sum(lengths)
    if is_variable:
        return [*lengths, left]
    if left < 0 or left % count:
        raise MalformedPacket(f"{count} Opus frames of equal length cannot take {left} bytes")
    return [left // count] * count


def emptied(packet: bytes) -> bytes:
    """A packet of the same kind and length of time without frames, which a decoder conceals as lost (section 4.4).

    MalformedPacket where the first two bytes tell no time.
    """
    span = int(durations(np.frombuffer(packet, np.uint8), np.array([len(packet)], np.int64))[0])
    if not span:
        raise MalformedPacket("an Opus packet that tells no time cannot be concealed")
    return bytes([packet[0] | 3, span // CONFIGURATIONS[packet[0] >> 3][2]])


def durations(payload: npt.NDArray[np.uint8], lengths: Int64s) -> Int64s:
    """Samples of each of these packets (payload together, bytes of each), by their first two bytes; 0 for nonsense."""
    offsets = np.cumsum(lengths) - lengths
    first = np.zeros(len(lengths), np.int64)
    second = np.zeros(len(lengths), np.int64)
    first[lengths > 0] = payload[offsets[lengths > 0]]
    second[lengths > 1] = payload[offsets[lengths > 1] + 1]
    code = first & 3
    frames = np.choose(code, (np.ones_like(code), np.full_like(code, 2), np.full_like(code, 2), second & 0x3F))
    samples: Int64s = frames * _FRAME_SAMPLES[first >> 3]
    samples[(lengths == 0) | (samples > MAX_SAMPLES)] = 0
    return samples


def silence(samples: int) -> list[tuple[bytes, int]]:
    """Packets of silence with their samples, together `samples` rounded down to 2.5 ms (120 samples)."""
    packets = [(SIX_FRAMES + SILENT_FRAME * 6, MAX_SAMPLES)] * (samples // MAX_SAMPLES)
    rest = samples % MAX_SAMPLES
    for length, toc in SILENCE_TOCS.items():
        packets += [(bytes([toc]) + SILENT_FRAME, length)] * (rest // length)
        rest %= length
    return packets
