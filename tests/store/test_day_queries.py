"""Rows of days, commitments, rounds and the clock: what goes in comes out, and nothing twice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from mitschnitt.store import day_queries
from mitschnitt.store.day_queries import DayRow, ShareRow
from mitschnitt.store.engine import open_engine
from mitschnitt.store.upgrade import upgrade

DAY = DayRow("2026-11-26", "a" * 64, "b" * 64, "drand", 7, None, "2026-11-25T08:00:00.000000Z", b"{}")
SHARE = ShareRow("2026-11-26", "council", "c" * 64, b"act", b"signature")


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    engine = open_engine(tmp_path / "domain.sqlite")
    upgrade(engine)
    with engine.begin() as opened:
        yield opened
    engine.dispose()


def test_a_day_comes_out_as_it_went_in_and_is_replaced_as_a_whole(connection: Connection) -> None:
    day_queries.put_day(connection, DAY)
    assert day_queries.day_row(connection, DAY.day) == DAY
    again = replace(DAY, policy_hash="d" * 64, record=b"{2}")
    day_queries.put_day(connection, again)
    assert day_queries.days_from(connection, "") == [again]
    assert day_queries.day_row(connection, "2026-11-27") is None


def test_days_and_shares_come_in_order_from_a_day_on(connection: Connection) -> None:
    for day in ("2026-11-28", "2026-11-26", "2026-11-27"):
        day_queries.put_day(connection, replace(DAY, day=day))
        for role in ("operator", "council"):
            day_queries.add_commitment(connection, replace(SHARE, day=day, role=role))
    assert [row.day for row in day_queries.days_from(connection, "2026-11-27")] == ["2026-11-27", "2026-11-28"]
    found = [(row.day, row.role) for row in day_queries.shares_from(connection, "2026-11-28")]
    assert found == [("2026-11-28", "council"), ("2026-11-28", "operator")]
    assert [row.role for row in day_queries.shares_of(connection, "2026-11-26")] == ["council", "operator"]


def test_the_database_itself_refuses_a_second_commitment(connection: Connection) -> None:
    day_queries.add_commitment(connection, SHARE)
    with pytest.raises(IntegrityError):
        day_queries.add_commitment(connection, SHARE)


def test_a_value_joins_its_commitment(connection: Connection) -> None:
    day_queries.add_commitment(connection, SHARE)
    told = replace(SHARE, value="d" * 64, reveal_act=b"told", reveal_signature=b"signed")
    day_queries.set_reveal(connection, told)
    assert day_queries.shares_of(connection, SHARE.day) == [told]


def test_a_round_is_kept_once_and_finds_its_days(connection: Connection) -> None:
    day_queries.put_day(connection, DAY)
    assert day_queries.round_signature(connection, 7) is None
    day_queries.add_round(connection, 7, b"first")
    day_queries.add_round(connection, 7, b"second")
    assert day_queries.round_signature(connection, 7) == b"first"
    assert [row.day for row in day_queries.days_awaiting(connection, 7)] == [DAY.day]
    assert day_queries.days_awaiting(connection, 8) == []


def test_a_beacon_is_noted_with_its_day(connection: Connection) -> None:
    day_queries.put_day(connection, DAY)
    day_queries.set_beacon(connection, DAY.day, "e" * 64)
    assert day_queries.day_row(connection, DAY.day) == replace(DAY, beacon="e" * 64)


def test_there_is_one_clock_and_the_newest_note_counts(connection: Connection) -> None:
    assert day_queries.clock_seen(connection) is None
    day_queries.note_clock(connection, "2026-11-26T08:00:00.000000Z")
    day_queries.note_clock(connection, "2026-11-26T09:00:00.000000Z")
    assert day_queries.clock_seen(connection) == "2026-11-26T09:00:00.000000Z"
