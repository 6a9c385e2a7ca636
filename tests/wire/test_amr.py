"""AMR payloads (RFC 4867): packets of other encoders, and packets that are put together here bit by bit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitschnitt.errors import MalformedPacket
from mitschnitt.wire.amr import MAX_FRAMES, AmrFormat, amr_format, parse_frames
from rtp_files import packets_of

# Octets of a stored frame with its type byte, by frame type (3GPP TS 26.201, annex A; TS 26.101, annex A).
WIDE_OCTETS = (18, 24, 33, 37, 41, 47, 51, 59, 61)
NARROW_OCTETS = (13, 14, 16, 18, 20, 21, 27, 32)


def form(coding: str) -> AmrFormat:
    found = amr_format(coding)
    assert found is not None
    return found


def bits(text: str) -> bytes:
    text = text.replace(" ", "")
    text += "0" * (-len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8, "big")


@pytest.mark.parametrize(
    "coding, rate, is_aligned, has_crc",
    [
        ("AMR", 8000, False, False),
        ("AMR-WB", 16_000, False, False),
        ("AMR-WB;octet-align=1", 16_000, True, False),
        ("AMR-WB;mode-set=0,2,8; Octet-Align = 1", 16_000, True, False),
        ("AMR-WB;octet-align=0; mode-change-capability=2", 16_000, False, False),
        ("AMR;crc=1", 8000, True, True),
        ("AMR;octet-align=1;interleaving=0", 8000, True, False),
    ],
)
def test_parameters_say_how_frames_are_packed(coding: str, rate: int, is_aligned: bool, has_crc: bool) -> None:
    found = form(coding)
    assert (found.rate, found.is_aligned, found.has_crc) == (rate, is_aligned, has_crc)
    assert found.frame_samples == rate // 50


@pytest.mark.parametrize(
    "coding",
    ["AMR;octet-align=1;interleaving=30", "AMR-WB;robust-sorting=1", "AMR/2", "AMR-WB/2;octet-align=1", "EVS", ""],
)
def test_what_orders_its_bits_in_another_way_is_not_read(coding: str) -> None:
    assert amr_format(coding) is None


@pytest.mark.parametrize(
    "coding, name, kind, octets, frames",
    [
        ("AMR-WB;octet-align=1", "amr-wb-octets", 8, 61, 75),
        ("AMR-WB", "amr-wb-bits", 2, 33, 75),
        ("AMR;octet-align=1;crc=1", "amr-octets-crc", 7, 32, 75),
        ("AMR", "amr-bits", 4, 20, 75),
    ],
)
def test_packets_of_other_encoders_come_apart_into_stored_frames(
    coding: str, name: str, kind: int, octets: int, frames: int
) -> None:
    found = [frame for packet in packets_of(f"codecs/{name}.bin") for frame in parse_frames(packet, form(coding))]
    assert len(found) == frames
    assert {(frame.kind, frame.is_good, frame.is_speech, len(frame.stored)) for frame in found} == {
        (kind, True, True, octets)
    }
    assert {frame.stored[0] for frame in found} == {kind << 3 | 4}


@pytest.mark.parametrize("mode", range(9))
def test_every_mode_has_the_length_that_its_table_says(mode: int) -> None:
    for packet in packets_of(f"codecs/amr-wb-mode-{mode}.bin"):
        (frame,) = parse_frames(packet, form("AMR-WB"))
        assert (frame.kind, len(frame.stored)) == (mode, WIDE_OCTETS[mode])


def test_an_encoder_that_hears_nothing_sends_descriptions_of_silence_and_no_data() -> None:
    kinds = [parse_frames(packet, form("AMR"))[0].kind for packet in packets_of("codecs/amr-dtx.bin")]
    assert {7, 8, 15} == set(kinds)
    speech = [parse_frames(packet, form("AMR"))[0].is_speech for packet in packets_of("codecs/amr-dtx.bin")]
    assert speech == [kind == 7 for kind in kinds]


def test_bandwidth_efficient_frames_follow_each_other_bit_by_bit() -> None:
    first, second = "1" * 39, "10" * 19 + "1"
    payload = bits("1111" + "1 1000 1" + "0 1000 0" + first + second)
    one, two = parse_frames(payload, form("AMR"))
    assert one.stored == bits("0 1000 1 00" + first)
    assert two.stored == bits("0 1000 0 00" + second)
    assert (one.is_good, two.is_good) == (True, False)


def test_octet_aligned_frames_begin_at_bytes_after_their_checksums() -> None:
    speech = "01" * 66
    payload = bits("11110000" + "0 0000 1 00" + "10101010" + speech + "0000")
    (frame,) = parse_frames(payload, form("AMR-WB;octet-align=1;crc=1"))
    assert frame.stored == bits("0 0000 1 00" + speech)


@pytest.mark.parametrize(
    "coding, payload",
    [
        ("AMR", b""),
        ("AMR", bits("1111")),  # no table of contents
        ("AMR", bits("1111 0 0111 1") + bytes(29)),  # a frame of 244 bits that is cut
        ("AMR", bits("1111 0 0111 1") + bytes(40)),  # and one with more than it announces
        ("AMR", bits("1111 0 1100 1")),  # a reserved type
        ("AMR-WB", bits("1111 0 1010 1")),
        ("AMR-WB;octet-align=1", b"\xf0" + b"\xbc" * 40),  # no end of the table
        ("AMR;octet-align=1;crc=1", bits("11110000 0 0111 1 00")),
    ],
)
def test_a_payload_that_is_not_as_it_announces_is_malformed(coding: str, payload: bytes) -> None:
    with pytest.raises(MalformedPacket):
        parse_frames(payload, form(coding))


CODINGS = ["AMR", "AMR;octet-align=1", "AMR;crc=1", "AMR-WB", "AMR-WB;octet-align=1", "AMR-WB;crc=1"]


@given(st.binary(max_size=200), st.sampled_from(CODINGS))
def test_any_bytes_come_apart_or_are_malformed(payload: bytes, coding: str) -> None:
    try:
        frames = parse_frames(payload, form(coding))
    except MalformedPacket:
        return
    assert 1 <= len(frames) <= MAX_FRAMES
    octets = WIDE_OCTETS if coding.startswith("AMR-WB") else NARROW_OCTETS
    for frame in frames:
        if frame.is_speech:
            assert len(frame.stored) == octets[frame.kind]
