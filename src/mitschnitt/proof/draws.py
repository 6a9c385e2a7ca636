"""The verifier of the draw: takes the published files of some days, says what they prove, and what is wrong.

Imports nothing of what draws or writes the lists, and needs no server, database or configuration. Opens no file: it is
handed streams and bytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, BinaryIO

from mitschnitt.errors import PeerError
from mitschnitt.proof.draw_council import check_council
from mitschnitt.proof.draw_day import check_beacon, check_day, check_round, read_day
from mitschnitt.proof.draw_failures import failing
from mitschnitt.proof.draw_format import EXCLUDED, DrawList, Header
from mitschnitt.proof.draw_policy import DrawRules, check_policy, read_policy
from mitschnitt.proof.draw_public import Tally, check_public, class_of
from mitschnitt.proof.draw_report import Cheat, From, Report
from mitschnitt.proof.draw_signatures import PolicySignature, check_signatures, read_signature
from mitschnitt.proof.draw_weeks import Week, week_of

SOURCES = {"public": From.PUBLIC, "council": From.COUNCIL}
ONCE = "each draw_id stands in its public list once, and every call is counted in one stratum or exclusion"
TICKETS = "each ticket was reckoned anew: exactly those below the threshold are told as drawn or capped"
IDS = "the public list holds exactly the draw_ids that the day's key makes of the numbers 1, 2, 3, …"
NUMBERS = "each verdict is that of its ticket, and numbers have no gap"
UNITS = "draws stay within the caps and the units that were leased"
FAIR = "no agent's and no stratum's calls fail more often than chance explains"
RULES = "strata, rates and exclusions are those of the policy that was given"
PROMISED = "key, policy and beacon are those of the day record"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the lists say of one draw_id: `word` is drawn, not_drawn, excluded, drawn_unless_capped or absent."""

    draw_id: bytes
    word: str
    sentence: str


class Verifier:
    """Takes all files first, then checks once."""

    def __init__(self) -> None:
        self.report = Report()
        self._lists: dict[tuple[date, str], DrawList] = {}
        self._days: dict[str, Mapping[str, Any]] = {}
        self._policies: dict[bytes, DrawRules] = {}
        self._signatures: list[PolicySignature] = []
        self._keys: dict[str, bytes] = {}
        self._tallies: list[tuple[Header, Tally]] = []
        self._failures: dict[str, dict[str, tuple[int, int]]] = {}  # what is compared: group: failed, drawn

    # -- files ------------------------------------------------------------------------------------

    def add_list(self, stream: BinaryIO, name: str) -> None:
        """A public list or a bundle; `stream` stays open until after `check`. ConfigError for no list at all."""
        kind = From.COUNCIL if stream.read(8).endswith(b"C1") else From.PUBLIC
        stream.seek(0)
        try:
            found = DrawList(stream, name)
        except PeerError as error:
            self.report.finds(Cheat.BROKEN, kind, name, str(error))
            return
        header = found.header
        other = self._lists.setdefault((header.day, header.kind), found)
        if other.header != header:
            self.report.finds(Cheat.REDRAWN, kind, header.day, f"there are two lists: {other.name} and {name}")

    def add_day(self, text: bytes, name: str) -> None:
        """A day record."""
        try:
            record = read_day(text)
        except PeerError as error:
            self.report.finds(Cheat.BROKEN, From.DAY, name, str(error))
            return
        other = self._days.setdefault(record["day"], record)
        if other != record:
            self.report.finds(Cheat.REDRAWN, From.DAY, record["day"], "there are two records of this day")

    def add_policy(self, text: bytes, name: str) -> DrawRules:
        """A policy; ConfigError when it is none."""
        rules = read_policy(text, name)
        self._policies[rules.hash] = rules
        return rules

    def add_signature(self, text: bytes, name: str) -> None:
        """A role's signature on a policy; ConfigError when it is none."""
        self._signatures.append(read_signature(text, name))

    def add_key(self, role: str, key: bytes) -> None:
        """The public key of a role (Ed25519, raw)."""
        self._keys[role] = key

    @property
    def days(self) -> list[date]:
        """The days of the lists that could be read, in order."""
        return sorted({day for day, _ in self._lists})

    def headers(self) -> list[Header]:
        """The headers of the lists, by day, the bundle before the public list."""
        return [self._lists[key].header for key in sorted(self._lists)]

    # -- the check --------------------------------------------------------------------------------

    def check(self, ids: Iterable[bytes] = ()) -> list[Answer]:
        """Everything that these files show goes into the report; what they say of these draw_ids comes back."""
        wanted, weeks = tuple(ids), dict[str, Week]()
        for day in self.days:
            public, bundle = self._lists.get((day, "public")), self._lists.get((day, "council"))
            if public is not None:
                self._one(public, lambda found: self._public(found, wanted))
            if bundle is not None:
                week = weeks.setdefault(week_of(day), Week(week_of(day), self.report))
                self._one(bundle, lambda found: self._council(found, public, week))  # noqa: B023 - called at once
        self._compare_failures(weeks)
        self._check_signatures()
        self._say_what_is_open()
        return [self._answer(draw_id) for draw_id in wanted]

    def _one(self, found: DrawList, check: Any) -> None:
        header, source = found.header, SOURCES[found.header.kind]
        check_beacon(header, self.report, source)
        check_policy(header, self._policies, self.report, source)
        if header.policy_hash in self._policies:
            check_round(header, self._policies[header.policy_hash].timezone, self.report, source)
            self.report.proves(RULES, Cheat.POLICY, Cheat.FILTER)
        if record := self._days.get(header.day.isoformat()):
            check_day(header, record, self.report)
            self.report.proves(PROMISED, Cheat.POLICY, Cheat.GROUND, Cheat.REDRAWN)
        try:
            check(found)
        except PeerError as error:
            self.report.finds(Cheat.BROKEN, source, header.day, str(error))

    def _public(self, found: DrawList, ids: Iterable[bytes]) -> None:
        header = found.header
        tally = check_public(found, self.report, ids)
        self._tallies.append((header, tally))
        groups = self._failures.setdefault("strata", {})
        told = [(f"`{row.name}`", row.outcomes) for row in header.strata if row.outcomes]
        if header.merged and len(told):
            told.append(("strata with few draws", header.merged[1]))
        for name, row in told:
            failed, drawn = groups.get(name, (0, 0))
            groups[name] = failed + row.failed, drawn + row.drawn
        self.report.proves(ONCE, Cheat.FILTER, Cheat.DROPPED)
        self.report.proves(TICKETS, Cheat.MISDRAWN, Cheat.REDRAWN)

    def _council(self, found: DrawList, public: DrawList | None, week: Week) -> None:
        header = found.header
        broken = any(item.cheat is Cheat.BROKEN and item.when == str(header.day) for item in self.report.findings)
        beside = None if broken else public
        tally = check_council(found, beside, self.report)
        week.add(header, tally)
        if beside is None:
            self.report.leaves_open(f"{header.day}: no sound public list to lay the bundle beside")
        else:
            self.report.proves(IDS, Cheat.GROUND, Cheat.ADDED, Cheat.DROPPED, Cheat.REDRAWN)
        self.report.proves(NUMBERS, Cheat.MISDRAWN, Cheat.DROPPED, Cheat.REDRAWN)
        self.report.proves(UNITS, Cheat.CAP)

    def _compare_failures(self, weeks: Mapping[str, Week]) -> None:
        for name, week in weeks.items():
            groups = {
                f"tag {tag:016x}": (agent.failed, agent.drawn) for tag, agent in week.agents.items() if agent.drawn
            }
            self._failures[name] = groups
        families = {name: groups for name, groups in self._failures.items() if len(groups) > 1}
        tests = sum(map(len, families.values()))
        for name, groups in families.items():
            source, when = (From.PUBLIC, self._span()) if name == "strata" else (From.COUNCIL, name)
            rest = Counter(
                {"failed": sum(pair[0] for pair in groups.values()), "drawn": sum(pair[1] for pair in groups.values())}
            )
            for group in failing(groups, tests):
                sentence = (
                    f"of {group.drawn} draws of {group.group} {group.failed} failed, of all others "
                    f"{rest['failed'] - group.failed} of {rest['drawn'] - group.drawn}; by chance that happens "
                    f"once in {1 / group.chance:.0e} times"
                    if group.chance
                    else f"all of {group.group} failed"
                )
                self.report.finds(Cheat.FAILURES, source, when, sentence)
        if families:
            self.report.proves(FAIR, Cheat.FAILURES)

    def _check_signatures(self) -> None:
        if not self._signatures:
            if self._policies:
                self.report.leaves_open("without signatures: that the policy was signed before its first day")
            return
        for policy_hash, rules in self._policies.items():
            drawn = [day for (day, _), found in self._lists.items() if found.header.policy_hash == policy_hash]
            if drawn:
                check_signatures(rules, min(drawn), self._signatures, self._keys, self.report)

    def _span(self) -> str:
        return str(self.days[0]) if len(self.days) == 1 else f"{self.days[0]} to {self.days[-1]}"

    def _say_what_is_open(self) -> None:
        leaves = self.report.leaves_open
        for day in self.days:
            if day.isoformat() not in self._days:
                leaves("without day records: that key, policy and beacon were fixed before the day")
            if (day, "council") not in self._lists:
                leaves(
                    "without the council's bundle: that draw_ids were not ground, and which calls were capped, and why"
                )
        if not self._policies:
            leaves("without the policy: that strata, rates and exclusions are those that were signed")
        leaves("that no call was kept out of all numbers: callers look for their draw_id, the line has own counts")
        leaves("that each call stands where the policy's criteria put it: no list says what they looked at")
        if any(kind == "council" for _, kind in self._lists):
            leaves("that a tag is one agent's, and each call's tag its own agent's: only the site can make tags")
        leaves("that the host of the keeper did not foresee which numbers would be drawn")

    # -- the question of one caller -----------------------------------------------------------------

    def _answer(self, draw_id: bytes) -> Answer:
        for header, tally in self._tallies:
            if draw_id not in tally.asked:
                continue
            place, won = tally.asked[draw_id]
            if place >= EXCLUDED:
                names = {class_of(row.number): row.name for row in header.exclusions}
                return Answer(
                    draw_id, "excluded", f"{header.day}: in the list, excluded as `{names.get(place, place)}`"
                )
            row = header.strata[place]
            if not won:
                return Answer(draw_id, "not_drawn", f"{header.day}: in the list, stratum `{row.name}`, not drawn")
            if not row.capped:
                return Answer(draw_id, "drawn", f"{header.day}: in the list, stratum `{row.name}`, drawn")
            sentence = f"of the {row.drawn + row.capped} tickets below the threshold caps closed {row.capped}"
            return Answer(
                draw_id,
                "drawn_unless_capped",
                f"{header.day}: in the list, stratum `{row.name}`, ticket drawn; {sentence}",
            )
        sentence = "in none of these lists; if the receipt names their day, a call was dropped"
        self.report.finds(
            Cheat.DROPPED, From.PUBLIC, self._span() if self.days else "", f"draw_id {draw_id.hex()} is {sentence}"
        )
        return Answer(draw_id, "absent", sentence)
