"""Questions about figures: what was drawn of whom in a month, and which cells were told. Decides nothing.

Whatever is asked about people is asked by tag. What was told of a month is written once and never changed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, case, delete, func, insert, select

from mitschnitt.store.tables import cell_months, cell_people, cells, days, draws

DRAWN, KEPT = "drawn", "kept"


@dataclass(frozen=True, slots=True)
class TaggedDraws:
    """What was drawn on one day of whom a tag stands for, in one stratum (None: excluded)."""

    agent_tag: bytes
    day: str
    stratum: int | None
    seen: int
    drawn: int
    kept: int


@dataclass(frozen=True, slots=True)
class CellRow:
    """A figure as it is told: a share of calls with its interval, all three rounded to whole percents."""

    month: str
    group: str
    measure: str
    calls: int
    share: float
    low: float
    high: float


def tagged_draws(connection: Connection, first: str, last: str) -> list[TaggedDraws]:
    """Of all agents who were known when their calls were drawn, from one day to another (both included)."""
    wanted = (
        select(
            draws.c.agent_tag,
            draws.c.day,
            draws.c.stratum,
            func.count(),
            func.sum(case((draws.c.verdict == DRAWN, 1), else_=0)),
            func.sum(case((draws.c.outcome == KEPT, 1), else_=0)),
        )
        .where(draws.c.day >= first, draws.c.day <= last, draws.c.agent_tag.is_not(None))
        .group_by(draws.c.agent_tag, draws.c.day, draws.c.stratum)
        .order_by(draws.c.day, draws.c.agent_tag, draws.c.stratum)
    )
    return [TaggedDraws(*row) for row in connection.execute(wanted)]


def policies_of_days(connection: Connection, first: str, last: str) -> dict[str, str]:
    """The hash of the policy by which calls were drawn, for each day that was opened."""
    wanted = select(days.c.day, days.c.policy_hash).where(days.c.day >= first, days.c.day <= last)
    return {str(day): str(digest) for day, digest in connection.execute(wanted)}


def first_drawn_day(connection: Connection) -> str | None:
    """The oldest day of which there are draws."""
    found = connection.execute(select(func.min(draws.c.day))).scalar_one()
    return None if found is None else str(found)


def told_months(connection: Connection) -> set[str]:
    """Months that were computed, whether or not anything of them could be told."""
    return {str(month) for month in connection.execute(select(cell_months.c.month)).scalars()}


def tell_month(
    connection: Connection,
    month: str,
    *,
    policy_hash: str,
    rows: Iterable[CellRow],
    people: Mapping[str, Iterable[str]],
) -> bool:
    """Write a month down, with who was counted in each group's cell; False, and nothing is changed, if it was before.

    Cells, people and the month are one transaction: a crash leaves a month that is computed again, or one that is not.
    """
    if month in told_months(connection):
        return False
    connection.execute(insert(cell_months).values(month=month, policy_hash=policy_hash))
    for row in rows:
        connection.execute(
            insert(cells).values(
                month=month,
                grp=row.group,
                measure=row.measure,
                calls=row.calls,
                share=row.share,
                low=row.low,
                high=row.high,
            )
        )
    members = [
        {"month": month, "grp": group, "person": person} for group, persons in people.items() for person in persons
    ]
    if members:
        connection.execute(insert(cell_people), members)
    return True


def cells_of(connection: Connection, month: str) -> list[CellRow]:
    """What is told of a month, by name of the group: an order that says nothing."""
    wanted = select(cells).where(cells.c.month == month).order_by(cells.c.grp, cells.c.measure)
    return [CellRow(*row) for row in connection.execute(wanted)]


def people_of_cells(connection: Connection, first: str, last: str) -> list[frozenset[str]]:
    """Who was counted in each cell of the months from one to another (both included)."""
    wanted = select(cell_people).where(cell_people.c.month >= first, cell_people.c.month <= last)
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    for month, group, person in connection.execute(wanted):
        found[month, group].add(person)
    return [frozenset(found[cell]) for cell in sorted(found)]


def forget_people(connection: Connection, before: str) -> None:
    """Who was counted in months before this one is of no use any more."""
    connection.execute(delete(cell_people).where(cell_people.c.month < before))
