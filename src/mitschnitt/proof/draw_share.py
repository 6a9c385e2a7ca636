"""The cap on the share of all calls, within one day, in the order of each source's numbers.

The keeper takes units from the pot itself, at arrival; a recorder takes from what it was lent, of which it hears a
little later. Excluded calls make no share larger. Holds a few numbers per source.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from mitschnitt.proof.draw_format import DRAWN, EXCLUDED, KEEPER, VERDICTS, Bytes, Header

BY_SHARE = VERDICTS.index("capped.share")
GRACE_NUMBERS = 256  # calls that a recorder may draw before it hears of units: its view is 30 s old at most

Numbers = npt.NDArray[np.int64]


def bound_of(share: Fraction, calls: int) -> int:
    """Units that a share of so many calls allows; the first is always there."""
    return max(1, math.floor(share * calls))


@dataclass(slots=True)
class _Source:
    from_n: Numbers
    units: Numbers  # lent so far, one longer than `from_n`
    calls: int = 0  # in strata
    least: int = 0  # units that were surely taken: by draws that stand
    most: int = 0  # and those that may have been: by draws that an agent's cap closed later, too


class ShareOfAll:
    """Takes the verdicts of a day in order of their numbers; `end` gives a sentence for each thing that is wrong."""

    def __init__(self, header: Header) -> None:
        assert header.bundle is not None
        self._share, self._calls = header.bundle.caps.share, sum(row.seen for row in header.strata)
        self._leases = [lease for lease in header.bundle.allowances if lease.cap == "share" and lease.day == header.day]
        self._sources: dict[str, _Source] = {}
        self._drawn = self._without = self._needless = 0
        self.doubtful = 0  # capped while a unit was on its way to a recorder

    def _source(self, name: str) -> _Source:
        if name not in self._sources:
            leases = sorted((lease.from_n, lease.units) for lease in self._leases if lease.source == name)
            units = np.cumsum([0, *(units for _, units in leases)], dtype=np.int64)
            self._sources[name] = _Source(np.array([n for n, _ in leases], np.int64), units)
        return self._sources[name]

    def take(self, name: str, n: Numbers, place: Numbers, verdict: Bytes) -> None:
        """The next verdicts of a source."""
        drawn, capped = verdict == DRAWN, verdict == BY_SHARE
        self._drawn += int(np.count_nonzero(drawn))
        if self._share is None:
            self._needless += int(np.count_nonzero(capped))
            return
        source = self._source(name)
        calls = source.calls + np.cumsum(place < EXCLUDED)
        least = source.least + np.cumsum(drawn)
        most = source.most + np.cumsum((verdict >= DRAWN) & ~capped)
        if name == KEEPER:
            elsewhere = sum(lease.units for lease in self._leases if lease.source != KEEPER)
            at = zip(calls[capped].tolist(), most[capped].tolist(), strict=True)
            self._needless += sum(bound_of(self._share, seen) > elsewhere + given for seen, given in at)
        else:
            self._without += int(np.count_nonzero(drawn & (least > self._lent(source, n))))
            sure = capped & (self._lent(source, n - GRACE_NUMBERS) > most)
            self._needless += int(np.count_nonzero(sure))
            self.doubtful += int(np.count_nonzero(capped & ~sure & (self._lent(source, n) > most)))
        source.calls, source.least, source.most = int(calls[-1]), int(least[-1]), int(most[-1])

    @staticmethod
    def _lent(source: _Source, n: Numbers) -> Numbers:
        return np.asarray(source.units[np.searchsorted(source.from_n, n, side="right")])

    def end(self) -> list[str]:
        """What is wrong, in words."""
        found = []
        if self._without:
            found.append(f"{self._without} calls were drawn without a unit of the cap on all calls in their source")
        if self._needless:
            found.append(f"{self._needless} calls were capped while a unit of the cap on all calls was free")
        if self._share is None:
            return found
        bound = bound_of(self._share, self._calls)
        for what, many in (("calls were drawn", self._drawn), ("units were given", self._given())):
            if many > bound:
                found.append(f"{many} {what}; {self._share} of the {self._calls} calls in strata are {bound}")
        return found

    def _given(self) -> int:
        return sum(lease.units for lease in self._leases)
