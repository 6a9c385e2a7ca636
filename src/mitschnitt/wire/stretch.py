"""What the door gives of one party for a stretch of time: its packets in order of time, and their payload.

    stretches = stretch || stretch || ...                one for each party that was asked for
    stretch   "MST1" | u8 party | u8 0 | u16 0 | u32 rows | u64 payload bytes | rows | payload     little endian
    row       i64 first, ns after the call's origin | u64 span, ns | u16 length | u8 codec | u8 0 | u32 epoch

The payload of a row follows that of the row before it. `codec` counts within the list that the play-back was opened
with; the origin is the first packet of any party. Pure: no keys, no decoding; a stretch is never stored.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mitschnitt.errors import MalformedPacket

MAGIC = b"MST1"
HEAD = struct.Struct("<4sBBHIQ")  # magic, party, two times 0, rows, payload bytes
ROW = np.dtype(
    [
        ("first_ns", "<i8"),  # begin of the packet after the call's origin; skew is corrected
        ("span_ns", "<u8"),  # how long it lasts
        ("length", "<u2"),  # payload bytes
        ("codec", "u1"),
        ("zero", "u1"),
        ("epoch", "<u4"),  # stretches of one sender's clock, by arrival
    ]
)

Rows = NDArray[Any]


@dataclass(frozen=True)
class Stretch:
    """Packets of one party in order of time; `rows` is of dtype ROW, `payload` theirs, concatenated."""

    party: int
    rows: Rows
    payload: bytes | memoryview


def pack_stretch(stretch: Stretch) -> bytes:
    """The bytes of one stretch. MalformedPacket when rows and payload do not agree."""
    rows = stretch.rows.astype(ROW, copy=False)
    _agree(rows, len(stretch.payload))
    head = HEAD.pack(MAGIC, stretch.party, 0, 0, rows.size, len(stretch.payload))
    return b"".join((head, rows.tobytes(), stretch.payload))


def unpack_stretches(data: bytes) -> list[Stretch]:
    """The stretches of an answer, in its order. MalformedPacket for bytes that are none."""
    view, at, found = memoryview(data), 0, []
    while at < len(view):
        if len(view) - at < HEAD.size:
            raise MalformedPacket(f"a stretch begins with {HEAD.size} bytes, got {len(view) - at}")
        magic, party, zero, zeros, count, size = HEAD.unpack_from(view, at)
        begin = at + HEAD.size
        middle = begin + count * ROW.itemsize
        at = middle + size
        if magic != MAGIC or zero or zeros or at > len(view):
            raise MalformedPacket(f"a stretch of {count} rows and {size} bytes does not fit into {len(view)} bytes")
        rows = np.frombuffer(view, ROW, count, begin)
        _agree(rows, size)
        found.append(Stretch(party, rows, view[middle:at]))
    return found


def _agree(rows: Rows, size: int) -> None:
    counted = int(rows["length"].sum(dtype=np.int64))
    if counted != size:
        raise MalformedPacket(f"the rows of a stretch count {counted} payload bytes, it has {size}")
    if (np.diff(rows["first_ns"]) < 0).any():
        raise MalformedPacket("the rows of a stretch are not in order of time")
