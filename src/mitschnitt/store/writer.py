"""The only way to change the domain database: one thread that gathers what waits into one commit.

Each submission is all or nothing and durable when its future resolves. It takes functions of a connection and
knows no table.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from mitschnitt.errors import NoSpace, VaultError

T = TypeVar("T")

MAX_GROUP = 256  # submissions in one commit; more would make the first of them wait for the last
FULL = ("SQLITE_FULL", "SQLITE_IOERR", "SQLITE_READONLY", "SQLITE_CANTOPEN")


@dataclass(frozen=True, slots=True)
class _Work:
    run: Callable[[Connection], Any]
    done: Future[Any]


class Writer:
    """One thread, one connection. `submit` from any thread; `close` when nobody submits any more."""

    def __init__(self, engine: Engine, *, timed: Callable[[], AbstractContextManager[object]] = nullcontext) -> None:
        """`timed` is around each commit; there is no clock here."""
        self._engine = engine
        self._queue: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._scrub = False  # what was deleted still lies in the WAL
        self.commits = 0
        self._timed = timed
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[Connection], T]) -> Future[T]:
        """Run `work` in the next commit. The future resolves when it is durable.

        It fails with what `work` raised (only this submission is undone), with NoSpace, or with VaultError when
        the database stays locked; then nothing of it happened.
        """
        done: Future[T] = Future()
        self._queue.put(_Work(work, done))
        return done

    def scrub(self) -> None:
        """Something was erased: after the next commit, truncate the WAL, where deleted rows still lie."""
        self._scrub = True

    @property
    def waiting(self) -> int:
        """Submissions that no commit has begun with."""
        return self._queue.qsize()

    def close(self) -> None:
        """Finish what was submitted, then end the thread."""
        self._queue.put(None)
        self._thread.join()
        self._engine.dispose()

    def _run(self) -> None:
        connection: Connection | None = None
        while (group := self._group()) is not None:
            try:
                connection = connection or self._engine.connect()
                with self._timed():
                    self._commit(connection, group)
                self._truncate(connection)
            except DBAPIError as error:
                for work in group:
                    if not work.done.done():
                        work.done.set_exception(_as_ours(error))
                if connection is not None:
                    # A connection that failed once may be in any state; the next group gets a new one.
                    connection.invalidate()
                    connection.close()
                    connection = None
        if connection is not None:
            connection.close()

    def _group(self) -> list[_Work] | None:
        """What waits now, at least one; None when the writer is to end."""
        first = self._queue.get()
        if first is None:
            return None
        group = [first]
        while len(group) < MAX_GROUP:
            try:
                work = self._queue.get_nowait()
            except queue.Empty:
                break
            if work is None:
                self._queue.put(None)
                break
            group.append(work)
        return [work for work in group if work.done.set_running_or_notify_cancel()]

    def _commit(self, connection: Connection, group: list[_Work]) -> None:
        """One transaction for all, a savepoint for each.

        A crash before the commit undoes the whole group, and no future of it had resolved; whoever submitted
        does so again from its journal.
        """
        results: list[tuple[_Work, Any]] = []
        with connection.begin():
            for work in group:
                try:
                    with connection.begin_nested():
                        results.append((work, work.run(connection)))
                except DBAPIError as error:
                    if _is_of_the_database(error):
                        raise
                    work.done.set_exception(error)
                except Exception as error:  # noqa: BLE001 - it belongs to the submitter, not to this thread
                    work.done.set_exception(error)
        self.commits += 1
        for work, result in results:
            work.done.set_result(result)

    def _truncate(self, connection: Connection) -> None:
        if not self._scrub:
            return
        cursor = connection.connection.cursor()
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        row = cursor.fetchone()
        cursor.close()
        # Busy = a reader still looks at the old frames; the next commit tries again.
        self._scrub = bool(row and row[0])


def _code(error: DBAPIError) -> str:
    return str(getattr(error.orig, "sqlite_errorname", ""))


def _is_of_the_database(error: DBAPIError) -> bool:
    """Whether the whole database failed (lock, disk), not one statement."""
    return _code(error).startswith((*FULL, "SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_CORRUPT", "SQLITE_NOTADB"))


def _as_ours(error: DBAPIError) -> VaultError:
    code = _code(error)
    if code.startswith(FULL):
        return NoSpace(f"the database takes no more ({code})")
    return VaultError(f"the database could not be written ({code or type(error.orig).__name__})")
