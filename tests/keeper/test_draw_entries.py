"""What recorders journal of draws, applied: exactly once, and broken entries are passed over."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from mitschnitt.keeper.draw_entries import draw_change
from mitschnitt.store import draw_queries
from mitschnitt.store.draw_queries import DrawRow, Pot
from mitschnitt.store.engine import open_engine
from mitschnitt.store.upgrade import upgrade

DAY, TAG = "2026-11-26", "0011223344556677"
RAW = bytes.fromhex(TAG)
POT, WHOLE = Pot("2026-W48", DAY, RAW), Pot("2026-W48", DAY)
OWN: Mapping[str, Any] = {
    "what": "draw", "day": DAY, "n": 1, "stratum": 0, "exclusion": None,
    "verdict": "drawn", "tag": TAG, "paid": ["agent_week", "share"],
}  # fmt: skip
LATER: Mapping[str, Any] = {
    "what": "agent", "day": DAY, "source": "keeper", "n": 1, "tag": TAG, "paid": ["agent_week"], "spent": None,
}  # fmt: skip


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    engine = open_engine(tmp_path / "d.sqlite")
    upgrade(engine)
    with engine.begin() as opened:
        for pot, cap in ((POT, "agent_week"), (WHOLE, "share")):
            draw_queries.lend(opened, pot, cap=cap, source="recorder-1", from_n=1, units=1)
        yield opened


def taken(connection: Connection) -> int:
    return sum(lot.taken for lot in draw_queries.lots_of_week(connection, "2026-W48"))


def test_a_recorders_own_draw_is_a_row_and_its_units_are_taken(connection: Connection) -> None:
    draw_change(1, OWN)(connection)
    assert draw_queries.draws_of_day(connection, DAY) == [DrawRow(DAY, "recorder-1", 1, 0, None, "drawn", RAW)]
    assert taken(connection) == 2
    draw_change(1, OWN)(connection)  # told twice
    assert taken(connection) == 2


def test_a_gap_in_the_numbers_and_a_unit_that_was_not_lent_are_logged_and_kept(
    connection: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        draw_change(2, {**OWN, "n": 3})(connection)
    assert [row.n for row in draw_queries.draws_of_day(connection, DAY)] == [3]
    assert len(caplog.records) == 3
    assert taken(connection) == 0


def test_an_agent_who_became_known_is_the_draws_and_pays_from_the_recorders_units(connection: Connection) -> None:
    draw_queries.add_draw(connection, DrawRow(DAY, "keeper", 1, 0, None, "drawn", None))
    draw_change(1, LATER)(connection)
    assert draw_queries.draws_of_day(connection, DAY) == [DrawRow(DAY, "keeper", 1, 0, None, "drawn", RAW)]
    assert taken(connection) == 1


def test_a_draw_whose_first_agent_had_no_unit_is_capped_and_a_second_agent_changes_nothing(
    connection: Connection,
) -> None:
    draw_queries.add_draw(connection, DrawRow(DAY, "keeper", 1, 0, None, "drawn", None))
    draw_queries.add_draw(connection, DrawRow(DAY, "keeper", 2, 0, None, "drawn", b"another."))
    for n in (1, 2):
        draw_change(1, {**LATER, "n": n, "paid": [], "spent": "agent_week"})(connection)
    assert [row.verdict for row in draw_queries.draws_of_day(connection, DAY)] == ["capped.agent_week", "drawn"]


BROKEN: dict[str, Mapping[str, Any]] = {
    "no kind": {"day": DAY},
    "a number below one": {**OWN, "n": 0},
    "a number as text": {**OWN, "n": "1"},
    "a number beyond the lists": {**OWN, "n": 1 << 32},
    "neither stratum nor exclusion": {**OWN, "stratum": None},
    "both": {**OWN, "exclusion": 0},
    "a stratum beyond the lists": {**OWN, "stratum": 65536},
    "an unknown verdict": {**OWN, "verdict": "maybe"},
    "a short tag": {**OWN, "tag": "00"},
    "a tag that is no hex": {**OWN, "tag": "zz" * 8},
    "no such day": {**OWN, "day": "2026-11-31"},
    "an unknown cap": {**OWN, "paid": ["all"]},
    "an agent's unit without an agent": {**OWN, "tag": None},
    "an agent without a tag": {**LATER, "tag": None},
    "an unknown source": {**LATER, "source": "web"},
    "a source that is none": {**LATER, "source": "recorder-x"},
    "no word on what was spent": {name: value for name, value in LATER.items() if name != "spent"},
}


@pytest.mark.parametrize("phrase", BROKEN)
def test_what_is_no_entry_raises_before_anything_is_changed(phrase: str) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        draw_change(1, BROKEN[phrase])
