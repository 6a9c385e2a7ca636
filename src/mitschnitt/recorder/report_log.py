"""Sender reports of one party, as many as its header may hold: thinned evenly as the call grows.

Only keeps them; what they say of clocks is read on play-back.
"""

from __future__ import annotations

from mitschnitt.vault.artefact import MAX_REPORTS, Report

NTP_TO_UNIX_SECONDS = 2_208_988_800  # from 1900 to 1970 (RFC 868)
SECOND_NS = 1_000_000_000


def ntp_to_ns(ntp: int) -> int:
    """64 bits of NTP time (RFC 3550, 4) as ns since 1970, rounded down; before 1970 it is negative."""
    return (ntp >> 32) * SECOND_NS + ((ntp & 0xFFFFFFFF) * SECOND_NS >> 32) - NTP_TO_UNIX_SECONDS * SECOND_NS


class ReportLog:
    """The first report, every n-th behind it, and the newest; n doubles whenever there are too many."""

    def __init__(self, most: int = MAX_REPORTS) -> None:
        self._most = most
        self._kept: list[Report] = []
        self._every = 1
        self._seen = 0
        self._newest: Report | None = None

    def add(self, report: Report) -> None:
        """Takes a report that is newer than those before."""
        self._newest = report
        if self._seen % self._every == 0:
            self._kept.append(report)
            if len(self._kept) >= self._most:  # one place stays for the newest
                del self._kept[1::2]
                self._every *= 2
        self._seen += 1

    def told(self) -> tuple[Report, ...]:
        """What is left of them, oldest first; at most as many as were allowed."""
        if self._newest is None or self._kept[-1] is self._newest:
            return tuple(self._kept)
        return (*self._kept, self._newest)
