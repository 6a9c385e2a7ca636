"""Every question about draws and allowances that is put to the domain database. Opens nothing, decides nothing.

No query here names a call: a draw and a call are not joined in any table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, func, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from mitschnitt.store.tables import allowances, days, draws, seen

SHARE = "share"  # the cap whose pot is a day's; all others are an agent's week


@dataclass(frozen=True, slots=True)
class DrawRow:
    """One draw; exactly one of `stratum` and `exclusion` is a number."""

    day: str
    source: str
    n: int
    stratum: int | None
    exclusion: int | None
    verdict: str
    agent_tag: bytes | None
    outcome: str | None = None


@dataclass(frozen=True, slots=True)
class Pot:
    """What units are counted in: a day's (`agent_tag` None), or those of an agent's week, whose tag is the week's."""

    week: str
    day: str
    agent_tag: bytes | None = None


@dataclass(frozen=True, slots=True)
class Lot:
    """Units of one pot that one source was given in all, and how many of them it has taken."""

    cap: str
    week: str
    day: str
    agent_tag: bytes | None
    source: str
    units: int
    taken: int


# Draws


def any_day(connection: Connection) -> bool:
    """Whether a day of the draw was ever opened."""
    return connection.execute(select(days.c.day).limit(1)).first() is not None


def next_number(connection: Connection, day: str, source: str) -> int:
    """The number that follows all of this source on this day, from 1."""
    wanted = select(func.max(draws.c.n)).where(draws.c.day == day, draws.c.source == source)
    return int(connection.execute(wanted).scalar_one() or 0) + 1


def numbers_since(connection: Connection, source: str, day: str) -> dict[str, int]:
    """The newest number of this source on each day from this one on."""
    wanted = select(draws.c.day, func.max(draws.c.n)).where(draws.c.source == source, draws.c.day >= day)
    return {row[0]: int(row[1]) for row in connection.execute(wanted.group_by(draws.c.day))}


def add_draw(connection: Connection, row: DrawRow) -> bool:
    """A draw was made, and is counted; whether it is new, for entries may be applied twice."""
    values = {
        "day": row.day,
        "source": row.source,
        "n": row.n,
        "stratum": row.stratum,
        "exclusion": row.exclusion,
        "verdict": row.verdict,
        "agent_tag": row.agent_tag,
        "outcome": row.outcome,
    }
    made = connection.execute(upsert(draws).values(**values).on_conflict_do_nothing())
    is_new = made.rowcount == 1
    if is_new and row.stratum is not None:
        one = upsert(seen).values(day=row.day, calls=1)
        more = one.on_conflict_do_update(index_elements=[seen.c.day], set_={"calls": seen.c.calls + 1})
        connection.execute(more)
    return is_new


def draw_by_number(connection: Connection, day: str, source: str, n: int) -> DrawRow | None:
    """The draw of this number, or None."""
    wanted = _DRAW.where(draws.c.day == day, draws.c.source == source, draws.c.n == n)
    row = connection.execute(wanted).one_or_none()
    return None if row is None else DrawRow(*row)


def draws_of_day(connection: Connection, day: str) -> list[DrawRow]:
    """All draws of a day by source and number."""
    found = connection.execute(_DRAW.where(draws.c.day == day).order_by(draws.c.source, draws.c.n))
    return [DrawRow(*row) for row in found]


_DRAW = select(
    draws.c.day,
    draws.c.source,
    draws.c.n,
    draws.c.stratum,
    draws.c.exclusion,
    draws.c.verdict,
    draws.c.agent_tag,
    draws.c.outcome,
)


def name_agent(connection: Connection, day: str, source: str, n: int, tag: bytes) -> bool:
    """Whose call it was became known; False where it was known before, or there is no such draw."""
    unnamed = update(draws).where(draws.c.day == day, draws.c.source == source, draws.c.n == n)
    return connection.execute(unnamed.where(draws.c.agent_tag.is_(None)).values(agent_tag=tag)).rowcount == 1


def cap_draw(connection: Connection, day: str, source: str, n: int, verdict: str) -> None:
    """A drawn call that was over before anything came of it had no unit of its agent's."""
    drawn = update(draws).where(draws.c.day == day, draws.c.source == source, draws.c.n == n)
    connection.execute(drawn.where(draws.c.verdict == "drawn", draws.c.outcome.is_(None)).values(verdict=verdict))


def set_outcome(connection: Connection, day: str, source: str, n: int, outcome: str) -> None:
    """What became of a drawn call; what is said first stays."""
    drawn = update(draws).where(draws.c.day == day, draws.c.source == source, draws.c.n == n)
    connection.execute(drawn.where(draws.c.verdict == "drawn", draws.c.outcome.is_(None)).values(outcome=outcome))


def seen_of_day(connection: Connection, day: str) -> int:
    """Calls of a day so far that fell into a stratum; what is excluded makes no share larger. One row is read."""
    wanted = select(seen.c.calls).where(seen.c.day == day)
    return int(connection.execute(wanted).scalar_one_or_none() or 0)


def seen_of_agent(connection: Connection, tag: bytes) -> int:
    """The same of an agent's week, whose tag it is."""
    wanted = select(func.count()).where(draws.c.agent_tag == tag, draws.c.stratum.is_not(None))
    return int(connection.execute(wanted).scalar_one())


def seen_of_agents(connection: Connection, from_day: str, to_day: str) -> Mapping[bytes, int]:
    """The same of all agents of a week, by tag."""
    wanted = select(draws.c.agent_tag, func.count()).where(
        draws.c.agent_tag.is_not(None), draws.c.stratum.is_not(None), draws.c.day.between(from_day, to_day)
    )
    return {row[0]: int(row[1]) for row in connection.execute(wanted.group_by(draws.c.agent_tag))}


# Allowances


def given(connection: Connection, pot: Pot) -> int:
    """Units of this pot that sources were given."""
    wanted = select(func.coalesce(func.sum(allowances.c.units), 0)).where(*_of(pot))
    return int(connection.execute(wanted).scalar_one())


def lend(connection: Connection, pot: Pot, *, cap: str, source: str, from_n: int, units: int) -> None:
    """A source may take so many units from its number `from_n` on."""
    values = {"cap": cap, "week": pot.week, "agent_tag": pot.agent_tag, "source": source, "day": pot.day}
    connection.execute(insert(allowances).values(**values, from_n=from_n, units=units, taken=0))


def take_own(connection: Connection, pot: Pot, *, cap: str, source: str, n: int) -> None:
    """The holder of the pot takes a unit itself: one row per pot and day grows."""
    mine = (*_of(pot), allowances.c.source == source, allowances.c.day == pot.day)
    more = update(allowances).where(*mine)
    grown = connection.execute(more.values(units=allowances.c.units + 1, taken=allowances.c.taken + 1))
    if not grown.rowcount:
        lend(connection, pot, cap=cap, source=source, from_n=n, units=1)
        connection.execute(more.values(taken=1))


def take_lent(connection: Connection, pot: Pot, source: str) -> bool:
    """A source took a unit that it was lent; False where it was lent none that is left."""
    mine = (*_of(pot), allowances.c.source == source, allowances.c.taken < allowances.c.units)
    oldest = select(func.min(allowances.c.id)).where(*mine).scalar_subquery()
    taken = update(allowances).where(allowances.c.id == oldest).values(taken=allowances.c.taken + 1)
    return connection.execute(taken).rowcount == 1


def lots_of_week(connection: Connection, week: str) -> list[Lot]:
    """What each source was given of each pot of a week, and has taken."""
    pots = (allowances.c.cap == SHARE, allowances.c.week, allowances.c.agent_tag, allowances.c.source)
    day = func.max(allowances.c.day)
    totals = select(
        func.min(allowances.c.cap), allowances.c.week, day, allowances.c.agent_tag, allowances.c.source,
        func.sum(allowances.c.units), func.sum(allowances.c.taken),
    )  # fmt: skip
    # An agent's pot is the week's, the whole's is the day's: only the latter is told apart by day.
    apart = func.iif(allowances.c.cap == SHARE, allowances.c.day, "")
    rows = connection.execute(totals.where(allowances.c.week == week).group_by(*pots, apart))
    return [Lot(row[0], row[1], row[2], row[3], row[4], int(row[5]), int(row[6])) for row in rows]


def _of(pot: Pot) -> tuple[ColumnElement[bool], ...]:
    if pot.agent_tag is not None:
        return allowances.c.week == pot.week, allowances.c.agent_tag == pot.agent_tag
    return allowances.c.week == pot.week, allowances.c.agent_tag.is_(None), allowances.c.day == pot.day
