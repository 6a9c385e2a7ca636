"""Frames of the event journal: u32 length, u32 CRC-32 of the body, body = canonical JSON (RFC 8785).

    {"at": RFC 3339 UTC with microseconds, "call": id, "data": {...}, "seq": n, "type": word, "v": 1}

Pure: files, syncs and rotation are `journal_files`. It does not know what the types mean; personal fields
arrive here sealed already.
"""

from __future__ import annotations

import json
import re
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import rfc8785

from mitschnitt.core.call import decode_call_id
from mitschnitt.errors import Damaged, MalformedPacket, VaultError

VERSION = 1
FRAME = struct.Struct(">II")  # length of the body in bytes, CRC-32 of the body
MAX_BODY_BYTES = 262_144  # no event comes near; a longer length is a broken one, not a large event
MAX_SEQ = 10**12 - 1  # a file is named by 12 digits
FIRST_BYTES = b'{"at":"'  # how every body begins: its keys are sorted
FIELDS = frozenset({"at", "call", "data", "seq", "type", "v"})
TYPE = re.compile(r"[a-z][a-z_]{0,31}")
AT = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{6}Z", re.ASCII)


@dataclass(frozen=True)
class Entry:
    """One event. `seq` counts per recorder over all files, `at` is RFC 3339 in UTC with microseconds and Z,
    `call` a call id in its 26 characters, `type` a lower case word, `data` plain JSON, integers below 2^53.
    """

    seq: int
    at: str
    call: str
    type: str
    data: Mapping[str, Any]


def pack_entry(entry: Entry) -> bytes:
    """The frame in its one spelling; VaultError for an entry that no reader would take."""
    body = _body(entry)
    if len(body) > MAX_BODY_BYTES:
        raise VaultError(f"an entry has at most {MAX_BODY_BYTES} bytes, got {len(body)}")
    try:
        _entry(body)
    except Damaged as error:
        raise VaultError(f"this entry cannot be kept: {error}") from None
    return FRAME.pack(len(body), zlib.crc32(body)) + body


def unpack_entries(data: bytes) -> tuple[list[Entry], int]:
    """The whole entries from the start of `data`, and how many bytes they are.

    A torn tail (the last write before a crash) is left over, not an error. Damaged when what does not check
    is followed by a frame that does, or when a frame checks but holds no entry.
    """
    placed = placed_entries(data)
    return [entry for entry, _ in placed], placed[-1][1] if placed else 0


def placed_entries(data: bytes) -> list[tuple[Entry, int]]:
    """As `unpack_entries`: every whole entry with the number of bytes up to its end."""
    placed: list[tuple[Entry, int]] = []
    used = 0
    while (body := _whole_body(data, used)) is not None:
        used += FRAME.size + len(body)
        placed.append((_entry(body), used))
    if (after := _next_whole_frame(data, used)) is not None:
        raise Damaged(f"the journal is broken at byte {used}: whole entries follow from byte {after} on")
    return placed


def _whole_body(data: bytes, at: int) -> bytes | None:
    """The body of the frame at `at`, or None when there is none that is whole and checks."""
    if at + FRAME.size > len(data):
        return None
    length, checksum = FRAME.unpack_from(data, at)
    start = at + FRAME.size
    if not 0 < length <= min(MAX_BODY_BYTES, len(data) - start):
        return None
    body = data[start : start + length]
    return body if zlib.crc32(body) == checksum else None


def _next_whole_frame(data: bytes, after: int) -> int | None:
    """Where the next frame begins that is whole and checks, behind something that does not."""
    found = data.find(FIRST_BYTES, after + FRAME.size + 1)
    while found >= 0:
        if _whole_body(data, found - FRAME.size) is not None:
            return found - FRAME.size
        found = data.find(FIRST_BYTES, found + 1)
    return None


def _body(entry: Entry) -> bytes:
    fields: dict[str, Any] = {
        "v": VERSION,
        "seq": entry.seq,
        "at": entry.at,
        "call": entry.call,
        "type": entry.type,
        "data": dict(entry.data),
    }
    try:
        return rfc8785.dumps(fields)
    except (ValueError, RecursionError) as error:
        raise VaultError(f"the data of an entry is JSON with integers below 2^53: {error}") from None


def _entry(body: bytes) -> Entry:
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        raise Damaged("the body of an entry is not JSON") from None
    if not isinstance(fields, dict) or fields.keys() != FIELDS or fields["v"] != VERSION:
        raise Damaged(f"an entry has the fields {sorted(FIELDS)} and v {VERSION}")
    seq, at, call = fields["seq"], fields["at"], fields["call"]
    kind, data = fields["type"], fields["data"]
    if type(seq) is not int or not 0 <= seq <= MAX_SEQ:
        raise Damaged(f"the seq of an entry is 0 to {MAX_SEQ}")
    if not isinstance(kind, str) or not TYPE.fullmatch(kind) or not isinstance(data, dict):
        raise Damaged("an entry has a type of lower case letters and an object as data")
    if not isinstance(at, str) or not AT.fullmatch(at) or not isinstance(call, str):
        raise Damaged("an entry has a call and a time in RFC 3339, UTC, with microseconds and Z")
    try:
        decode_call_id(call)
        datetime.fromisoformat(at)
    except (MalformedPacket, ValueError):
        raise Damaged("an entry names a call id and a time that exists") from None
    entry = Entry(seq, at, call, kind, data)
    try:
        canonical = _body(entry) == body
    except VaultError:
        canonical = False
    if not canonical:
        raise Damaged("an entry is not in its canonical spelling (RFC 8785)")
    return entry
