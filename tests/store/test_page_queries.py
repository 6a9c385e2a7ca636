"""Pages of persons in the database: one for each, replaced as a whole, and shown of calls that are over."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Connection

from mitschnitt.store import page_queries, queries
from mitschnitt.store.engine import open_engine
from mitschnitt.store.queries import CallRow
from mitschnitt.store.upgrade import upgrade

ONE = CallRow("0" * 25 + "1", 1, None, "2026-11-23", "not_kept", "training", "a" * 64, None, b"d")
TWO = replace(ONE, call_id="0" * 25 + "2", arrived_day="2026-11-24")
LIVE = replace(ONE, call_id="0" * 25 + "3", state="live", tree_index=3, sealed_decision=None)


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    engine = open_engine(tmp_path / "d.sqlite")
    upgrade(engine)
    with engine.begin() as opened:
        for row in (TWO, LIVE, ONE):
            queries.add_call(opened, row)
        yield opened


def test_a_page_that_is_there_stays_until_it_is_replaced(connection: Connection) -> None:
    assert page_queries.page_of(connection, ONE.call_id, "caller") is None
    page_queries.add_pages(connection, ONE.call_id, {"caller": b"first"})
    page_queries.add_pages(connection, ONE.call_id, {"caller": b"second", "agent": b"a"})
    assert page_queries.page_of(connection, ONE.call_id, "caller") == b"first"
    page_queries.put_pages(connection, ONE.call_id, {"caller": b"third"})
    assert page_queries.page_of(connection, ONE.call_id, "caller") == b"third"
    assert page_queries.page_of(connection, ONE.call_id, "agent") == b"a"
    assert page_queries.page_of(connection, TWO.call_id, "agent") is None


def test_pages_are_shown_by_id_in_portions_and_not_of_a_call_that_runs(connection: Connection) -> None:
    for row in (LIVE, TWO, ONE):
        page_queries.add_pages(connection, row.call_id, {"agent": row.call_id.encode(), "caller": b"c"})
    first, second = (row.call_id for row in (ONE, TWO))
    one, two = (first, ONE.arrived_day, first.encode()), (second, TWO.arrived_day, second.encode())
    assert page_queries.pages_after(connection, "agent", "", most=5) == [one, two]
    assert page_queries.pages_after(connection, "agent", "", most=1) == [one]
    assert page_queries.pages_after(connection, "agent", first, most=5) == [two]
    assert page_queries.pages_after(connection, "agent", second, most=5) == []
