"""Tracks: where a party's kept media goes, its journal key, and which of its slices lie where.

Seals slices out of the hold into frames of the media journal. Opens no socket, and keeps no plaintext of
its own; a key is forgotten with its track.
"""

from __future__ import annotations

import bisect
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mitschnitt.errors import ConfigError, NoSpace, VaultError
from mitschnitt.recorder.hold import Parts, Tick
from mitschnitt.vault import slices
from mitschnitt.vault.slice_files import SliceWriter
from mitschnitt.vault.slices import NONCE, TAG_BYTES, SealedSlice

MAX_TRACKS_OF_PARTY = 1 << 16  # track is a u16 in the journal's index, and part of the nonce
FRAME_PARTS = 1024  # slices per frame: 2 MB of G.711, so that the loop is free again after some ms
FIRST_TRACKS = 256  # rows of the identity table at the start; it doubles
_OFFSET_BITS = 40  # of a packed journal position; a segment is far below a terabyte

Codecs = Mapping[int, tuple[str, int]]  # payload type -> (encoding name, RTP clock in Hz)


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
    next_slice: int = 0
    failed: NoSpace | None = None  # the disk took no more at some time: what is here ends before
    has_tried: bool = False  # to write its files; a second try deletes what the first left
    places: array[int] = field(default_factory=lambda: array("Q"), repr=False)  # segment and offset, packed
    lengths: array[int] = field(default_factory=lambda: array("I"), repr=False)  # of the ciphertext, bytes
    numbers: array[int] = field(default_factory=lambda: array("I"), repr=False)
    arrivals: array[int] = field(default_factory=lambda: array("Q"), repr=False)  # ns, ascending

    def take_back(self, since_ns: int) -> tuple[int, int]:
        """Forgets the slices that arrived at or after that: (number of the first, count of numbers)."""
        keep = bisect.bisect_left(self.arrivals, since_ns)
        if keep == len(self.arrivals):
            return 0, 0
        first = self.numbers[keep]
        for column in (self.places, self.lengths, self.numbers, self.arrivals):
            del column[keep:]
        return first, self.next_slice - first

    def sealed(self, journal: SliceWriter) -> Iterator[SealedSlice]:
        """The track's slices out of the journal, in order of arrival. Damaged when one is cut."""
        for place, length, number in zip(self.places, self.lengths, self.numbers, strict=True):
            data = journal.read(place >> _OFFSET_BITS, place & ((1 << _OFFSET_BITS) - 1), length)
            yield SealedSlice(self.call_id, self.party, self.number, number, data)


class Tracks:
    """All tracks that are not settled or dropped."""

    def __init__(self) -> None:
        self._by_slot: list[Track | None] = []
        self._free: list[int] = []
        self._numbers: dict[tuple[bytes, int], int] = {}
        self._identity = np.zeros(FIRST_TRACKS, slices.INDEX)
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
            self._identity = np.concatenate([self._identity, np.zeros_like(self._identity)])
        self._identity[slot] = (np.void(call_id), party, number, 0, 0, 0)
        track = Track(call_id, party, number, dict(codecs), slot, self._next_owner, leaf_key, cipher)
        self._next_owner += 1
        self._by_slot[slot] = track
        return track

    def at(self, slot: int) -> Track | None:
        """The track in a slot, if it is still there."""
        return self._by_slot[slot]

    def __contains__(self, track: Track) -> bool:
        return self._by_slot[track.slot] is track

    def __iter__(self) -> Iterator[Track]:
        return iter([track for track in self._by_slot if track is not None])

    def forget(self, track: Track) -> None:
        """Forgets key and index of a track whose party never comes back under this key."""
        self._by_slot[track.slot] = None
        self._free.append(track.slot)
        self._numbers.pop((track.call_id, track.party), None)
        del track.cipher
        track.leaf_key = b""
        for column in (track.places, track.lengths, track.numbers, track.arrivals):
            del column[:]

    def identity(self, sealed: Sequence[Track]) -> slices.Index:
        """Index rows with call, party and track filled in."""
        return self._identity[[track.slot for track in sealed]]


class FrameBuilder:
    """Seals parts of a tick into the frame buffer and writes the frame; one at a time."""

    def __init__(self, tracks: Tracks, journal: SliceWriter) -> None:
        self._tracks = tracks
        self._journal = journal
        self._buffer = bytearray()

    def write(self, groups: Sequence[tuple[Tick, Parts]]) -> None:
        """Seals these parts as one frame and writes it; parts that were wiped or dropped are left out.

        Raises JournalFailed with the tracks whose slices are lost.
        """
        room = sum(int(parts["length"].sum()) + TAG_BYTES * parts.size for _, parts in groups)
        if len(self._buffer) < room:
            self._buffer = bytearray(room)
        out = memoryview(self._buffer)
        body = 0
        rows: list[tuple[Track, int, int, int]] = []  # track, slice number, end of its ciphertext, arrival
        pack, by_slot = NONCE.pack, self._tracks.at
        for tick, parts in groups:
            views = [block.view for block in tick.blocks]
            for slot, block, offset, length, arrival in parts.tolist():
                track = by_slot(slot) if length else None
                if track is None or track.failed is not None:
                    continue
                number = track.next_slice
                track.next_slice = number + 1  # counted before it is used: never the same nonce again
                end = body + length + TAG_BYTES
                track.cipher.encrypt_into(
                    pack(track.number, number), views[block][offset : offset + length], None, out[body:end]
                )
                body = end
                rows.append((track, number, end, arrival))
        if rows:
            self._append(rows, out[:body])

    def take_back(self, track: Track, first: int, count: int) -> None:
        """Writes that slices `first` to `first + count - 1` of the track do not count. NoSpace."""
        index = self._tracks.identity([track])
        index["slice"], index["offset"], index["length"] = first, count, 0
        self._journal.append([slices.pack_head(index, length=slices.body_offset(1))], [track.owner])

    def _append(self, rows: list[tuple[Track, int, int, int]], body: memoryview) -> None:
        found, numbers, ends, arrivals = zip(*rows, strict=True)
        index = self._tracks.identity(found)
        start = slices.body_offset(len(found))
        lengths = np.diff(np.array(ends, np.int64), prepend=0)
        offsets = start + np.array(ends, np.int64) - lengths
        index["slice"], index["offset"], index["length"] = numbers, offsets, lengths
        head = slices.pack_head(index, length=start + len(body))
        try:
            position = self._journal.append([head, body], {track.owner for track in found})
        except VaultError as error:
            raise JournalFailed(found, as_no_space(error)) from error
        places = (offsets + (position.segment << _OFFSET_BITS) + position.offset).tolist()
        for track, place, length, number, arrival in zip(
            found, places, lengths.tolist(), numbers, arrivals, strict=True
        ):
            track.places.append(place)
            track.lengths.append(length)
            track.numbers.append(number)
            track.arrivals.append(arrival)


def as_no_space(error: VaultError) -> NoSpace:
    """Any failure to write, as the one that the session knows."""
    return error if isinstance(error, NoSpace) else NoSpace(str(error))


class JournalFailed(Exception):  # noqa: N818 - carries the tracks to whoever shuts their lines; not an error family
    """A frame could not be written."""

    def __init__(self, tracks: Sequence[Track], error: NoSpace) -> None:
        super().__init__(str(error))
        self.tracks = tracks
        self.error = error
