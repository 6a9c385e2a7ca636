"""Vectors: tests/vectors/udp, written by tests/second/make_udp_vectors.py (RFC 791, 768, 1071, 8200)."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitschnitt.errors import MalformedPacket
from mitschnitt.wire.udp import Datagrams, Fault, examine, payload_offset

VECTORS = Path(__file__).parent.parent / "vectors"
PACKETS: dict[str, dict[str, Any]] = json.loads((VECTORS / "udp/packets.json").read_text())
ADDRESSES = {4: bytes([10, 0, 0, 1]), 6: bytes([0xFD] + [0] * 14 + [1])}
WIDTH = 240


def examined(rows: list[dict[str, Any]], *, address: bytes, width: int = WIDTH) -> Datagrams:
    """All rows as one batch in a slot that is `width` bytes wide and has 0xEE behind each packet."""
    packets = np.full((len(rows), width), 0xEE, np.uint8)
    for number, row in enumerate(rows):
        data = bytes.fromhex(row["packet"])[: min(width, row["captured"])]
        packets[number, : len(data)] = np.frombuffer(data, np.uint8)
    captured = np.array([min(width, row["captured"]) for row in rows], np.int32)
    actual = np.array([len(row["packet"]) // 2 for row in rows], np.int32)
    vouched = np.array([row["vouched"] for row in rows], np.bool_)
    return examine(packets, captured, actual, vouched, address=address)


def rows_of(version: int) -> dict[str, dict[str, Any]]:
    address = ADDRESSES[version].hex()
    return {name: row for name, row in PACKETS.items() if row["address"] == address}


@pytest.mark.parametrize("name", PACKETS)
def test_a_packet_is_what_its_vector_says(name: str) -> None:
    row = PACKETS[name]
    found = examined([row], address=bytes.fromhex(row["address"]))
    assert Fault(found.faults[0]).name == row["fault"]
    assert bool(found.sound[0]) == (row["fault"] == "SOUND")
    if row["fault"] == "SOUND":
        assert found.lengths[0] == row["length"]
        source = bytes.fromhex(row["address"])[:-1] + b"\2"
        family, flow = (socket.AF_INET, b"") if len(source) == 4 else (socket.AF_INET6, bytes(4))
        port = (40_000).to_bytes(2, "big")
        assert found.senders[0].tobytes() == family.to_bytes(2, "little") + port + flow + source


@pytest.mark.parametrize("version", [4, 6])
def test_a_batch_gives_what_its_packets_give_alone(version: int) -> None:
    rows = rows_of(version)
    found = examined(list(rows.values()), address=ADDRESSES[version])
    assert {name: Fault(fault).name for name, fault in zip(rows, found.faults, strict=True)} == {
        name: row["fault"] for name, row in rows.items()
    }


@pytest.mark.parametrize("version", [4, 6])
def test_nothing_gives_nothing(version: int) -> None:
    assert examined([], address=ADDRESSES[version]).faults.size == 0


def test_every_kind_of_fault_is_in_the_vectors() -> None:
    assert {row["fault"] for row in PACKETS.values()} == {fault.name for fault in Fault}


def test_arrays_that_do_not_belong_together_are_refused() -> None:
    some, lengths = np.zeros((2, WIDTH), np.uint8), np.zeros(2, np.int32)
    with pytest.raises(MalformedPacket, match="2 packets"):
        examine(some, lengths[:1], lengths, np.zeros(2, np.bool_), address=ADDRESSES[4])
    with pytest.raises(MalformedPacket, match="at least 48 bytes"):
        examine(some[:, :47], lengths, lengths, np.zeros(2, np.bool_), address=ADDRESSES[6])


@given(
    version=st.sampled_from([4, 6]),
    flipped=st.lists(st.tuples(st.integers(0, 199), st.integers(1, 255)), max_size=4),
    vouched=st.booleans(),
)
def test_whatever_is_changed_a_sound_datagram_lies_within_its_packet(
    version: int, flipped: list[tuple[int, int]], vouched: bool
) -> None:
    name = "a packet sound" if version == 4 else "a packet of IPv6"
    packet = bytearray.fromhex(PACKETS[name]["packet"])
    for at, value in flipped:
        packet[at] ^= value
    row = {"packet": packet.hex(), "captured": len(packet), "vouched": vouched}
    found = examined([row], address=ADDRESSES[version])
    if found.sound[0]:
        assert 0 <= found.lengths[0] <= len(packet) - payload_offset(version)
    else:
        assert flipped


@given(at=st.integers(28, 199), value=st.integers(1, 255))
def test_one_changed_byte_of_payload_is_always_noticed(at: int, value: int) -> None:
    packet = bytearray.fromhex(PACKETS["a packet sound"]["packet"])
    packet[at] ^= value
    row = {"packet": packet.hex(), "captured": len(packet), "vouched": False}
    assert Fault(examined([row], address=ADDRESSES[4]).faults[0]) is Fault.CHECKSUM
