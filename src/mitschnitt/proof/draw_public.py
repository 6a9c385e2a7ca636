"""Checks one public list of the draw on its own: order, counts, every ticket. Needs nothing else.

Holds one block of records and a count per class, whatever the length of the list.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import compress

import numpy as np
import numpy.typing as npt

from mitschnitt.proof.draw_format import EXCLUDED, SPECIAL, DrawList, Header, Rows
from mitschnitt.proof.draw_report import Cheat, From, Report
from mitschnitt.proof.draw_tickets import winners

ID_ROW = np.dtype([("id", "V16"), ("place", ">u2")])  # the same bytes as PUBLIC_ROW
CLASSES = 1 << 16

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Tally:
    """What the records of a list say: calls and winning tickets by class, and places of the ids that were asked for."""

    calls: Counts
    won: Counts
    asked: Mapping[bytes, tuple[int, bool]]  # draw_id: class, whether its ticket wins


def check_public(found: DrawList, report: Report, ids: Iterable[bytes] = ()) -> Tally:
    """All that one public list can show by itself goes into the report."""
    header = found.header
    tally, in_order, digest = _walk(found, frozenset(ids))
    if not in_order:
        report.finds(
            Cheat.BROKEN, From.PUBLIC, header.day, "records do not ascend by draw_id, or one stands there twice"
        )
    if digest != header.records_sha256:
        report.finds(Cheat.BROKEN, From.PUBLIC, header.day, "the records are not those whose hash the header names")
    _check_counts(header, tally.calls, report)
    for place, stratum in enumerate(header.strata):
        won = int(tally.won[place])
        if won != stratum.drawn + stratum.capped:
            said = f"the list says {stratum.drawn} drawn and {stratum.capped} capped"
            report.finds(
                Cheat.MISDRAWN,
                From.PUBLIC,
                header.day,
                f"in stratum `{stratum.name}` {won} tickets are below the threshold, {said}",
            )
    _check_outcomes(header, report)
    return tally


def _walk(found: DrawList, wanted: frozenset[bytes]) -> tuple[Tally, bool, bytes]:
    header, digest = found.header, hashlib.sha256()
    calls, won = np.zeros(CLASSES, np.int64), np.zeros(CLASSES, np.int64)
    asked: dict[bytes, tuple[int, bool]] = {}
    in_order, last = True, -1
    for rows in found.rows():
        digest.update(rows.tobytes())
        in_order = in_order and _ascends(rows, last)
        last = (int(rows["high"][-1]) << 64) | int(rows["low"][-1])
        calls += np.bincount(rows["place"].astype(np.int64), minlength=CLASSES)
        rows = rows.view(ID_ROW)
        for place, stratum in enumerate(header.strata):
            ids = rows["id"][rows["place"] == place].tolist()
            wins = winners(header.policy_hash, header.beacon.value, ids, stratum.rate)
            won[place] += sum(wins)
            if wanted:
                drawn = set(compress(ids, wins))
                asked |= {draw_id: (place, draw_id in drawn) for draw_id in wanted.intersection(ids)}
        if wanted:
            out = rows[rows["place"] >= EXCLUDED]
            asked |= {row[0]: (int(row[1]), False) for row in out.tolist() if row[0] in wanted}
    return Tally(calls, won, asked), in_order, digest.digest()


def _ascends(rows: Rows, last: int) -> bool:
    high, low = rows["high"].astype(np.uint64), rows["low"].astype(np.uint64)
    if last >= (int(high[0]) << 64) | int(low[0]):
        return False
    return bool(np.all((high[:-1] < high[1:]) | ((high[:-1] == high[1:]) & (low[:-1] < low[1:]))))


def class_of(number: int) -> int:
    """How an exclusion's number stands in a record."""
    return number if number in SPECIAL else EXCLUDED | number


def _check_counts(header: Header, calls: Counts, report: Report) -> None:
    told = {place: (f"stratum `{row.name}`", row.seen, Cheat.BROKEN) for place, row in enumerate(header.strata)}
    told |= {class_of(row.number): (f"exclusion `{row.name}`", row.count, Cheat.FILTER) for row in header.exclusions}
    for place, (what, count, cheat) in told.items():
        if calls[place] != count:
            sentence = f"{what} has {calls[place]} records, the header counts {count}"
            report.finds(cheat, From.PUBLIC, header.day, sentence)
    for place in np.flatnonzero(calls).tolist():
        if place in told:
            continue
        cheat = Cheat.FILTER if place >= EXCLUDED else Cheat.BROKEN
        sentence = f"{calls[place]} records are of class {place}, which the header does not name"
        report.finds(cheat, From.PUBLIC, header.day, sentence)
    _check_names(header, report)
    counted = sum(row.seen for row in header.strata) + sum(row.count for row in header.exclusions)
    if counted != header.seen:
        sentence = f"{header.seen} calls were seen, strata and exclusions count {counted}"
        report.finds(Cheat.FILTER, From.PUBLIC, header.day, sentence)


def _check_names(header: Header, report: Report) -> None:
    """Every exclusion from 0 on has its line, and so have the three that no policy writes down."""
    numbers = [row.number for row in header.exclusions]
    own = [number for number in numbers if number not in SPECIAL]
    if own != list(range(len(own))) or [row.name for row in header.exclusions[len(own) :]] != list(SPECIAL.values()):
        report.finds(
            Cheat.FILTER,
            From.PUBLIC,
            header.day,
            f"exclusions are numbered from 0 without a gap and end with {', '.join(SPECIAL.values())}; "
            f"found numbers {', '.join(map(str, numbers))[:200] or 'none'}",
        )


def _check_outcomes(header: Header, report: Report) -> None:
    """Every drawn call was kept, failed or not agreed to; and what is merged is told once."""
    told = [(f"stratum `{row.name}`", row.outcomes) for row in header.strata if row.outcomes]
    if header.merged:
        places, outcomes = header.merged
        told.append(("the merged strata", outcomes))
        if any(header.strata[place].outcomes for place in places):
            report.finds(Cheat.BROKEN, From.PUBLIC, header.day, "outcomes of a stratum are told alone and merged")
        if sum(header.strata[place].drawn for place in places) != outcomes.drawn:
            report.finds(
                Cheat.BROKEN, From.PUBLIC, header.day, "merged strata have another number of draws than their sum"
            )
    for what, row in told:
        if row.kept + row.failed + row.not_agreed != row.drawn:
            told_of = f"{row.kept} kept, {row.failed} failed and {row.not_agreed} not agreed"
            sentence = f"{what}: {told_of} are not the {row.drawn} drawn"
            report.finds(Cheat.DROPPED, From.PUBLIC, header.day, sentence)
