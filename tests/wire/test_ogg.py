"""Ogg pages: read back by another program (libsndfile) and by a reader of RFC 3533 written here, bit by bit."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from mitschnitt.errors import TooLarge
from mitschnitt.wire import ogg, opus
from rtp_files import packets_of


def slow_crc(data: bytes) -> int:
    """RFC 3533, section 6, one bit at a time."""
    register = 0
    for byte in data:
        register ^= byte << 24
        for _ in range(8):
            register = (register << 1 ^ (0x04C11DB7 if register & 1 << 31 else 0)) & 0xFFFFFFFF
    return register


def pages_of(data: bytes) -> list[tuple[int, int, int, int, list[bytes]]]:
    """(flags, granule, serial, sequence, packets) of each page; fails when a checksum does not fit."""
    pages = []
    while data:
        magic, version, flags, granule, serial, sequence, checksum, count = struct.unpack_from("<4sBBqIIIB", data)
        assert (magic, version) == (b"OggS", 0)
        sizes, at, packets, open_packet = data[27 : 27 + count], 27 + count, [], b""
        for size in sizes:
            open_packet += data[at : at + size]
            at += size
            if size < 255:
                packets.append(open_packet)
                open_packet = b""
        assert open_packet == b""  # no packet goes on over the end of its page
        assert checksum == slow_crc(data[:22] + bytes(4) + data[26:at])
        pages.append((flags, granule, serial, sequence, packets))
        data = data[at:]
    return pages


def written(packets: list[tuple[bytes, int]], serial: int = 77, channels: int = 1, pre_skip: int = 0) -> bytes:
    stream = ogg.OggOpus(serial, channels, pre_skip)
    return b"".join([stream.head(), stream.tags(), *(stream.add(*packet) for packet in packets), stream.end()])


@pytest.mark.parametrize("name, ms", [("20", 20), ("60", 60), ("10-music", 10), ("stereo", 20)])
def test_another_program_reads_back_as_many_samples_as_the_packets_say(name: str, ms: int) -> None:
    packets = packets_of(f"codecs/opus-{name}.bin")
    samples, rate = soundfile.read(io.BytesIO(written([(packet, 48 * ms) for packet in packets])), dtype="int16")
    assert (rate, samples.shape) == (48_000, (48 * ms * len(packets),))
    assert np.abs(samples).max() > 3_000


def test_packets_pages_and_granule_positions_are_as_rfc_7845_wants_them() -> None:
    packets = packets_of("codecs/opus-20.bin")
    pages = pages_of(written([(packet, 960) for packet in packets], pre_skip=312))
    assert [flags for flags, *_ in pages] == [2, 0, 0, 4]
    assert [granule for _, granule, *_ in pages] == [0, 0, 48_000, 72_000]
    assert {serial for _, _, serial, *_ in pages} == {77}
    assert [sequence for _, _, _, sequence, _ in pages] == [0, 1, 2, 3]
    head, tags, *sound = [packet for *_, inside in pages for packet in inside]
    assert head == b"OpusHead\x01\x01" + struct.pack("<HIhB", 312, 48_000, 0, 0)
    assert tags == b"OpusTags" + struct.pack("<I", 10) + b"mitschnitt" + bytes(4)
    assert sound == packets


def test_a_gap_that_was_filled_with_silence_is_silent_and_of_its_length() -> None:
    speech = [(packet, 960) for packet in packets_of("codecs/opus-20.bin")[:25]]
    gap = opus.silence(96_000)
    samples, _ = soundfile.read(io.BytesIO(written([*speech, *gap, *speech])), dtype="int16")
    assert len(samples) == 24_000 + 96_000 + 24_000
    assert np.abs(samples[26_000:118_000]).max() == 0
    assert np.abs(samples[120_500:]).max() > 3_000


def test_two_channels_are_read_as_two() -> None:
    packets = [(packet, 960) for packet in packets_of("codecs/opus-stereo.bin")]
    samples, _ = soundfile.read(io.BytesIO(written(packets, channels=2)), dtype="int16")
    assert samples.shape == (24_000, 2)


def test_nothing_at_all_is_still_a_stream_with_an_end() -> None:
    assert [(flags, packets) for flags, *_, packets in pages_of(written([]))[2:]] == [(4, [])]


def test_a_packet_that_opus_does_not_know_is_too_large() -> None:
    with pytest.raises(TooLarge, match="at most 61298 bytes, got 61299"):
        ogg.OggOpus(1).add(bytes(61_299), 960)


@given(st.lists(st.tuples(st.integers(0, 3_000), st.sampled_from([120, 960, 5_760])), max_size=120))
def test_packets_of_any_size_come_back_in_order_and_pages_end_where_they_say(sizes: list[tuple[int, int]]) -> None:
    packets = [(bytes([number % 256]) * size, span) for number, (size, span) in enumerate(sizes)]
    total, found = 0, []
    for _, granule, _, _, inside in pages_of_quickly(written(packets))[2:]:
        found += inside
        total = sum(span for _, span in packets[: len(found)])
        assert granule == total
    assert found == [packet for packet, _ in packets]


def pages_of_quickly(data: bytes) -> list[tuple[int, int, int, int, list[bytes]]]:
    """As `pages_of`, without checksums: they are slow here on purpose."""
    pages, at = [], 0
    while at < len(data):
        _, _, flags, granule, serial, sequence, _, count = struct.unpack_from("<4sBBqIIIB", data, at)
        sizes, at = data[at + 27 : at + 27 + count], at + 27 + count
        packets: list[bytes] = []
        begun = b""
        for size in sizes:
            begun, at = begun + data[at : at + size], at + size
            if size < 255:
                packets.append(begun)
                begun = b""
        pages.append((flags, granule, serial, sequence, packets))
    return pages


@given(st.binary(max_size=300))
def test_the_quick_checksum_is_the_slow_one(data: bytes) -> None:
    assert ogg.crc(data) == slow_crc(data)
