"""Eight ways to cheat on the lists of a week, for the scene `week`: each changes copies, with every hash made anew.

Changes no file. Shares no code with what writes the lists; that a cheat is found is the verifier's business.
"""

from __future__ import annotations

import copy
import hashlib
import io
import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rfc8785

from mitschnitt.proof.draw_format import CAPPED, COUNCIL_ROW, DRAWN, EXCLUDED, FAILED, PUBLIC_ROW
from mitschnitt.proof.draw_report import Cheat, Finding
from mitschnitt.proof.draw_tickets import winners
from mitschnitt.proof.draws import Verifier

PUBLIC, COUNCIL = "public.mdl", "council.mdl"
MAGICS = {PUBLIC: (b"MSDRAWP1", PUBLIC_ROW), COUNCIL: (b"MSDRAWC1", COUNCIL_ROW)}
PREFIX = struct.Struct(">8sI")

Rows = npt.NDArray[np.void]


@dataclass(slots=True)
class OneList:
    """A list that can be changed."""

    name: str
    header: dict[str, Any]
    rows: Rows

    def to_bytes(self) -> bytes:
        """The file, with the hashes and sums that follow from its records."""
        header = {
            **self.header,
            "seen": len(self.rows),
            "records_sha256": hashlib.sha256(self.rows.tobytes()).hexdigest(),
        }
        text = rfc8785.dumps(header)
        return PREFIX.pack(MAGICS[self.name][0], len(text)) + text + self.rows.tobytes()


def read_list(name: str, data: bytes) -> OneList:
    """What a file says."""
    length = PREFIX.unpack_from(data)[1]
    begin = PREFIX.size + length
    return OneList(name, json.loads(data[PREFIX.size : begin]), np.frombuffer(data[begin:], MAGICS[name][1]).copy())


@dataclass(slots=True)
class Lists:
    """All that a verifier is handed of a week."""

    lists: dict[tuple[str, str], OneList]  # by day and name
    records: dict[str, bytes]
    policies: list[bytes]
    more: list[bytes] = field(default_factory=list)  # further lists

    def both(self, day: str) -> tuple[OneList, OneList]:
        """Public list and bundle of a day."""
        return self.lists[day, PUBLIC], self.lists[day, COUNCIL]

    @property
    def days(self) -> list[str]:
        """The days, in order."""
        return sorted({day for day, _ in self.lists})

    def verified(self) -> list[Finding]:
        """What the verifier finds."""
        verifier = Verifier()
        for (day, name), found in self.lists.items():
            verifier.add_list(io.BytesIO(found.to_bytes()), f"{day}/{name}")
        for data in self.more:
            verifier.add_list(io.BytesIO(data), "a second list")
        for day, record in self.records.items():
            verifier.add_day(record, f"{day}/day.json")
        for policy in self.policies:
            verifier.add_policy(policy, "policy.toml")
        verifier.check()
        return list(verifier.report.findings)


def load_lists(published: Path, days: list[date], policy: bytes) -> Lists:
    """The published files of these days."""
    names = [day.isoformat() for day in days]
    lists = {(day, name): read_list(name, (published / day / name).read_bytes()) for day in names for name in MAGICS}
    return Lists(lists, {day: (published / day / "day.json").read_bytes() for day in names}, [policy])


# -- the cheats ----------------------------------------------------------------------------------


def drops(week: Lists) -> None:
    """A call is left out of the public list."""
    public = week.lists[week.days[1], PUBLIC]
    at = _loser(public, 1)
    public.rows = np.delete(public.rows, at)
    public.header["strata"][1]["seen"] -= 1


def adds(week: Lists) -> None:
    """A call that never was stands in the public list."""
    public = week.lists[week.days[1], PUBLIC]
    _insert(public, _losing_id(public, 1, "added"), 1)
    public.header["strata"][1]["seen"] += 1


def grinds(week: Lists) -> None:
    """An id is exchanged for one that suits better."""
    public = week.lists[week.days[-1], PUBLIC]
    public.rows = np.delete(public.rows, _loser(public, 1))
    _insert(public, _losing_id(public, 1, "ground"), 1)


def draws_again(week: Lists) -> None:
    """A day is drawn a second time, and both lists go round."""
    again = copy.deepcopy(week.lists[week.days[0], PUBLIC])
    _insert(again, hashlib.sha256(b"again").digest()[:16], EXCLUDED)
    again.header["exclusions"][0]["count"] += 1
    week.more.append(again.to_bytes())


def edits_the_policy(week: Lists) -> None:
    """From Thursday on another rate holds, which nobody signed."""
    edited = week.policies[0].replace(b"rate = 0.20", b"rate = 0.05")
    week.policies.append(edited)
    for day in week.days[len(week.days) // 2 :]:
        for found in week.both(day):
            found.header["policy_hash"] = hashlib.sha256(edited).hexdigest()
            found.header["strata"][1]["rate"] = "1/20"


def lets_one_fail(week: Lists) -> None:
    """All drawn calls of one agent are said to have failed."""
    drawn = np.concatenate([week.lists[day, COUNCIL].rows for day in week.days])
    drawn = drawn[(drawn["verdict"] == DRAWN) & (drawn["tag"] != 0)]
    tags, counts = np.unique(drawn["tag"], return_counts=True)
    unlucky = tags[np.argmax(counts)]
    for day in week.days:
        rows = week.lists[day, COUNCIL].rows
        rows["flags"][(rows["tag"] == unlucky) & (rows["verdict"] == DRAWN)] |= FAILED


def hides_a_filter(week: Lists) -> None:
    """An exclusion takes calls out, and its count is not told."""
    for found in week.both(week.days[0]):
        found.header["exclusions"] = found.header["exclusions"][1:]


def exceeds_a_cap(week: Lists) -> None:
    """The calls of an agent that the cap of the week closed are drawn all the same."""
    rows = np.concatenate([week.lists[day, COUNCIL].rows for day in week.days])
    tags, counts = np.unique(rows["tag"][rows["verdict"] == CAPPED], return_counts=True)
    favourite = tags[np.argmax(counts)]
    for day in week.days:
        public, council = week.both(day)
        for at in np.flatnonzero((council.rows["verdict"] == CAPPED) & (council.rows["tag"] == favourite)).tolist():
            council.rows["verdict"][at] = DRAWN
            for found in (public, council):
                stratum = found.header["strata"][int(council.rows["place"][at])]
                stratum["capped"], stratum["drawn"] = stratum["capped"] - 1, stratum["drawn"] + 1


@dataclass(frozen=True, slots=True)
class Cheating:
    """A cheat and what must be found, whatever else is."""

    says: str
    change: Callable[[Lists], None]
    cheat: Cheat
    in_words: str = ""  # a part of the sentence that says it best


CHEATS: tuple[Cheating, ...] = (
    Cheating("a call is dropped", drops, Cheat.DROPPED),
    Cheating("a call is added", adds, Cheat.ADDED),
    Cheating("an id is ground", grinds, Cheat.GROUND),
    Cheating("a day is drawn again", draws_again, Cheat.REDRAWN),
    Cheating("the policy is edited on Thursday", edits_the_policy, Cheat.POLICY),
    Cheating("one agent's calls fail", lets_one_fail, Cheat.FAILURES, "by chance"),
    Cheating("a filter has no count", hides_a_filter, Cheat.FILTER),
    Cheating("a cap is exceeded", exceeds_a_cap, Cheat.CAP),
)


def caught(week: Lists, cheating: Cheating) -> tuple[Finding | None, int]:
    """The finding that names this cheat, None when it got away; and how many there are in all."""
    spoilt = copy.deepcopy(week)
    cheating.change(spoilt)
    findings = spoilt.verified()
    wanted = (item for item in findings if item.cheat is cheating.cheat and cheating.in_words in item.sentence)
    return next(wanted, None), len(findings)


def _ids(found: OneList) -> list[bytes]:
    halves = np.stack([found.rows["high"], found.rows["low"]], 1).astype(">u8")
    return [row.tobytes() for row in halves]


def _wins(found: OneList, ids: list[bytes], place: int) -> list[bool]:
    header: Mapping[str, Any] = found.header
    rate = Fraction(header["strata"][place]["rate"])
    beacon = bytes.fromhex(header["beacon"]["value"])
    return [bool(won) for won in winners(bytes.fromhex(header["policy_hash"]), beacon, ids, rate)]


def _loser(found: OneList, place: int) -> int:
    """Where a call of this stratum stands that was not drawn."""
    ids = _ids(found)
    own = np.flatnonzero(found.rows["place"] == place).tolist()
    won = _wins(found, [ids[at] for at in own], place)
    return int(next(at for at, is_won in zip(own, won, strict=True) if not is_won))


def _losing_id(found: OneList, place: int, why: str) -> bytes:
    tried = [hashlib.sha256(f"{why} {number}".encode()).digest()[:16] for number in range(64)]
    return next(item for item, won in zip(tried, _wins(found, tried, place), strict=True) if not won)


def _insert(found: OneList, draw_id: bytes, place: int) -> None:
    row = np.frombuffer(draw_id + place.to_bytes(2, "big"), PUBLIC_ROW)
    rows = np.concatenate([found.rows, row]).astype(PUBLIC_ROW)  # it joins in the machine's own byte order
    found.rows = rows[np.lexsort((rows["low"], rows["high"]))]
