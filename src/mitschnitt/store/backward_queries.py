"""What is asked of kept calls by a backward draw. Selects kept calls alone, and of them nothing but what it names."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, select

from mitschnitt.store.queries import KEPT
from mitschnitt.store.tables import calls


@dataclass(frozen=True, slots=True)
class KeptRow:
    """A call that is kept."""

    call_id: str
    arrived_day: str
    purpose: str


def kept_between(connection: Connection, first: str, last: str, *, due_after: str) -> list[KeptRow]:
    """Calls of these days (both included) that are kept, and whose retention is not over, by id."""
    rows = connection.execute(
        select(calls.c.call_id, calls.c.arrived_day, calls.c.purpose)
        .where(
            calls.c.state == KEPT, calls.c.arrived_day >= first, calls.c.arrived_day <= last, calls.c.due_at > due_after
        )
        .order_by(calls.c.call_id)
    )
    return [KeptRow(*row) for row in rows]
