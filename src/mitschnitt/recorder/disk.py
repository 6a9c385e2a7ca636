"""Whether what is agreed could be kept: asked of the disks themselves, before anybody is recorded.

Opens no gate and ends no call: it gives the rule by which no new grant counts. Once a disk refused, only a disk that
has taken a probe, synced, is believed again.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

NO_SPACE = "vault.no_space"  # the rule
LEAST_FREE_BYTES = 64 * 1024 * 1024  # below it nobody new is recorded: calls that run need room to end sealed
PROBE_BYTES = 1024 * 1024  # a refused disk must take, synced, as much as a tick of 500 streams

log = logging.getLogger("mitschnitt.recorder")


class Disk:
    """The places where journals and sealed files lie; `failures` counts writes that any of them refused."""

    def __init__(
        self, places: Sequence[Path], *, failures: Callable[[], int], least_free_bytes: int = LEAST_FREE_BYTES
    ) -> None:
        self._places = tuple(places)
        self._failures = failures
        self._least_free_bytes = least_free_bytes
        self._seen = failures()
        self._is_full = False
        self.alarms = 0  # times since the start that the disks began to refuse

    @property
    def refuses(self) -> bool:
        """Whether no new call may be kept at this moment; a write that failed is known at once."""
        return self._is_full or self._failures() != self._seen

    @property
    def rule(self) -> str:
        """By which no new grant counts, "" when grants do."""
        return NO_SPACE if self.refuses else ""

    def check(self) -> None:
        """Looks at the places; to be called about once a second, in a thread, for it may write and wait."""
        seen = self._failures()  # first: what fails while we look counts against this look
        takes = _takes_a_probe if self.refuses else _has_room
        was_full, self._is_full = self._is_full, not all(takes(at, self._least_free_bytes) for at in self._places)
        is_news = self.refuses and not was_full
        self._seen = seen
        if is_news and self._is_full:
            self.alarms += 1
            log.error("a disk is full, read-only or broken; nobody new is recorded until it takes data again")
        elif is_news:
            self.alarms += 1
            log.error("a disk refused a write and takes data again; what was running then has ended")
        elif was_full and not self._is_full:
            log.warning("the disks take data again")


def _has_room(place: Path, least_free_bytes: int) -> bool:
    try:
        found = os.statvfs(place)
    except OSError:
        return False
    is_read_only = bool(found.f_flag & os.ST_RDONLY)
    return not is_read_only and found.f_bavail * found.f_frsize >= least_free_bytes


def _takes_a_probe(place: Path, least_free_bytes: int) -> bool:
    """Whether the place takes data and syncs it; the probe has no name, so nothing is ever left of it."""
    try:
        with tempfile.TemporaryFile(dir=place) as probe:
            probe.write(bytes(PROBE_BYTES))
            probe.flush()
            os.fsync(probe.fileno())
    except OSError:
        return False
    return _has_room(place, least_free_bytes)
