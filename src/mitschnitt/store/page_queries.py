"""Questions about the pages of persons: every closed call has the same ones, of one size. Decides nothing."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, select
from sqlalchemy.dialects.sqlite import insert as upsert

from mitschnitt.store.queries import LIVE
from mitschnitt.store.tables import calls, pages


def add_pages(connection: Connection, call_id: str, sealed: Mapping[str, bytes]) -> None:
    """Pages by person; one that is there already stays."""
    for person, page in sealed.items():
        values = {"call_id": call_id, "person": person, "sealed": page}
        keys = [pages.c.call_id, pages.c.person]
        connection.execute(upsert(pages).values(**values).on_conflict_do_nothing(index_elements=keys))


def put_pages(connection: Connection, call_id: str, sealed: Mapping[str, bytes]) -> None:
    """Pages by person, in place of those that are there."""
    for person, page in sealed.items():
        values = {"call_id": call_id, "person": person, "sealed": page}
        keys = [pages.c.call_id, pages.c.person]
        connection.execute(
            upsert(pages).values(**values).on_conflict_do_update(index_elements=keys, set_={"sealed": page})
        )


def page_of(connection: Connection, call_id: str, person: str) -> bytes | None:
    """The sealed page of a person; None for a call of a time without pages."""
    wanted = select(pages.c.sealed).where(pages.c.call_id == call_id, pages.c.person == person)
    found = connection.execute(wanted).scalar_one_or_none()
    return None if found is None else bytes(found)


def pages_after(connection: Connection, person: str, after: str, *, most: int) -> list[tuple[str, str, bytes]]:
    """(call id, day, sealed page) of calls that are over, from behind the id `after` on, by id."""
    wanted = (
        select(pages.c.call_id, calls.c.arrived_day, pages.c.sealed)
        .join(calls, calls.c.call_id == pages.c.call_id)
        .where(pages.c.person == person, pages.c.call_id > after, calls.c.state != LIVE)
        .order_by(pages.c.call_id)
        .limit(most)
    )
    return [(row.call_id, row.arrived_day, row.sealed) for row in connection.execute(wanted)]
