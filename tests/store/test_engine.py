"""Opening the database: pragmas, versions, locks."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from mitschnitt.store.engine import journal_mode_for, open_engine, open_reader, sqlite_version


@pytest.mark.parametrize(
    "version, mode",
    [
        ((3, 40, 1), "DELETE"),
        ((3, 44, 5), "DELETE"),
        ((3, 44, 6), "WAL"),
        ((3, 45, 0), "DELETE"),
        ((3, 50, 6), "DELETE"),
        ((3, 50, 7), "WAL"),
        ((3, 51, 2), "DELETE"),
        ((3, 51, 3), "WAL"),
        ((3, 53, 4), "WAL"),
        ((4, 0, 0), "WAL"),
    ],
)
def test_a_wal_is_used_only_where_its_reset_bug_is_fixed(version: tuple[int, int, int], mode: str) -> None:
    assert journal_mode_for(version) == mode


def test_the_linked_sqlite_may_use_a_wal() -> None:
    assert journal_mode_for(sqlite_version()) == "WAL"


@pytest.mark.parametrize("version, mode", [((3, 53, 4), "wal"), ((3, 40, 1), "delete")])
def test_every_connection_is_durable_and_overwrites_what_it_deletes(
    tmp_path: Path, version: tuple[int, int, int], mode: str
) -> None:
    engine = open_engine(tmp_path / "d.sqlite", version=version)
    with engine.connect() as connection:
        found = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "secure_delete", "foreign_keys", "trusted_schema")
        }
    assert found == {
        "journal_mode": mode,
        "synchronous": 2,
        "secure_delete": 1,
        "foreign_keys": 1,
        "trusted_schema": 0,
    }


def test_a_transaction_takes_the_write_lock_at_its_begin(tmp_path: Path) -> None:
    path = tmp_path / "d.sqlite"
    first, second = open_engine(path), open_engine(path, busy_ms=0)
    with first.begin(), pytest.raises(OperationalError, match="locked"), second.begin():
        pass


def test_the_reader_sees_what_is_there_and_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "d.sqlite"
    with open_engine(path).begin() as connection:
        connection.exec_driver_sql("CREATE TABLE t (a INTEGER)")
        connection.exec_driver_sql("INSERT INTO t VALUES (7)")
    reader = open_reader(path)
    with reader.connect() as connection:
        assert connection.exec_driver_sql("SELECT a FROM t").scalar() == 7
    with reader.connect() as connection, pytest.raises(OperationalError, match="readonly"):
        connection.exec_driver_sql("INSERT INTO t VALUES (8)")
    reader.dispose()


def test_the_reader_never_makes_a_database(tmp_path: Path) -> None:
    reader = open_reader(tmp_path / "missing.sqlite")
    with pytest.raises(OperationalError, match="unable to open"):
        reader.connect()
    assert list(tmp_path.iterdir()) == []
