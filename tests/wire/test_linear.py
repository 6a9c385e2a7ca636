"""G.711, linear PCM and comfort noise as decoders (RFC 3551, section 4.5), by hand and by another encoder."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitschnitt.wire import g711
from mitschnitt.wire.linear import ComfortNoise, LinearDecoder, linear_decoder
from rtp_files import VECTORS, packets_of

SPEECH = np.fromfile(VECTORS / "codecs/speech-8000.s16", "<i2")


def given_by(decoder: LinearDecoder | ComfortNoise, *packets: bytes) -> tuple[list[int], list[int]]:
    lengths = np.array([len(packet) for packet in packets], np.int64)
    samples, counts = decoder.decode(np.frombuffer(b"".join(packets), np.uint8), lengths)
    return samples.tolist(), counts.tolist()


def made(coding: str) -> LinearDecoder:
    decoder = linear_decoder(coding)
    assert decoder is not None
    return decoder


@pytest.mark.parametrize("name, law", [("pcma", g711.Law.PCMA), ("pcmu", g711.Law.PCMU)])
def test_g711_of_another_encoder_decodes_as_its_table_says(name: str, law: g711.Law) -> None:
    packets = packets_of(f"codecs/{name}.bin")
    samples, counts = given_by(made(name.upper()), *packets)
    assert samples == g711.decode(b"".join(packets), law).tolist()
    assert counts == [160] * 75


def test_linear_pcm_is_in_network_byte_order_and_exact() -> None:
    assert given_by(made("L16/8000/1"), b"\x00\x01\xff\xff", b"\x80\x00\x7f\xff")[0] == [1, -1, -32768, 32767]
    samples, counts = given_by(made("L16/8000/1"), *packets_of("codecs/l16.bin"))
    assert samples == SPEECH[:4000].tolist()
    assert counts == [160] * 25


def test_two_channels_become_their_mean() -> None:
    decoder = made("L16/44100/2")
    assert (decoder.rate, decoder.bytes_per_sample, decoder.preroll) == (44_100, 4, 0)
    both = np.array([[100, 300], [32767, 32767], [-32768, -32768], [-5, 5]], ">i2").tobytes()
    assert given_by(decoder, both) == ([200, 32767, -32768, 0], [4])


def test_what_is_over_at_the_end_of_a_packet_moves_no_later_sample() -> None:
    assert given_by(made("L16/8000/1"), b"\x00\x01\xaa", b"", b"\xbb", b"\x00\x02") == ([1, 2], [1, 0, 0, 1])
    assert given_by(made("PCMU/8000/2"), b"\xff\xff\x80", b"\xff\xff") == ([0, 0], [1, 1])


UNUSABLE = [
    "",
    "G722",
    "L16",
    "L16/x/1",
    "L16/8000",
    "L16/8000/3",
    "L16/8000/0",
    "L16/0/1",
    "L16/999999/1",
    "PCMA/1/1/1",
]


@pytest.mark.parametrize("coding", UNUSABLE)
def test_other_codings_and_rates_that_cannot_be_have_no_linear_decoder(coding: str) -> None:
    assert linear_decoder(coding) is None


def test_comfort_noise_is_silence_that_takes_no_time_of_its_own() -> None:
    assert given_by(ComfortNoise(), b"\x46\x10\x20", b"\x7f") == ([], [0, 0])


@given(
    st.lists(st.binary(max_size=30), max_size=8), st.sampled_from(["PCMA", "PCMU/16000/2", "L16/8000/1", "L16/48000/2"])
)
def test_any_bytes_in_any_packets_give_what_each_packet_gives_alone(packets: list[bytes], coding: str) -> None:
    decoder = made(coding)
    together, counts = given_by(decoder, *packets)
    alone = [given_by(decoder, packet)[0] for packet in packets]
    assert together == [sample for samples in alone for sample in samples]
    assert counts == [len(samples) for samples in alone]
