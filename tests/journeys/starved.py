"""How much of a measured time was the machine's: what processes waited for a processor, and a bare disk for a sync.

A promise of seconds is the product's; that a busy machine does not let it run is not. On an idle machine all of this is
a few milliseconds, so that nothing is forgiven there. Whoever sleeps waits for no processor, and a product that keeps
its own processors busy waits for itself: no more is forgiven than others ran (`tests/journeys/test_starved.py`).
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from types import TracebackType

WITHDRAWAL_SYNCS = 6  # one after the other in its way: journal, database, and both copies of the key tree
JOURNAL_SYNCS = 2  # of what was received, and of what is told of it
TRIES = 10
LOOK_SECONDS = 0.02
PROC = Path("/proc")
TICKS = os.sysconf("SC_CLK_TCK")
RAN = slice(11, 13)  # of a process, after its name: user, system
BUSY = slice(1, 4), slice(6, 9)  # of all: user, nice, system; interrupts, and what a host gave to other guests


@dataclass(frozen=True)
class Note:
    """As it stood at one moment, in seconds since some beginning."""

    at: datetime
    waited: float  # by all threads of the watched processes together
    others: float  # that processors ran for anybody else


@dataclass
class Waits:
    """How much these processes had waited for a processor, noted again and again while it is entered."""

    pids: Iterable[int]
    noted: list[Note] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)

    def note(self) -> None:
        """As it is now."""
        self.noted.append(look(self.pids))

    def between(self, first: datetime, last: datetime) -> float:
        """Seconds of these in which the machine let the processes wait: never more than passed, nor than others ran."""
        begin = max(number for number, note in enumerate(self.noted) if note.at <= first)
        end = next((number for number, note in enumerate(self.noted) if note.at >= last), len(self.noted) - 1)
        notes = self.noted[begin : end + 1]
        # Several may wait at once, and what a thread waited is gone with it.
        waited = sum(max(0.0, min(b.waited - a.waited, (b.at - a.at).total_seconds())) for a, b in pairwise(notes))
        return max(0.0, min(waited, notes[-1].others - notes[0].others))

    def whole(self) -> float:
        """The same of all the time that it was entered."""
        return self.between(self.noted[0].at, self.noted[-1].at)

    def __enter__(self) -> Waits:
        self.note()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        self.note()

    def _run(self) -> None:
        while not self._over.wait(LOOK_SECONDS):
            self.note()


def look(pids: Iterable[int]) -> Note:
    """What the kernel says now; proc(5), `schedstat`, `stat` of a process, and `stat` of all processors."""
    waited_ns = ran = 0
    for pid in pids:
        with contextlib.suppress(OSError):  # ended while we looked
            told = (PROC / str(pid) / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
            ran += sum(int(word) for word in told[RAN])
            for task in (PROC / str(pid) / "task").iterdir():
                with contextlib.suppress(OSError):
                    waited_ns += int((task / "schedstat").read_text(encoding="ascii").split()[1])
    words = (PROC / "stat").read_text(encoding="ascii").partition("\n")[0].split()
    busy = sum(int(word) for part in BUSY for word in words[part])
    return Note(datetime.now(UTC), waited_ns / 1e9 + int(words[8]) / TICKS, (busy - ran) / TICKS)


def sync_seconds(directory: Path, syncs: int) -> float:
    """How long so many syncs, one after the other, take here at worst if nothing but a few bytes is written."""
    took = []
    for number in range(TRIES):
        path = directory / f"sync-{number}"
        began = time.monotonic()
        with path.open("wb") as file:
            file.write(b"x" * 512)
            file.flush()
            os.fsync(file.fileno())
        took.append(time.monotonic() - began)
        path.unlink()
    return syncs * max(took)
