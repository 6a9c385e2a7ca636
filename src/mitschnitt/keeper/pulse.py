"""Whether the domain database takes anything: an empty transaction every second, and how long it waits.

Changes no row. Calls that run go on without the database, for the journal keeps what happens; nothing new begins.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future

from sqlalchemy import Connection

from mitschnitt.store.writer import Writer

BEAT_SECONDS = 1.0  # between two empty transactions
LOCKED_SECONDS = 2.0  # a group commit takes milliseconds; recorders hear of a lock within three seconds

log = logging.getLogger("mitschnitt.keeper")


class Pulse:
    """Beats when it is looked at; `monotonic` gives seconds that only run forward."""

    def __init__(self, writer: Writer, monotonic: Callable[[], float]) -> None:
        self._writer = writer
        self._monotonic = monotonic
        self._beat: Future[None] | None = None
        self._began = monotonic() - BEAT_SECONDS
        self.is_locked = False
        self.alarms = 0  # times since the start that the database began to take nothing

    def look(self) -> bool:
        """Whether that the database takes something, or takes nothing, is news."""
        before, self.is_locked = self.is_locked, self._is_locked()
        if self.is_locked and not before:
            self.alarms += 1
            log.error("the database takes nothing: locked, full or broken; nobody new is recorded until it does")
        elif before and not self.is_locked:
            log.warning("the database takes entries again")
        return self.is_locked != before

    def _is_locked(self) -> bool:
        now = self._monotonic()
        if self._beat is not None and self._beat.done():
            failed, self._beat = self._beat.exception() is not None, None
            return failed
        if self._beat is None and now - self._began >= BEAT_SECONDS:
            self._beat, self._began = self._writer.submit(_nothing), now
        return self.is_locked or (self._beat is not None and now - self._began > LOCKED_SECONDS)


def _nothing(_connection: Connection) -> None:
    """The lock is what matters: a transaction takes it before it does anything."""
