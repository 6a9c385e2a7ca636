"""Marks on simulated payload: which stream, which packet. What is found, where, tells what was kept.

A stamp is the first 20 bytes of a packet's payload: MITSCHNITT, stream (u32), counter (u32), check (u16), big
endian. It sounds like a click; real calls never carry one.
"""

from __future__ import annotations

import re
import struct
import zlib

import numpy as np
import numpy.typing as npt

MARK = b"MITSCHNITT"
STAMP_BYTES = 20
FOUND = np.dtype([("offset", np.uint64), ("stream", np.uint32), ("counter", np.uint32)])

_BODY = struct.Struct(">10sII")
_STAMP = struct.Struct(">10sIIH")
_PATTERN = re.compile(re.escape(MARK))
Stamps = npt.NDArray[np.void]


def _check(body: bytes) -> int:
    # The name of this program stands in many places of a memory image; the check tells a stamp from those.
    return zlib.crc32(body) & 0xFFFF


def pack_stamp(stream: int, counter: int) -> bytes:
    """20 bytes; both numbers are taken modulo 2^32."""
    body = _BODY.pack(MARK, stream & 0xFFFF_FFFF, counter & 0xFFFF_FFFF)
    return body + _check(body).to_bytes(2, "big")


def find_stamps(data: bytes | bytearray | memoryview, *, base: int = 0) -> Stamps:
    """Every whole stamp in the data, in order, with `base` added to its offset; rows are of type FOUND."""
    rows = []
    for match in _PATTERN.finditer(data):
        piece = bytes(data[match.start() : match.start() + STAMP_BYTES])
        if len(piece) == STAMP_BYTES:
            _, stream, counter, check = _STAMP.unpack(piece)
            if check == _check(piece[: _BODY.size]):
                rows.append((base + match.start(), stream, counter))
    return np.array(rows, FOUND)


def counters_of(stamps: Stamps, stream: int) -> npt.NDArray[np.uint32]:
    """The counters of one stream, in the order found."""
    counters: npt.NDArray[np.uint32] = stamps["counter"][stamps["stream"] == stream]
    return counters
