"""The records of the two lists of a day, written to scratch files in blocks; public ones sorted by draw_id.

Draws come in order of source and number, which is the order of the council's records. Holds one block and one run,
whatever the length of the day.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from mitschnitt.keeper.draw_list_header import VERDICTS, class_of

RECORD_BYTES = 18
RUN_RECORDS = 1 << 18  # draws that are sorted in memory: 4.7 MB
DRAW_ID_BYTES = 16
PUBLIC = np.dtype([("high", ">u8"), ("low", ">u8"), ("class", ">u2")])
COUNCIL = np.dtype(
    [("source", ">u2"), ("n", ">u4"), ("class", ">u2"), ("tag", "V8"), ("verdict", "u1"), ("failed", "u1")]
)
NUMBER_OF = {verdict: number for number, verdict in enumerate(VERDICTS)}

Records = npt.NDArray[np.void]


class Scratch:
    """Records in a file without a name, with their hash."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self._digest = hashlib.sha256()

    def write(self, data: bytes) -> None:
        """The next records."""
        self._digest.update(data)
        self.file.write(data)

    @property
    def sha256(self) -> str:
        """Of all records, in hex."""
        return self._digest.hexdigest()


class SortedById:
    """Takes public records in any order, gives them back by draw_id: runs in a scratch file, merged by first byte."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._run: list[bytes] = []
        self._held = 0
        self._bounds: list[npt.NDArray[np.int64]] = []  # of each run: where each first byte begins, in records
        self._starts: list[int] = []
        self._written = 0

    def add(self, records: Records) -> None:
        """More records."""
        self._run.append(records.tobytes())
        self._held += len(records)
        if self._held >= RUN_RECORDS:
            self._flush()

    def _flush(self) -> None:
        if not self._held:
            return
        run = _by_id(b"".join(self._run))
        firsts = (run["high"].astype(np.uint64) >> np.uint64(56)).astype(np.int64)
        self._bounds.append(np.searchsorted(firsts, np.arange(257)))
        self._starts.append(self._written)
        self._file.seek(self._written * RECORD_BYTES)
        self._file.write(run.tobytes())
        self._written += len(run)
        self._run, self._held = [], 0

    def blocks(self) -> Iterator[bytes]:
        """All records in order, one block for each first byte."""
        self._flush()
        for first in range(256):
            parts = []
            for start, bounds in zip(self._starts, self._bounds, strict=True):
                begin, end = int(bounds[first]), int(bounds[first + 1])
                self._file.seek((start + begin) * RECORD_BYTES)
                parts.append(self._file.read((end - begin) * RECORD_BYTES))
            yield _by_id(b"".join(parts)).tobytes()


def _by_id(data: bytes) -> Records:
    # Bytes are joined, not arrays: numpy turns joined fields into this machine's byte order.
    records = np.frombuffer(data, PUBLIC)
    order = np.lexsort((records["low"].astype(np.uint64), records["high"].astype(np.uint64)))
    return np.asarray(records[order])


def write_records(
    blocks: Iterable[Sequence[Sequence[Any]]], sources: Sequence[str], day_key: bytes, council: Scratch, ids: SortedById
) -> int:
    """Writes the council's records and hands the public ones on to be sorted; how many there are.

    A block's rows are (source, n, stratum, exclusion, verdict, agent_tag, outcome).
    """
    index = {source: number for number, source in enumerate(sources)}
    many = 0
    for rows in blocks:
        own = council_records(rows, index)
        council.write(own.tobytes())
        ids.add(public_records(rows, own, day_key))
        many += len(rows)
    return many


def council_records(rows: Sequence[Sequence[Any]], index: Mapping[str, int]) -> Records:
    """The council's records of these rows; `index` numbers their sources."""
    source, n, stratum, exclusion, verdict, tag, outcome = zip(*rows, strict=True)
    own = np.zeros(len(rows), COUNCIL)
    own["source"] = [index[name] for name in source]
    own["n"] = n
    own["class"] = [class_of(*pair) for pair in zip(stratum, exclusion, strict=True)]
    tags = b"".join(item or bytes(8) for item in tag)
    own["tag"] = np.frombuffer(tags, "V8")
    own["verdict"] = [NUMBER_OF[word] for word in verdict]
    own["failed"] = [word == "failed" for word in outcome]
    return own


def public_records(rows: Sequence[Sequence[Any]], own: Records, day_key: bytes) -> Records:
    """The public records of the same rows."""
    ids = b"".join(hmac.digest(day_key, f"{row[0]}|{row[1]}".encode("ascii"), "sha256")[:DRAW_ID_BYTES] for row in rows)
    halves = np.frombuffer(ids, ">u8").reshape(-1, 2)
    public = np.zeros(len(rows), PUBLIC)
    public["high"], public["low"], public["class"] = halves[:, 0], halves[:, 1], own["class"]
    return public
