"""The media journal on disk: `<seq>.sec` segments, appended by one writer, synced in a worker thread.

Knows frames and who owns slices in which segment, but no keys: what passes through here is sealed. A
segment is deleted when all owners of its slices are finished. A crash leaves segments and maybe a torn last
frame; the next start writes to new segments, and recovery reads the old ones by `slice_index`.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from mitschnitt.errors import Damaged, VaultError
from mitschnitt.vault import slices
from mitschnitt.vault.blobs import FILE_MODE, sync_directory, write_all, writing

SUFFIX = ".sec"
ROTATE_BYTES = 64 * 1024 * 1024  # a segment goes when all its calls are finished: small enough to free
#                                  space soon, large enough for few files at 8,000 streams (one a second)


@dataclass
class _Segment:
    number: int
    path: Path
    descriptor: int
    size: int = 0
    owners: dict[int, int] = field(default_factory=dict)  # with the bytes of each that lie here
    live: int = 0  # bytes that somebody still needs


@dataclass(frozen=True)
class Position:
    """Where a frame begins."""

    segment: int
    offset: int


class SliceWriter:
    """The only writer of a journal directory. One thread owns it; any may call `read` and `read_into`."""

    def __init__(self, directory: Path, *, rotate_bytes: int = ROTATE_BYTES) -> None:
        if not directory.is_dir():
            raise VaultError(f"the media journal's directory {directory} does not exist")
        self._directory = directory
        self._rotate_bytes = rotate_bytes
        numbers = [number for number, _ in segments(directory)]
        self.first_segment = max(numbers, default=-1) + 1  # older ones belong to recovery
        self._next = self.first_segment
        self._segments: dict[int, _Segment] = {}
        self._current: _Segment | None = None
        self._unsynced: set[int] = set()
        self._worker = ThreadPoolExecutor(1, "journal-sync")
        self._syncing: Future[None] | None = None
        self._covers = 0  # frames that the sync under way makes durable
        self._left: list[Path] = []  # segments that nobody owns and that could not be deleted yet
        self.written = 0  # frames, since the start
        self.durable = 0  # of them, those that a sync has covered
        self.size = 0  # bytes of all segments
        self.live = 0  # of them, bytes that an owner still needs

    @property
    def held(self) -> tuple[int, int]:
        """(segments, bytes) on disk now of what this writer wrote."""
        return len(self._segments), sum(segment.size for segment in self._segments.values())

    def append(self, frame: Iterable[bytes | memoryview], owners: Iterable[int] | Mapping[int, int]) -> Position:
        """Writes one frame, given in pieces, so that it survives this process; where it lies.

        `owners` may say how many bytes are whose; without that the frame counts as none of theirs in `live`.
        NoSpace when the disk takes no more: the segment is closed then, what it held before stays readable.
        """
        pieces = list(frame)
        segment = self._writable()
        position = Position(segment.number, segment.size)
        # A crash inside this write leaves a torn last frame, which readers pass over.
        try:
            with writing(f"writing media journal {segment.path.name}"):
                expected = sum(len(piece) for piece in pieces)
                written = os.writev(segment.descriptor, pieces)
                if written < expected:
                    write_all(segment.descriptor, b"".join(pieces)[written:])
        except VaultError:
            self._current = None  # behind a torn frame nothing would be found: go on in a new segment
            self._delete_unowned(segment)
            raise
        segment.size += expected
        self.size += expected
        self.written += 1
        weights = owners if isinstance(owners, Mapping) else dict.fromkeys(owners, 0)
        mine = segment.owners
        for owner, weight in weights.items():
            mine[owner] = mine.get(owner, 0) + weight
        added = sum(weights.values())
        segment.live += added
        self.live += added
        self._unsynced.add(segment.number)
        return position

    def sync(self) -> None:
        """Starts to make all frames durable, in the background; at most one such sync is under way."""
        if self._syncing is None and self._unsynced:
            batch, self._unsynced = self._unsynced, set()
            self._covers = self.written
            descriptors = [self._segments[number].descriptor for number in batch if number in self._segments]
            self._syncing = self._worker.submit(_sync_all, self._directory, descriptors)

    def has_synced(self) -> bool:
        """Whether a sync has ended since this was last asked. NoSpace, or VaultError, when it failed."""
        if self._syncing is None or not self._syncing.done():
            return False
        done, self._syncing = self._syncing, None
        try:
            done.result()
        except VaultError:
            self._current = None  # what the kernel could not write it may forget: trust a new file only
            raise
        self.durable = self._covers
        return True

    def wait(self) -> None:
        """Blocks until all frames are durable. NoSpace when they cannot be."""
        while self._syncing is not None or self._unsynced:
            self.sync()
            if self._syncing is not None:
                self._syncing.exception()
            self.has_synced()

    def read(self, segment: int, offset: int, length: int) -> bytes:
        """Bytes of a segment that still has an owner. Damaged when they are not all there."""
        data = read_what_can_be(self._segments[segment].descriptor, length, offset)
        if len(data) != length:
            raise Damaged(f"segment {segment} gave {len(data)} of {length} bytes")
        return data

    def read_into(self, memory: memoryview, segment: int, offset: int) -> bool:
        """`read` into memory of the caller's: less than half its time. Whether all of it was filled."""
        try:
            return os.preadv(self._segments[segment].descriptor, [memory], offset) == len(memory)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return False

    def release(self, owner: int) -> None:
        """Nothing of this owner is needed any more; deletes segments that nobody owns."""
        # Deletions are not synced: after a crash recovery finds the call sealed and deletes again.
        for segment in list(self._segments.values()):
            self._let_go(segment, owner)

    def let_go(self, segment: int, owners: Iterable[int]) -> None:
        """These owners need nothing of this segment any more: durable copies of it lie in newer ones.

        A crash before the file is gone leaves both copies of a slice; readers give one.
        """
        found = self._segments.get(segment)
        for owner in owners:
            if found is not None:
                self._let_go(found, owner)

    def owners_of(self, segment: int) -> frozenset[int]:
        """Who still needs it."""
        found = self._segments.get(segment)
        return frozenset(found.owners) if found is not None else frozenset()

    def mostly_dead(self) -> list[int]:
        """Segments worth copying forward, the emptiest first: some while all take more than twice what is needed,
        and two segments.
        """
        if self.size <= 2 * self.live + 2 * self._rotate_bytes:
            return []
        whole = [segment for segment in self._segments.values() if segment is not self._current and segment.size]
        return [segment.number for segment in sorted(whole, key=lambda segment: segment.live / segment.size)]

    def _let_go(self, segment: _Segment, owner: int) -> None:
        weight = segment.owners.pop(owner, None)
        if weight is not None:
            segment.live -= weight
            self.live -= weight
            self._delete_unowned(segment)

    def close(self) -> None:
        """Makes all durable and closes the files; segments with owners stay for recovery."""
        try:
            self.wait()
        finally:
            self._worker.shutdown()
            for segment in list(self._segments.values()):
                os.close(segment.descriptor)
            self._segments.clear()
            self._current = None

    def _writable(self) -> _Segment:
        if self._current is None or self._current.size >= self._rotate_bytes:
            path = self._directory / f"{self._next:012d}{SUFFIX}"
            with writing(f"creating media journal {path.name}"):
                flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
                descriptor = os.open(path, flags, FILE_MODE)
            full, self._current = self._current, _Segment(self._next, path, descriptor)
            self._segments[self._next] = self._current
            self._next += 1
            if full is not None:
                self._delete_unowned(full)
        return self._current

    def _delete_unowned(self, segment: _Segment) -> None:
        if segment.owners or segment.number not in self._segments:
            return
        if self._current is segment:
            self._current = None
        del self._segments[segment.number]
        self.size -= segment.size
        self._unsynced.discard(segment.number)
        # By the worker, in its turn: a sync that is under way may still use the descriptor.
        self._worker.submit(self._remove, segment.descriptor, segment.path)

    def _remove(self, descriptor: int, path: Path) -> None:
        """By the worker only. What a read-only disk does not give up goes with the next, or with the next start."""
        os.close(descriptor)
        self._left.append(path)
        while self._left:
            self._left[-1].unlink(missing_ok=True)
            self._left.pop()


def _sync_all(directory: Path, descriptors: list[int]) -> None:
    with writing("syncing the media journal"):
        for descriptor in descriptors:
            os.fdatasync(descriptor)
        sync_directory(directory)


def segments(directory: Path) -> list[tuple[int, Path]]:
    """(number, path) of the segments in a directory, ascending."""
    found = [path for path in directory.glob(f"*{SUFFIX}") if path.stem.isdigit()]
    return sorted((int(path.stem), path) for path in found)


def drop_before(directory: Path, segment: int) -> int:
    """Deletes the segments below this number, after recovery has read them; how many."""
    old = [path for number, path in segments(directory) if number < segment]
    for path in old:
        path.unlink(missing_ok=True)
    if old:
        sync_directory(directory)
    return len(old)


def frames(path: Path) -> Iterator[tuple[int, slices.Index]]:
    """(offset, index) of the frames of a segment, up to its end or to bytes that are no frame or cannot be read."""
    offset = 0
    with path.open("rb") as file:
        while head := read_what_can_be(file.fileno(), slices.HEAD.size, offset):
            try:
                frame = slices.parse_head(head)
            except Damaged:
                return  # torn: where the next frame would begin is not known
            try:
                data = read_what_can_be(file.fileno(), frame.index_bytes, offset + slices.HEAD.size)
                yield offset, slices.parse_index(frame, data)
            except Damaged:
                pass  # its length is known, so the frames behind it are still found
            offset += frame.length


def read_what_can_be(descriptor: int, length: int, offset: int) -> bytes:
    """Bytes of a file; none where the disk cannot read them: one bad sector must not cost what lies around it."""
    try:
        return os.pread(descriptor, length, offset)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        return b""
