"""What is asked of the days of the draw, of commitments to them, of rounds and of the clock. Decides nothing."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from mitschnitt.store.tables import clock, commitments, days, rounds

ONE = 1  # the only row of the clock


@dataclass(frozen=True, slots=True)
class DayRow:
    """A day as it was opened; `record` is what was published, `beacon` hex once it is known."""

    day: str
    policy_hash: str
    key_sha256: str
    beacon_kind: str
    drand_round: int | None
    beacon: str | None
    opened_at: str
    record: bytes


@dataclass(frozen=True, slots=True)
class ShareRow:
    """What one role committed to for a day (or a backward draw), and told later: hex, beside the signed acts."""

    day: str
    role: str
    commitment: str
    act: bytes
    signature: bytes
    value: str | None = None
    reveal_act: bytes | None = None
    reveal_signature: bytes | None = None


def days_from(connection: Connection, first: str) -> list[DayRow]:
    """Days from this one on, in order."""
    rows = connection.execute(select(days).where(days.c.day >= first).order_by(days.c.day))
    return [DayRow(**row._mapping) for row in rows]


def day_row(connection: Connection, day: str) -> DayRow | None:
    """One day, if it was opened."""
    row = connection.execute(select(days).where(days.c.day == day)).one_or_none()
    return None if row is None else DayRow(**row._mapping)


def put_day(connection: Connection, row: DayRow) -> None:
    """The day as it is opened now, in place of what it was before."""
    values = {name: getattr(row, name) for name in DayRow.__slots__}
    changed = {name: value for name, value in values.items() if name != "day"}
    connection.execute(upsert(days).values(values).on_conflict_do_update(index_elements=[days.c.day], set_=changed))


def set_beacon(connection: Connection, day: str, beacon: str) -> None:
    """The day's beacon is known."""
    connection.execute(update(days).where(days.c.day == day).values(beacon=beacon))


def days_awaiting(connection: Connection, number: int) -> list[DayRow]:
    """Days that are drawn by this round of drand."""
    rows = connection.execute(select(days).where(days.c.drand_round == number).order_by(days.c.day))
    return [DayRow(**row._mapping) for row in rows]


def shares_from(connection: Connection, first: str) -> list[ShareRow]:
    """Commitments of all roles for days from this one on."""
    rows = connection.execute(
        select(commitments).where(commitments.c.day >= first).order_by(commitments.c.day, commitments.c.role)
    )
    return [ShareRow(**row._mapping) for row in rows]


def shares_of(connection: Connection, day: str) -> list[ShareRow]:
    """Commitments of all roles for one day."""
    rows = connection.execute(select(commitments).where(commitments.c.day == day).order_by(commitments.c.role))
    return [ShareRow(**row._mapping) for row in rows]


def add_commitment(connection: Connection, row: ShareRow) -> None:
    """A role's commitment; the database refuses a second one."""
    values = {name: getattr(row, name) for name in ShareRow.__slots__}
    connection.execute(insert(commitments).values(values))


def set_reveal(connection: Connection, row: ShareRow) -> None:
    """A role told its value."""
    connection.execute(
        update(commitments)
        .where(commitments.c.day == row.day, commitments.c.role == row.role)
        .values(value=row.value, reveal_act=row.reveal_act, reveal_signature=row.reveal_signature)
    )


def add_round(connection: Connection, number: int, signature: bytes) -> None:
    """A verified round. Nothing happens when it is there already."""
    connection.execute(upsert(rounds).values(round=number, signature=signature).on_conflict_do_nothing())


def round_signature(connection: Connection, number: int) -> bytes | None:
    """The signature of a round that was verified, if it was brought in."""
    found: bytes | None = connection.execute(select(rounds.c.signature).where(rounds.c.round == number)).scalar()
    return found


def clock_seen(connection: Connection) -> str | None:
    """The newest time that was noted."""
    found: str | None = connection.execute(select(clock.c.seen_at)).scalar()
    return found


def note_clock(connection: Connection, seen_at: str) -> None:
    """This time was seen."""
    connection.execute(
        upsert(clock)
        .values(id=ONE, seen_at=seen_at)
        .on_conflict_do_update(index_elements=[clock.c.id], set_={"seen_at": seen_at})
    )
