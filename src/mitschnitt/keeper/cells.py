"""Published figures: told once a month, when it is over, of the policy's cells; nobody tells a month twice.

Counts draws by the tags of whoever is listed. What may be told is core's; of what is not told nothing is kept, and
nothing here says how many people were missing, who they were, or which condition failed.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, tzinfo
from functools import partial
from typing import Any

from sqlalchemy import Connection, Engine

from mitschnitt.core.access import Action
from mitschnitt.core.cells import WHOLE, WINDOW_MONTHS, Cell, Counted, person_tag, publish, there_throughout
from mitschnitt.core.draw import agent_tag, tag_key
from mitschnitt.core.periods import Period, month_of, parse_period, week_of
from mitschnitt.core.policy import Cells, Policy
from mitschnitt.core.statistics import wilson
from mitschnitt.core.view import Agent
from mitschnitt.errors import ConfigError, MitschnittError, NotAllowed
from mitschnitt.keeper.permission import require
from mitschnitt.store import cell_queries
from mitschnitt.store.cell_queries import CellRow, TaggedDraws
from mitschnitt.store.writer import Writer

MEASURE = "kept"  # the one that there is: of the drawn calls, how many were kept
SETTLED = timedelta(days=1)  # after a month's end: calls that ran over it have ended, and told what became of them
LOOK_SECONDS = 60.0  # between two looks whether a month is over
PERCENT = 2  # decimals of a share that is told: whole percents; more would tell counts, and say no more

log = logging.getLogger("mitschnitt.keeper")


@dataclass(frozen=True, slots=True)
class Directory:
    """Who works here, by which policy, in which time zone: as it is now."""

    agents: tuple[Agent, ...]
    policy: Policy
    zone: tzinfo


@dataclass(slots=True)
class _Tally:
    """One agent in one month."""

    days: set[date] = field(default_factory=set)
    drawn: int = 0
    kept: int = 0


class Months:
    """The only writer of figures. `tell` and `show` block."""

    def __init__(
        self,
        writer: Writer,
        reader: Engine,
        secret: bytes,
        *,
        directory: Callable[[], Directory],
        policy_of: Callable[[str], Policy],
        now: Callable[[], datetime],
        doubt: Callable[[datetime], str],
    ) -> None:
        """`secret` is the draw's, `policy_of` finds a policy by its hash; ConfigError where there is none.

        `doubt` names the rule by which a time is not to be trusted, "" while it is: a month is told only once.
        """
        self._writer = writer
        self._reader = reader
        self._secret = secret
        self._directory = directory
        self._policy_of = policy_of
        self._now = now
        self._doubt = doubt

    async def run(self) -> None:
        """Look every minute, until cancelled. A month that cannot be told now is told later."""
        complaint = ""
        while True:
            try:
                await asyncio.to_thread(self.tell)
            except MitschnittError as error:
                if str(error) != complaint:
                    complaint = str(error)
                    log.exception("figures of a month could not be computed; it is tried again")
            else:
                complaint = ""
            await asyncio.sleep(LOOK_SECONDS)

    def tell(self) -> list[str]:
        """Every month that is over and was not told yet, oldest first; their names. By a doubtful clock none is."""
        at = self._now()
        if self._doubt(at):
            return []
        now = self._directory()
        with self._reader.connect() as connection:
            first, told = cell_queries.first_drawn_day(connection), cell_queries.told_months(connection)
        months = _due(first, told, at.astimezone(now.zone))
        for month in months:
            self._writer.submit(partial(self._tell_month, month=month, now=now)).result()
            log.info("the figures of a month are told")
        return [month.name for month in months]

    def _tell_month(self, connection: Connection, month: Period, now: Directory) -> None:
        """In one transaction: what is counted, who was counted before, and what is told now belong together."""
        first, last = month.first.isoformat(), month.last.isoformat()
        by_hand = self._hand_picked(cell_queries.policies_of_days(connection, first, last))
        rows = cell_queries.tagged_draws(connection, first, last)
        counted = _counted(rows, by_hand, now.agents, month, self._secret)
        around = (_later(month.name, 1 - WINDOW_MONTHS), _later(month.name, WINDOW_MONTHS - 1))
        cells = publish(counted, now.policy.cells, cell_queries.people_of_cells(connection, *around))
        cell_queries.tell_month(
            connection,
            month.name,
            policy_hash=now.policy.hash,
            rows=[_row(month.name, cell) for cell in cells],
            people={cell.group: sorted(cell.people) for cell in cells},
        )
        newest = max(cell_queries.told_months(connection))
        cell_queries.forget_people(connection, _later(newest, 1 - WINDOW_MONTHS))

    def _hand_picked(self, policies: Mapping[str, str]) -> Mapping[str, frozenset[int]]:
        """By day: the strata that are in no statistics. A day without a record has no entry."""
        picked = {
            digest: frozenset(
                number for number, stratum in enumerate(self._policy_of(digest).strata) if stratum.hand_picked
            )
            for digest in set(policies.values())
        }
        return {day: picked[digest] for day, digest in policies.items()}

    def show(self, name: str, role: str) -> dict[str, Any]:
        """What is told of a month. NotAllowed with `access.cells.role` or `figures.not_told`; ConfigError for none."""
        require(role, Action.SEE_CELLS)
        month = checked_month(name)
        with self._reader.connect() as connection:
            if month not in cell_queries.told_months(connection):
                raise NotAllowed("figures.not_told", "figures of a month are told once, a day after it is over")
            rows = cell_queries.cells_of(connection, month)
        return {"month": month, "measure": MEASURE, **_shown(rows, self._directory().policy.cells)}


def checked_month(name: str) -> str:
    """The name of a month as given; ConfigError for any other period."""
    period = parse_period(name)
    if month_of(period.first) != name:
        raise ConfigError(f"figures: they are told of months such as 2026-11; found {name!r}")
    return name


def _due(first: str | None, told: set[str], local: datetime) -> list[Period]:
    """Months from the first drawn day on that are over and settled, and not told."""
    if first is None:
        return []
    settled, month = local - SETTLED, month_of(date.fromisoformat(first))
    found = []
    while parse_period(month).over(settled):
        if month not in told:
            found.append(parse_period(month))
        month = _later(month, 1)
    return found


def _later(month: str, count: int) -> str:
    """The month so many after this one, or before it."""
    number = int(month[:4]) * 12 + int(month[5:]) - 1 + count
    return f"{number // 12}-{number % 12 + 1:02d}"


def _counted(
    rows: Iterable[TaggedDraws],
    by_hand: Mapping[str, frozenset[int]],
    agents: Sequence[Agent],
    month: Period,
    secret: bytes,
) -> list[Counted]:
    """Whoever was there throughout, with their drawn calls. Draws by hand say when somebody was there, and no more."""
    names = _tags(agents, month, secret)
    tallies: dict[str, _Tally] = defaultdict(_Tally)
    for row in rows:
        day = date.fromisoformat(row.day)
        agent = names.get((week_of(day), row.agent_tag))
        if agent is None:
            continue
        tally = tallies[agent]
        tally.days.add(day)
        if row.stratum is not None and row.day in by_hand and row.stratum not in by_hand[row.day]:
            tally.drawn += row.drawn
            tally.kept += row.kept
    return [
        Counted(person_tag(secret, agent.id), agent.team, tallies[agent.id].drawn, tallies[agent.id].kept)
        for agent in agents
        if agent.id in tallies and there_throughout(agent.started, tallies[agent.id].days, month)
    ]


def _tags(agents: Iterable[Agent], month: Period, secret: bytes) -> dict[tuple[str, bytes], str]:
    """Whom each tag stands for, by week: tags are tried, for they cannot be opened."""
    keys = {week: tag_key(secret, week) for week in {week_of(day) for day in month.days()}}
    return {(week, agent_tag(key, agent.id)): agent.id for agent in agents for week, key in keys.items()}


def _row(month: str, cell: Cell) -> CellRow:
    found = wilson(cell.kept, cell.calls)
    shares = (round(value, PERCENT) for value in (found.share, found.low, found.high))
    return CellRow(month, cell.group, MEASURE, cell.calls, *shares)


def _shown(rows: Iterable[CellRow], rules: Cells) -> dict[str, Any]:
    """Cells by name, the whole first, and for each group that is not told with which figure it is."""
    cells = [
        {"group": row.group, "calls": row.calls, "share": row.share, "low": row.low, "high": row.high} for row in rows
    ]
    told = {cell["group"] for cell in cells}
    merged = [
        {"group": group.name, "with": next((above for above in _above(group.name, rules) if above in told), None)}
        for group in sorted(rules.groups, key=lambda group: group.name)
        if group.name not in told
    ]
    return {"cells": cells, "not_alone": merged}


def _above(name: str, rules: Cells) -> list[str]:
    parents = {group.name: group.parent for group in rules.groups}
    found: list[str] = []
    while (name := parents.get(name, WHOLE)) != WHOLE and name not in found:
        found.append(name)
    return [*found, WHOLE]
