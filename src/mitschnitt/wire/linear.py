"""Decoders whose samples stand alone: G.711 and linear PCM (RFC 3551, section 4.5), and comfort noise as silence.

Pure, no state: any stretch of payload decodes as it would within the whole.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mitschnitt.wire import g711
from mitschnitt.wire.codecs import LINEAR_BYTES, USUAL_CLOCK, Int64s, Samples

MAX_CHANNELS = 2  # of one stream; RFC 3551 orders more, nobody sends them in calls
MAX_RATE = 192_000  # samples per second; more is a damaged description, not a sound
RATE_OF_CN = 8_000  # samples per second: of nothing


@dataclass(frozen=True)
class LinearDecoder:
    """PCMA, PCMU or L16; two channels become their mean, for each party has one voice."""

    name: str
    rate: int = USUAL_CLOCK
    channels: int = 1
    preroll: int = 0

    @property
    def bytes_per_sample(self) -> int:
        """Payload bytes of one sample of all channels."""
        return LINEAR_BYTES[self.name] * self.channels

    def decode(self, payload: npt.NDArray[np.uint8], lengths: Int64s) -> tuple[Samples, Int64s]:
        """The samples, and how many each packet gave; what is over at the end of a packet is no sample."""
        counts: Int64s = lengths // self.bytes_per_sample
        over = lengths - counts * self.bytes_per_sample
        if over.any():
            payload = np.delete(payload, _last_bytes(lengths, over))
        if self.name == "L16":
            samples = np.ascontiguousarray(payload).view(">i2").astype(np.int16)
        else:
            samples = g711.decode(payload, g711.Law(self.name))
        if self.channels > 1:
            samples = (samples.reshape(-1, self.channels).sum(axis=1, dtype=np.int32) // self.channels).astype(np.int16)
        return samples, counts


def _last_bytes(lengths: Int64s, over: Int64s) -> Int64s:
    """Where the last `over` bytes of each packet lie."""
    within = np.arange(int(over.sum())) - np.repeat(np.cumsum(over) - over, over)
    places: Int64s = np.repeat(np.cumsum(lengths) - over, over) + within
    return places


@dataclass(frozen=True)
class ComfortNoise:
    """RFC 3389, and every packet that only says how a silence sounds: it gives no samples, so silence stays."""

    rate: int = RATE_OF_CN
    bytes_per_sample: int = 0
    preroll: int = 0

    def decode(self, payload: npt.NDArray[np.uint8], lengths: Int64s) -> tuple[Samples, Int64s]:  # noqa: ARG002 - the noise is not made
        """Nothing, whatever the packets say."""
        return np.zeros(0, np.int16), np.zeros(len(lengths), np.int64)


def linear_decoder(coding: str) -> LinearDecoder | None:
    """The decoder of a coding of `codecs.coding`; None when it is none of these, or of no rate that can be."""
    name, *numbers = coding.split("/")
    if not numbers and name in (g711.Law.PCMA, g711.Law.PCMU):
        numbers = [str(USUAL_CLOCK), "1"]
    if name not in LINEAR_BYTES or len(numbers) != 2 or not all(text.isdecimal() for text in numbers):
        return None
    rate, channels = (int(text) for text in numbers)
    usable = 1 <= rate <= MAX_RATE and 1 <= channels <= MAX_CHANNELS
    return LinearDecoder(name, rate, channels) if usable else None
