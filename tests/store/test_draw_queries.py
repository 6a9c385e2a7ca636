"""Named queries of the draw: numbers without a gap, units that are taken once, outcomes of drawn calls only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Connection

from mitschnitt.store import draw_queries
from mitschnitt.store.draw_queries import DrawRow, Lot, Pot
from mitschnitt.store.engine import open_engine
from mitschnitt.store.tables import draws
from mitschnitt.store.upgrade import upgrade

DAY, WEEK, TAG = "2026-11-26", "2026-W48", b"8 bytes."
ROW = DrawRow(DAY, "keeper", 1, 0, None, "drawn", None)
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
