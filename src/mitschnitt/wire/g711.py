"""G.711 (ITU-T G.711, 11/1988): the A-law and mu-law of the telephone, as tables. No I/O, no state.

Every code and every sample is looked up; the tables are computed once, from the decision values of the
recommendation.
"""

from __future__ import annotations

from enum import StrEnum

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.int16]
Codes = npt.NDArray[np.uint8]

SAMPLE_RATE = 8000  # samples per second; both laws (RFC 3551, sections 4.5.14)
A_LAW_MASK = 0x55  # even bits are inverted on the line (G.711, table 1a, note)
MU_LAW_MASK = 0x7F  # magnitude bits are inverted on the line (G.711, table 2a)
SIGN_BIT = 0x80  # set on the line for positive samples, in both laws
MU_LAW_BIAS = 132  # 33 in the 14-bit numbers of the recommendation, four times that in 16 bits


class Law(StrEnum):
    """The companding law, by its RTP encoding name (RFC 3551, table 4)."""

    PCMA = "PCMA"
    PCMU = "PCMU"


def _lower_edges(law: Law) -> npt.NDArray[np.int64]:
    """The smallest 16-bit magnitude of each of the 128 intervals."""
    codes = np.arange(128)
    segment, step = codes >> 4, codes & 15
    if law is Law.PCMA:
        return np.where(segment == 0, step << 4, (16 + step) << (segment + 3))
    return ((16 + step) << (segment + 3)) - MU_LAW_BIAS


def _decode_table(law: Law) -> Samples:
    codes = np.arange(128)
    segment = codes >> 4
    if law is Law.PCMA:
        width = np.where(segment == 0, 16, 8 << segment)
        levels = _lower_edges(law) + width // 2
        line = np.arange(256) ^ A_LAW_MASK
    else:
        # The recommendation puts the level of code 0 at exactly zero, in the middle of -4..3.
        levels = _lower_edges(law) + (4 << segment)
        line = np.arange(256) ^ MU_LAW_MASK
    magnitude = levels[line & 127]
    samples: Samples = np.where(line & SIGN_BIT, magnitude, -magnitude).astype(np.int16)
    return samples


def _encode_table(law: Law) -> Codes:
    samples = np.arange(65536).astype(np.uint16).view(np.int16).astype(np.int64)
    positive = samples >= 0
    magnitude = np.where(positive, samples, ~samples)  # one's complement: -1 falls in the first interval
    code = np.searchsorted(_lower_edges(law), magnitude, side="right") - 1
    mask = A_LAW_MASK if law is Law.PCMA else MU_LAW_MASK
    return ((code | np.where(positive, SIGN_BIT, 0)) ^ mask).astype(np.uint8)


DECODE = {law: _decode_table(law) for law in Law}
ENCODE = {law: _encode_table(law) for law in Law}


def decode(payload: bytes | bytearray | memoryview | Codes, law: Law) -> Samples:
    """16-bit samples, one per payload byte, at 8000 per second."""
    codes = payload if isinstance(payload, np.ndarray) else np.frombuffer(payload, np.uint8)
    return DECODE[law][codes]


def encode(samples: Samples, law: Law) -> bytes:
    """One payload byte per 16-bit sample."""
    return ENCODE[law][samples.astype(np.int16, copy=False).view(np.uint16)].tobytes()


def silence(law: Law) -> int:
    """The code of a sample of value zero, as clients send it in quiet lines."""
    return int(ENCODE[law][0])
