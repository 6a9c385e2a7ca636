"""Erasures on their way to the key tree: what comes within a tenth of a second shares one fresh KEK.

One thread rotates the tree, nobody else does. It decides nothing about who may erase, and removes no file.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Iterable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, field

from sqlalchemy.exc import SQLAlchemyError

from mitschnitt.errors import MitschnittError
from mitschnitt.keeper.keyring import Keyring, Span
from mitschnitt.store import queries
from mitschnitt.store.queries import PunctureRow
from mitschnitt.store.writer import Writer

GATHER_SECONDS = 0.1  # a burst of erasures shares one rotation; a withdrawal has 1 s from act to puncture
ROW_SECONDS = 0.1  # how long the database may hold up a puncture; behind a lock the journal remembers it

log = logging.getLogger("mitschnitt.keeper")


@dataclass(frozen=True, slots=True)
class _Request:
    spans: tuple[Span, ...]
    reserve: int  # index below which leases are to be allowed, 0 for none
    done: Future[int] = field(default_factory=Future)


class Punctures:
    """`request` from any thread; the future holds the epoch from which on the keys are gone on disk too."""

    def __init__(self, keyring: Keyring, writer: Writer, *, gather_seconds: float = GATHER_SECONDS) -> None:
        self._keyring = keyring
        self._writer = writer
        self._gather_seconds = gather_seconds
        self._queue: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="punctures", daemon=True)
        self._thread.start()

    def request(self, spans: Iterable[Span]) -> Future[int]:
        """These are to be punctured with the next batch. Fails with NoSpace or VaultError: ask again."""
        request = _Request(tuple(spans), 0)
        self._queue.put(request)
        return request.done

    def reserve(self, index: int) -> Future[int]:
        """Indices below `index` are to be allowed to leases."""
        request = _Request((), index)
        self._queue.put(request)
        return request.done

    def close(self) -> None:
        """Do what was requested, then end the thread."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            batch, last = self._gather(first)
            try:
                epoch = self._carry_out(batch)
            except MitschnittError as error:
                log.exception("the key tree could not be written; the erasure is tried again")
                for request in batch:
                    request.done.set_exception(error)
            else:
                for request in batch:
                    request.done.set_result(epoch)
            if last:
                return

    def _gather(self, first: _Request) -> tuple[list[_Request], bool]:
        """All that comes within the gathering time of the first, and whether the thread is to end after it."""
        batch, until = [first], time.monotonic() + self._gather_seconds
        while (rest := until - time.monotonic()) > 0:
            try:
                request = self._queue.get(timeout=rest)
            except queue.Empty:
                break
            if request is None:
                return batch, True
            batch.append(request)
        return batch, False

    def _carry_out(self, batch: list[_Request]) -> int:
        """Rows first, then the state.

        A crash between leaves rows of an epoch that no state has reached: start-up applies them to the state
        before it is used. Rows that a locked database holds up come later or, after a crash, not at all: then the
        state was not reached either or has the puncture in it, and the journal entry that asked is applied again.
        """
        spans = [span for request in batch for span in request.spans]
        if spans:
            epoch = self._keyring.epoch + 1
            rows = [PunctureRow(epoch, span.first, span.count, span.leaf) for span in spans]
            try:
                self._writer.submit(lambda connection: queries.add_punctures(connection, rows)).result(ROW_SECONDS)
            except (FutureTimeoutError, MitschnittError, SQLAlchemyError):
                log.warning("the database did not take the puncture in time; the key tree goes first")
        reached = self._keyring.puncture(spans)
        wanted = max(request.reserve for request in batch)
        epoch = self._keyring.reserve(wanted) if wanted else reached
        if epoch != reached:
            _note_epoch(self._keyring, self._writer)  # not waited for: a lock must not hold up the next erasure
        return epoch


def settle(keyring: Keyring, writer: Writer) -> int:
    """Apply again what the database says must be gone, before the tree is used; the first index free to lease.

    A state older than the newest puncture comes of a crash between row and state, or of a restored state. A
    database older than the state (a restored backup) cannot know which indices were leased: then everything that
    the state ever allowed is left out, for no index may be used twice.
    """
    reached = keyring.epoch
    rows, newest, free = writer.submit(
        lambda connection: (
            queries.punctures_from(connection, reached),
            queries.newest_puncture_epoch(connection),
            queries.next_index(connection),
        )
    ).result()
    keyring.puncture([Span(row.first, row.count, row.leaf) for row in rows])
    if newest < reached:
        log.warning("the database is older than the key tree; indices that it may not know of are left out")
        free = max(free, keyring.reserved)
    note_epoch(keyring, writer)
    return free


def note_epoch(keyring: Keyring, writer: Writer) -> None:
    """The database has seen this epoch (a puncture of nothing): an older copy of it can be told from now on."""
    _note_epoch(keyring, writer).result()


def _note_epoch(keyring: Keyring, writer: Writer) -> Future[None]:
    row = PunctureRow(keyring.epoch, 0, 0, None)
    return writer.submit(lambda connection: queries.add_punctures(connection, [row]))
