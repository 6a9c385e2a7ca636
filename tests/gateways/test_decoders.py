"""Decoders against speech that other programs encoded: tests/vectors/codecs, by tests/second/make_codec_vectors.py."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mitschnitt.gateways import decoders
from mitschnitt.gateways.decoders import decoder_of
from mitschnitt.wire import ogg
from mitschnitt.wire.codecs import Decoder, Int64s, Samples
from rtp_files import VECTORS, packets_of

SPEECH: NDArray[np.int16] = np.fromfile(VECTORS / "codecs/speech-8000.s16", "<i2")
AMR_CODINGS = ("AMR", "AMR;octet-align=1;crc=1", "AMR-WB", "AMR-WB;octet-align=1")
EVERY_CODING = ("PCMA", "L16/16000/2", "G722", "OPUS", "G729", "CN", *AMR_CODINGS)


def made(coding: str) -> Decoder:
    factory = decoder_of(coding)
    assert factory is not None
    return factory()


def decoded(decoder: Decoder, packets: list[bytes]) -> tuple[Samples, Int64s]:
    payload = np.frombuffer(b"".join(packets), np.uint8)
    return decoder.decode(payload, np.array([len(packet) for packet in packets], np.int64))


def likeness(samples: Samples, rate: int, original: Samples) -> tuple[float, float]:
    """(best correlation with the original at 8 kHz within 40 ms of delay, that delay in ms)."""
    taken = samples.astype(float)
    if rate > 8000:  # a mean of neighbours is filter enough for speech that never had more than 4 kHz
        step = rate // 8000
        taken = taken[: len(taken) // step * step].reshape(-1, step).mean(axis=1)
    scores = []
    for delay in range(320):
        size = min(len(taken) - delay, len(original))
        scores.append(float(np.corrcoef(taken[delay : delay + size], original[:size])[0, 1]))
    best = int(np.argmax(scores))
    return scores[best], best / 8


@pytest.mark.parametrize(
    "coding, name, rate, samples, least",
    [
        ("PCMA", "pcma", 8000, 12_000, 0.999),
        ("PCMU", "pcmu", 8000, 12_000, 0.999),
        ("L16/8000/1", "l16", 8000, 4_000, 1.0),
        ("G722", "g722", 16_000, 24_000, 0.98),
        ("OPUS", "opus-20", 48_000, 72_000, 0.9),
        ("OPUS", "opus-60", 48_000, 72_000, 0.9),
        ("OPUS", "opus-10-music", 48_000, 24_000, 0.9),
        ("OPUS", "opus-stereo", 48_000, 24_000, 0.9),
        ("G729", "g729", 8000, 12_000, 0.85),
        ("AMR-WB;octet-align=1", "amr-wb-octets", 16_000, 24_000, 0.96),
        ("AMR-WB", "amr-wb-bits", 16_000, 24_000, 0.96),
        ("AMR;octet-align=1;crc=1", "amr-octets-crc", 8000, 12_000, 0.88),
        ("AMR", "amr-bits", 8000, 12_000, 0.87),
    ],
)
def test_speech_comes_out_as_it_went_into_another_programs_encoder(
    coding: str, name: str, rate: int, samples: int, least: float
) -> None:
    decoder = made(coding)
    sound, counts = decoded(decoder, packets_of(f"codecs/{name}.bin"))
    assert (decoder.rate, len(sound), int(counts.sum())) == (rate, samples, samples)
    found, delay = likeness(sound, rate, SPEECH)
    assert found >= least - 1e-9
    assert delay < 10  # ms: what the filters of the codec itself take


def test_g722_is_to_the_sample_what_another_decoder_makes_of_it() -> None:
    packets = packets_of("codecs/g722.bin")
    other: Any = av.CodecContext.create("g722", "r")
    other.sample_rate, other.layout = 16_000, "mono"
    expected = np.concatenate([frame.to_ndarray()[0] for frame in other.decode(av.Packet(b"".join(packets)))])
    sound, counts = decoded(made("G722"), packets)
    assert sound.tolist() == expected.tolist()
    assert counts.tolist() == [320] * 75


@pytest.mark.parametrize("coding, name", [("G722", "g722"), ("G729", "g729"), ("AMR", "amr-bits"), ("OPUS", "opus-20")])
def test_a_stretch_may_be_decoded_in_pieces(coding: str, name: str) -> None:
    packets = packets_of(f"codecs/{name}.bin")
    whole, _ = decoded(made(coding), packets)
    decoder = made(coding)
    pieces = np.concatenate([decoded(decoder, packets[at : at + 13])[0] for at in range(0, len(packets), 13)])
    assert len(pieces) == len(whole)
    if coding == "OPUS":  # its pieces each begin with the packets before, so the filters agree all but exactly
        assert np.corrcoef(pieces.astype(float), whole.astype(float))[0, 1] > 0.999
    else:
        assert pieces.tolist() == whole.tolist()


@pytest.mark.parametrize(
    "coding, name", [("G722", "g722"), ("OPUS", "opus-20"), ("G729", "g729"), ("AMR-WB;octet-align=1", "amr-wb-octets")]
)
def test_after_its_preroll_a_stretch_sounds_as_it_does_within_the_whole(coding: str, name: str) -> None:
    packets = packets_of(f"codecs/{name}.bin")
    whole, counts = decoded(made(coding), packets)
    decoder = made(coding)
    begin = 15
    late, own = decoded(decoder, packets[begin - decoder.preroll :])
    late = late[int(own[: decoder.preroll].sum()) :]
    expected = whole[int(counts[:begin].sum()) :]
    assert len(late) == len(expected)
    assert np.corrcoef(late.astype(float), expected.astype(float))[0, 1] > 0.98


def test_comfort_noise_of_g729_is_10_ms_of_silence_and_what_was_not_sent_is_nothing() -> None:
    packets = [packet for packet in packets_of("codecs/g729-annexb.bin") if packet]
    sizes = [len(packet) for packet in packets]
    assert {12, 20} <= set(sizes) <= {2, 10, 12, 20}
    sound, counts = decoded(made("G729"), packets)
    assert counts.tolist() == [{2: 80, 10: 80, 12: 160, 20: 160}[size] for size in sizes]
    sid = next(packet[10:] for packet in packets if len(packet) == 12)
    alone, counts = decoded(made("G729"), [sid, sid])
    assert (alone.tolist(), counts.tolist()) == ([0] * 160, [80, 80])
    assert sound.any()


def test_frames_of_amr_that_are_no_speech_are_silence_of_20_ms() -> None:
    packets = packets_of("codecs/amr-dtx.bin")
    sound, counts = decoded(made("AMR"), packets)
    assert counts.tolist() == [160] * len(packets)
    assert not sound[5_500:9_500].any()
    assert np.abs(sound[10_500:]).max() > 3_000


def test_opus_that_was_not_sent_decodes_to_quiet_of_its_length() -> None:
    packets = packets_of("codecs/opus-dtx.bin")
    sound, counts = decoded(made("OPUS"), packets)
    assert counts.tolist() == [960] * len(packets)
    assert np.abs(sound[6 * 6_000 : 6 * 9_000]).max() < 100


def test_a_broken_packet_of_opus_does_not_move_what_follows() -> None:
    packets = packets_of("codecs/opus-20.bin")
    whole, _ = decoded(made("OPUS"), packets)
    broken = [*packets[:20], b"\x0a\xff", *packets[21:]]  # code 2 with half a length, 2 x 20 ms it says
    sound, counts = decoded(made("OPUS"), broken)
    assert counts[20] == 1920
    after = sound[int(counts[:30].sum()) :].astype(float)
    assert np.corrcoef(after, whole[30 * 960 :].astype(float))[0, 1] > 0.95


@pytest.mark.parametrize("coding", EVERY_CODING)
def test_nothing_at_all_is_decoded_to_nothing(coding: str) -> None:
    sound, counts = decoded(made(coding), [])
    assert (len(sound), len(counts)) == (0, 0)
    sound, counts = decoded(made(coding), [b"", b""])
    assert (len(sound), counts.tolist()) == (0, [0, 0])


@pytest.mark.thorough
@pytest.mark.parametrize("coding", EVERY_CODING)
@settings(max_examples=60, deadline=None)
@given(packets=st.lists(st.binary(max_size=64), max_size=12))
def test_garbage_is_samples_or_silence_and_never_an_error(coding: str, packets: list[bytes]) -> None:
    decoder = made(coding)
    for _ in range(2):
        sound, counts = decoded(decoder, packets)
        assert sound.dtype == np.int16
        assert len(counts) == len(packets)
        assert counts.min(initial=0) >= 0
        assert len(sound) == int(counts.sum())
        # No packet gives more than 240 ms, or two samples per byte.
        assert counts.max(initial=0) <= max(decoder.rate * 6 // 25, 128)


@pytest.mark.thorough
@pytest.mark.parametrize(
    "coding, name",
    [("OPUS", "opus-20"), ("G729", "g729"), ("AMR-WB", "amr-wb-bits"), ("AMR", "amr-bits"), ("G722", "g722")],
)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_damaged_speech_is_decoded_to_the_same_length(coding: str, name: str, data: st.DataObject) -> None:
    packets = packets_of(f"codecs/{name}.bin")[:12]
    whole, _ = decoded(made(coding), packets)
    hit = data.draw(st.integers(0, 11))
    at = data.draw(st.integers(3, len(packets[hit]) - 1))
    packets[hit] = packets[hit][:at] + data.draw(st.binary(min_size=1, max_size=1)) + packets[hit][at + 1 :]
    sound, _ = decoded(made(coding), packets)
    assert len(sound) == len(whole)


def test_without_the_extra_its_codecs_are_undecoded_and_the_message_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(decoders, "_extra", lambda: None)
    assert set(decoders.decoders(["PCMA", "G729", "AMR-WB", "OPUS", "X-OWN"])) == {"PCMA", "OPUS"}
    assert (
        decoders.undecoded(["PCMA", "G729", "AMR-WB;octet-align=1", "X-OWN"])
        == "not decoded: AMR-WB, G729, X-OWN; pip install mitschnitt[codecs] decodes G729, AMR, AMR-WB"
    )
    assert decoders.undecoded(["X-OWN"]) == "not decoded: X-OWN"


def test_with_the_extra_nothing_is_undecoded_but_what_nobody_knows() -> None:
    assert set(decoders.decoders([*EVERY_CODING, "X-OWN", "AMR;interleaving=4"])) == set(EVERY_CODING)
    assert decoders.undecoded(EVERY_CODING) == ""


def test_the_extra_is_loaded_only_where_it_is_wanted() -> None:
    script = (
        "import sys\n"
        "from mitschnitt.gateways import decoders\n"
        "decoders.decoders(['PCMA', 'G722', 'OPUS', 'X-OWN'])\n"
        "assert 'av' not in sys.modules\n"
        "sys.modules['av'] = None\n"
        "print(decoders.undecoded(['G729']))\n"
    )
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60).stdout
    assert said == "not decoded: G729; pip install mitschnitt[codecs] decodes G729, AMR, AMR-WB\n"


def test_an_opus_stream_that_cannot_be_read_is_silence_of_its_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ogg, "crc", lambda page: 0)
    sound, _ = decoded(made("OPUS"), packets_of("codecs/opus-20.bin"))
    assert len(sound) == 75 * 960
    assert not sound.any()
