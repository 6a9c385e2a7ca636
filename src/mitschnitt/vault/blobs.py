"""Where sealed files lie: the port `Blobs`, a local folder, and the in-memory twin that tests use.

Knows names and bytes only, never keys, calls or permissions. A blob appears whole and synced or not at
all, is never changed, and is never replaced: `commit` refuses a name that exists.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from mitschnitt.errors import Damaged, NoSpace, VaultError

DIRECTORY_MODE = 0o700  # nobody but the owner may even list calls
FILE_MODE = 0o600
TEMP_PREFIX = ".tmp-"  # no blob's name has a part that begins with a dot, so listings never show these
TEMP_RANDOM_BYTES = 8
MAX_NAME_CHARS = 200  # far above `ab/<26>/<5>.timeline`; below every file system's limit of 255 bytes
OPEN_ATTEMPTS = 8  # a delete may take the empty directory away between our mkdir and our open

FULL_ERRNOS = frozenset({errno.ENOSPC, errno.EROFS, errno.EIO, errno.EDQUOT, errno.EFBIG})
NAME = re.compile(r"[0-9A-Za-z_-][0-9A-Za-z._-]*(/[0-9A-Za-z_-][0-9A-Za-z._-]*)*")


class BlobWriter(Protocol):
    """One new blob; nobody sees it before `commit` returned."""

    def write(self, data: bytes) -> None:
        """Appends. NoSpace when the store takes no more; the caller aborts then."""

    def commit(self) -> None:
        """Makes the blob durable and visible. VaultError when the name exists, NoSpace as for `write`.

        After NoSpace the blob may be there: who writes again deletes the name first.
        """

    def abort(self) -> None:
        """Forgets what was written and never fails; nothing happens after `commit` or a second time."""


class Blobs(Protocol):
    """Named, immutable byte strings; names are parts of `[0-9A-Za-z._-]` joined by `/`, none hidden."""

    def create(self, name: str) -> BlobWriter:
        """A writer for a new blob. VaultError for a name that is not one, NoSpace when the store is full."""

    def read(self, name: str, start: int, stop: int) -> bytes:
        """Bytes `[start:stop]`, cut at the end as a slice is. VaultError when there is no such blob."""

    def size(self, name: str) -> int:
        """Bytes of the blob. VaultError when there is none."""

    def delete(self, name: str) -> None:
        """Durably gone when it returns, also when it was gone before."""

    def names(self, prefix: str = "") -> Iterator[str]:
        """Names that begin with `prefix`, ascending; changes made meanwhile may or may not show."""

    def sweep(self) -> int:
        """Removes what writers that no longer live left behind; how many."""


def checked_name(name: str) -> str:
    """`name` itself; VaultError when it is not a blob's name (`..`, absolute, hidden, empty, too long)."""
    if len(name) > MAX_NAME_CHARS or not NAME.fullmatch(name):
        shown = name if len(name) <= MAX_NAME_CHARS else f"{len(name)} characters"
        raise VaultError(f"not a blob's name: {shown!r}; expected parts of [0-9A-Za-z._-] joined by /")
    return name


def folder_of(prefix: str) -> str:
    """The directory that all names with `prefix` lie in, empty for the root; VaultError when none can."""
    return checked_name(prefix.rpartition("/")[0]) if "/" in prefix else ""


def checked_range(start: int, stop: int) -> None:
    """VaultError unless `0 <= start <= stop`."""
    if not 0 <= start <= stop:
        raise VaultError(f"a range of a blob is 0 <= start <= stop, got {start} to {stop}")


@contextlib.contextmanager
def writing(what: str) -> Iterator[None]:
    """Errors of the system while writing, as ours: NoSpace when the store takes no more, else VaultError."""
    try:
        yield
    except OSError as error:
        family = NoSpace if error.errno in FULL_ERRNOS else VaultError
        raise family(f"{what}: {os.strerror(error.errno or 0)}") from error


@contextlib.contextmanager
def reading(what: str) -> Iterator[None]:
    """Errors of the system while reading, as ours: Damaged for an I/O error, else VaultError."""
    try:
        yield
    except OSError as error:
        family = Damaged if error.errno == errno.EIO else VaultError
        raise family(f"{what}: {os.strerror(error.errno or 0)}") from error


def write_all(descriptor: int, data: bytes | bytearray | memoryview) -> None:
    """Writes every byte; a short write is followed by the next, which then says why."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def sync_directory(directory: Path) -> None:
    """Makes created, linked and removed names in `directory` durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directories(directory: Path) -> None:
    """Makes `directory` and what is missing above it, 0700 and durable."""
    if directory.is_dir():
        return
    make_directories(directory.parent)
    with contextlib.suppress(FileExistsError, FileNotFoundError):
        directory.mkdir(DIRECTORY_MODE)
        sync_directory(directory.parent)


class LocalBlobs:
    """Blobs as files below `root` (0600, directories 0700); `root` itself must exist."""

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            # A lost mount must not look like a vault without calls.
            raise VaultError(f"the vault's directory {root} does not exist")
        self._root = root

    def create(self, name: str) -> BlobWriter:
        """See `Blobs.create`."""
        path = self._root / checked_name(name)
        temp = path.parent / f"{TEMP_PREFIX}{secrets.token_hex(TEMP_RANDOM_BYTES)}"
        with writing(f"creating blob {name}"):
            for _ in range(OPEN_ATTEMPTS):
                make_directories(path.parent)
                with contextlib.suppress(FileNotFoundError):
                    return _LocalWriter(name, path, temp)
        raise VaultError(f"creating blob {name}: its directory vanished {OPEN_ATTEMPTS} times")

    def read(self, name: str, start: int, stop: int) -> bytes:
        """See `Blobs.read`."""
        checked_range(start, stop)
        with reading(f"reading blob {name}"):
            descriptor = os.open(self._root / checked_name(name), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                stop = min(stop, os.fstat(descriptor).st_size)
                return _pread_all(descriptor, start, max(stop - start, 0))
            finally:
                os.close(descriptor)

    def size(self, name: str) -> int:
        """See `Blobs.size`."""
        with reading(f"size of blob {name}"):
            return (self._root / checked_name(name)).lstat().st_size

    def delete(self, name: str) -> None:
        """See `Blobs.delete`.

        A crash after the unlink leaves an empty directory that names a call: the next `delete` of the same
        name, which an unfinished erasure repeats, or `sweep` takes it away.
        """
        path = self._root / checked_name(name)
        with writing(f"deleting blob {name}"):
            path.unlink(missing_ok=True)
            with contextlib.suppress(FileNotFoundError):  # another delete took it away as well: synced further up
                sync_directory(path.parent)
            self._remove_empty(path.parent)

    def names(self, prefix: str = "") -> Iterator[str]:
        """See `Blobs.names`."""
        folder = folder_of(prefix)
        with reading("listing blobs"):
            for name in self._below(self._root / folder, f"{folder}/" if folder else ""):
                if name.startswith(prefix):
                    yield name

    def sweep(self) -> int:
        """See `Blobs.sweep`; a temp file whose writer lives is locked by it and stays."""
        removed = 0
        with writing("sweeping blobs"):
            for folder, _, files in os.walk(self._root, topdown=False):
                here = Path(folder)
                gone = sum(_remove_abandoned(here / file) for file in files if file.startswith(TEMP_PREFIX))
                if gone:
                    sync_directory(here)
                self._remove_empty(here)
                removed += gone
        return removed

    def _remove_empty(self, directory: Path) -> None:
        """Takes away directories that are empty now, upwards, never the root."""
        while directory != self._root:
            try:
                directory.rmdir()
            except FileNotFoundError:
                pass
            except OSError as error:
                if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                    return
                raise
            try:
                sync_directory(directory.parent)
            except FileNotFoundError:
                if directory.parent == self._root:
                    raise  # a lost mount; else another delete took that away, too, and what is above is synced
            directory = directory.parent

    def _below(self, directory: Path, prefix: str) -> Iterator[str]:
        try:
            with os.scandir(directory) as entries:
                found = sorted(
                    (
                        entry.name + "/" * entry.is_dir(follow_symlinks=False),
                        entry.is_file(follow_symlinks=False),
                    )
                    for entry in entries
                )
        except (FileNotFoundError, NotADirectoryError):
            return
        for name, is_file in found:
            if name.endswith("/") and NAME.fullmatch(name[:-1]):
                yield from self._below(directory / name[:-1], prefix + name)
            elif is_file and NAME.fullmatch(name):
                yield prefix + name


class _LocalWriter:
    """A temp file beside its final name.

    Crash before the link: the temp file is left, nothing refers to it, `sweep` removes it. Crash between
    link and unlink: the blob is whole, the temp file is a second name of it, `sweep` removes that. Power lost
    before the directory is synced: the name may be gone; `commit` had not returned, so nobody relied on it.
    """

    def __init__(self, name: str, path: Path, temp: Path) -> None:
        self._name = name
        self._path = path
        self._temp = temp
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self._descriptor = os.open(temp, flags, FILE_MODE)
        # Says to `sweep` that the writer lives; the kernel lets go when the process ends, however it ends.
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)

    def write(self, data: bytes) -> None:
        """See `BlobWriter.write`."""
        self._open()
        with writing(f"writing blob {self._name}"):
            write_all(self._descriptor, data)

    def commit(self) -> None:
        """See `BlobWriter.commit`."""
        self._open()
        with writing(f"committing blob {self._name}"):
            os.fdatasync(self._descriptor)
            try:
                os.link(self._temp, self._path)
            except FileExistsError:
                raise VaultError(f"blob {self._name} exists already; blobs are never replaced") from None
            self._temp.unlink()
            sync_directory(self._path.parent)
        self._close()

    def abort(self) -> None:
        """See `BlobWriter.abort`."""
        if self._descriptor < 0:
            return
        self._close()
        with contextlib.suppress(OSError):  # a full or read-only disk keeps the temp file; `sweep` comes later
            self._temp.unlink()

    def _open(self) -> None:
        if self._descriptor < 0:
            raise VaultError(f"blob {self._name} is committed or aborted; its writer takes no more")

    def _close(self) -> None:
        os.close(self._descriptor)
        self._descriptor = -1


class MemoryBlobs:
    """Blobs in a dictionary: the same promises, without a disk."""

    def __init__(self) -> None:
        self._blobs: dict[str, bytes] = {}

    def create(self, name: str) -> BlobWriter:
        """See `Blobs.create`."""
        return _MemoryWriter(self._blobs, checked_name(name))

    def read(self, name: str, start: int, stop: int) -> bytes:
        """See `Blobs.read`."""
        checked_range(start, stop)
        return self._found(name)[start:stop]

    def size(self, name: str) -> int:
        """See `Blobs.size`."""
        return len(self._found(name))

    def delete(self, name: str) -> None:
        """See `Blobs.delete`."""
        self._blobs.pop(checked_name(name), None)

    def names(self, prefix: str = "") -> Iterator[str]:
        """See `Blobs.names`."""
        folder_of(prefix)
        return iter(sorted(name for name in self._blobs if name.startswith(prefix)))

    def sweep(self) -> int:
        """Nothing outlives a writer in memory: always 0."""
        return 0

    def _found(self, name: str) -> bytes:
        try:
            return self._blobs[checked_name(name)]
        except KeyError:
            raise VaultError(f"reading blob {name}: there is none") from None


class _MemoryWriter:
    def __init__(self, blobs: dict[str, bytes], name: str) -> None:
        self._blobs = blobs
        self._name = name
        self._data: bytearray | None = bytearray()

    def write(self, data: bytes) -> None:
        """See `BlobWriter.write`."""
        self._open().extend(data)

    def commit(self) -> None:
        """See `BlobWriter.commit`."""
        data = self._open()
        if self._name in self._blobs:
            raise VaultError(f"blob {self._name} exists already; blobs are never replaced")
        self._blobs[self._name] = bytes(data)
        self._data = None

    def abort(self) -> None:
        """See `BlobWriter.abort`."""
        self._data = None

    def _open(self) -> bytearray:
        if self._data is None:
            raise VaultError(f"blob {self._name} is committed or aborted; its writer takes no more")
        return self._data


def _pread_all(descriptor: int, start: int, length: int) -> bytes:
    parts = []
    while length > 0:
        part = os.pread(descriptor, length, start)
        if not part:
            break
        parts.append(part)
        start += len(part)
        length -= len(part)
    return b"".join(parts)


def _remove_abandoned(temp: Path) -> bool:
    """Whether the temp file had no living writer and is gone now."""
    try:
        descriptor = os.open(temp, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    temp.unlink(missing_ok=True)
    return True
