"""Questions about purposes of kept calls that every party agreed to beside the first. Decides nothing."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, select
from sqlalchemy.dialects.sqlite import insert as upsert

from mitschnitt.store.queries import KEPT
from mitschnitt.store.tables import call_purposes, calls


def add_purposes(connection: Connection, call_id: str, purposes: Iterable[str]) -> None:
    """Everybody agreed to these, too; told twice it is one."""
    for purpose in purposes:
        row = upsert(call_purposes).values(call_id=call_id, purpose=purpose)
        connection.execute(
            row.on_conflict_do_nothing(index_elements=[call_purposes.c.call_id, call_purposes.c.purpose])
        )


def purposes_of(connection: Connection, call_id: str) -> frozenset[str]:
    """The further purposes of a kept call; none of any other."""
    wanted = select(call_purposes.c.purpose).join(calls, calls.c.call_id == call_purposes.c.call_id)
    return frozenset(
        connection.execute(wanted.where(call_purposes.c.call_id == call_id, calls.c.state == KEPT)).scalars()
    )
