"""A file that appears whole or not at all, readable by its owner only, and never in place of another.

Until it is whole it has no name: a command that is killed leaves nothing behind. Where the file system has no files
without names (O_TMPFILE: NFS, FAT) it has a hidden one, and only a kill without notice leaves that.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from mitschnitt.errors import ConfigError, NoSpace

MODE = 0o600  # it holds what people said
NO_NAMELESS = frozenset({errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT})  # open(2), O_TMPFILE: not on this file system
RANDOM_BYTES = 8  # of a hidden name


class NewFile:
    """Bytes on their way to `path`. Writing never raises: `check` does, so that errors survive libraries in between."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._hidden: Path | None = None
        self._failure: OSError | None = None
        try:
            self._descriptor = self._open()
        except OSError as error:
            raise NoSpace(f"{path} cannot be written: {error.strerror}") from error
        self._file = os.fdopen(self._descriptor, "w+b")

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_CLOEXEC
        try:
            return os.open(self.path.parent, flags | os.O_TMPFILE, MODE)
        except OSError as error:
            if error.errno not in NO_NAMELESS or not self.path.parent.is_dir():
                raise
        self._hidden = self.path.with_name(f".{self.path.name}.{secrets.token_hex(RANDOM_BYTES)}")
        return os.open(self._hidden, flags | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, MODE)

    # -- what a library that writes files asks of one ---------------------------------------------

    def write(self, data: bytes) -> int:
        """Takes all of it, or remembers why not."""
        with self._remembered():
            self._file.write(data)
        return len(data)

    def read(self, size: int = -1) -> bytes:
        """What stands at this place."""
        return self._file.read(size)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Where the next byte goes."""
        with self._remembered():
            return self._file.seek(offset, whence)
        return 0

    def tell(self) -> int:
        """Where the next byte goes."""
        return self._file.tell()

    @contextlib.contextmanager
    def _remembered(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._failure = self._failure or error

    def check(self) -> None:
        """NoSpace when something could not be written."""
        with self._remembered():
            self._file.flush()
        if self._failure is not None:
            raise NoSpace(f"{self.path} cannot be written: {self._failure.strerror}") from self._failure

    # -- its life ---------------------------------------------------------------------------------

    def commit(self) -> None:
        """Gives it its name, synced. ConfigError when that is taken meanwhile, NoSpace when it cannot be written."""
        self.check()
        try:
            os.fsync(self._descriptor)
            self._name()
        except FileExistsError as error:
            raise ConfigError(f"{self.path} exists; play-back writes new files only") from error
        except OSError as error:
            raise NoSpace(f"{self.path} cannot be written: {error.strerror}") from error

    def _name(self) -> None:
        if self._hidden is None:
            # With a directory given, Python asks linkat(2) to follow: the link then leads to the nameless file itself.
            folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.link(f"/proc/self/fd/{self._descriptor}", self.path.name, src_dir_fd=folder, dst_dir_fd=folder)
            finally:
                os.close(folder)
            return
        # Not every file system without O_TMPFILE has links. The name is claimed first, then filled.
        os.close(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, MODE))
        self._hidden.replace(self.path)
        self._hidden = None

    def __enter__(self) -> NewFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, what: BaseException | None, at: TracebackType | None) -> None:
        """Ends it; without `commit` nothing of it is left."""
        with contextlib.suppress(OSError):  # what is buffered no longer matters; `commit` has flushed what does
            self._file.close()
        if self._hidden is not None:
            self._hidden.unlink(missing_ok=True)


def write_new(path: Path, data: bytes) -> None:
    """One whole new file. NoSpace or ConfigError as above."""
    with NewFile(path) as file:
        file.write(data)
        file.commit()
