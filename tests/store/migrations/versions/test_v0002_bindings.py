"""The second step: rows of older programs stay as they are, with nothing in the new column."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import text

from mitschnitt.store import queries
from mitschnitt.store.engine import open_engine
from mitschnitt.store.migrations.versions import v0002_bindings
from mitschnitt.store.upgrade import upgrade

CALL = "0" * 26


def test_the_step_comes_after_the_first_and_has_no_way_back() -> None:
    assert (v0002_bindings.revision, v0002_bindings.down_revision) == ("0002", "0001")
    with pytest.raises(NotImplementedError, match="only moves forward"):
        v0002_bindings.downgrade()


def test_a_party_of_an_older_program_is_read_without_a_binding(tmp_path: Path) -> None:
    engine = open_engine(tmp_path / "d.sqlite")
    upgrade(engine)
    with engine.begin() as connection:
        queries.add_call(
            connection, queries.CallRow(CALL, 1, 7, "2026-11-23", queries.LIVE, "training", "0" * 64, None, None)
        )
        connection.execute(
            text(
                "INSERT INTO parties (call_id, party, role, track, codecs, started_at)"
                f" VALUES ('{CALL}', 0, 'caller', 0, '{{}}', '2026-11-23T09:00:00.000000Z')"
            )
        )
        (row,) = queries.parties_of(connection, CALL)
    assert row.binding is None
