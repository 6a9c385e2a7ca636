"""The caps on one agent's draws, over the days of an ISO week.

Takes days in order. An agent may become known after the call was numbered, and the unit is then taken where the call
runs; so draws and units are compared by agent, at the ends of days: what is found is wrong whatever the order was.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import date

from mitschnitt.proof.draw_council import Agent, CouncilTally
from mitschnitt.proof.draw_format import KEEPER, Allowance, Caps, Header
from mitschnitt.proof.draw_report import Cheat, From, Report
from mitschnitt.proof.draw_share import GRACE_NUMBERS, bound_of

AGENT_CAPS = ("agent_week", "agent_share")
NEEDS_WEEK = "{}: caps on agents' draws are checked in full only with the bundles of all days since Monday"
ASK_KEEPER = (
    "{}: whether the {} agents' calls that the keeper numbered and an agent's cap closed had a unit where they ran; "
    "of their agents fewer units were taken than the cap allows"
)
ASK_TAKEN = "{}: what took the units of {} agents beyond their draws"


def week_of(day: date) -> str:
    """The ISO week of a day, `2026-W48`."""
    year, week, _ = day.isocalendar()
    return f"{year}-W{week:02d}"


class Week:
    """One ISO week, as far as its bundles are there."""

    def __init__(self, name: str, report: Report) -> None:
        self.name = name
        self.agents: dict[int, Agent] = defaultdict(Agent)
        self._report = report
        self._days = 0
        self._drawn = Counter[int]()  # on days whose policy had a cap on agents
        self._given = Counter[int]()  # by the bundle of the day before

    def add(self, header: Header, tally: CouncilTally) -> None:
        """The next day of the week."""
        assert header.bundle is not None
        self._days += 1
        for tag, agent in tally.agents.items():
            own = self.agents[tag]
            own.calls, own.drawn = own.calls + agent.calls, own.drawn + agent.drawn
            own.failed += agent.failed
        caps = header.bundle.caps
        if caps.agent_week is None and caps.agent_share is None:
            if tally.last_capped:
                self._finds(header, "calls were capped by a cap on agents' draws, and the policy has none")
            return
        leases: dict[int, list[Allowance]] = defaultdict(list)
        for lease in header.bundle.allowances:
            if lease.cap in AGENT_CAPS and week_of(lease.day) == self.name and lease.day <= header.day:
                leases[lease.tag].append(lease)
        self._drawn.update({tag: agent.drawn for tag, agent in tally.agents.items()})
        whole = self._days == header.day.isoweekday()
        if not whole:
            self._report.leaves_open(NEEDS_WEEK.format(self.name))
        self._check_bounds(header, caps, leases, whole=whole)
        self._check_units(header, leases)
        self._check_need(header, tally, leases)

    def _bound(self, caps: Caps, tag: int, *, whole: bool) -> int | None:
        """Units of an agent by now, None: not known."""
        bounds = [] if caps.agent_week is None else [caps.agent_week]
        if caps.agent_share is not None and whole:
            bounds.append(bound_of(caps.agent_share, self.agents[tag].calls))
        return min(bounds, default=None)

    def _check_bounds(self, header: Header, caps: Caps, leases: dict[int, list[Allowance]], *, whole: bool) -> None:
        given = Counter({tag: sum(lease.units for lease in own) for tag, own in leases.items()})
        for what, by_tag in (("draws", self._drawn), ("units", given)):
            # What was given under a wider cap, before this policy came into force, may still be taken.
            over = [
                (tag, many, bound)
                for tag, many in sorted(by_tag.items())
                if (bound := self._bound(caps, tag, whole=whole)) is not None and many > max(bound, self._given[tag])
            ]
            if over:
                tag, many, bound = over[0]
                first = f"tag {tag:016x} {many} of {bound}"
                self._finds(header, f"{len(over)} agents have more {what} in {self.name} than their cap: {first}")

        self._given = given

    def _check_units(self, header: Header, leases: dict[int, list[Allowance]]) -> None:
        """Each draw of an agent took a unit, and no unit was taken that had not been given."""
        taken = {tag: sum(lease.taken for lease in own) for tag, own in leases.items()}
        beyond = [tag for tag, many in self._drawn.items() if many > taken.get(tag, 0)]
        if beyond:
            self._finds(header, f"{len(beyond)} agents have more draws in {self.name} than units were taken for them")
        if any(lease.taken > lease.units for own in leases.values() for lease in own):
            self._finds(header, "more units were taken than a source was given")
        spare = sum(many > self._drawn[tag] for tag, many in taken.items())
        if spare and self._days == header.day.isoweekday():
            self._report.leaves_open(ASK_TAKEN.format(self.name, spare))

    def _check_need(self, header: Header, tally: CouncilTally, leases: dict[int, list[Allowance]]) -> None:
        """A recorder that caps its own call has none of the agent's units left, of those that it knew of."""
        needless = unclear = 0
        for (source, tag), n in tally.last_capped.items():
            own = [lease for lease in leases.get(tag, ()) if lease.source == source]
            known = sum(lease.units for lease in own if lease.day < header.day or lease.from_n + GRACE_NUMBERS <= n)
            if source != KEEPER:
                needless += known > sum(lease.taken for lease in own)
            elif header.bundle is not None:
                bound = self._bound(header.bundle.caps, tag, whole=self._days == header.day.isoweekday())
                unclear += bound is not None and sum(lease.taken for lease in leases.get(tag, ())) < bound
        if needless:
            self._finds(header, f"{needless} agents' calls were capped while a unit of theirs was free in that source")
        if unclear:
            self._report.leaves_open(ASK_KEEPER.format(header.day, unclear))

    def _finds(self, header: Header, sentence: str) -> None:
        self._report.finds(Cheat.CAP, From.COUNCIL, header.day, sentence)
