"""Journals and blobs that fail on order, through the ordinary constructors: the n-th time, and as often as told."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mitschnitt.vault.blobs import Blobs, BlobWriter, writing
from mitschnitt.vault.journal_files import JournalWriter
from mitschnitt.vault.slice_files import Position, SliceWriter


@dataclass
class Order:
    """The `first`-th time that `what` is done fails, and so do the `times - 1` after it."""

    what: str
    first: int
    times: int = 1
    code: int = errno.EIO
    done: dict[str, int] = field(default_factory=dict)
    failed: int = 0

    def at(self, what: str) -> None:
        """OSError if this is the one."""
        number = self.done[what] = self.done.get(what, 0) + 1
        if what == self.what and self.first <= number < self.first + self.times:
            self.failed += 1
            raise OSError(self.code, os.strerror(self.code))


class FailingSlices(SliceWriter):
    """The media journal: `append`, `sync`."""

    def __init__(self, directory: Path, order: Order) -> None:
        super().__init__(directory)
        self.order = order
        self.synced: list[bytes] = []  # frames that a sync has covered
        self._appended: list[bytes] = []
        self._covered = 0

    def append(self, frame: Iterable[bytes | memoryview], owners: Any) -> Position:
        data = b"".join(bytes(piece) for piece in frame)
        with writing("writing"):
            self.order.at("append")
        position = super().append([data], owners)
        self._appended.append(data)
        return position

    def sync(self) -> None:
        if self._syncing is None and self._unsynced:
            try:
                self.order.at("sync")
            except OSError as error:
                self._unsynced = set()
                self._syncing = Future()
                with writing("syncing"):
                    pass
                self._syncing.set_exception(as_ours(error))
                return
            self._covered = len(self._appended)
        super().sync()

    def settle(self) -> None:
        """Until the sync that is under way has ended, well or not."""
        if self._syncing is not None:
            wait([self._syncing])

    def has_synced(self) -> bool:
        done = super().has_synced()
        if done:
            self.synced = self._appended[: self._covered]
        return done


def as_ours(error: OSError) -> Exception:
    """The same error as the product's own code would raise it."""
    try:
        with writing("syncing"):
            raise error
    except Exception as ours:  # noqa: BLE001 - whatever family it is in
        return ours


class FailingJournal(JournalWriter):
    """The event journal: `entry`, `journal_sync`."""

    def __init__(self, directory: Path, *, next_seq: int, order: Order) -> None:
        super().__init__(directory, next_seq=next_seq)
        self.order = order

    def append(self, *arguments: Any, **named: Any) -> Any:
        with writing("writing the journal"):
            self.order.at("entry")
        return super().append(*arguments, **named)

    def sync(self) -> None:
        with self._failing(), writing("syncing the journal"):
            self.order.at("journal_sync")
        super().sync()


class FailingBlobs:
    """Sealed files: `create`, `write`, `commit` (before the name is there), `committed` (after it)."""

    def __init__(self, inner: Blobs, order: Order) -> None:
        self.inner, self.order = inner, order

    def create(self, name: str) -> BlobWriter:
        with writing("creating"):
            self.order.at("create")
        return _FailingWriter(self.inner.create(name), self.order)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


class _FailingWriter:
    def __init__(self, inner: BlobWriter, order: Order) -> None:
        self.inner, self.order = inner, order

    def write(self, data: bytes) -> None:
        with writing("writing"):
            self.order.at("write")
        self.inner.write(data)

    def commit(self) -> None:
        with writing("committing"):
            self.order.at("commit")
            self.inner.commit()
            self.order.at("committed")

    def abort(self) -> None:
        self.inner.abort()
