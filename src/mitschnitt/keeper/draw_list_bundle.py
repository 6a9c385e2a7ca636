"""The bundle of a day whose public list is still to come: what a crash between the two files leaves.

The list then says what the bundle says, whatever came to the keeper since. Reads the bundle in blocks; writes no file.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from mitschnitt.errors import NotAllowed
from mitschnitt.keeper.draw_list_header import MAX_HEADER_BYTES, public_of
from mitschnitt.keeper.draw_list_records import COUNCIL, Records, SortedById, council_records, public_records

MAGIC = b"MSDRAWC1"
PREFIX = struct.Struct(">8sI")  # magic, and how many bytes of header follow
COPY_BYTES = 1 << 20
NOBODY = np.zeros(1, "V8")  # the tag of a draw whose agent nobody knew


class Bundle:
    """An open bundle. NotAllowed with `draw.list.second` for a file that is none, or is not whole."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        magic, size = PREFIX.unpack(file.read(PREFIX.size).ljust(PREFIX.size, b"\0"))
        if magic != MAGIC or size > MAX_HEADER_BYTES:
            raise _other("is no bundle")
        try:
            self._header: Mapping[str, Any] = json.loads(file.read(size))
            self._index = {str(name): number for number, name in enumerate(self._header["sources"])}
            self._key, records = self._header["day_key"], self._header["records_sha256"]
            self._seen = int(self._header["seen"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise _other("has no header") from error
        self._begin = PREFIX.size + size
        if records != self._sha256() or file.tell() != self._begin + self._seen * COUNCIL.itemsize:
            raise _other("does not hold the draws that its header says")

    def _sha256(self) -> str:
        digest = hashlib.sha256()
        self._file.seek(self._begin)
        while block := self._file.read(COPY_BYTES):
            digest.update(block)
        return digest.hexdigest()

    def public_header(self, records_sha256: str) -> bytes:
        """The header of the public list."""
        return public_of(self._header, records_sha256)

    def hand_on(self, blocks: Iterable[Sequence[Sequence[Any]]], day_key: bytes, ids: SortedById) -> int:
        """Its draws as public records, to be sorted; how many draws of the day are in no list, for they came later.

        `blocks`: the day's draws as they are now. NotAllowed with `draw.list.second` when one of the bundle is not
        among them as it was: somebody would get another list than the one that was begun.
        """
        if self._key != day_key.hex():
            raise _other("has another key than the day")
        place = late = 0
        for rows in blocks:
            known = [row for row in rows if row[0] in self._index]
            if not known:
                late += len(rows)
                continue
            now = council_records(known, self._index)
            then = self._records(place, len(now))
            # Both are in one order, so what lies beyond this block's last draw belongs to a later block.
            then = then[_order(then) <= _order(now)[-1]]
            at = np.searchsorted(_order(now), _order(then))
            own = now[at]
            # Whose call it was may have become known since; no public record says it.
            own["tag"][then["tag"] == NOBODY] = NOBODY
            if own.tobytes() != then.tobytes():
                raise _other("holds draws that are others now")
            if len(own):
                ids.add(public_records([known[number] for number in at], own, day_key))
            place += len(then)
            late += len(rows) - len(then)
        if place != self._seen:
            raise _other("holds draws that are no more")
        return late

    def _records(self, first: int, most: int) -> Records:
        self._file.seek(self._begin + first * COUNCIL.itemsize)
        return np.frombuffer(self._file.read(most * COUNCIL.itemsize), COUNCIL)


def _order(records: Records) -> npt.NDArray[np.uint64]:
    source, n = records["source"].astype(np.uint64), records["n"].astype(np.uint64)
    order: npt.NDArray[np.uint64] = source << np.uint64(32) | n
    return order


def _other(what: str) -> NotAllowed:
    return NotAllowed("draw.list.second", f"the day's bundle {what}; no list is made beside it")
