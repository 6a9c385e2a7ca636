"""Vectors: tests/vectors/rtp, written by tests/second/make_rtp_vectors.py (RFC 3550)."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from examples import many
from mitschnitt.errors import MalformedPacket
from mitschnitt.wire import rtp
from mitschnitt.wire.rtp import Reason
from rtp_files import VECTORS, packets_of, parsed, rows_of

PACKETS: dict[str, list[Any]] = json.loads((VECTORS / "rtp/packets.json").read_text())
SEQUENCES: dict[str, dict[str, Any]] = json.loads((VECTORS / "rtp/sequences.json").read_text())


@pytest.mark.parametrize("name", PACKETS)
def test_a_packet_file_parses_as_its_json_says(name: str) -> None:
    found = parsed(packets_of(f"rtp/{name}.bin"))
    expected = PACKETS[name]
    assert Reason(found.reason[0]).name == expected[0]
    assert bool(found.valid[0]) == (expected[0] == "VALID")
    if len(expected) > 1:
        got = (found.payload_type, found.marker, found.seq, found.rtp_time, found.offset, found.length)
        assert [array[0].item() for array in got] == expected[1:]
        assert found.ssrc[0] == 0x11223344


def test_a_batch_gives_what_its_packets_give_alone() -> None:
    packets = [packets_of(f"rtp/{name}.bin")[0] for name in PACKETS]
    together = parsed(packets)
    for row, packet in enumerate(packets):
        alone = parsed([packet])
        assert alone.reason[0] == together.reason[row]
        if alone.valid[0]:
            assert alone.offset[0] == together.offset[row]
            assert alone.length[0] == together.length[row]


def test_contributing_sources_are_counted_and_the_first_is_read() -> None:
    packets = [packets_of(f"rtp/{name}.bin")[0] for name in ("plain", "csrc_two", "csrc_extension_padding")]
    found = parsed(packets)
    assert found.contributors.tolist() == [0, 2, 15]
    rows, _ = rows_of(packets)
    assert rtp.first_contributor(rows, np.array([1, 2])).tolist() == [0xC0, 0xC0]
    assert found.where(np.array([2, 0])).contributors.tolist() == [15, 0]


def test_refused_packets_are_counted_by_reason() -> None:
    packets = [packets_of(f"rtp/{name}.bin")[0] for name in PACKETS]
    assert parsed(packets).refused() == {
        Reason.SHORT: 2,
        Reason.VERSION: 1,
        Reason.TRUNCATED: 1,
        Reason.OVERRUN: 3,
        Reason.PADDING: 3,
    }


def test_arrays_that_do_not_belong_together_are_refused() -> None:
    rows, lengths = rows_of([bytes(12)])
    with pytest.raises(MalformedPacket, match="as many lengths"):
        rtp.parse(rows, lengths, np.zeros(2, np.int32))
    with pytest.raises(MalformedPacket, match="at least 12"):
        rtp.parse(rows[:, :8], lengths, np.zeros(1, np.int32))


@pytest.mark.parametrize("name", SEQUENCES)
def test_a_sequence_file_gives_the_runs_of_its_json(name: str) -> None:
    headers = parsed(packets_of(f"rtp/{name}.bin"))
    found, first = rtp.runs(headers, arrival_ns=77)
    fields = ["seq", "count", "rtp_time", "step", "length", "payload_type", "flags", "ssrc"]
    assert [[int(run[field]) for field in fields] for run in found] == SEQUENCES[name]["runs"]
    assert set(found["arrival_ns"]) == {77}
    assert first.tolist() == (np.cumsum(found["count"]) - found["count"]).tolist()


def test_a_run_has_32_bytes_and_its_fields_lie_where_the_format_says() -> None:
    headers = parsed(packets_of("rtp/wrap.bin"))
    found, _ = rtp.runs(headers, arrival_ns=0x0102030405060708)
    expected = struct.pack("<QIIHHHBBII", 0x0102030405060708, 2**32 - 320, 160, 65534, 4, 160, 8, 0, 0x11223344, 0)
    assert found.tobytes() == expected
    assert len(expected) == 32


def test_two_streams_never_share_a_run() -> None:
    packets = packets_of("rtp/in_order.bin")
    found, first = rtp.runs(parsed(packets, [4, 4, 9, 9, 9]), arrival_ns=1)
    assert found["count"].tolist() == [2, 3]
    assert first.tolist() == [0, 2]


def test_no_rows_give_no_runs() -> None:
    found, first = rtp.runs(parsed([]), arrival_ns=1)
    assert (found.size, first.size) == (0, 0)


streams = st.lists(
    st.tuples(
        st.integers(0, 1),  # stream
        st.integers(65530, 65542),  # sequence, over the wrap
        st.sampled_from([0, 160, 320, 480, 2**32 - 160]),  # RTP time
        st.sampled_from([0, 80, 160]),  # length
        st.sampled_from([0, 8]),  # payload type
        st.booleans(),  # marker
    ),
    max_size=40,
)


@settings(max_examples=many(200), deadline=None)
@given(streams)
def test_runs_say_exactly_what_arrived(packets: list[tuple[int, int, int, int, int, bool]]) -> None:
    packets = sorted(packets, key=lambda packet: packet[0])  # grouped by stream, as a drain leaves them
    datagrams = [
        struct.pack(">BBHII", 0x80, marker << 7 | kind, seq & 0xFFFF, time, 5) + bytes(length)
        for _, seq, time, length, kind, marker in packets
    ]
    headers = parsed(datagrams, [packet[0] for packet in packets])
    found, first = rtp.runs(headers, arrival_ns=1)
    told = [
        (
            int(headers.stream[begin]),
            (int(run["seq"]) + n) & 0xFFFF,
            (int(run["rtp_time"]) + n * int(run["step"])) & 0xFFFFFFFF,
            int(run["length"]),
            int(run["payload_type"]),
        )
        for run, begin in zip(found, first, strict=True)
        for n in range(int(run["count"]))
    ]
    assert told == [(s, seq & 0xFFFF, time, length, kind) for s, seq, time, length, kind, _ in packets]


@settings(max_examples=many(200), deadline=None)
@given(st.lists(st.binary(max_size=90), max_size=12))
def test_no_bytes_make_a_payload_that_reaches_outside_its_packet(datagrams: list[bytes]) -> None:
    found = parsed(datagrams)
    for row in np.flatnonzero(found.valid):
        assert 12 <= found.offset[row] <= len(datagrams[row])
        assert 0 <= found.length[row] <= len(datagrams[row]) - found.offset[row]


def test_rtp_and_rtcp_may_be_media_and_nothing_else() -> None:
    rows = np.zeros((5, 16), np.uint8)
    rows[:, 0] = [0x80, 0xBF, 0x40, 0x00, 0x80]
    lengths = np.array([172, 8, 172, 20, 7], np.int32)
    assert rtp.may_be_media(rows, lengths).tolist() == [True, True, False, False, False]
