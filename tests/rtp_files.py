"""Reads the packet files under tests/vectors: (u16 big-endian length, datagram), as arena rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mitschnitt.wire import rtp

VECTORS = Path(__file__).parent / "vectors"
SLOT = 704  # bytes; the receiver's


def packets_of(name: str) -> list[bytes]:
    data, packets = (VECTORS / name).read_bytes(), []
    while data:
        length = int.from_bytes(data[:2], "big")
        packets.append(data[2 : 2 + length])
        data = data[2 + length :]
    return packets


def rows_of(packets: list[bytes], slot: int = SLOT) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    rows = np.zeros((len(packets), slot), np.uint8)
    for row, packet in zip(rows, packets, strict=True):
        row[: min(len(packet), slot)] = np.frombuffer(packet[:slot], np.uint8)
    return rows, np.array([len(packet) for packet in packets], np.int32)


def parsed(packets: list[bytes], streams: list[int] | None = None) -> rtp.Headers:
    rows, lengths = rows_of(packets)
    return rtp.parse(rows, lengths, np.array(streams or [0] * len(packets), np.int32))
