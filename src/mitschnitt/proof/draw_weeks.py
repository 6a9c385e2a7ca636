"""The caps on one agent's draws, over the days of an ISO week: pots, leased units, and failures per agent.

Takes days in order. Within a day agents may become known after their calls were numbered, so units are compared at the
ends of days only: what is found here is wrong in whatever order it happened.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from datetime import date
from typing import NamedTuple

from mitschnitt.proof.draw_council import Agent, CouncilTally
from mitschnitt.proof.draw_format import Caps, Header
from mitschnitt.proof.draw_report import Cheat, From, Report

AGENT_CAPS = ("agent_week", "agent_share")
NEEDS_WEEK = (
    "{}: caps as shares of an agent's calls, and whether somebody was capped without need, are checked only with the "
    "bundles of all days since Monday"
)


class _Pot(NamedTuple):
    source: str
    tag: int


def week_of(day: date) -> str:
    """The ISO week of a day, `2026-W48`."""
    year, week, _ = day.isocalendar()
    return f"{year}-W{week:02d}"


class Week:
    """One ISO week, as far as its bundles are there."""

    def __init__(self, name: str, report: Report) -> None:
        self.name = name
        self.agents: dict[int, Agent] = defaultdict(Agent)
        self._used: Counter[_Pot] = Counter()
        self._report = report
        self._days: list[date] = []

    def add(self, header: Header, tally: CouncilTally) -> None:
        """The next day of the week."""
        assert header.bundle is not None
        self._days.append(header.day)
        for tag, agent in tally.agents.items():
            own = self.agents[tag]
            own.calls, own.drawn, own.failed = (
                own.calls + agent.calls,
                own.drawn + agent.drawn,
                own.failed + agent.failed,
            )
        for (source, tag), many in tally.used.items():
            self._used[_Pot(source, tag)] += many
        caps = header.bundle.caps
        if caps.agent_week is None and caps.agent_share is None:
            if tally.last_capped:
                self._finds(header, "calls were capped by a cap on agents' draws, and the policy has none")
            return
        whole = len(self._days) == header.day.isoweekday()
        if not whole:
            self._report.leaves_open(NEEDS_WEEK.format(self.name))
        self._check_agents(header, caps, whole=whole)
        self._check_units(header, tally, whole=whole)

    def _bound(self, caps: Caps, tag: int, *, whole: bool) -> int | None:
        """Units of an agent by now, None: not known."""
        bounds = [] if caps.agent_week is None else [caps.agent_week]
        if caps.agent_share is not None and whole:
            bounds.append(max(1, math.floor(caps.agent_share * self.agents[tag].calls)))
        return min(bounds, default=None)

    def _check_agents(self, header: Header, caps: Caps, *, whole: bool) -> None:
        assert header.bundle is not None
        leased: Counter[int] = Counter()
        for lease in header.bundle.allowances:
            if lease.cap in AGENT_CAPS and week_of(lease.day) == self.name and lease.tag:
                leased[lease.tag] += lease.units
        drawn = Counter({tag: agent.drawn for tag, agent in self.agents.items()})
        for what, by_tag in (("drawn", drawn), ("units leased", leased)):
            over = [
                (tag, many, bound)
                for tag, many in sorted(by_tag.items())
                if (bound := self._bound(caps, tag, whole=whole)) is not None and many > bound
            ]
            if over:
                tag, many, bound = over[0]
                first = f"tag {tag:016x} {many} of {bound}"
                sentence = f"{len(over)} agents have more {what} in {self.name} than their cap: {first}"
                self._finds(header, sentence)

    def _check_units(self, header: Header, tally: CouncilTally, *, whole: bool) -> None:
        assert header.bundle is not None
        leases: dict[_Pot, list[tuple[date, int, int]]] = defaultdict(list)
        for lease in header.bundle.allowances:
            if lease.cap in AGENT_CAPS and week_of(lease.day) == self.name and lease.day <= header.day:
                leases[_Pot(lease.source, lease.tag)].append((lease.day, lease.from_n, lease.units))
        beyond = sum(used > sum(units for _, _, units in leases.get(pot, ())) for pot, used in self._used.items())
        if beyond:
            self._finds(header, f"{beyond} agents were drawn more often in a source than it had leased units for them")
        if not whole:
            return
        needless = 0
        for (source, tag), n in tally.last_capped.items():
            there = leases.get(_Pot(source, tag), ())
            leased = sum(units for day, from_n, units in there if (day, from_n) <= (header.day, n))
            needless += leased > self._used[_Pot(source, tag)]
        if needless:
            self._finds(header, f"{needless} agents' calls were capped while a unit of theirs was free in that source")

    def _finds(self, header: Header, sentence: str) -> None:
        self._report.finds(Cheat.CAP, From.COUNCIL, header.day, sentence)
