"""The tables: what a row may not be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert
from sqlalchemy.exc import IntegrityError

from mitschnitt.store.engine import open_engine
from mitschnitt.store.tables import calls, metadata

CALL: dict[str, Any] = {
    "call_id": "0" * 26,
    "recorder": 1,
    "arrived_day": "2026-11-23",
    "purpose": "training",
    "policy_hash": "a" * 64,
}


@pytest.mark.parametrize(
    "wrong",
    [
        {"state": "refused"},
        {"state": "not_kept", "tree_index": 3, "sealed_decision": b"x"},
        {"state": "not_kept", "due_at": "2026-12-23T00:00:00.000000Z", "sealed_decision": b"x"},
        {"state": "not_kept"},
        {"state": "kept", "tree_index": 3, "sealed_decision": b"x"},
        {"state": "kept", "due_at": "2026-12-23T00:00:00.000000Z", "sealed_decision": b"x"},
    ],
)
def test_a_row_that_tells_more_than_its_word_is_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    engine = open_engine(tmp_path / "d.sqlite")
    metadata.create_all(engine)
    with pytest.raises(IntegrityError), engine.begin() as connection:
        connection.execute(insert(calls).values(**CALL, **wrong))


def test_no_column_can_hold_a_number_name_or_agent_of_a_call() -> None:
    words = {"number", "name", "caller", "callee", "agent", "address", "digit", "value", "rule_of_decision"}
    for table in ("calls", "parties", "ladders", "punctures", "leases", "journal_offsets"):
        assert not words & {column.name for column in metadata.tables[table].columns}


def test_no_table_with_a_call_id_numbers_its_rows_as_calls_come() -> None:
    named = {name for name, table in metadata.tables.items() if "call_id" in table.columns and name != "accesses"}
    assert {"calls", "parties", "ladders", "pages", "call_purposes"} <= named
    assert [name for name in named if metadata.tables[name].dialect_options["sqlite"]["with_rowid"]] == []
