"""Each step of a day as one transaction: opening it, a commitment, a value, a round. Whole, or nothing of it.

What may follow what is decided here, on the rows as they are in this transaction; core decides what fits together.
Writes no file and reads no clock: the date of today is an argument, as it is where the day in question begins.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, tzinfo
from typing import Any

from sqlalchemy import Connection

from mitschnitt.core.beacon import COMMIT, DRAND, NONE, ROLES, beacon_of, check_reveal
from mitschnitt.core.draw import day_key
from mitschnitt.errors import NotAllowed
from mitschnitt.keeper.day_record import open_row, promised, record_of, share_of
from mitschnitt.proof.drand import Chain
from mitschnitt.store import day_queries
from mitschnitt.store.day_queries import DayRow, ShareRow


@dataclass(frozen=True, slots=True)
class Plan:
    """What the policy that is in force on a day says of its draw."""

    policy_hash: str
    beacon: str  # none | commit | drand
    zone: tzinfo | None = None  # in which the day begins; None: that of the policy that is in force


@dataclass(frozen=True, slots=True)
class Opening:
    """A day that is to be opened: `round_at` is when the day's round of drand is signed at the earliest."""

    day: date
    plan: Plan
    round_at: datetime
    today: date
    now: datetime


def open_day(connection: Connection, asked: Opening, secret: bytes, chain: Chain) -> DayRow:
    """The day's row, as it is already under this plan or as it is opened now.

    NotAllowed with `draw.day.late` for a day that began (or whose round may be known), `draw.day.fixed` when a value
    was told for its record under another plan, `draw.beacon.uncommitted` while a commitment is missing.
    """
    name, plan = asked.day.isoformat(), asked.plan
    row = day_queries.day_row(connection, name)
    if row is not None and (row.policy_hash, row.beacon_kind) == (plan.policy_hash, plan.beacon):
        return row
    shares = day_queries.shares_of(connection, name)
    _may_open(asked, row, shares)
    number = chain.first_round(asked.round_at) if plan.beacon == DRAND else None
    if number is not None and asked.now >= chain.time_of(number):
        raise NotAllowed("draw.day.late", f"the round that fixes {name} may be known already")
    beacon = promised(plan.beacon, shares, chain, number)
    opened = open_row(name, plan.policy_hash, day_key(secret, name), beacon, now=asked.now, before=row)
    day_queries.put_day(connection, opened)
    return opened


def _may_open(asked: Opening, row: DayRow | None, shares: list[ShareRow]) -> None:
    # A day on which everybody is drawn leaves nothing to choose: it may be opened until it is over.
    first = asked.today if row is None and asked.plan.beacon == NONE else date.fromordinal(asked.today.toordinal() + 1)
    if asked.day < first:
        raise NotAllowed("draw.day.late", f"{asked.day} has begun; what fixes its draw must stand before")
    if any(share.value is not None for share in shares):
        raise NotAllowed("draw.day.fixed", f"a value was told for {asked.day}; its policy can no longer be another")
    if asked.plan.beacon == COMMIT and (silent := silent_roles(shares)):
        raise NotAllowed("draw.beacon.uncommitted", f"{', '.join(silent)}: no commitment for {asked.day}")


def silent_roles(shares: list[ShareRow]) -> list[str]:
    """Who has not committed."""
    given = {share.role for share in shares}
    return [role for role in ROLES if role not in given]


def take_commitment(connection: Connection, given: ShareRow) -> None:
    """A role's commitment to a value, once. NotAllowed with `draw.commit.second` for another one."""
    if given.role not in ROLES:
        raise NotAllowed("draw.commit.role", f"{', '.join(ROLES)} commit to values; found another role")
    before = _share(connection, given.day, given.role)
    if before is None:
        day_queries.add_commitment(connection, given)
    elif before.commitment != given.commitment:
        raise NotAllowed("draw.commit.second", f"the {given.role} committed to another value for {given.day} already")


def take_reveal(connection: Connection, told: ShareRow, told_for: bytes, today: date) -> None:
    """A role's value; with the last one the day has its beacon.

    NotAllowed with `draw.beacon.late` once the day began, `draw.beacon.unasked` where the policy needs no values, and
    what `check_reveal` raises.
    """
    row = day_queries.day_row(connection, told.day)
    before = _share(connection, told.day, told.role)
    if date.fromisoformat(told.day) <= today:
        raise NotAllowed("draw.beacon.late", f"{told.day} has begun without this value; nobody is asked on it")
    if row is not None and row.beacon_kind != COMMIT:
        raise NotAllowed("draw.beacon.unasked", f"{told.day} is not drawn by values of roles ({row.beacon_kind})")
    share = None if before is None else share_of(before)
    check_reveal(None if row is None else record_of(row), share, bytes.fromhex(told.value or ""), told_for)
    if before is not None and before.value is None:
        day_queries.set_reveal(connection, told)
        _note_beacon(connection, row)


def take_round(connection: Connection, number: int, signature: bytes, today_of: Callable[[DayRow], date]) -> list[str]:
    """A verified round; the days that have their beacon by it. `today_of` a day: which date it is where that begins.

    NotAllowed with `draw.round.unasked` when no day waits for it, `draw.beacon.late` once they all began.
    """
    rows = day_queries.days_awaiting(connection, number)
    if not rows:
        raise NotAllowed("draw.round.unasked", f"no day waits for round {number}")
    coming = [row for row in rows if date.fromisoformat(row.day) > today_of(row)]
    if not coming:
        raise NotAllowed("draw.beacon.late", f"{rows[-1].day} has begun without round {number}; nobody is asked on it")
    day_queries.add_round(connection, number, signature)
    for row in coming:
        _note_beacon(connection, row)
    return [row.day for row in coming]


def _share(connection: Connection, day: str, role: str) -> ShareRow | None:
    return next((row for row in day_queries.shares_of(connection, day) if row.role == role), None)


def _note_beacon(connection: Connection, row: DayRow | None) -> None:
    if row is not None and (beacon := known_beacon(row, *parts_of(connection, row))) is not None:
        day_queries.set_beacon(connection, row.day, beacon.hex())


def parts_of(connection: Connection, row: DayRow) -> tuple[list[ShareRow], bytes | None]:
    """What a day's beacon is made of: shares of roles, and the signature of its round if it was brought in."""
    number = row.drand_round
    signature = None if number is None else day_queries.round_signature(connection, number)
    return day_queries.shares_of(connection, row.day), signature


def known_beacon(row: DayRow, shares: list[ShareRow], signature: bytes | None) -> bytes | None:
    """The beacon that the day's values, or its round, make; None while something is missing or does not fit."""
    try:
        return beacon_of(record_of(row), [share_of(share) for share in shares], signature)
    except NotAllowed:
        return None


def beacon_in_time(row: DayRow, shares: list[ShareRow], signature: bytes | None) -> bytes | None:
    """The beacon of a day that was whole before the day began: what was noted then, if its parts still make it.

    A row that somebody wrote into the database by hand counts for nothing.
    """
    beacon = known_beacon(row, shares, signature)
    noted = beacon is not None and (row.beacon_kind == NONE or row.beacon == beacon.hex())
    return beacon if noted else None


def proof_of(connection: Connection, row: DayRow, chain: Chain) -> dict[str, Any]:
    """What a list says of the day's beacon: kind, value in hex or None, and the values or the round it is made of."""
    shares, signature = parts_of(connection, row)
    beacon = beacon_in_time(row, shares, signature)
    told: dict[str, Any] = {"kind": row.beacon_kind, "value": None if beacon is None else beacon.hex()}
    if row.beacon_kind == COMMIT:
        told["shares"] = {share.role: {"commitment": share.commitment, "value": share.value} for share in shares}
    if row.beacon_kind == DRAND:
        told |= {"chain": chain.name, "round": row.drand_round, "signature": signature.hex() if signature else None}
    return told
