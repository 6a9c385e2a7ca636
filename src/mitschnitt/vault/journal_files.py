"""The event journal on disk, `<first seq as 12 digits>.jnl`: one writer (recorder), one reader (keeper).

Nothing that was appended is durable before `sync` returned; whoever acts on an entry syncs first. A file is
whole and synced before the next one exists, so only the newest can end in a torn tail. It never looks
into entries, and has no clock: times are arguments.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mitschnitt.errors import Damaged, NoSpace, VaultError
from mitschnitt.vault.blobs import FILE_MODE, make_directories, reading, sync_directory, write_all, writing
from mitschnitt.vault.journal import Entry, pack_entry, placed_entries, unpack_entries

ROTATE_BYTES = 8_388_608  # a file that the keeper has applied is dropped whole; 8 MiB is some 20,000 events
SEGMENT_NAME = re.compile(r"(\d{12})\.jnl")


class JournalWriter:
    """Appends to the newest file of `directory`, which it makes whole first (a crash may have torn its tail).

    The next seq is `next_seq` or one more than the last entry on disk, whichever is larger: the keeper may
    know entries that a lost disk write took away, the disk may hold entries that the keeper has not read.
    """

    def __init__(self, directory: Path, *, next_seq: int, rotate_bytes: int = ROTATE_BYTES) -> None:
        self._directory = directory
        self._rotate_bytes = rotate_bytes
        self._next_seq = next_seq
        self._descriptor = -1
        self._size = 0  # bytes of the open file that are written whole
        self._unwritten = bytearray()
        self._unsynced = False
        self._failed = False
        with writing("opening the journal"):
            make_directories(directory)
            found = segments(directory)
            if found:
                self._continue(found[-1])

    @property
    def next_seq(self) -> int:
        """The seq that the next entry gets."""
        return self._next_seq

    def append(self, call: str, type: str, data: Mapping[str, Any], *, at: str) -> Entry:  # noqa: A002
        """The entry with its seq; durable only after `sync`. VaultError for what is not as `Entry` says.

        NoSpace when a full file could not be closed or the next one made: the entry was not taken then,
        and its seq is still free.
        """
        self._usable()
        entry = Entry(self._next_seq, at, call, type, data)
        frame = pack_entry(entry)
        filled = self._size + len(self._unwritten)
        if self._descriptor >= 0 and filled and filled + len(frame) > self._rotate_bytes:
            self._close_segment()
        if self._descriptor < 0:
            self._open_segment(entry.seq)
        self._unwritten += frame
        self._next_seq += 1
        return entry

    def sync(self) -> None:
        """Everything appended is durable when it returns.

        NoSpace otherwise: entries that could not be written stay in memory for the next try, and the file
        ends at a whole entry again. After a failed fdatasync the system may have dropped what it held, so
        this writer refuses everything from then on; a new one continues with what is on disk.
        """
        self._usable()
        if self._unwritten:
            self._write()
        if self._unsynced:
            with self._failing(), writing("syncing the journal"):
                os.fdatasync(self._descriptor)
            self._unsynced = False

    def rotate(self) -> None:
        """The next entry begins a new file, so that the one until here can be dropped. NoSpace as `sync`."""
        self._usable()
        if self._descriptor >= 0 and self._size + len(self._unwritten):
            self._close_segment()

    def close(self) -> None:
        """Syncs and lets go of the file; nothing can be appended afterwards."""
        try:
            if not self._failed:
                self.sync()
        finally:
            self._failed = True
            self._let_go()

    def _usable(self) -> None:
        if self._failed:
            raise NoSpace("this journal writer is closed or has failed; open a new one")

    def _continue(self, segment: int) -> None:
        """Cuts the torn tail off the newest file; after a crash in here the next open does the same again."""
        path = self._directory / segment_name(segment)
        data = path.read_bytes()
        entries, used = unpack_entries(data)
        last = entries[-1].seq if entries else segment - 1
        if last + 1 < self._next_seq:
            if not entries:
                path.unlink()  # a file without entries has no place before one with a larger first seq
                sync_directory(self._directory)
            elif used < len(data):
                self._cut(path, used)
            return
        self._next_seq = last + 1
        if used < len(data):
            self._cut(path, used)
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)
        self._size = used
        # The process that wrote them may have died between write and sync.
        os.fdatasync(self._descriptor)

    def _cut(self, path: Path, used: int) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.ftruncate(descriptor, used)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _open_segment(self, first: int) -> None:
        """A crash behind it leaves an empty file: the next writer appends to it or takes it away."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        path = self._directory / segment_name(first)
        with writing("opening a journal file"):
            self._descriptor = os.open(path, flags, FILE_MODE)
            self._size = 0
            # Now, not at the first sync: a name that may be missing would have to be remembered.
            with self._failing():
                sync_directory(self._directory)

    def _close_segment(self) -> None:
        self.sync()
        self._let_go()

    def _let_go(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _write(self) -> None:
        try:
            with writing("writing the journal"):
                write_all(self._descriptor, bytes(self._unwritten))  # a view in a traceback would pin the buffer
        except VaultError:
            # A part may be in the file; behind it the next entry would make the middle of the file broken.
            with self._failing(), writing("cutting a half-written journal"):
                os.ftruncate(self._descriptor, self._size)
            raise
        self._size += len(self._unwritten)
        self._unwritten.clear()
        self._unsynced = True

    @contextlib.contextmanager
    def _failing(self) -> Iterator[None]:
        """What fails inside cannot be tried again by this writer."""
        try:
            yield
        except (OSError, VaultError):
            self._failed = True
            raise


class JournalReader:
    """Reads what a writer, maybe in another process and still alive, has written to `directory`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def read_from(self, segment: int, offset: int) -> Iterator[tuple[Entry, int, int]]:
        """Every whole entry behind a position, with its segment and the offset behind it; (0, 0) begins.

        Ends before a torn tail: ask again from the last position later. A position behind a file's end is
        that of entries which were read before a power cut took them; it finds nothing there, because the
        writer, told the keeper's `next_seq`, goes on in a new file. Damaged when a file is broken, its
        entries do not count up by one, or the position's file is missing.
        """
        found = segments(self._directory)
        if offset and segment not in found:
            raise Damaged(f"the journal has no file {segment_name(segment)} with a position {offset}")
        wanted = [number for number in found if number >= segment]
        for number in wanted:
            start = offset if number == segment else 0
            with reading("reading the journal"):
                data = (self._directory / segment_name(number)).read_bytes()
            placed = placed_entries(data[start:])
            end = start + (placed[-1][1] if placed else 0)
            if end < len(data) and number != wanted[-1]:
                raise Damaged(f"{segment_name(number)} is broken at byte {end}, and newer files exist")
            expected = placed[0][0].seq if start and placed else number
            for count, (entry, used) in enumerate(placed):
                if entry.seq != expected + count:
                    raise Damaged(f"entry {entry.seq} of {segment_name(number)} is not {expected + count}")
                yield entry, number, start + used

    def drop_before(self, segment: int) -> None:
        """Removes the files that begin before `segment`; the position in `segment` stays valid.

        Oldest first: a crash leaves the newer ones, which the next call takes.
        """
        with writing("dropping journal files"):
            for number in [number for number in segments(self._directory) if number < segment]:
                (self._directory / segment_name(number)).unlink(missing_ok=True)
            sync_directory(self._directory)


def segment_name(first_seq: int) -> str:
    """The name of the file whose first entry has `first_seq`."""
    return f"{first_seq:012d}.jnl"


def segments(directory: Path) -> list[int]:
    """First seq of every journal file in `directory`, ascending; other files are not looked at."""
    with reading("listing the journal"):
        names = [path.name for path in directory.iterdir()]
    matches = [SEGMENT_NAME.fullmatch(name) for name in names]
    return sorted(int(match[1]) for match in matches if match)
