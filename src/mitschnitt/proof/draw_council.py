"""Checks the works council's bundle of one day: numbers without a gap, every draw_id, every verdict, every unit.

Walks bundle and public list in blocks; what it holds grows with sources and agents, not with calls.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from mitschnitt.errors import TooLarge
from mitschnitt.proof.draw_format import CAPPED, DRAWN, EXCLUDED, FAILED, VERDICTS, Bytes, DrawList, Header, Rows
from mitschnitt.proof.draw_public import CLASSES
from mitschnitt.proof.draw_report import Cheat, From, Report
from mitschnitt.proof.draw_share import ShareOfAll
from mitschnitt.proof.draw_tickets import draw_ids, winners

BATCH_RECORDS = 1 << 20  # draw_ids that are looked for in one walk through the public list: 26 MB
MAX_TAGS = 1 << 18  # agents of a day; beyond it nobody has that many
ASK_SHARE = "{}: whether the recorders of {} capped calls had heard of a unit of the cap on all calls by then"
ASK_NAMELESS = "{}: whose {} draws were that name no agent; they count in no agent's cap"
AGENT_CAPS = (VERDICTS.index("capped.agent_week"), VERDICTS.index("capped.agent_share"))

Numbers = npt.NDArray[np.int64]
Halves = npt.NDArray[np.uint64]  # (records, 2): draw_id in two halves


@dataclass(slots=True)
class Agent:
    """What a day says of one agent tag."""

    calls: int = 0  # in strata
    drawn: int = 0
    failed: int = 0


@dataclass(slots=True)
class CouncilTally:
    """What the bundle of a day says, by agent tag and by source; of one call it holds nothing."""

    agents: dict[int, Agent] = field(default_factory=dict)
    last_capped: dict[tuple[str, int], int] = field(default_factory=dict)  # source, tag: the last number capped
    drawn: int = 0
    nameless: int = 0  # draws that name no agent
    nameless_capped: int = 0  # calls that an agent's cap closed, and no agent is named
    missing: int = 0  # draws that the public list does not have
    matched: int = 0
    elsewhere: int = 0  # draws that it has in another class


def check_council(found: DrawList, public: DrawList | None, report: Report) -> CouncilTally:
    """All that the bundle of one day shows, beside the public list of that day where there is one."""
    header, tally = found.header, CouncilTally()
    walk = _Walk(header, report, tally)
    batch: list[tuple[Halves, Numbers]] = []
    held = 0
    for rows in found.rows():
        batch.append(walk.block(rows))
        held += len(batch[-1][1])
        if held >= BATCH_RECORDS:
            _look_up(batch, public, tally)
            batch, held = [], 0
    _look_up(batch, public, tally)
    walk.end()
    if public is not None:
        _compare(header, public.header, tally, report)
    return tally


class _Walk:
    """The state of one walk through a bundle."""

    def __init__(self, header: Header, report: Report, tally: CouncilTally) -> None:
        assert header.bundle is not None
        self._header, self._bundle = header, header.bundle
        self._report, self._tally = report, tally
        self._source, self._n = -1, 0
        self._digest = hashlib.sha256()
        self._numbers: Counter[tuple[str, Cheat]] = Counter()
        self._amiss = Counter[str]()
        self._by_class = np.zeros((CLASSES, 3), np.int64)  # seen, drawn, capped
        self._failed = np.zeros(CLASSES, np.int64)
        self._share = ShareOfAll(header)

    def block(self, rows: Rows) -> tuple[Halves, Numbers]:
        """Takes a block; the draw_ids that its numbers make, each number once, and their classes."""
        self._digest.update(rows.tobytes())
        source, n = rows["source"].astype(np.int64), rows["n"].astype(np.int64)
        place, verdict = rows["place"].astype(np.int64), rows["verdict"]
        new = self._number(source, n)
        self._count(place, verdict, rows["flags"])
        halves = np.zeros((len(rows), 2), np.uint64)
        for index in np.unique(source).tolist():
            of_source = np.flatnonzero(source == index)
            if index >= len(self._bundle.sources):
                self._amiss["name a source that the header does not"] += len(of_source)
                continue
            name = self._bundle.sources[index]
            ids = draw_ids(self._bundle.day_key, name, n[of_source].tolist())
            halves[of_source] = np.frombuffer(b"".join(ids), ">u8").reshape(-1, 2)
            self._verdicts(ids, place[of_source], verdict[of_source])
            self._agents(name, rows[of_source])
            self._share.take(name, n[of_source], place[of_source], verdict[of_source])
        return halves[new], place[new]

    def _number(self, source: Numbers, n: Numbers) -> npt.NDArray[np.bool_]:
        """Sources ascend, and the numbers of each ascend from 1 by 1; which records are no repetition."""
        before = np.concatenate([[self._source], source[:-1]])
        last = np.where(before == source, np.concatenate([[self._n], n[:-1]]), 0)
        step = n - last
        self._amiss["do not ascend by source and number"] += int(np.count_nonzero((source < before) | (step < 0)))
        for index in np.unique(source[step != 1]).tolist():
            name = self._bundle.sources[index] if index < len(self._bundle.sources) else "?"
            own = step[source == index]
            self._numbers[name, Cheat.DROPPED] += int(np.sum(own[own > 1] - 1))
            self._numbers[name, Cheat.REDRAWN] += int(np.count_nonzero(own == 0))
        self._source, self._n = int(source[-1]), int(n[-1])
        return np.asarray(step != 0, np.bool_)

    def _count(self, place: Numbers, verdict: Bytes, flags: Bytes) -> None:
        failed, capped = (flags & FAILED).astype(bool), verdict >= CAPPED
        self._amiss["have an unknown verdict or flag"] += int(
            np.count_nonzero((verdict >= len(VERDICTS)) | (flags & ~np.uint8(FAILED)).astype(bool))
        )
        self._amiss["are marked failed and were not drawn"] += int(np.count_nonzero(failed & (verdict != DRAWN)))
        for column, which in enumerate((np.ones(len(place), bool), verdict == DRAWN, capped)):
            self._by_class[:, column] += np.bincount(place[which], minlength=CLASSES)
        self._failed += np.bincount(place[failed], minlength=CLASSES)
        self._tally.drawn += int(np.count_nonzero(verdict == DRAWN))

    def _verdicts(self, ids: list[bytes], place: Numbers, verdict: Bytes) -> None:
        """Excluded calls have no ticket; of all others the ticket says whether they were drawn or capped."""
        header = self._header
        right = (place >= EXCLUDED) & (verdict == 0)
        for number, stratum in enumerate(header.strata):
            of_stratum = np.flatnonzero(place == number)
            if not len(of_stratum):
                continue
            own = ids if len(of_stratum) == len(ids) else [ids[at] for at in of_stratum.tolist()]
            wins = np.array(winners(header.policy_hash, header.beacon.value, own, stratum.rate))
            said = verdict[of_stratum]
            right[of_stratum] = np.where(wins, said >= DRAWN, said == 1)
        self._amiss["say of a draw what its ticket does not say"] += int(np.count_nonzero(~right))

    def _agents(self, source: str, rows: Rows) -> None:
        nameless = rows["verdict"][rows["tag"] == 0]
        self._tally.nameless += int(np.count_nonzero(nameless == DRAWN))
        self._tally.nameless_capped += int(np.count_nonzero(np.isin(nameless, AGENT_CAPS)))
        rows = rows[rows["tag"] != 0]
        verdict, tags = rows["verdict"], rows["tag"].astype(np.uint64)
        known, which = np.unique(tags, return_inverse=True)
        counts = [
            np.bincount(which[chosen], minlength=len(known)).tolist()
            for chosen in (rows["place"] < EXCLUDED, verdict == DRAWN, (rows["flags"] & FAILED).astype(bool))
        ]
        agents = self._tally.agents
        for tag, calls, drawn, failed in zip(known.tolist(), *counts, strict=True):
            agent = agents.setdefault(tag, Agent())
            agent.calls, agent.drawn, agent.failed = agent.calls + calls, agent.drawn + drawn, agent.failed + failed
        if len(agents) > MAX_TAGS:
            raise TooLarge(f"it names more than {MAX_TAGS} agent tags in a day")
        capped = np.isin(verdict, AGENT_CAPS)
        for tag, n in zip(tags[capped].tolist(), rows["n"][capped].tolist(), strict=True):
            self._tally.last_capped[source, tag] = n

    def end(self) -> None:
        """What only the whole walk shows."""
        for (source, cheat), many in sorted(self._numbers.items()):
            what = "numbers are missing" if cheat is Cheat.DROPPED else "numbers stand there twice"
            if many:
                self._finds(cheat, f"{many} {what} of source {source}; they are dense from 1")
        for what, many in self._amiss.items():
            if many:
                self._finds(Cheat.MISDRAWN if "ticket" in what else Cheat.BROKEN, f"{many} records {what}")
        header = self._header
        if self._digest.digest() != header.records_sha256:
            self._finds(Cheat.BROKEN, "the records are not those whose hash the header names")
        if hashlib.sha256(self._bundle.day_key).digest() != header.key_sha256:
            self._finds(Cheat.GROUND, "the day's key is not the one whose hash was promised before the day")
        for place, row in enumerate(header.strata):
            seen, drawn, capped = self._by_class[place].tolist()
            if (seen, drawn, capped) != (row.seen, row.drawn, row.capped):
                self._finds(
                    Cheat.MISDRAWN,
                    f"stratum `{row.name}` has {seen} calls, {drawn} drawn, {capped} capped; "
                    f"the header counts {row.seen}, {row.drawn}, {row.capped}",
                )
        self._told_failed()
        if self._tally.nameless_capped:
            many = self._tally.nameless_capped
            self._finds(Cheat.CAP, f"{many} calls were capped by an agent's cap, and no agent is named")
        if self._tally.nameless and (self._bundle.caps.agent_week, self._bundle.caps.agent_share) != (None, None):
            self._report.leaves_open(ASK_NAMELESS.format(header.day, self._tally.nameless))
        for sentence in self._share.end():
            self._finds(Cheat.CAP, sentence)
        if self._share.doubtful:
            self._report.leaves_open(ASK_SHARE.format(header.day, self._share.doubtful))

    def _told_failed(self) -> None:
        header = self._header
        told: list[tuple[tuple[int, ...], int]]
        told = [((place,), row.outcomes.failed) for place, row in enumerate(header.strata) if row.outcomes]
        if header.merged:
            told.append((header.merged[0], header.merged[1].failed))
        for places, failed in told:
            marked = int(sum(self._failed[place] for place in places))
            if marked != failed:
                names = ", ".join(f"`{header.strata[place].name}`" for place in places)
                self._finds(Cheat.FAILURES, f"{marked} draws of {names} are marked failed, the header counts {failed}")

    def _finds(self, cheat: Cheat, sentence: str) -> None:
        self._report.finds(cheat, From.COUNCIL, self._header.day, sentence)


# -- the bundle beside the public list ----------------------------------------------------------


def _look_up(batch: list[tuple[Halves, Numbers]], public: DrawList | None, tally: CouncilTally) -> None:
    """Counts which of these draws the public list has, in one walk through it."""
    if public is None or not batch:
        return
    halves, places = np.concatenate([item[0] for item in batch]), np.concatenate([item[1] for item in batch])
    order = np.lexsort((halves[:, 1], halves[:, 0]))
    # Columns of their own: a search in every second number of an array would copy it for each block.
    highs, lows, places = halves[order, 0], halves[order, 1], places[order]
    found = np.zeros(len(highs), bool)
    for rows in public.rows():
        high, low, place = rows["high"].astype(np.uint64), rows["low"].astype(np.uint64), rows["place"]
        begin, end = np.searchsorted(highs, high[0]), np.searchsorted(highs, high[-1], side="right")
        for at in _candidates(high, highs[begin:end]):
            here = (high[at] == highs[begin:end]) & (low[at] == lows[begin:end]) & ~found[begin:end]
            tally.elsewhere += int(np.count_nonzero(here & (place[at] != places[begin:end])))
            found[begin:end] |= here
    tally.matched += int(np.count_nonzero(found))
    tally.missing += int(np.count_nonzero(~found))


def _candidates(high: Halves, wanted: Halves) -> Iterator[Numbers]:
    """Where a draw may stand: two of ten million share their first half about three times in a million days."""
    first = np.searchsorted(high, wanted)
    yield np.minimum(first, len(high) - 1)
    yield np.minimum(first + 1, len(high) - 1)


def _compare(own: Header, public: Header, tally: CouncilTally, report: Report) -> None:
    added = public.seen - tally.matched
    exchanged = min(tally.missing, added)
    for many, cheat, what in (
        (exchanged, Cheat.GROUND, "draw_ids of the public list are not those that the day's key makes"),
        (tally.missing - exchanged, Cheat.DROPPED, "draws are not in the public list"),
        (added - exchanged, Cheat.ADDED, "records of the public list belong to no draw"),
        (tally.elsewhere, Cheat.MISDRAWN, "draws stand in the public list in another stratum or exclusion"),
    ):
        if many > 0:
            report.finds(cheat, From.COUNCIL, own.day, f"{many} {what}")
    for name, cheat in (("policy_hash", Cheat.POLICY), ("beacon", Cheat.REDRAWN), ("key_sha256", Cheat.GROUND)):
        if getattr(own, name) != getattr(public, name):
            report.finds(cheat, From.COUNCIL, own.day, f"bundle and public list name different values of `{name}`")
    if own.exclusions != public.exclusions:
        report.finds(Cheat.FILTER, From.COUNCIL, own.day, "bundle and public list count exclusions differently")
    if (own.strata, own.seen, own.merged) != (public.strata, public.seen, public.merged):
        report.finds(Cheat.MISDRAWN, From.COUNCIL, own.day, "bundle and public list count strata differently")
