"""Named queries of the draw: numbers without a gap, units that are taken once, outcomes of drawn calls only."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Connection, func, select

from mitschnitt.store import draw_queries
from mitschnitt.store.draw_queries import DrawRow, Lot, Pot
from mitschnitt.store.engine import open_engine
from mitschnitt.store.tables import draws
from mitschnitt.store.upgrade import upgrade

DAY, WEEK, TAG = "2026-11-26", "2026-W48", b"8 bytes."
ROW = DrawRow(DAY, "keeper", 1, 0, None, "drawn", None)
MOST_STEPS = 200  # of SQLite's machine for one draw under a cap of the whole: 128 today
AGENTS_POT, WHOLE = Pot(WEEK, DAY, TAG), Pot(WEEK, DAY)


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    engine = open_engine(tmp_path / "d.sqlite")
    upgrade(engine)
    with engine.begin() as opened:
        yield opened


def test_numbers_are_dense_per_day_and_source(connection: Connection) -> None:
    assert draw_queries.next_number(connection, DAY, "keeper") == 1
    assert draw_queries.add_draw(connection, ROW)
    assert not draw_queries.add_draw(connection, replace(ROW, verdict="not_drawn"))  # told twice
    assert draw_queries.draw_by_number(connection, DAY, "keeper", 1) == ROW
    assert draw_queries.next_number(connection, DAY, "keeper") == 2
    assert draw_queries.next_number(connection, DAY, "recorder-1") == 1
    assert draw_queries.next_number(connection, "2026-11-27", "keeper") == 1
    assert draw_queries.numbers_since(connection, "keeper", "2026-11-20") == {DAY: 1}
    assert draw_queries.numbers_since(connection, "keeper", "2026-11-27") == {}


def test_no_table_of_the_draw_has_a_column_for_a_call(connection: Connection) -> None:
    assert not [column.name for column in draws.columns if "call" in column.name or column.name.endswith("_at")]
    assert not draw_queries.any_day(connection)


def test_an_outcome_is_told_once_and_of_drawn_calls_only(connection: Connection) -> None:
    draw_queries.add_draw(connection, ROW)
    draw_queries.add_draw(connection, replace(ROW, n=2, verdict="not_drawn"))
    for n, outcome in ((1, "kept"), (1, "failed"), (2, "kept"), (3, "kept")):
        draw_queries.set_outcome(connection, DAY, "keeper", n, outcome)
    assert [(row.n, row.outcome) for row in draw_queries.draws_of_day(connection, DAY)] == [(1, "kept"), (2, None)]


def test_the_first_agent_who_becomes_known_is_the_draws(connection: Connection) -> None:
    draw_queries.add_draw(connection, ROW)
    assert draw_queries.name_agent(connection, DAY, "keeper", 1, TAG)
    assert not draw_queries.name_agent(connection, DAY, "keeper", 1, b"another.")
    assert not draw_queries.name_agent(connection, DAY, "keeper", 9, TAG)
    draw_queries.cap_draw(connection, DAY, "keeper", 1, "capped.agent_week")
    assert draw_queries.draws_of_day(connection, DAY) == [replace(ROW, agent_tag=TAG, verdict="capped.agent_week")]


def test_what_came_of_a_draw_is_not_capped_afterwards(connection: Connection) -> None:
    draw_queries.add_draw(connection, ROW)
    draw_queries.set_outcome(connection, DAY, "keeper", 1, "kept")
    draw_queries.cap_draw(connection, DAY, "keeper", 1, "capped.share")
    assert draw_queries.draws_of_day(connection, DAY) == [replace(ROW, outcome="kept")]


def test_what_is_excluded_makes_no_share_larger(connection: Connection) -> None:
    draw_queries.add_draw(connection, replace(ROW, agent_tag=TAG))
    draw_queries.add_draw(connection, replace(ROW, n=2, stratum=None, exclusion=65533, agent_tag=TAG))
    draw_queries.add_draw(connection, replace(ROW, n=3))
    assert draw_queries.seen_of_day(connection, DAY) == 2
    assert draw_queries.seen_of_agent(connection, TAG) == 1
    assert draw_queries.seen_of_agents(connection, "2026-11-23", "2026-11-29") == {TAG: 1}
    assert draw_queries.seen_of_agents(connection, "2026-11-16", "2026-11-22") == {}


def test_what_is_seen_is_counted_once_though_an_entry_is_applied_twice(connection: Connection) -> None:
    assert draw_queries.seen_of_day(connection, DAY) == 0
    for n in (1, 2, 1, 2):
        draw_queries.add_draw(connection, replace(ROW, n=n))
    draw_queries.add_draw(connection, replace(ROW, day="2026-11-27"))
    assert draw_queries.seen_of_day(connection, DAY) == 2
    draw_queries.cap_draw(connection, DAY, "keeper", 1, "capped.agent_week")  # seen it stays
    assert draw_queries.seen_of_day(connection, DAY) == counted(connection, DAY) == 2


def test_what_is_rolled_back_was_not_seen(tmp_path: Path) -> None:
    engine = open_engine(tmp_path / "d.sqlite")
    upgrade(engine)
    with engine.begin() as kept:
        draw_queries.add_draw(kept, ROW)
    with contextlib.suppress(RuntimeError), engine.begin() as lost:
        draw_queries.add_draw(lost, replace(ROW, n=2))
        assert draw_queries.seen_of_day(lost, DAY) == 2
        raise RuntimeError
    with engine.begin() as connection, contextlib.suppress(RuntimeError), connection.begin_nested():
        draw_queries.add_draw(connection, replace(ROW, n=2))
        raise RuntimeError  # a savepoint, as one entry of a journal has it
    with engine.begin() as connection:
        assert draw_queries.seen_of_day(connection, DAY) == counted(connection, DAY) == 1


def counted(connection: Connection, day: str) -> int:
    """The same, counted row by row."""
    wanted = select(func.count()).where(draws.c.day == day, draws.c.stratum.is_not(None))
    return int(connection.execute(wanted).scalar_one())


def busy_day(connection: Connection, calls: int) -> None:
    connection.exec_driver_sql(
        "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?) "
        "INSERT INTO draws (day, source, n, stratum, verdict) SELECT ?, 'keeper', n, 0, 'not_drawn' FROM numbers",
        (calls, DAY),
    )
    connection.exec_driver_sql("INSERT INTO seen VALUES (?, ?)", (DAY, calls))


def steps_of(connection: Connection, work: Callable[[], object]) -> int:
    """How many steps SQLite's machine takes; unlike time, the same on any computer."""
    steps = itertools.count()
    driver = connection.connection.driver_connection
    assert driver is not None
    driver.set_progress_handler(lambda: next(steps) < 0, 1)
    try:
        work()
    finally:
        driver.set_progress_handler(None, 1)
    return next(steps)


@pytest.mark.parametrize("calls", [1_000, 100_000])
def test_a_call_of_a_busy_day_costs_no_more_than_one_of_a_quiet_day(connection: Connection, calls: int) -> None:
    busy_day(connection, calls)

    def call() -> None:
        n = draw_queries.next_number(connection, DAY, "keeper")
        draw_queries.given(connection, WHOLE)
        draw_queries.seen_of_day(connection, DAY)
        draw_queries.add_draw(connection, replace(ROW, n=n))

    assert steps_of(connection, call) < MOST_STEPS
    assert steps_of(connection, lambda: counted(connection, DAY)) > calls  # what every call cost before
    assert draw_queries.seen_of_day(connection, DAY) == counted(connection, DAY) == calls + 1


def test_a_unit_is_taken_once(connection: Connection) -> None:
    assert not draw_queries.take_lent(connection, AGENTS_POT, "recorder-1")
    draw_queries.lend(connection, AGENTS_POT, cap="agent_week", source="recorder-1", from_n=1, units=1)
    draw_queries.lend(connection, AGENTS_POT, cap="agent_week", source="recorder-1", from_n=5, units=1)
    assert [draw_queries.take_lent(connection, AGENTS_POT, "recorder-1") for _ in range(3)] == [True, True, False]
    assert not draw_queries.take_lent(connection, AGENTS_POT, "recorder-2")
    assert draw_queries.given(connection, AGENTS_POT) == 2
    assert draw_queries.given(connection, WHOLE) == 0
    assert draw_queries.lots_of_week(connection, WEEK) == [Lot("agent_week", WEEK, DAY, TAG, "recorder-1", 2, 2)]


def test_the_holder_of_a_pot_takes_its_own_units_in_one_row_a_day(connection: Connection) -> None:
    for day in (DAY, DAY, "2026-11-27"):
        draw_queries.take_own(connection, Pot(WEEK, day), cap="share", source="keeper", n=1)
        draw_queries.take_own(connection, Pot(WEEK, day, TAG), cap="agent_week", source="keeper", n=1)
    assert draw_queries.given(connection, WHOLE) == 2  # the whole is counted by the day
    assert draw_queries.given(connection, AGENTS_POT) == 3  # an agent by the week
    lots = draw_queries.lots_of_week(connection, WEEK)
    assert sorted((lot.cap, lot.day, lot.units, lot.taken) for lot in lots) == [
        ("agent_week", "2026-11-27", 3, 3),
        ("share", DAY, 2, 2),
        ("share", "2026-11-27", 1, 1),
    ]
