"""Writes tests/vectors/codecs: speech, and what other programs' encoders make of it, packed as RTP payloads.

Shares no code with mitschnitt. Encoders: FFmpeg by PyAV (G.711, L16, G.722), libopus, bcg729, vo-amrwbenc and
opencore-amrnb (Debian: libopus0, libbcg729-0, libvo-amrwbenc0, libopencore-amrnb0) by ctypes. A `.bin` file is a
sequence of (u16 big-endian length, payload). Run: python tests/second/make_codec_vectors.py
"""

from __future__ import annotations

import ctypes
import struct
from ctypes import c_char_p, c_int, c_int32, c_uint8, c_void_p, create_string_buffer
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).parent.parent.parent
VECTORS = ROOT / "tests" / "vectors" / "codecs"
DIALOGUE = ROOT / "src" / "mitschnitt" / "gateways" / "dialogues" / "fahrrad.caller.pcma"
BEGIN, SAMPLES = 19_200, 12_000  # 1.5 s of speech at 8 kHz
Samples = NDArray[np.int16]


def save(name: str, packets: list[bytes]) -> None:
    (VECTORS / f"{name}.bin").write_bytes(b"".join(struct.pack(">H", len(p)) + p for p in packets))
    print(name, len(packets), sum(map(len, packets)))


def by_ffmpeg(codec: str, samples: Samples, rate: int) -> bytes:
    encoder: Any = av.CodecContext.create(codec, "w")
    encoder.sample_rate, encoder.layout, encoder.format = rate, "mono", "s16"
    size = 320 if codec == "adpcm_g722" else len(samples)
    out = b""
    for at in range(0, len(samples), size):
        frame: Any = av.AudioFrame.from_ndarray(samples[at : at + size].reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate = rate
        out += b"".join(bytes(packet) for packet in encoder.encode(frame))
    out += b"".join(bytes(packet) for packet in encoder.encode(None))
    return out


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def shorts(samples: Samples) -> bytes:
    return samples.astype("<i2").tobytes()


def opus(samples: Samples, milliseconds: int, *, channels: int = 1, dtx: int = 0, bitrate: int = 24_000) -> list[bytes]:
    library, error = ctypes.CDLL("libopus.so.0"), c_int()
    library.opus_encoder_create.restype = c_void_p
    encoder = c_void_p(library.opus_encoder_create(c_int32(48_000), channels, 2048, ctypes.byref(error)))
    library.opus_encoder_ctl(encoder, 4002, c_int32(bitrate))  # OPUS_SET_BITRATE
    library.opus_encoder_ctl(encoder, 4016, c_int32(dtx))  # OPUS_SET_DTX
    size = 48 * milliseconds
    packets = []
    for at in range(0, len(samples) - size + 1, size):
        piece = np.repeat(samples[at : at + size], channels)
        out = create_string_buffer(4_000)
        length = library.opus_encode(encoder, c_char_p(shorts(piece)), size, out, 4_000)
        assert length > 0
        packets.append(out.raw[:length])
    return packets


def g729(samples: Samples, *, vad: int) -> list[bytes]:
    """Frames of 10 ms; empty ones were not sent."""
    library = ctypes.CDLL("libbcg729.so.0")
    library.initBcg729EncoderChannel.restype = c_void_p
    encoder = c_void_p(library.initBcg729EncoderChannel(c_uint8(vad)))
    frames = []
    for at in range(0, len(samples), 80):
        out, length = create_string_buffer(16), c_uint8()
        library.bcg729Encoder(encoder, c_char_p(shorts(samples[at : at + 80])), out, ctypes.byref(length))
        frames.append(out.raw[: length.value])
    return frames


def amr_wb(samples: Samples, mode: int, *, dtx: int = 0) -> list[bytes]:
    """Frames of 20 ms as a file stores them."""
    library = ctypes.CDLL("libvo-amrwbenc.so.0")
    library.E_IF_init.restype = c_void_p
    encoder = c_void_p(library.E_IF_init())
    frames = []
    for at in range(0, len(samples), 320):
        out = create_string_buffer(100)
        length = library.E_IF_encode(encoder, mode, c_char_p(shorts(samples[at : at + 320])), out, dtx)
        frames.append(out.raw[:length])
    return frames


def amr(samples: Samples, mode: int, *, dtx: int = 0) -> list[bytes]:
    library = ctypes.CDLL("libopencore-amrnb.so.0")
    library.Encoder_Interface_init.restype = c_void_p
    encoder = c_void_p(library.Encoder_Interface_init(dtx))
    frames = []
    for at in range(0, len(samples), 160):
        out = create_string_buffer(100)
        length = library.Encoder_Interface_Encode(encoder, mode, c_char_p(shorts(samples[at : at + 160])), out, 0)
        frames.append(out.raw[:length])
    return frames


WIDE = {0: 132, 1: 177, 2: 253, 3: 285, 4: 317, 5: 365, 6: 397, 7: 461, 8: 477, 9: 40, 14: 0, 15: 0}
NARROW = {0: 95, 1: 103, 2: 118, 3: 134, 4: 148, 5: 159, 6: 204, 7: 244, 8: 39, 15: 0}


def packed(frames: list[bytes], sizes: dict[int, int], *, aligned: int, crc: int = 0) -> bytes:
    """Stored frames as one RTP payload, written as a string of ones and zeros (RFC 4867, sections 4.3 and 4.4)."""
    pad = "00" if aligned else ""
    bits = "1111" + ("0000" if aligned else "")
    for number, frame in enumerate(frames):
        follows = "0" if number == len(frames) - 1 else "1"
        bits += follows + f"{frame[0]:08b}"[1:6] + pad
    if crc:
        bits += "10100101" * sum(1 for frame in frames if len(frame) > 1)
    for frame in frames:
        size = sizes[frame[0] >> 3 & 15]
        speech = "".join(f"{byte:08b}" for byte in frame[1:])[:size]
        bits += speech
        if aligned:
            bits += "0" * (-len(bits) % 8)
    bits += "0" * (-len(bits) % 8)
    return bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits), 8))


def pairs(frames: list[bytes]) -> list[list[bytes]]:
    return [frames[at : at + 2] for at in range(0, len(frames), 2)]


def main() -> None:
    VECTORS.mkdir(exist_ok=True)
    law = np.frombuffer(DIALOGUE.read_bytes(), np.uint8)[BEGIN : BEGIN + SAMPLES].tobytes()
    decoder: Any = av.CodecContext.create("pcm_alaw", "r")
    decoder.sample_rate, decoder.layout = 8_000, "mono"
    narrow = np.concatenate([f.to_ndarray().reshape(-1) for f in decoder.decode(av.Packet(law))]).astype(np.int16)
    at = np.arange(len(narrow))
    wide = np.interp(np.arange(2 * len(narrow)) / 2, at, narrow).astype(np.int16)
    full = np.interp(np.arange(6 * len(narrow)) / 6, at, narrow).astype(np.int16)
    (VECTORS / "speech-8000.s16").write_bytes(shorts(narrow))
    quiet = np.concatenate([narrow[:4000], np.zeros(6000, np.int16), narrow[4000:8000]])

    save("pcma", cut(by_ffmpeg("pcm_alaw", narrow, 8_000), 160))
    save("pcmu", cut(by_ffmpeg("pcm_mulaw", narrow, 8_000), 160))
    save("l16", cut(by_ffmpeg("pcm_s16be", narrow[:4000], 8_000), 320))
    save("g722", cut(by_ffmpeg("adpcm_g722", wide, 16_000), 160))
    save("opus-20", opus(full, 20))
    save("opus-60", opus(full, 60, bitrate=12_000))
    save("opus-10-music", opus(full[:24_000], 10, bitrate=96_000))
    save("opus-stereo", opus(full[:24_000], 20, channels=2, bitrate=48_000))
    save(
        "opus-dtx",
        opus(np.interp(np.arange(6 * len(quiet)) / 6, np.arange(len(quiet)), quiet).astype(np.int16), 20, dtx=1),
    )
    save("g729", [b"".join(pair) for pair in pairs(g729(narrow, vad=0))])
    save("g729-annexb", [b"".join(pair) for pair in pairs(g729(quiet, vad=1))])
    save("amr-wb-octets", [packed(p, WIDE, aligned=1) for p in pairs(amr_wb(wide, 8))])
    save("amr-wb-bits", [packed([f], WIDE, aligned=0) for f in amr_wb(wide, 2)])
    for mode, _ in enumerate(list(WIDE)[:9]):
        save(f"amr-wb-mode-{mode}", [packed([f], WIDE, aligned=0) for f in amr_wb(wide[:640], mode)])
    save("amr-octets-crc", [packed(p, NARROW, aligned=1, crc=1) for p in pairs(amr(narrow, 7))])
    save("amr-bits", [packed(p, NARROW, aligned=0) for p in pairs(amr(narrow, 4))])
    save("amr-dtx", [packed([f], NARROW, aligned=0) for f in amr(quiet, 7, dtx=1)])


if __name__ == "__main__":
    main()
