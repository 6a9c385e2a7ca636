"""How much of a measured time was the machine's: what processes waited for a processor, and a bare disk for a sync.

A promise of seconds is the product's; that a busy machine does not let it run is not. On an idle machine all of this is
a few milliseconds, so that nothing is forgiven there.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

SYNCS = 6  # one after the other in the way of a withdrawal: journal, database, and both copies of the key tree
TRIES = 10
LOOK_SECONDS = 0.02


def waited(pids: Iterable[int]) -> float:
    """Seconds that threads of these processes were ready and had no processor so far; proc(5), and the host's share."""
    total_ns = 0
    for pid in pids:
        for task in _tasks(pid):
            with contextlib.suppress(OSError):  # ended while we looked
                total_ns += int((task / "schedstat").read_text(encoding="ascii").split()[1])
    return total_ns / 1e9 + _stolen()


@dataclass
class Waits:
    """How much these processes had waited for a processor, noted again and again while it is entered."""

    pids: Iterable[int]
    noted: list[tuple[datetime, float]] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)

    def note(self) -> None:
        """As it is now."""
        self.noted.append((datetime.now(UTC), waited(self.pids)))

    def between(self, first: datetime, last: datetime) -> float:
        """Seconds of these in which the machine let the processes wait."""
        before = [wait for at, wait in self.noted if at <= first][-1]
        after = next((wait for at, wait in self.noted if at >= last), self.noted[-1][1])
        return after - before

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


def sync_seconds(directory: Path) -> float:
    """How long the syncs of one withdrawal take here at worst if nothing but a few bytes is written."""
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
    return SYNCS * max(took)


def _tasks(pid: int) -> list[Path]:
    with contextlib.suppress(OSError):
        return list(Path(f"/proc/{pid}/task").iterdir())
    return []


def _stolen() -> float:
    """Of all processors, since the start: what a host gave to other guests."""
    return int(Path("/proc/stat").read_text(encoding="ascii").split()[8]) / os.sysconf("SC_CLK_TCK")
