"""Further purposes in the database: of kept calls only, and gone with them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Connection, select

from mitschnitt.store import queries
from mitschnitt.store.engine import open_engine
from mitschnitt.store.purpose_queries import add_purposes, purposes_of
from mitschnitt.store.queries import CallRow
from mitschnitt.store.tables import call_purposes
from mitschnitt.store.upgrade import upgrade

DUE = "2026-12-23T09:00:00Z"
KEPT = CallRow("0" * 25 + "1", 1, 4, "2026-11-23", "kept", "training", "a" * 64, DUE, b"d")
OTHER = replace(KEPT, call_id="0" * 25 + "2", tree_index=5)
LIVE = replace(KEPT, call_id="0" * 25 + "3", state="live", tree_index=6, due_at=None, sealed_decision=None)


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    engine = open_engine(tmp_path / "d.sqlite")
    upgrade(engine)
    with engine.begin() as opened:
        for row in (KEPT, OTHER, LIVE):
            queries.add_call(opened, row)
        yield opened


def test_told_twice_a_purpose_is_one_and_it_is_of_its_own_call(connection: Connection) -> None:
    assert purposes_of(connection, KEPT.call_id) == frozenset()
    add_purposes(connection, KEPT.call_id, ["dispute"])
    add_purposes(connection, KEPT.call_id, ["dispute", "onboarding"])
    assert purposes_of(connection, KEPT.call_id) == {"dispute", "onboarding"}
    assert purposes_of(connection, OTHER.call_id) == frozenset()


def test_a_call_that_is_not_kept_has_none(connection: Connection) -> None:
    add_purposes(connection, LIVE.call_id, ["dispute"])
    assert purposes_of(connection, LIVE.call_id) == frozenset()


def test_with_the_recording_they_go_and_leave_no_row(connection: Connection) -> None:
    for call in (KEPT, OTHER):
        add_purposes(connection, call.call_id, ["dispute"])
    queries.close_not_kept(connection, KEPT.call_id)
    assert list(connection.execute(select(call_purposes.c.call_id)).scalars()) == [OTHER.call_id]
