"""Tracks: where a party's kept media goes, its journal key, and which of its slices lie where.

Seals slices out of the hold into frames of the media journal. Opens no socket, and keeps no plaintext of
its own; a key is forgotten with its track.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from numpy.typing import NDArray

from mitschnitt.errors import ConfigError, NoSpace, VaultError
from mitschnitt.recorder.hold import Parts, Tick
from mitschnitt.recorder.report_log import ReportLog
from mitschnitt.vault import slices
from mitschnitt.vault.artefact import Coded, PathCounts
from mitschnitt.vault.slice_files import Position, SliceWriter
from mitschnitt.vault.slices import INDEX, TAG_BYTES, SealedSlice

MAX_TRACKS_OF_PARTY = 1 << 16  # track is a u16 in the journal's index, and part of the nonce
FRAME_PARTS = 1024  # slices per frame: 2 MB of G.711, so that the loop is free again after some ms
FIRST_TRACKS = 256  # rows of the tables at the start; they double
_SEGMENT_SHIFT = 32  # bits of a packed position below the segment's number: a segment ends at 64 MiB and a frame, and
#                      numbers count on over restarts (at one a second, which is 8,000 streams, for 136 years)
_OFFSET_MASK = (1 << _SEGMENT_SHIFT) - 1

_NONCE = np.dtype([("track", "<u4"), ("number", "<u8")])  # slices.slice_nonce, many at once
_INDEX_ITEM = np.dtype((np.void, INDEX.itemsize))  # moved whole; else numpy moves such rows field by field
_NONCE_ITEM = np.dtype((np.void, _NONCE.itemsize))  # as a list: bytes

Codecs = Mapping[int, Coded]  # by payload type


@dataclass(eq=False)
class Track:
    """Where one party's kept media goes; may outlive several lines."""

    call_id: bytes
    party: int
    number: int  # unique within the party; part of every nonce
    codecs: Codecs
    slot: int  # place in the tables, used again
    owner: int  # name towards the journal, never used again
    leaf_key: bytes = field(repr=False)
    cipher: AESGCM = field(repr=False)
    failed: NoSpace | None = None  # the disk took no more at some time: what is here ends before
    has_tried: bool = False  # to write its files; a second try deletes what the first left
    path: PathCounts = PathCounts()  # of the lines that went into it and no longer do
    reports: ReportLog = field(default_factory=ReportLog, repr=False)
    # Its slices, in order of arrival: where the ciphertext begins (segment and offset, packed), its bytes, and its
    # number. 16 bytes a slice, for an hour holds 14,400 of them; so none is looked up on the disk before it is read.
    starts: array[int] = field(default_factory=lambda: array("Q"), repr=False)
    lengths: array[int] = field(default_factory=lambda: array("I"), repr=False)
    numbers: array[int] = field(default_factory=lambda: array("I"), repr=False)
    taken_back: list[tuple[int, int]] = field(default_factory=list)  # (first, count) of numbers that do not count

    def places_in(self, segment: int) -> list[int]:
        """Which of its slices lie in this segment of the journal."""
        if not self.starts:
            return []
        where = np.frombuffer(self.starts, np.uint64) >> np.uint64(_SEGMENT_SHIFT)
        found: list[int] = np.flatnonzero(where == segment).tolist()
        return found

    def lies_in(self, place: int, segment: int) -> bool:
        """Whether slice number `place` exists and lies in this segment."""
        return place < len(self.starts) and self.starts[place] >> _SEGMENT_SHIFT == segment

    def move(self, place: int, start: int) -> None:
        """A durable copy of slice number `place` begins there (`packed`); the one before is not needed any more."""
        self.starts[place] = start

    def sealed_at(self, place: int, journal: SliceWriter) -> SealedSlice:
        """Its slice number `place` (from 0, negative from the end). Damaged when the journal is cut."""
        start = self.starts[place]
        data = journal.read(start >> _SEGMENT_SHIFT, start & _OFFSET_MASK, self.lengths[place])
        return SealedSlice(self.call_id, self.party, self.number, self.numbers[place], data)

    def sealed(self, journal: SliceWriter) -> Iterator[SealedSlice]:
        """The track's slices out of the journal, in order of arrival, without those that the disk cannot read.

        Each is valid until the next one is asked for: all come into the same memory.
        """
        memory = memoryview(bytearray(max(self.lengths, default=0)))
        # A thread reads here, and `Tracks.forget` may empty one column after the other meanwhile: that is the end.
        for start, length, number in zip(self.starts, self.lengths, self.numbers, strict=False):
            data = memory[:length]
            if journal.read_into(data, start >> _SEGMENT_SHIFT, start & _OFFSET_MASK):
                yield SealedSlice(self.call_id, self.party, self.number, number, data)

    def take_back(self, since_ns: int, journal: SliceWriter) -> tuple[int, int]:
        """Forgets the slices with packets of that time or later: (first number, count of numbers)."""
        first = end = 0
        while self.starts:
            # When a slice came is told only inside it, so the newest are opened: one, nearly always.
            newest = slices.open_slice(self.cipher, self.sealed_at(-1, journal))
            if int(newest.runs["arrival_ns"].max()) < since_ns:
                break
            first, end = newest.number, end or newest.number + 1
            for column in (self.starts, self.lengths, self.numbers):
                column.pop()
        return first, end - first


class Tracks:
    """All tracks that are not settled or dropped."""

    def __init__(self) -> None:
        self._by_slot: list[Track | None] = []
        self._free: list[int] = []
        self._numbers: dict[tuple[bytes, int], int] = {}
        self._identity = np.zeros(FIRST_TRACKS, INDEX)
        self._next_slice = np.zeros(FIRST_TRACKS, np.int64)
        self._is_writing = np.zeros(FIRST_TRACKS, np.bool_)  # neither gone nor failed
        self._next_owner = 0

    def add(self, call_id: bytes, party: int, leaf_key: bytes, codecs: Codecs) -> Track:
        """A new track. ConfigError when the party had too many."""
        # Counted on for as long as the party may come back: the same number under the same key would
        # repeat nonces. After `forget(..., for_good)` the key is gone or its files are written.
        number = self._numbers.get((call_id, party), 0)
        if number >= MAX_TRACKS_OF_PARTY:
            raise ConfigError(f"a party has at most {MAX_TRACKS_OF_PARTY} tracks")
        cipher = slices.journal_cipher(leaf_key, party)
        self._numbers[call_id, party] = number + 1
        if not self._free:
            self._by_slot.append(None)
            self._free.append(len(self._by_slot) - 1)
        slot = self._free.pop()
        if slot >= self._identity.size:
            self._identity = np.resize(self._identity, 2 * slot)
            self._next_slice = np.resize(self._next_slice, 2 * slot)
            self._is_writing = np.resize(self._is_writing, 2 * slot)
            self._is_writing[slot:] = False
        self._next_slice[slot] = 0
        self._is_writing[slot] = True
        self._identity[slot] = (np.void(call_id), party, number, 0, 0, 0)
        track = Track(call_id, party, number, dict(codecs), slot, self._next_owner, leaf_key, cipher)
        self._next_owner += 1
        self._by_slot[slot] = track
        return track

    def at(self, slot: int) -> Track | None:
        """The track in a slot, if it is still there."""
        return self._by_slot[slot]

    def at_all(self, slots: Sequence[int]) -> list[Track]:
        """The tracks in these slots, which must all be there."""
        found = [self._by_slot[slot] for slot in slots]
        return [track for track in found if track is not None]

    def __contains__(self, track: Track) -> bool:
        return self._by_slot[track.slot] is track

    def __iter__(self) -> Iterator[Track]:
        return iter([track for track in self._by_slot if track is not None])

    def fail(self, track: Track, error: NoSpace) -> None:
        """Nothing more is written of this track; what is in the journal stays usable."""
        track.failed = error
        self._is_writing[track.slot] = False

    def forget(self, track: Track) -> None:
        """Forgets key and index of a track whose party never comes back under this key."""
        self._by_slot[track.slot] = None
        track.taken_back.clear()
        self._is_writing[track.slot] = False
        self._free.append(track.slot)
        self._numbers.pop((track.call_id, track.party), None)
        del track.cipher
        track.leaf_key = b""
        del track.starts[:], track.lengths[:], track.numbers[:]

    def writing(self, slots: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Whether the track in each slot still takes slices."""
        return self._is_writing[slots]

    def number(self, slots: NDArray[np.int32]) -> slices.Index:
        """Index rows for one new slice of each slot, in order: identity and the next number of its track."""
        index = self._identity.view(_INDEX_ITEM)[slots].view(INDEX)
        order = np.argsort(slots, kind="stable")
        grouped = slots[order]
        first = np.flatnonzero(np.diff(grouped, prepend=-1))
        counts = np.diff(first, append=slots.size)
        rank = np.empty(slots.size, np.int64)
        rank[order] = np.arange(slots.size) - np.repeat(first, counts)  # its place among those of its track
        index["slice"] = self._next_slice[slots] + rank
        # Counted before they are used: whatever fails later, no nonce comes twice.
        self._next_slice[grouped[first]] += counts
        return index

    def identity(self, track: Track) -> slices.Index:
        """One index row with call, party and track filled in."""
        return self._identity[[track.slot]]


class FrameBuilder:
    """Seals parts of ticks into the frame buffer and writes the frame; one at a time."""

    def __init__(self, tracks: Tracks, journal: SliceWriter) -> None:
        self._tracks = tracks
        self._journal = journal
        self._buffer = bytearray()

    def write(self, groups: Sequence[tuple[Tick, Parts]]) -> None:
        """Seals these parts as one frame and writes it; parts that were wiped or dropped are left out.

        Raises JournalFailed with the tracks whose slices are lost.
        """
        chosen = [(tick, self._still_wanted(parts)) for tick, parts in groups]
        slots = np.concatenate([parts["slot"] for _, parts in chosen] or [np.zeros(0, np.int32)])
        if not slots.size:
            return
        index = self._tracks.number(slots)
        index["length"] = np.concatenate([parts["length"] for _, parts in chosen]) + TAG_BYTES
        start = slices.body_offset(slots.size)
        ends = start + np.cumsum(index["length"], dtype=np.int64)
        index["offset"] = ends - index["length"]
        size = int(ends[-1])
        if len(self._buffer) < size:
            self._buffer = bytearray(size)
        frame = memoryview(self._buffer)[:size]
        tracks = self._seal(chosen, slots, index, frame)
        frame[:start] = slices.pack_head(index, length=size)
        lengths = index["length"].tolist()
        try:
            position = self._journal.append([frame], _weights(tracks, lengths))
        except VaultError as error:
            raise JournalFailed(tracks, as_no_space(error)) from error
        starts = (index["offset"].astype(np.uint64) + np.uint64(packed(position))).tolist()
        for track, begin, length, number in zip(tracks, starts, lengths, index["slice"].tolist(), strict=True):
            track.starts.append(begin)
            track.lengths.append(length)
            track.numbers.append(number)

    def _still_wanted(self, parts: Parts) -> Parts:
        wanted = (parts["length"] > 0) & self._tracks.writing(parts["slot"])
        return parts if wanted.all() else parts[wanted]

    def _seal(
        self,
        chosen: Sequence[tuple[Tick, Parts]],
        slots: NDArray[np.int32],
        index: slices.Index,
        frame: memoryview,
    ) -> list[Track]:
        """Encrypts every part to its place in the frame; the tracks, one per part."""
        nonces = np.zeros(slots.size, _NONCE)
        nonces["track"], nonces["number"] = index["track"], index["slice"]
        tracks = self._tracks.at_all(slots.tolist())
        # The only Python that runs per slice, so it does nothing but this.
        nonce: Iterator[Any] = iter(nonces.view(_NONCE_ITEM).tolist())
        starts = index["offset"].tolist()
        track, start, end = iter(tracks), iter(starts), iter([*starts[1:], len(frame)])
        for tick, parts in chosen:
            views = [block.view for block in tick.blocks]
            begin, length = parts["offset"], parts["length"]
            for block, first, last in zip(
                parts["block"].tolist(), begin.tolist(), (begin + length).tolist(), strict=True
            ):
                plain, place = views[block][first:last], frame[next(start) : next(end)]
                next(track).cipher.encrypt_into(next(nonce), plain, None, place)
        return tracks

    def take_back(self, track: Track, first: int, count: int) -> None:
        """Writes that slices `first` to `first + count - 1` of the track do not count. NoSpace."""
        index = self._tracks.identity(track)
        index["slice"], index["offset"], index["length"] = first, count, 0
        self._journal.append([slices.pack_head(index, length=slices.body_offset(1))], [track.owner])
        track.taken_back.append((first, count))


def _weights(tracks: Sequence[Track], lengths: Sequence[int]) -> dict[int, int]:
    """How many of these bytes, one entry per track, belong to which owner."""
    found = dict(zip([track.owner for track in tracks], lengths, strict=True))
    if len(found) == len(tracks):
        return found  # each has one slice here, as nearly always
    found = {}
    for track, length in zip(tracks, lengths, strict=True):
        found[track.owner] = found.get(track.owner, 0) + length
    return found


def packed(position: Position) -> int:
    """A position as a track remembers it."""
    return position.segment << _SEGMENT_SHIFT | position.offset


def as_no_space(error: VaultError) -> NoSpace:
    """Any failure to write, as the one that the session knows."""
    return error if isinstance(error, NoSpace) else NoSpace(str(error))


class JournalFailed(Exception):  # noqa: N818 - carries the tracks to whoever shuts their lines; not an error family
    """A frame could not be written."""

    def __init__(self, tracks: Sequence[Track], error: NoSpace) -> None:
        super().__init__(str(error))
        self.tracks = tracks
        self.error = error
