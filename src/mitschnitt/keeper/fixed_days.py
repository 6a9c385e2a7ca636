"""Which coming days a policy would draw nobody on, if it were activated now: what fixes their draw is known already.

Reads the domain database beside a keeper that may be running; changes nothing.
"""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path

from sqlalchemy import Connection, inspect
from sqlalchemy.exc import DBAPIError

from mitschnitt.core.beacon import DRAND
from mitschnitt.core.policy import Policy
from mitschnitt.errors import VaultError
from mitschnitt.keeper.days import ROUND_BEFORE
from mitschnitt.keeper.policy_files import begin_of
from mitschnitt.proof.drand import QUICKNET
from mitschnitt.store import day_queries
from mitschnitt.store.day_queries import DayRow
from mitschnitt.store.engine import open_reader


def fixed_days(database: Path, policy: Policy, first: date, now: datetime) -> list[date]:
    """Days from `first` on whose values were told under another policy, or whose round of drand may be known already.

    None where there is no database yet, or one of before the draw. VaultError when it cannot be read.
    """
    if not database.exists():
        return []
    reader = open_reader(database)
    try:
        with reader.connect() as connection:
            rows = _opened(connection, first)
            told = {row.day for row in rows if not _is_of(row, policy) and _has_value(connection, row.day)}
    except DBAPIError as error:
        raise VaultError("nobody knows which days are fixed: the domain database cannot be read") from error
    finally:
        reader.dispose()
    if _may_be_known(policy, first, now) and not any(row.day == str(first) and _is_of(row, policy) for row in rows):
        told.add(first.isoformat())
    return [date.fromisoformat(day) for day in sorted(told)]


def _opened(connection: Connection, first: date) -> list[DayRow]:
    if not inspect(connection).has_table("commitments"):
        return []
    return day_queries.days_from(connection, first.isoformat())


def _is_of(row: DayRow, policy: Policy) -> bool:
    return (row.policy_hash, row.beacon_kind) == (policy.hash, policy.beacon)


def _has_value(connection: Connection, day: str) -> bool:
    return any(share.value is not None for share in day_queries.shares_of(connection, day))


def _may_be_known(policy: Policy, first: date, now: datetime) -> bool:
    """Whether the round that fixes the first day may be out; those of later days are a day away at least."""
    if policy.beacon != DRAND:
        return False
    return now >= QUICKNET.time_of(QUICKNET.first_round(begin_of(policy, first) - ROUND_BEFORE))
