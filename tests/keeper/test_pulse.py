"""Whether the database takes anything: with a real database that another connection locks."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from concurrent.futures import wait
from pathlib import Path

import pysqlite3
import pytest

from mitschnitt.keeper.pulse import BEAT_SECONDS, LOCKED_SECONDS, Pulse
from mitschnitt.store.engine import open_engine
from mitschnitt.store.upgrade import upgrade
from mitschnitt.store.writer import Writer


class Hands:
    """Seconds in the test's hands."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def database(tmp_path: Path) -> Path:
    engine = open_engine(tmp_path / "domain.sqlite")
    upgrade(engine)
    engine.dispose()
    return tmp_path / "domain.sqlite"


@pytest.fixture
def writer(database: Path) -> Iterator[Writer]:
    writer = Writer(open_engine(database, busy_ms=200))
    yield writer
    writer.close()


@contextlib.contextmanager
def locked(database: Path) -> Iterator[None]:
    """Another connection writes and does not come to an end."""
    other = pysqlite3.dbapi2.connect(str(database), isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


def beats(pulse: Pulse, hands: Hands, seconds: float, *, answers_within: float = 0.005) -> list[bool]:
    """What is news while so many seconds pass, looked at five times a second; the database gets time to answer."""
    news = []
    for _ in range(int(seconds * 5)):
        hands.seconds += 0.2
        wait([pulse._beat] if pulse._beat is not None else [], timeout=answers_within)
        if pulse.look():
            news.append(pulse.is_locked)
    return news


def test_a_database_that_answers_is_no_news(writer: Writer) -> None:
    hands = Hands()
    pulse = Pulse(writer, hands)
    assert beats(pulse, hands, 5, answers_within=60) == []
    assert not pulse.is_locked
    assert writer.commits >= 3


def test_row_2_a_locked_database_is_told_once_and_so_is_that_it_is_free(writer: Writer, database: Path) -> None:
    hands = Hands()
    pulse = Pulse(writer, hands)
    with locked(database):
        news = beats(pulse, hands, BEAT_SECONDS + LOCKED_SECONDS + 10)
        assert news == [True]
        assert pulse.alarms == 1
    deadline = time.monotonic() + 60
    while pulse.is_locked and time.monotonic() < deadline:
        news += beats(pulse, hands, 1)
    assert news == [True, False]
    assert pulse.alarms == 1
