"""Punctures: bursts share a rotation, rows come first, a locked database stops nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from keeper.keys import KeysOnDisk
from mitschnitt.errors import NoSpace
from mitschnitt.keeper.keyring import RESERVE_CALLS, Span
from mitschnitt.keeper.punctures import Punctures, note_epoch, settle
from mitschnitt.store import queries
from mitschnitt.store.engine import open_engine
from mitschnitt.store.queries import PunctureRow
from mitschnitt.store.upgrade import upgrade
from mitschnitt.store.writer import Writer


@pytest.fixture
def disk(tmp_path: Path) -> KeysOnDisk:
    return KeysOnDisk(tmp_path)


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    made = open_engine(tmp_path / "d.sqlite", busy_ms=2_000)
    upgrade(made)
    return made


@pytest.fixture
def writer(engine: Engine) -> Iterator[Writer]:
    made = Writer(engine)
    yield made
    made.close()


def rows(writer: Writer) -> list[PunctureRow]:
    return writer.submit(lambda connection: queries.punctures_from(connection, 0)).result(10)


def test_a_burst_shares_one_rotation(disk: KeysOnDisk, writer: Writer) -> None:
    keyring = disk.create()
    before = keyring.epoch
    punctures = Punctures(keyring, writer)
    futures = [punctures.request([Span(index)]) for index in range(40)]
    assert {future.result(10) for future in futures} == {before + 1}
    punctures.close()
    again = disk.open()
    assert not any(again.derives(index) for index in range(40))
    assert again.derives(40)
    assert rows(writer) == [PunctureRow(before + 1, index, 1, None) for index in range(40)]


def test_a_locked_database_does_not_hold_up_an_erasure(disk: KeysOnDisk, engine: Engine, writer: Writer) -> None:
    keyring = disk.create()
    punctures = Punctures(keyring, writer, gather_seconds=0.0)
    with engine.begin():
        epoch = punctures.request([Span(7)]).result(10)
        assert not disk.open().derives(7)
    assert rows(writer) == [PunctureRow(epoch, 7, 1, None)]
    punctures.close()


def test_a_tree_that_cannot_be_written_fails_the_request_and_not_the_thread(
    disk: KeysOnDisk, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyring = disk.create()
    punctures = Punctures(keyring, writer, gather_seconds=0.0)
    with monkeypatch.context() as patch:
        patch.setattr(keyring, "puncture", _raise_no_space)
        with pytest.raises(NoSpace):
            punctures.request([Span(7)]).result(10)
    punctures.request([Span(7)]).result(10)
    assert not disk.open().derives(7)
    punctures.close()


def _raise_no_space(*_: object) -> int:
    raise NoSpace("full")


def test_reserving_goes_through_the_same_thread(disk: KeysOnDisk, writer: Writer) -> None:
    keyring = disk.create()
    punctures = Punctures(keyring, writer, gather_seconds=0.0)
    epoch = punctures.reserve(RESERVE_CALLS + 5).result(10)
    assert disk.open().reserved > RESERVE_CALLS
    assert rows(writer) == [PunctureRow(epoch, 0, 0, None)]
    punctures.close()


def test_what_was_requested_is_done_before_the_thread_ends(disk: KeysOnDisk, writer: Writer) -> None:
    punctures = Punctures(disk.create(), writer, gather_seconds=5.0)
    future = punctures.request([Span(7)])
    punctures.close()
    assert future.done()
    assert not disk.open().derives(7)


def test_start_up_applies_what_a_crash_left_between_row_and_state(disk: KeysOnDisk, writer: Writer) -> None:
    keyring = disk.create()
    note_epoch(keyring, writer)
    left = [PunctureRow(keyring.epoch + 1, 7, 2, None), PunctureRow(keyring.epoch + 1, 20, 1, 3)]
    writer.submit(lambda connection: queries.add_punctures(connection, left)).result(10)
    again = disk.open()
    assert again.derives(7)
    assert settle(again, writer) == 0
    last = disk.open()
    assert [last.derives(index) for index in (6, 7, 8, 9, 20)] == [True, False, False, True, False]
    assert last.leaf_key(20, 4) == keyring.leaf_key(20, 4)


def test_a_database_that_is_older_than_the_tree_frees_no_index_that_may_be_used(
    disk: KeysOnDisk, writer: Writer
) -> None:
    keyring = disk.create()
    assert settle(keyring, writer) == RESERVE_CALLS
    assert settle(keyring, writer) == 0
