"""The cap on the share of all calls, within one day: each source takes units in the order of its numbers.

A source knows at arrival whether it has a unit, so order shows both a draw without a unit and a call that was capped
while one was free. Holds a few numbers per source.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mitschnitt.proof.draw_format import CAPPED, DRAWN, VERDICTS, Bytes, Header

BY_SHARE = VERDICTS.index("capped.share")


@dataclass(slots=True)
class _Source:
    from_n: npt.NDArray[np.int64]
    units: npt.NDArray[np.int64]  # leased so far, one longer than `from_n`
    least: int = 0  # units that were surely taken: by draws that stand
    most: int = 0  # and those that may have been: by draws that an agent's cap closed later, too


class ShareOfAll:
    """Takes the verdicts of a day in order of their numbers; `end` gives a sentence for each thing that is wrong."""

    def __init__(self, header: Header) -> None:
        assert header.bundle is not None
        self._bundle, self._header = header.bundle, header
        self._sources: dict[str, _Source] = {}
        self._drawn = self._without = self._needless = 0

    def _source(self, name: str) -> _Source:
        if name not in self._sources:
            leases = sorted(
                (lease.from_n, lease.units)
                for lease in self._bundle.allowances
                if (lease.cap, lease.day, lease.source) == ("share", self._header.day, name)
            )
            units = np.cumsum([0, *(units for _, units in leases)], dtype=np.int64)
            self._sources[name] = _Source(np.array([n for n, _ in leases], np.int64), units)
        return self._sources[name]

    def take(self, name: str, n: npt.NDArray[np.int64], verdict: Bytes) -> None:
        """The next verdicts of a source."""
        drawn, capped = verdict == DRAWN, verdict == BY_SHARE
        self._drawn += int(np.count_nonzero(drawn))
        if self._bundle.caps.share is None:
            self._needless += int(np.count_nonzero(capped))
            return
        source = self._source(name)
        leased = source.units[np.searchsorted(source.from_n, n, side="right")]
        least = source.least + np.cumsum(drawn)
        taken = (verdict == DRAWN) | ((verdict >= CAPPED) & (verdict != BY_SHARE))
        most = source.most + np.cumsum(taken)
        self._without += int(np.count_nonzero(drawn & (least > leased)))
        self._needless += int(np.count_nonzero(capped & (leased > most)))
        source.least, source.most = int(least[-1]), int(most[-1])

    def end(self) -> list[str]:
        """What is wrong, in words."""
        found, share = [], self._bundle.caps.share
        if self._without:
            found.append(f"{self._without} calls were drawn without a unit of the cap on all calls in their source")
        if self._needless:
            found.append(
                f"{self._needless} calls were capped while a unit of the cap on all calls was free in their source"
            )
        if share is None:
            return found
        bound = max(1, math.floor(share * self._header.seen))
        leased = sum(
            lease.units for lease in self._bundle.allowances if lease.cap == "share" and lease.day == self._header.day
        )
        if self._drawn > bound:
            found.append(f"{self._drawn} calls were drawn; {share} of the {self._header.seen} seen are {bound}")
        if leased > bound:
            found.append(f"{leased} units were leased; {share} of the {self._header.seen} seen are {bound}")
        return found
