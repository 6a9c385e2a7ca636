"""Decoders of play-back by libraries: G.722, Opus, and with the extra `codecs` G.729, AMR and AMR-WB.

Packets come from outside: whatever they hold, the answer is samples or silence, never an exception. Nothing here
reads recordings; play-back hands the payloads over.
"""

from __future__ import annotations

import importlib
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import soundfile
from G722 import G722

from mitschnitt.errors import MalformedPacket
from mitschnitt.wire import amr, ogg, opus
from mitschnitt.wire.codecs import FRAME_BYTES, FRAME_TICKS, SID_BYTES, Decoder, Decoders, Int64s, Samples
from mitschnitt.wire.linear import ComfortNoise, linear_decoder

G722_RATE = 16_000  # samples per second, two per byte
G722_BITS = 64_000  # per second; the other modes are never used in RTP (RFC 3551, section 4.5.2)
G722_PREROLL = 10  # packets of 20 ms until the predictors of both bands agree with the sender's
OPUS_PREROLL = 4  # packets of 20 ms: 80 ms, as RFC 7845, section 4.6, asks of a reader that seeks
SPEECH_PREROLL = 5  # frames of 20 ms until the filters of G.729 and AMR agree with the sender's
G729_RATE = 8_000  # samples per second
EXTRA = "pip install mitschnitt[codecs]"
EXTRA_NAMES = ("G729", "AMR", "AMR-WB")
Payload = npt.NDArray[np.uint8]


class _Packets(Protocol):
    """The frame decoder of a library: one frame in, its samples out, None when it has none for it."""

    def __call__(self, frame: bytes) -> Samples | None: ...


class G722Decoder:
    """ITU-T G.722 at 64 kbit/s."""

    rate = G722_RATE
    bytes_per_sample = 0  # two samples are a byte, and each follows from those before
    preroll = G722_PREROLL

    def __init__(self) -> None:
        self._codec = G722(G722_RATE, G722_BITS)

    def decode(self, payload: Payload, lengths: Int64s) -> tuple[Samples, Int64s]:
        """Two samples per byte."""
        if not payload.size:
            return np.zeros(0, np.int16), np.zeros(len(lengths), np.int64)
        return np.array(self._codec.decode(payload.tobytes()), np.int16), lengths * 2


class OpusDecoder:
    """Opus, by libsndfile out of an Ogg stream in memory; a packet that breaks RFC 6716 is silence of its length."""

    rate = opus.RATE
    bytes_per_sample = 0
    preroll = OPUS_PREROLL

    def __init__(self) -> None:
        self._before: list[tuple[bytes, int]] = []  # the newest packets of the call before, and their samples

    def decode(self, payload: Payload, lengths: Int64s) -> tuple[Samples, Int64s]:
        """As many samples as the packets' first bytes say."""
        spans = opus.durations(payload, lengths)
        packets = [_sound(data, int(span)) for data, span in zip(_split(payload, lengths), spans, strict=True)]
        known = self._before + [packet for packet in packets if packet[1]]
        total, skipped = int(spans.sum()), sum(span for _, span in self._before)
        self._before = known[-OPUS_PREROLL:]
        samples = np.zeros(total, np.int16)
        if total:
            decoded = _opus(known)[skipped : skipped + total]
            samples[: len(decoded)] = decoded
        return samples, spans


def _sound(packet: bytes, span: int) -> tuple[bytes, int]:
    """The packet, or an empty frame in its place where it breaks a rule: then the decoder conceals."""
    try:
        if span:
            opus.parse_packet(packet)
    except MalformedPacket:
        return opus.emptied(packet), span
    return packet, span


def _opus(packets: Sequence[tuple[bytes, int]]) -> Samples:
    stream = ogg.OggOpus(1)
    data = [stream.head(), stream.tags(), *(stream.add(packet, span) for packet, span in packets), stream.end()]
    try:
        samples, _ = soundfile.read(io.BytesIO(b"".join(data)), dtype="int16")
    except soundfile.LibsndfileError:
        return np.zeros(0, np.int16)
    found: Samples = samples
    return found


def _split(payload: Payload, lengths: Int64s) -> Iterator[bytes]:
    data, at = payload.tobytes(), 0
    for length in lengths.tolist():
        yield data[at : at + length]
        at += length


class G729Decoder:
    """ITU-T G.729 with annex B, whose comfort noise is silence here."""

    rate = G729_RATE
    bytes_per_sample = 0
    preroll = SPEECH_PREROLL

    def __init__(self, frame: _Packets) -> None:
        self._frame = frame

    def decode(self, payload: Payload, lengths: Int64s) -> tuple[Samples, Int64s]:
        """10 ms for each frame of 10 bytes and for the comfort noise frame of 2 bytes after them."""
        counts: Int64s = (lengths // FRAME_BYTES + (lengths % FRAME_BYTES >= SID_BYTES)) * FRAME_TICKS
        samples = np.zeros(int(counts.sum()), np.int16)
        at = 0
        for packet, count in zip(_split(payload, lengths), counts.tolist(), strict=True):
            for number in range(len(packet) // FRAME_BYTES):
                _put(
                    samples, at + number * FRAME_TICKS, self._frame(packet[number * 10 : number * 10 + 10]), FRAME_TICKS
                )
            at += count
        return samples, counts


class AmrDecoder:
    """AMR or AMR-WB (RFC 4867); frames that are no speech, or damaged, are silence of 20 ms."""

    bytes_per_sample = 0
    preroll = SPEECH_PREROLL

    def __init__(self, form: amr.AmrFormat, frame: _Packets) -> None:
        self.rate = form.rate
        self._form = form
        self._frame = frame

    def decode(self, payload: Payload, lengths: Int64s) -> tuple[Samples, Int64s]:
        """20 ms for each frame that a packet announces; nothing for a packet that does not parse."""
        parsed = [self._parsed(packet) for packet in _split(payload, lengths)]
        size = self._form.frame_samples
        counts = np.array([len(frames) * size for frames in parsed], np.int64)
        samples = np.zeros(int(counts.sum()), np.int16)
        for number, frame in enumerate(frame for frames in parsed for frame in frames):
            if frame.is_speech and frame.is_good:
                _put(samples, number * size, self._frame(frame.stored), size)
        return samples, counts

    def _parsed(self, packet: bytes) -> tuple[amr.AmrFrame, ...]:
        try:
            return amr.parse_frames(packet, self._form)
        except MalformedPacket:
            return ()


def _put(samples: Samples, at: int, decoded: Samples | None, size: int) -> None:
    if decoded is not None:
        samples[at : at + min(len(decoded), size)] = decoded[:size]


class _Library:
    """One decoder of FFmpeg, frame by frame."""

    def __init__(self, name: str, rate: int) -> None:
        self._av: Any = _extra()
        codec: Any = self._av.CodecContext.create(name, "r")
        codec.sample_rate, codec.layout = rate, "mono"
        self._codec = codec

    def __call__(self, frame: bytes) -> Samples | None:
        try:
            decoded = self._codec.decode(self._av.Packet(frame))
        except (self._av.error.FFmpegError, ValueError):
            return None
        pieces = [_mono(piece.to_ndarray()) for piece in decoded]
        return np.concatenate(pieces) if pieces else None


def _mono(samples: npt.NDArray[Any]) -> Samples:
    """16-bit samples of the first channel, from the integers or floats that FFmpeg gives."""
    first = samples.reshape(samples.shape[0], -1)[0]
    if first.dtype.kind == "f":
        first = np.clip(np.nan_to_num(first) * 32_768, -32_768, 32_767)
    mono: Samples = first.astype(np.int16)
    return mono


@cache
def _extra() -> Any:
    """PyAV, or None: without it G.729 and AMR stay undecoded, and nothing else is missing."""
    try:
        return importlib.import_module("av")  # not at the top: 104 MB that most sites never need
    except ImportError:
        return None


def decoder_of(coding: str) -> Callable[[], Decoder] | None:
    """What makes decoders of a coding of `codecs.coding`; None when it stays undecoded."""
    linear = linear_decoder(coding)
    if linear is not None:
        return lambda: linear
    if coding in _PLAIN:
        return _PLAIN[coding]
    if coding.partition(";")[0] not in EXTRA_NAMES or _extra() is None:
        return None
    if coding == "G729":
        return lambda: G729Decoder(_Library("g729", G729_RATE))
    form = amr.amr_format(coding)
    if form is None:
        return None
    return lambda: AmrDecoder(form, _Library("amrwb" if form.rate == G722_RATE else "amrnb", form.rate))


_PLAIN: dict[str, Callable[[], Decoder]] = {"G722": G722Decoder, "OPUS": OpusDecoder, "CN": ComfortNoise}


def decoders(codings: Iterable[str]) -> Decoders:
    """Decoders of those of these codings that can be decoded here."""
    found = ((coding, decoder_of(coding)) for coding in codings)
    return {coding: made for coding, made in found if made is not None}


def undecoded(codings: Iterable[str]) -> str:
    """What to say of codings that stay undecoded; empty when there are none."""
    missing = sorted({coding.partition(";")[0] for coding in codings if decoder_of(coding) is None})
    if not missing:
        return ""
    remedy = f"; {EXTRA} decodes {', '.join(EXTRA_NAMES)}" if set(missing) & set(EXTRA_NAMES) else ""
    return f"not decoded: {', '.join(missing)}{remedy}"
