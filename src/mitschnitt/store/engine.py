"""How the domain database is opened: pragmas, transactions, and which SQLite may be trusted with a WAL.

Knows no table. Writing goes through `store/writer.py` only; everybody else gets the read-only engine.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pysqlite3
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import NullPool, QueuePool

BUSY_MS = 30_000  # how long a statement waits for another process's lock, in milliseconds
READERS = 4  # pooled read-only connections; more readers wait

# SQLite 3.7.0 to 3.51.2 can lose committed transactions when two connections reset the WAL at once.
WAL_FIXED = (3, 51, 3)
WAL_BACKPORTS = ((3, 50, 7), (3, 44, 6))  # fixed in these patch releases and later ones of the same line


def journal_mode_for(version: tuple[int, int, int]) -> str:
    """`WAL` where the WAL-reset bug is fixed, else `DELETE`: slower, and safe."""
    if version >= WAL_FIXED:
        return "WAL"
    if any(version[:2] == fixed[:2] and version >= fixed for fixed in WAL_BACKPORTS):
        return "WAL"
    return "DELETE"


def sqlite_version() -> tuple[int, int, int]:
    """The SQLite that is really linked."""
    major, minor, patch = pysqlite3.sqlite_version_info[:3]
    return int(major), int(minor), int(patch)


def open_engine(path: Path, *, version: tuple[int, int, int] | None = None, busy_ms: int = BUSY_MS) -> Engine:
    """The engine that writes: synchronous FULL, secure_delete, BEGIN IMMEDIATE. Creates the file if it is missing."""
    mode = journal_mode_for(version or sqlite_version())
    engine = create_engine(f"sqlite+pysqlite:///{path}", module=pysqlite3.dbapi2, poolclass=NullPool)

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        # Autocommit at the driver: transactions begin where we say so, not at the first INSERT.
        connection.isolation_level = None
        for pragma in (
            f"busy_timeout={busy_ms}",
            f"journal_mode={mode}",
            "synchronous=FULL",
            "secure_delete=ON",
            "foreign_keys=ON",
            "trusted_schema=OFF",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # IMMEDIATE takes the write lock first; an upgrade in mid-transaction could fail where nobody can retry.
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def open_reader(path: Path) -> Engine:
    """A read-only engine; a missing file is an error of the first query, never a new database."""
    engine = create_engine(
        f"sqlite+pysqlite:///file:{path}?mode=ro&uri=true",
        module=pysqlite3.dbapi2,
        poolclass=QueuePool,
        pool_size=READERS,
        connect_args={"check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        for pragma in (f"busy_timeout={BUSY_MS}", "query_only=ON", "trusted_schema=OFF"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    return engine
