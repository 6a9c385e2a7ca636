"""Long calls do not hold on to the journal of short ones: what is left in a nearly dead segment is copied forward.

Copies ciphertext as it is; nothing is opened or sealed again, so no nonce is used twice. The order: copy, sync, point
to the copy, let the old segment go. A crash anywhere leaves one copy or two, and readers give one of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from mitschnitt.errors import Damaged, VaultError
from mitschnitt.recorder.tracks import Track, Tracks, packed
from mitschnitt.vault import slices
from mitschnitt.vault.slice_files import SliceWriter
from mitschnitt.vault.slices import SealedSlice

FRAME_SLICES = 256  # in one step: half a megabyte of G.711, some ms of the loop
REST_STEPS = 40  # ticks without a try after the disk refused a copy: 10 s


@dataclass(frozen=True, slots=True)
class _Copy:
    """A copy that is written; the track points to the original until it is durable."""

    track: Track
    place: int
    start: int  # packed


@dataclass
class _Round:
    """One segment that is being emptied."""

    segment: int
    tracks: Sequence[Track]
    todo: Iterator[list[tuple[Track, int]]]
    copies: list[_Copy] = field(default_factory=list)
    unread: set[int] = field(default_factory=set)  # owners with a slice that the disk cannot read
    mark: int = -1  # frames that must be durable; -1 while copies are made


class Forwarder:
    """Does a little in each `step`; the loop's own, as the journal is."""

    def __init__(self, tracks: Tracks, journal: SliceWriter) -> None:
        self._tracks = tracks
        self._journal = journal
        self._round: _Round | None = None
        self._hopeless: set[int] = set()  # segments with a slice that the disk cannot read; they go with their calls
        self._rest = 0
        self.copied = 0  # slices, since the start

    def step(self) -> None:
        """Goes on with the segment at hand, or begins another. NoSpace or VaultError: nothing changed, later again."""
        if self._rest:
            self._rest -= 1
            return
        if self._round is None:
            self._round = self._begin()
        elif self._round.mark < 0:
            self._copy(self._round)
        elif self._journal.durable >= self._round.mark:
            self._end(self._round)
            self._round = None

    def _begin(self) -> _Round | None:
        dead = [number for number in self._journal.mostly_dead() if number not in self._hopeless]
        if not dead:
            return None
        by_owner = {track.owner: track for track in self._tracks if self._may_move(track)}
        for segment in dead:
            owners = self._journal.owners_of(segment)
            if owners <= by_owner.keys():
                tracks = [by_owner[owner] for owner in sorted(owners)]
                return _Round(segment, tracks, _in_frames(segment, tracks))
        return None

    def _may_move(self, track: Track) -> bool:
        # While its files are written a thread reads where its slices lie.
        return track in self._tracks and track.failed is None and not track.has_tried

    def _copy(self, around: _Round) -> None:
        chosen = next(around.todo, None)
        if chosen is None:
            around.mark = self._journal.written
            return
        try:
            self._write(around, chosen)
        except VaultError:
            self._round, self._rest = None, REST_STEPS
            raise

    def _write(self, around: _Round, chosen: Sequence[tuple[Track, int]]) -> None:
        found: list[tuple[Track, int, SealedSlice]] = []
        for track, place in chosen:
            if self._may_move(track) and place < len(track.starts):
                try:
                    found.append((track, place, track.sealed_at(place, self._journal)))
                except Damaged:
                    around.unread.add(track.owner)
        tracks = list(dict.fromkeys(track for track, _ in chosen if self._may_move(track)))
        taken = [(track, first, count) for track in tracks for first, count in track.taken_back]
        if not found and not taken:
            return
        # What was taken back goes along: where its slices still lie they must not count.
        index = np.concatenate([self._tracks.identity(track) for track, _, _ in (*found, *taken)])
        index["slice"] = [piece.number for _, _, piece in found] + [first for _, first, _ in taken]
        lengths = [len(piece.ciphertext) for _, _, piece in found]
        start = slices.body_offset(index.size)
        offsets = (start + np.cumsum([0, *lengths])).tolist()
        index["offset"] = offsets[:-1] + [count for _, _, count in taken]
        index["length"] = lengths + [0] * len(taken)
        weights = dict.fromkeys((track.owner for track in tracks), 0)
        for track, _, piece in found:
            weights[track.owner] += len(piece.ciphertext)
        head = slices.pack_head(index, length=offsets[-1])
        position = self._journal.append([b"".join([head, *(piece.ciphertext for _, _, piece in found)])], weights)
        begins = [packed(position) + offset for offset in offsets]
        around.copies += [_Copy(track, place, start) for (track, place, _), start in zip(found, begins, strict=False)]
        self.copied += len(found)

    def _end(self, around: _Round) -> None:
        """The copies are durable: what points to the old segment points to them, and it may go."""
        for copy in around.copies:
            # What was taken back meanwhile is not in the list any more, or another slice has its place.
            if self._may_move(copy.track) and copy.track.lies_in(copy.place, around.segment):
                copy.track.move(copy.place, copy.start)
        gone = [
            track.owner
            for track in around.tracks
            if self._may_move(track) and track.owner not in around.unread and not track.places_in(around.segment)
        ]
        if around.unread:
            self._hopeless.add(around.segment)
        self._journal.let_go(around.segment, gone)


def _in_frames(segment: int, tracks: Sequence[Track]) -> Iterator[list[tuple[Track, int]]]:
    """What to copy, a frame at a time; the list of a track's places is read when its turn comes."""
    chosen: list[tuple[Track, int]] = []
    for track in tracks:
        places = track.places_in(segment)
        # A place behind the end is none: such a track has but word of what it took back there.
        for place in places or [len(track.starts)]:
            chosen.append((track, place))
            if len(chosen) == FRAME_SLICES:
                yield chosen
                chosen = []
    if chosen:
        yield chosen
