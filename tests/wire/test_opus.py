"""Opus packets: table 2 and the examples of RFC 6716 (section 3), and packets that libopus wrote."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitschnitt.errors import MalformedPacket
from mitschnitt.wire import opus
from mitschnitt.wire.opus import Mode, durations, parse_packet, silence
from rtp_files import packets_of

# RFC 6716, table 2, row by row: configurations, mode, bandwidth, frame sizes in ms.
TABLE_2 = [
    (range(4), Mode.SILK, "NB", (10, 20, 40, 60)),
    (range(4, 8), Mode.SILK, "MB", (10, 20, 40, 60)),
    (range(8, 12), Mode.SILK, "WB", (10, 20, 40, 60)),
    (range(12, 14), Mode.HYBRID, "SWB", (10, 20)),
    (range(14, 16), Mode.HYBRID, "FB", (10, 20)),
    (range(16, 20), Mode.CELT, "NB", (2.5, 5, 10, 20)),
    (range(20, 24), Mode.CELT, "WB", (2.5, 5, 10, 20)),
    (range(24, 28), Mode.CELT, "SWB", (2.5, 5, 10, 20)),
    (range(28, 32), Mode.CELT, "FB", (2.5, 5, 10, 20)),
]
ROWS = [
    (number, mode, band, size)
    for numbers, mode, band, sizes in TABLE_2
    for number, size in zip(numbers, sizes, strict=True)
]


def lengths_of(packets: list[bytes]) -> list[int]:
    payload = np.frombuffer(b"".join(packets), np.uint8)
    return [int(span) for span in durations(payload, np.array([len(packet) for packet in packets], np.int64))]


@pytest.mark.parametrize("number, mode, band, size", ROWS)
def test_every_configuration_is_as_table_2_says(number: int, mode: Mode, band: str, size: float) -> None:
    packet = parse_packet(bytes([number << 3, 1, 2]))
    assert (packet.mode, packet.bandwidth, packet.channels) == (mode, band, 1)
    assert (packet.frame_samples, packet.frames, packet.samples) == (size * 48, (2,), size * 48)
    assert parse_packet(bytes([number << 3 | 4, 1])).channels == 2


@pytest.mark.parametrize(
    "packet, frames",
    [
        (b"\x08", (0,)),  # code 0, an empty frame: DTX
        (b"\x09" + bytes(6), (3, 3)),  # code 1
        (b"\x0a\x02" + bytes(5), (2, 3)),  # code 2
        (b"\x0a\xfc\x01" + bytes(300), (256, 44)),  # code 2, length in two bytes: 252 + 4 * 1
        (b"\x0b\x03" + bytes(6), (2, 2, 2)),  # code 3, equal lengths
        (b"\x0b\x83\x01\x02" + bytes(6), (1, 2, 3)),  # code 3, own lengths
        (b"\x0b\x42\x03" + bytes(4 + 3), (2, 2)),  # code 3, padding of 3
        (b"\x0b\x42\xff\x01" + bytes(4 + 254 + 1), (2, 2)),  # padding in two bytes: 254 + 1
        (b"\x0b\xc2\x02\x01" + bytes(3 + 2), (1, 2)),  # own lengths and padding
    ],
)
def test_the_four_codes_of_packing_give_their_frames(packet: bytes, frames: tuple[int, ...]) -> None:
    assert parse_packet(packet).frames == frames
    assert lengths_of([packet]) == [parse_packet(packet).samples]


@pytest.mark.parametrize(
    "packet",
    [
        b"",  # R1
        b"\x08" + bytes(1276),  # R2: a frame of more than 1275 bytes
        b"\x09" + bytes(5),  # R3
        b"\x0a",  # R4: no length
        b"\x0a\xfc",  # R4: half a length
        b"\x0a\x09" + bytes(5),  # R4: longer than the packet
        b"\x0b",  # R6: no count
        b"\x0b\x00",  # R5: no frame
        b"\x0b\x07" + bytes(7),  # R5: 140 ms
        b"\x0b\x03" + bytes(7),  # R6: not of equal length
        b"\x0b\x42\xff",  # R6: padding without end
        b"\x0b\x42\x09" + bytes(4),  # R6: more padding than packet
        b"\x0b\x83\x09" + bytes(4),  # R7: cut lengths
        b"\x0b\x82\x09" + bytes(4),  # R7: longer than the packet
    ],
)
def test_what_breaks_a_requirement_of_the_rfc_is_refused(packet: bytes) -> None:
    with pytest.raises(MalformedPacket):
        parse_packet(packet)


@pytest.mark.parametrize("name, ms", [("20", 20), ("60", 60), ("10-music", 10), ("stereo", 20), ("dtx", 20)])
def test_packets_of_another_encoder_last_as_long_as_it_was_asked(name: str, ms: int) -> None:
    packets = packets_of(f"codecs/opus-{name}.bin")
    assert [parse_packet(packet).samples for packet in packets] == [48 * ms] * len(packets)
    assert lengths_of(packets) == [48 * ms] * len(packets)
    assert {parse_packet(packet).channels for packet in packets} == ({2} if name == "stereo" else {1})


def test_an_encoder_that_hears_nothing_sends_empty_frames() -> None:
    empty = [parse_packet(packet).is_dtx for packet in packets_of("codecs/opus-dtx.bin")]
    assert 10 <= sum(empty) < len(empty)  # 750 ms of 1.75 s are silent; it refreshes every 400 ms
    assert not any(parse_packet(packet).is_dtx for packet in packets_of("codecs/opus-20.bin"))


@pytest.mark.parametrize("samples", [0, 119, 120, 960, 5760, 5879, 48_000, 480_840])
def test_silence_lasts_as_asked_but_for_less_than_2_5_ms(samples: int) -> None:
    packets = silence(samples)
    assert 0 <= samples - sum(length for _, length in packets) < 120
    assert [parse_packet(packet).samples for packet, _ in packets] == [length for _, length in packets]


@pytest.mark.parametrize("packet", [b"\x48" + bytes(9), b"\x4a\xff", b"\x4b\x83\xff", b"\x4b\x03" + bytes(7)])
def test_an_emptied_packet_takes_the_same_time_and_has_nothing_in_it(packet: bytes) -> None:
    parsed = parse_packet(opus.emptied(packet))
    assert [parsed.samples] == lengths_of([packet])
    assert parsed.is_dtx


@pytest.mark.parametrize("packet", [b"", b"\x4b", b"\x4b\x3f"])
def test_a_packet_that_tells_no_time_cannot_be_emptied(packet: bytes) -> None:
    with pytest.raises(MalformedPacket):
        opus.emptied(packet)


@given(st.lists(st.binary(max_size=40), max_size=20))
def test_any_bytes_parse_or_are_malformed_and_both_reckonings_agree(packets: list[bytes]) -> None:
    for packet, length in zip(packets, lengths_of(packets), strict=True):
        assert 0 <= length <= opus.MAX_SAMPLES
        try:
            parsed = parse_packet(packet)
        except MalformedPacket:
            continue
        assert parsed.samples == length
        assert sum(parsed.frames) < len(packet)
