"""Queries for the lists of a day: draws in order and in blocks, what they amount to, what was given."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, insert

from keeper.drawn_week import fill
from mitschnitt.store import list_queries
from mitschnitt.store.engine import open_engine
from mitschnitt.store.list_queries import Amount, Held, Lot
from mitschnitt.store.tables import allowances
from mitschnitt.store.upgrade import upgrade
from second.draw_lists import honest_week

WEEK = honest_week(2, 60, 10)
DAY = str(WEEK[1].day)


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    engine = open_engine(tmp_path / "d.sqlite")
    upgrade(engine)
    fill(engine, WEEK)
    with engine.begin() as opened:
        yield opened
    engine.dispose()


def test_days_come_in_order_and_without_the_one_that_runs(connection: Connection) -> None:
    assert [day.day for day in list_queries.days_before(connection, DAY)] == [str(WEEK[0].day)]
    assert [day.day for day in list_queries.days_before(connection, "2026-12-01")] == [str(day.day) for day in WEEK]


def test_draws_come_by_source_and_number_in_blocks(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(list_queries, "BLOCK_ROWS", 7)
    blocks = list(list_queries.draws_in_blocks(connection, DAY))
    assert max(map(len, blocks)) == 7
    found = [tuple(row[:2]) for block in blocks for row in block]
    assert found == sorted((draw.source, draw.n) for draw in WEEK[1].draws)
    assert list_queries.sources(connection, DAY) == ["keeper", "recorder-0"]


def test_draws_that_are_alike_are_counted_together(connection: Connection) -> None:
    found = list_queries.amounts(connection, DAY)
    assert sum(amount.count for amount in found) == len(WEEK[1].draws)
    kept = sum(draw.place == 0 and draw.outcome == "kept" for draw in WEEK[1].draws)
    assert Amount(0, None, "drawn", "kept", kept) in found


def test_whose_draws_they_are_is_counted_by_tag_and_unknown_agents_are_nobody(connection: Connection) -> None:
    found = list_queries.held(connection, DAY)
    known = [draw for draw in WEEK[1].draws if draw.verdict == "drawn" and any(draw.tag)]
    assert sum(held.drawn for held in found) == len(known)
    assert sum(held.kept for held in found) == sum(draw.outcome == "kept" for draw in known)
    one = known[0]
    same = [draw for draw in known if (draw.place, draw.tag) == (one.place, one.tag)]
    kept = sum(draw.outcome == "kept" for draw in same)
    assert Held(one.place, one.tag, len(same), kept) in found


def test_what_nobody_told_by_now_is_failed_for_good(connection: Connection) -> None:
    assert list_queries.open_outcomes(connection, DAY) == 0
    connection.exec_driver_sql("UPDATE draws SET outcome = NULL WHERE outcome = 'kept'")
    before = list_queries.open_outcomes(connection, DAY)
    assert before > 0
    list_queries.fail_open_outcomes(connection, DAY)
    assert list_queries.open_outcomes(connection, DAY) == 0
    assert list_queries.open_outcomes(connection, str(WEEK[0].day)) > 0


def test_units_of_the_week_are_those_until_the_day(connection: Connection) -> None:
    later = {"cap": "share", "week": "2026-W48", "agent_tag": None, "source": "keeper", "day": "2026-11-25"}
    connection.execute(insert(allowances).values(**later, from_n=1, units=1, taken=0))
    found = list_queries.lots_until(connection, "2026-W48", DAY)
    assert len(found) == len(WEEK[1].allowances)
    assert all(isinstance(lot, Lot) and lot.day <= DAY for lot in found)
