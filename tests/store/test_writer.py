"""The writer: all or nothing, durable, many in one commit, and what a kill leaves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

import mitschnitt
from mitschnitt.errors import NoSpace, VaultError
from mitschnitt.store.engine import open_engine, open_reader
from mitschnitt.store.writer import Writer


@pytest.fixture
def path(tmp_path: Path) -> Path:
    where = tmp_path / "d.sqlite"
    with open_engine(where).begin() as connection:
        connection.execute(text("CREATE TABLE t (a INTEGER UNIQUE)"))
    return where


def values(path: Path) -> list[int]:
    reader = open_reader(path)
    with reader.connect() as connection:
        found = [int(value) for value in connection.execute(text("SELECT a FROM t ORDER BY a")).scalars()]
    reader.dispose()
    return found


def add(writer: Writer, value: int) -> Future[int]:
    def work(connection: Connection) -> int:
        connection.execute(text("INSERT INTO t VALUES (:v)"), {"v": value})
        return value

    return writer.submit(work)


def test_what_resolved_is_on_disk(path: Path) -> None:
    writer = Writer(open_engine(path))
    assert add(writer, 7).result(10) == 7
    assert values(path) == [7]
    writer.close()


def test_a_commit_is_timed_by_whoever_has_a_clock_and_what_waits_is_counted(path: Path) -> None:
    laps: list[str] = []

    @contextmanager
    def lap() -> Iterator[None]:
        laps.append("begun")
        yield
        laps.append("done")

    writer = Writer(open_engine(path), timed=lap)
    started, go = threading.Event(), threading.Event()

    def hold(_: object) -> bool:
        started.set()
        return go.wait(10)

    blocked = writer.submit(hold)
    assert started.wait(10)
    waiting = [add(writer, value) for value in range(3)]
    assert writer.waiting == 3
    go.set()
    assert blocked.result(10)
    assert [future.result(10) for future in waiting] == [0, 1, 2]
    writer.close()
    assert laps == ["begun", "done"] * writer.commits


def test_submissions_that_wait_share_a_commit(path: Path) -> None:
    writer = Writer(open_engine(path))
    go = threading.Event()
    blocked = writer.submit(lambda _: go.wait(10))
    waiting = [add(writer, value) for value in range(50)]
    go.set()
    assert blocked.result(10)
    assert [future.result(10) for future in waiting] == list(range(50))
    assert writer.commits <= 2
    writer.close()


def test_one_that_fails_is_undone_alone(path: Path) -> None:
    def half(connection: Connection) -> None:
        connection.execute(text("INSERT INTO t VALUES (98)"))
        raise LookupError("half way")

    writer = Writer(open_engine(path))
    go = threading.Event()
    writer.submit(lambda _: go.wait(10))
    good, bad, twice, last = add(writer, 1), writer.submit(half), add(writer, 1), add(writer, 2)
    go.set()
    assert (good.result(10), last.result(10)) == (1, 2)
    with pytest.raises(LookupError, match="half way"):
        bad.result(10)
    with pytest.raises(Exception, match="UNIQUE"):
        twice.result(10)
    writer.close()
    assert values(path) == [1, 2]


def test_a_locked_database_fails_the_submission_and_not_the_writer(path: Path) -> None:
    writer = Writer(open_engine(path, busy_ms=1))
    with open_engine(path).begin(), pytest.raises(VaultError, match="SQLITE_BUSY"):
        add(writer, 1).result(10)
    assert add(writer, 2).result(10) == 2
    writer.close()
    assert values(path) == [2]


def test_a_database_that_takes_no_more_is_no_space(path: Path) -> None:
    def full(connection: Connection) -> None:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
        connection.exec_driver_sql("CREATE TABLE big (b BLOB)")
        connection.exec_driver_sql("INSERT INTO big VALUES (zeroblob(1000000))")

    writer = Writer(open_engine(path))
    with pytest.raises(NoSpace, match="SQLITE_FULL"):
        writer.submit(full).result(10)
    assert add(writer, 3).result(10) == 3
    writer.close()


def test_after_an_erasure_the_wal_holds_nothing_of_it(path: Path) -> None:
    marker = b"Zwetschgenknoedel"
    writer = Writer(open_engine(path))
    writer.submit(lambda c: c.execute(text("CREATE TABLE s (b BLOB)"))).result(10)
    writer.submit(lambda c: c.execute(text("INSERT INTO s VALUES (:b)"), {"b": marker}) and None).result(10)
    wal = path.with_name(path.name + "-wal")
    assert marker in path.read_bytes() + wal.read_bytes()
    writer.scrub()
    writer.submit(lambda c: c.execute(text("DELETE FROM s")) and None).result(10)
    add(writer, 1).result(10)  # the truncation follows the commit that it waited for
    assert marker not in path.read_bytes() + wal.read_bytes()
    writer.close()


CHILD = """
import sys
from pathlib import Path
from sqlalchemy import text
from mitschnitt.store.engine import open_engine
from mitschnitt.store.writer import Writer
writer = Writer(open_engine(Path(sys.argv[1])))
value = 0
while True:
    future = writer.submit(lambda c, v=value: c.execute(text("INSERT INTO t VALUES (:v)"), {"v": v}) and v)
    print(future.result(), flush=True)
    value += 1
"""


@pytest.mark.thorough
def test_nothing_acknowledged_is_lost_by_a_kill(path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(mitschnitt.__file__).parents[1])}
    with subprocess.Popen([sys.executable, "-c", CHILD, str(path)], stdout=subprocess.PIPE, env=environment) as child:
        assert child.stdout is not None
        for _ in range(30):
            child.stdout.readline()
        os.kill(child.pid, signal.SIGKILL)
        acknowledged = 30 + len(child.stdout.read().splitlines())
    found = values(path)
    assert found[:acknowledged] == list(range(acknowledged))
    assert len(found) - acknowledged in (0, 1)
