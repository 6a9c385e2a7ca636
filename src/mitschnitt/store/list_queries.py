"""What the lists of a day are made from: its draws in order, what they amount to, what sources were given.

Decides nothing. No query here names a call; draws are read in blocks, for a day may have millions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, select, update

from mitschnitt.store.tables import allowances, days, draws

BLOCK_ROWS = 65_536  # draws that are held at once


@dataclass(frozen=True, slots=True)
class ListDay:
    """A day that was opened: what was fixed before it began."""

    day: str
    policy_hash: str
    key_sha256: str


@dataclass(frozen=True, slots=True)
class Amount:
    """How many draws of a day are alike in all that a list tells."""

    stratum: int | None
    exclusion: int | None
    verdict: str
    outcome: str | None
    count: int


@dataclass(frozen=True, slots=True)
class Held:
    """Of one agent, by tag, in one stratum of a day: how many calls were drawn, and how many of them were kept."""

    stratum: int
    agent_tag: bytes
    drawn: int
    kept: int


@dataclass(frozen=True, slots=True)
class Lot:
    """Units of a cap that a source was given on a day, when its next number was `from_n`, and how many it has taken."""

    day: str
    cap: str
    source: str
    agent_tag: bytes | None
    from_n: int
    units: int
    taken: int


def days_before(connection: Connection, day: str) -> list[ListDay]:
    """All days before this one that were opened, in order."""
    wanted = select(days.c.day, days.c.policy_hash, days.c.key_sha256).where(days.c.day < day)
    return [ListDay(*row) for row in connection.execute(wanted.order_by(days.c.day))]


def open_outcomes(connection: Connection, day: str) -> int:
    """Drawn calls of a day of which nobody knows yet what became of them."""
    wanted = select(func.count()).where(draws.c.day == day, draws.c.verdict == "drawn", draws.c.outcome.is_(None))
    return int(connection.execute(wanted).scalar_one())


def fail_open_outcomes(connection: Connection, day: str) -> None:
    """What nobody has told by now counts as failed, for good: a list that is made again must be the same list."""
    unknown = update(draws).where(draws.c.day == day, draws.c.verdict == "drawn", draws.c.outcome.is_(None))
    connection.execute(unknown.values(outcome="failed"))


def amounts(connection: Connection, day: str) -> list[Amount]:
    """What the draws of a day amount to."""
    alike = (draws.c.stratum, draws.c.exclusion, draws.c.verdict, draws.c.outcome)
    wanted = select(*alike, func.count()).where(draws.c.day == day).group_by(*alike)
    return [Amount(*row) for row in connection.execute(wanted)]


def held(connection: Connection, day: str) -> list[Held]:
    """Whose drawn calls the outcomes of a day's strata are; draws whose agent was never known are nobody's."""
    kept = func.count().filter(draws.c.outcome == "kept")
    whose = (draws.c.stratum, draws.c.agent_tag)
    wanted = select(*whose, func.count(), kept).where(draws.c.day == day, draws.c.verdict == "drawn")
    known = wanted.where(draws.c.agent_tag.is_not(None), draws.c.stratum.is_not(None)).group_by(*whose)
    return [Held(*row) for row in connection.execute(known)]


def sources(connection: Connection, day: str) -> list[str]:
    """Who drew on a day, in order of name."""
    wanted = select(draws.c.source).where(draws.c.day == day).distinct().order_by(draws.c.source)
    return [str(name) for name in connection.execute(wanted).scalars()]


def draws_in_blocks(connection: Connection, day: str) -> Iterator[Sequence[Sequence[Any]]]:
    """Draws by source and number: (source, n, stratum, exclusion, verdict, agent_tag, outcome)."""
    columns = (draws.c.source, draws.c.n, draws.c.stratum, draws.c.exclusion)
    wanted = select(*columns, draws.c.verdict, draws.c.agent_tag, draws.c.outcome).where(draws.c.day == day)
    ordered = wanted.order_by(draws.c.source, draws.c.n).execution_options(yield_per=BLOCK_ROWS)
    yield from connection.execute(ordered).partitions()


def lots_until(connection: Connection, week: str, day: str) -> list[Lot]:
    """What sources were given of the pots of a week until this day, in the order in which it was given."""
    columns = (allowances.c.day, allowances.c.cap, allowances.c.source, allowances.c.agent_tag, allowances.c.from_n)
    wanted = select(*columns, allowances.c.units, allowances.c.taken).where(
        allowances.c.week == week, allowances.c.day <= day
    )
    return [Lot(*row) for row in connection.execute(wanted.order_by(allowances.c.id))]
