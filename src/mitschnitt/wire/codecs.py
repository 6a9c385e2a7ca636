"""Codecs as RTP knows them: how a coding is named, how much time a packet takes, what a decoder is. No decoding here.

A coding is the encoding name in upper case, with what else decoding depends on: `PCMA`, `L16/44100/2`,
`AMR-WB;octet-align=1`. Names that nobody here knows are codings too: kept as received, shown as undecoded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Int64s = npt.NDArray[np.int64]
Samples = npt.NDArray[np.int16]

MAX_FMTP = 256  # characters of one payload type's parameters that are kept; real ones have under 100
LINEAR_BYTES = {"PCMA": 1, "PCMU": 1, "L16": 2}  # payload bytes of one sample of one channel (RFC 3551, section 4.5)
USUAL_CLOCK = 8_000  # Hz; of G.711, whose coding is named bare at this clock and one channel
PLAIN = frozenset({"G722", "G729", "OPUS", "CN"})  # decode alike whatever their channels and parameters say
# Answered as everything is, and never kept: keys as tones in numbers, parity, and copies of what came already.
UNHEARD = frozenset({"TONE", "ULPFEC", "PARITYFEC", "FLEXFEC", "1D-INTERLEAVED-PARITYFEC", "RTX"})
FRAME_TICKS = 80  # of a G.729 frame: 10 ms at 8000 Hz
FRAME_BYTES = 10  # of a G.729 speech frame
SID_BYTES = 2  # of a G.729 comfort noise frame (annex B), the last of its packet (RFC 3551, section 4.5.6)


class Decoder(Protocol):
    """Packets of one stretch of one coding in, 16-bit samples of one channel out.

    `bytes_per_sample` > 0 says that samples stand alone, so that any stretch of payload may be decoded at once; 0
    says packet by packet and in order, after `preroll` packets whose samples do not count.
    """

    @property
    def rate(self) -> int:
        """Samples per second of what it gives."""

    @property
    def bytes_per_sample(self) -> int:
        """Payload bytes of one sample that is given, or 0."""

    @property
    def preroll(self) -> int:
        """Packets to decode before the first whose samples count."""

    def decode(self, payload: npt.NDArray[np.uint8], lengths: Int64s) -> tuple[Samples, Int64s]:
        """Samples of consecutive packets (payload together, bytes of each), and how many each packet gave.

        A packet that cannot be decoded gives silence of its length, or no samples where that is not known.
        """


Decoders = Mapping[str, Callable[[], Decoder]]  # coding -> a fresh decoder per stretch
Formats = Mapping[int, tuple[int, str]]  # payload type -> (channels, fmtp), where decoding depends on them


def format_of(name: str, channels: int, fmtp: str) -> tuple[int, str] | None:
    """(channels, fmtp) where decoding depends on them or nobody here knows; None where the name and clock say all."""
    upper = name.upper()
    if upper in PLAIN or (upper in LINEAR_BYTES and channels == 1):
        return None
    kept = "" if upper in LINEAR_BYTES or len(fmtp) > MAX_FMTP else fmtp
    return (channels, kept) if channels != 1 or kept else None


def is_heard(name: str) -> bool:
    """Whether packets of this encoding name carry what was said, and not only help for its transport."""
    return name.upper() not in UNHEARD


def coding(name: str, clock: int, channels: int = 1, fmtp: str = "") -> str:
    """The coding of a payload type, by which `Decoders` are looked up and `span_ticks` reckons."""
    upper = name.upper()
    if upper in PLAIN:
        return upper
    if upper in LINEAR_BYTES:
        is_bare = upper != "L16" and clock == USUAL_CLOCK and channels == 1
        return upper if is_bare else f"{upper}/{clock}/{channels}"
    plural = f"/{channels}" if channels > 1 else ""
    return f"{upper}{plural};{fmtp}" if fmtp else f"{upper}{plural}"


def codings(codecs: Mapping[str, Sequence[Any]], formats: Mapping[str, Sequence[Any]]) -> dict[int, tuple[str, int]]:
    """Payload type -> (coding, RTP clock in Hz) from a timeline header's `codecs` and, where it has one, `formats`."""
    named = {}
    for kind, (name, clock) in codecs.items():
        channels, fmtp = formats.get(kind, (1, ""))
        named[int(kind)] = coding(str(name), int(clock), int(channels), str(fmtp)), int(clock)
    return named


def span_ticks(name: str, clock: int, length: int) -> int | None:
    """RTP ticks that a packet of `length` payload bytes takes; None where its bytes do not tell (Opus, AMR, unknown).

    `name` is a coding, or a bare encoding name (of one channel then). Comfort noise takes none: it says how
    the silence after it sounds (RFC 3389).
    """
    bare, _, rest = name.partition("/")
    if bare in LINEAR_BYTES:
        return length // (LINEAR_BYTES[bare] * (int(rest.partition("/")[2]) if rest else 1))
    if bare == "G722":  # 8000 bytes a second; its RTP clock is 8000, half its sampling rate (RFC 3551, section 4.5.2)
        return length * clock // USUAL_CLOCK
    if bare == "G729":
        return (length // FRAME_BYTES + (length % FRAME_BYTES >= SID_BYTES)) * FRAME_TICKS
    return 0 if bare == "CN" else None
