"""Figures in the database: counted by tag, told once, and never asked by name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, insert, select

from mitschnitt.store import cell_queries
from mitschnitt.store.cell_queries import CellRow, TaggedDraws
from mitschnitt.store.engine import open_engine
from mitschnitt.store.tables import cell_people, cells, days, draws
from mitschnitt.store.upgrade import upgrade

TAG, OTHER = b"a" * 8, b"b" * 8
ROW = CellRow("2026-11", "north", "kept", 54, 0.39, 0.27, 0.52)


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    engine = open_engine(tmp_path / "d.sqlite")
    upgrade(engine)
    with engine.begin() as opened:
        yield opened


def draw(connection: Connection, n: int, day: str, verdict: str, tag: bytes | None, **more: object) -> None:
    values = {"stratum": 0, "exclusion": None, "outcome": None, **more}
    row = {"day": day, "source": "keeper", "n": n, "verdict": verdict, "agent_tag": tag, **values}
    connection.execute(insert(draws).values(**row))


def test_draws_are_counted_by_tag_day_and_stratum(connection: Connection) -> None:
    assert cell_queries.first_drawn_day(connection) is None
    draw(connection, 1, "2026-11-02", "drawn", TAG, outcome="kept")
    draw(connection, 2, "2026-11-02", "drawn", TAG, outcome="not_agreed")
    draw(connection, 3, "2026-11-02", "drawn", TAG, outcome="failed")
    draw(connection, 4, "2026-11-02", "drawn", TAG)
    draw(connection, 5, "2026-11-02", "not_drawn", TAG)
    draw(connection, 6, "2026-11-02", "excluded", TAG, stratum=None, exclusion=1)
    draw(connection, 7, "2026-11-02", "drawn", None, outcome="kept")
    draw(connection, 8, "2026-11-30", "capped.agent_week", OTHER, stratum=1)
    draw(connection, 9, "2026-10-31", "drawn", TAG, outcome="kept")
    draw(connection, 10, "2026-12-01", "drawn", TAG, outcome="kept")
    assert cell_queries.tagged_draws(connection, "2026-11-01", "2026-11-30") == [
        TaggedDraws(TAG, "2026-11-02", None, 1, 0, 0),
        TaggedDraws(TAG, "2026-11-02", 0, 5, 4, 1),
        TaggedDraws(OTHER, "2026-11-30", 1, 1, 0, 0),
    ]
    assert cell_queries.first_drawn_day(connection) == "2026-10-31"


def test_each_day_says_by_which_policy_it_was_drawn(connection: Connection) -> None:
    for day in ("2026-10-31", "2026-11-01"):
        more = {"policy_hash": "a" * 64, "key_sha256": "b" * 64, "beacon_kind": "none", "opened_at": "x"}
        connection.execute(insert(days).values(day=day, record=b"{}", **more))
    assert cell_queries.policies_of_days(connection, "2026-11-01", "2026-11-30") == {"2026-11-01": "a" * 64}


def test_a_month_is_told_once_and_never_changed(connection: Connection) -> None:
    told = cell_queries.tell_month(
        connection, "2026-11", policy_hash="a" * 64, rows=[ROW], people={"north": ["p", "q"], "": ["p", "q", "r"]}
    )
    assert told
    again = CellRow("2026-11", "south", "kept", 99, 1.0, 1.0, 1.0)
    assert not cell_queries.tell_month(connection, "2026-11", policy_hash="c" * 64, rows=[again], people={"": ["z"]})
    assert cell_queries.cells_of(connection, "2026-11") == [ROW]
    assert cell_queries.cells_of(connection, "2026-12") == []
    assert cell_queries.people_of_cells(connection, "2026-01", "2026-12") == [frozenset("pqr"), frozenset("pq")]


def test_a_month_of_which_nothing_may_be_told_is_told_all_the_same(connection: Connection) -> None:
    assert cell_queries.told_months(connection) == set()
    assert cell_queries.tell_month(connection, "2026-11", policy_hash="a" * 64, rows=[], people={})
    assert cell_queries.told_months(connection) == {"2026-11"}
    assert connection.execute(select(cells)).all() == []


def test_who_was_counted_is_forgotten_in_time(connection: Connection) -> None:
    for month in ("2025-12", "2026-01"):
        cell_queries.tell_month(connection, month, policy_hash="a" * 64, rows=[], people={"": [month]})
    cell_queries.forget_people(connection, "2026-01")
    assert connection.execute(select(cell_people.c.person)).scalars().all() == ["2026-01"]
