"""Figures that every process has: build, start, processor, memory, open files, room on the disk.

Reads /proc of this process and the size of a file system; knows no part by name but the one it is asked for.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Callable
from pathlib import Path

from mitschnitt import __version__
from mitschnitt.telemetry.metrics import Figure, Kind, Told

ROOM_STEP_BYTES = 64 * 1024 * 1024  # free bytes are told in steps: one call takes an hour for one of them
LEAST_FREE_BYTES = 512 * 1024 * 1024  # with less nobody should send us new calls: some busy minutes fill it
PAGE_BYTES = resource.getpagesize()


def process_table(part: str) -> tuple[Figure, ...]:
    """The lines of such a table for one part: `recorder` or `keeper`."""

    def figure(name: str, kind: Kind, said: str, told: Told = Told.AT_ONCE) -> Figure:
        return Figure(f"{part}_{name}", kind, said, told=told)

    return (
        Figure(f"{part}_build_info", Kind.GAUGE, "1; the label says which version runs", "version", (__version__,)),
        figure("start_time_seconds", Kind.GAUGE, "seconds since 1970 at which the process began"),
        figure("cpu_seconds", Kind.COUNTER, "seconds of processor time, user and system"),
        figure("resident_bytes", Kind.GAUGE, "memory that is in use, bytes"),
        figure("open_files_limit", Kind.GAUGE, "open files that the process may have (LimitNOFILE)"),
        figure("open_files", Kind.GAUGE, "open files, sockets among them", Told.IN_BATCHES),
        figure("disk_free_bytes", Kind.GAUGE, "bytes free where recordings lie, in steps of 64 MiB; -1 if unknown"),
    )


class ProcessFigures:
    """Reads them. `now` gives seconds since 1970, asked once; `room` is where recordings lie."""

    def __init__(self, part: str, room: Path, *, now: Callable[[], float]) -> None:
        self._part = part
        self.room = room
        self._started = round(now(), 3)

    def read(self) -> dict[str, float | dict[str, float]]:
        """One reading, by the names of `process_table`."""
        used = resource.getrusage(resource.RUSAGE_SELF)
        free = free_bytes(self.room)
        found: dict[str, float | dict[str, float]] = {
            "build_info": {__version__: 1.0},
            "start_time_seconds": self._started,
            "cpu_seconds": used.ru_utime + used.ru_stime,
            "resident_bytes": _resident_bytes(),
            "open_files_limit": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
            "open_files": _open_files(),
            "disk_free_bytes": -1 if free is None else free - free % ROOM_STEP_BYTES,
        }
        return {f"{self._part}_{name}": value for name, value in found.items()}


def free_bytes(place: Path) -> int | None:
    """Bytes that we may still write there; None when it cannot be asked."""
    try:
        found = os.statvfs(place)
    except OSError:
        return None
    return found.f_bavail * found.f_frsize


def is_full(place: Path) -> bool:
    """Whether there is too little room for new calls; so it counts when nobody can say how much there is."""
    free = free_bytes(place)
    return free is None or free < LEAST_FREE_BYTES


def _resident_bytes() -> int:
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * PAGE_BYTES
    except OSError:
        return 0


def _open_files() -> int:
    try:
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - thousands of Path objects for a count
    except OSError:
        return 0
