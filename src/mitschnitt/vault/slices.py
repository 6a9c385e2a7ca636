"""The media journal's frame: what all tracks of a recorder received in one tick, each slice sealed alone.

    frame = head (24) | index (32 per slice) | ciphertexts        little endian; offsets count from the frame
    head  = "MSEC" | u16 version | u16 0 | u32 frame length | u32 rows | u32 CRC-32 of the index | u32 0

A row of length 0 seals nothing: it takes back `offset` slices of its track from number `slice` on (a pause
or withdrawal that was reported late). Pure: keys come as arguments, files are `slice_files`.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from numpy.typing import NDArray

from mitschnitt.errors import Damaged
from mitschnitt.vault.artefact import PlainSlice, unpack_slice
from mitschnitt.vault.derive import Kind, artefact_key

MAGIC = b"MSEC"
VERSION = 1
HEAD = struct.Struct("<4sHHIIII")
INDEX = np.dtype(
    [
        ("call", "V16"),
        ("party", "<u2"),
        ("track", "<u2"),
        ("slice", "<u4"),  # counts up from 0 within the track; never used twice
        ("offset", "<u4"),  # of the ciphertext, from the first byte of the frame
        ("length", "<u4"),  # of the ciphertext, tag included; 0: see above
    ]
)
TAG_BYTES = 16
MAX_FRAME_BYTES = 1 << 30  # a tick of 8,000 streams has 18 MB; a damaged length must not be believed
NONCE = struct.Struct("<IQ")  # u32 track | u64 slice number

Index = NDArray[Any]


@dataclass(frozen=True)
class FrameHead:
    """The first 24 bytes of a frame."""

    length: int  # bytes of the whole frame
    rows: int
    crc: int

    @property
    def index_bytes(self) -> int:
        """Bytes of the index that follows."""
        return self.rows * INDEX.itemsize


class SealedSlice(NamedTuple):
    """One slice as it lies in the journal."""

    call_id: bytes
    party: int
    track: int
    number: int
    ciphertext: bytes | memoryview


def slice_nonce(track: int, number: int) -> bytes:
    """The nonce of a slice: unique under the party's journal key as (track, number) is."""
    return NONCE.pack(track, number)


def journal_cipher(leaf_key: bytes, party: int) -> AESGCM:
    """The cipher of a party's slices."""
    return AESGCM(artefact_key(leaf_key, Kind.JOURNAL, party))


def open_slice(cipher: AESGCM, sealed: SealedSlice) -> PlainSlice:
    """The opened slice. Damaged when its tag or its layout is wrong."""
    try:
        plain = cipher.decrypt(slice_nonce(sealed.track, sealed.number), sealed.ciphertext, None)
    except InvalidTag:
        raise Damaged(f"slice {sealed.number} of track {sealed.track} fails its tag") from None
    return unpack_slice(plain, track=sealed.track, number=sealed.number)


def body_offset(rows: int) -> int:
    """Where the first ciphertext of a frame with so many rows lies."""
    return HEAD.size + rows * INDEX.itemsize


def pack_head(index: Index, *, length: int) -> bytes:
    """Head and index of a frame whose ciphertexts end at `length`."""
    rows = index.tobytes()
    return HEAD.pack(MAGIC, VERSION, 0, length, index.size, zlib.crc32(rows), 0) + rows


def parse_head(data: bytes) -> FrameHead:
    """The head of a frame. Damaged when these bytes are none."""
    if len(data) < HEAD.size:
        raise Damaged(f"the head of a frame has {HEAD.size} bytes, got {len(data)}")
    magic, version, _, length, rows, crc, _ = HEAD.unpack_from(data)
    if magic != MAGIC or version != VERSION:
        raise Damaged(f"a frame begins with {MAGIC!r} version {VERSION}, got {magic!r} version {version}")
    head = FrameHead(length, rows, crc)
    if not body_offset(rows) <= length <= MAX_FRAME_BYTES:
        raise Damaged(f"a frame of {length} bytes cannot have {rows} rows")
    return head


def parse_index(head: FrameHead, data: bytes) -> Index:
    """The rows that `head` announces. Damaged on a wrong CRC or a row that reaches outside the frame."""
    if len(data) != head.index_bytes or zlib.crc32(data) != head.crc:
        raise Damaged(f"the index of a frame fails its check ({len(data)} of {head.index_bytes} bytes)")
    index = np.frombuffer(data, INDEX)
    sealed = index[index["length"] > 0]
    end = sealed["offset"].astype(np.int64) + sealed["length"]
    if sealed.size and (end.max() > head.length or sealed["offset"].min() < body_offset(head.rows)):
        raise Damaged("a row of a frame's index points outside the frame")
    return index


def all_revoked(index: Index) -> list[tuple[bytes, int, int, int, int]]:
    """(call, party, track, first, count) of every range of slices that the rows take back."""
    rows = index[index["length"] == 0]
    return [(r["call"].tobytes(), int(r["party"]), int(r["track"]), int(r["slice"]), int(r["offset"])) for r in rows]


def revoked(index: Index, call_id: bytes) -> list[tuple[int, int, int, int]]:
    """(party, track, first, count) of every range of this call's slices that the rows take back."""
    return [(party, track, first, count) for call, party, track, first, count in all_revoked(index) if call == call_id]
