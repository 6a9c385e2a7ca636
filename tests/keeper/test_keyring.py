"""The keyring, killed at every step of an erasure."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from keeper.keys import KeysOnDisk, Killed, dies_at
from mitschnitt.errors import ConfigError, KeyGone, NoSpace, VaultError
from mitschnitt.keeper.kek import FileKeks
from mitschnitt.keeper.keyring import RESERVE_CALLS, Span
from mitschnitt.vault.keytree import CALLS


@pytest.fixture
def disk(tmp_path: Path) -> KeysOnDisk:
    return KeysOnDisk(tmp_path)


def test_a_new_tree_opens_again_and_derives_the_same_keys(disk: KeysOnDisk) -> None:
    made = disk.create()
    opened = disk.open()
    assert opened.call_node(7) == made.call_node(7)
    assert opened.leaf_key(7, 13) == made.leaf_key(7, 13)
    assert (opened.epoch, opened.reserved) == (made.epoch, RESERVE_CALLS)
    assert disk.copies[0].read_bytes() == disk.copies[1].read_bytes()
    assert made.call_node(7) not in disk.copies[0].read_bytes()


def test_a_tree_is_never_replaced_by_a_new_one(disk: KeysOnDisk) -> None:
    disk.create()
    with pytest.raises(ConfigError, match="a key tree already"):
        disk.create()
    for copy in disk.copies:
        copy.unlink()
    with pytest.raises(ConfigError, match="a KEK"):
        disk.create()


def test_a_puncture_is_on_disk_under_a_fresh_kek_when_it_returns(disk: KeysOnDisk) -> None:
    keyring = disk.create()
    old_kek = disk.kek_files()
    old_state = disk.copies[0].read_bytes()
    kept = keyring.call_node(8)
    epoch = keyring.puncture([Span(7), Span(20, 3), Span(9, leaf=2)])
    again = disk.open()
    assert again.epoch == epoch
    for index in (7, 20, 21, 22, 9):
        assert not again.derives(index)
    with pytest.raises(KeyGone):
        again.leaf_key(9, 2)
    assert again.leaf_key(9, 3) == keyring.leaf_key(9, 3)
    assert again.call_node(8) == kept
    assert len(disk.kek_files()) == 1
    assert disk.kek_files() != old_kek
    # The old state is worth nothing now, wherever a backup kept it.
    for copy in disk.copies:
        copy.write_bytes(old_state)
    with pytest.raises(VaultError, match="no copy of the key tree opens"):
        disk.open()


def test_a_puncture_of_what_is_gone_costs_nothing(disk: KeysOnDisk) -> None:
    keyring = disk.create()
    epoch = keyring.puncture([Span(7)])
    assert keyring.puncture([Span(7)]) == epoch


STEPS_OF_A_BATCH = 19


def test_the_steps_of_an_erasure_batch_are_known(disk: KeysOnDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    keyring = disk.create()
    with dies_at(99, monkeypatch) as done:
        keyring.puncture([Span(7)])
    write = ["open", "write", "fsync", "replace", "fsync"]
    # Fresh KEK, both copies, then the old KEK overwritten and removed. The order is the promise.
    assert done == [*write, *write, *write, "write", "fsync", "unlink", "fsync"]
    assert len(done) == STEPS_OF_A_BATCH


@pytest.mark.parametrize("step", range(STEPS_OF_A_BATCH + 1))
def test_a_kill_at_any_step_of_an_erasure_is_repaired(
    disk: KeysOnDisk, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    keyring = disk.create()
    keyring.puncture([Span(3)])
    nodes = {index: keyring.call_node(index) for index in (6, 8)}
    with dies_at(step, monkeypatch) as done:
        try:
            keyring.puncture([Span(7)])
        except Killed:
            assert len(done) == step
    again = disk.open()
    assert {index: again.call_node(index) for index in nodes} == nodes
    assert not again.derives(3)
    again.puncture([Span(7)])  # as start-up does from the database
    last = disk.open()
    assert not last.derives(7)
    assert {index: last.call_node(index) for index in nodes} == nodes
    assert disk.kek_files() == [f"{last.epoch:012d}.kek"]
    assert disk.copies[0].read_bytes() == disk.copies[1].read_bytes()
    assert sorted(path.name for path in disk.data.iterdir()) == ["tree"]


def test_a_copy_that_is_missing_or_damaged_is_written_anew(disk: KeysOnDisk) -> None:
    keyring = disk.create()
    node = keyring.call_node(1)
    for damage in (None, b"MTKSnonsense"):
        disk.copies[1].unlink()
        if damage is not None:
            disk.copies[1].write_bytes(damage)
        assert disk.open().call_node(1) == node
        assert disk.copies[0].read_bytes() == disk.copies[1].read_bytes()
        assert len(disk.kek_files()) == 1


def test_a_state_whose_epoch_was_changed_does_not_open(disk: KeysOnDisk) -> None:
    keyring = disk.create()
    for copy in disk.copies:
        data = bytearray(copy.read_bytes())
        data[15] ^= 2
        copy.write_bytes(data)
    with pytest.raises(VaultError, match="no copy of the key tree opens"):
        disk.open()
    # Even with a KEK under the name of the other epoch: the epoch is authenticated.
    keks = FileKeks(disk.keks, data_directory=disk.data)
    keks.write(keyring.epoch ^ 2, keks.read(keyring.epoch))
    with pytest.raises(VaultError, match="fails its tag"):
        disk.open()


def test_lost_states_are_an_error_that_names_each_place(disk: KeysOnDisk) -> None:
    disk.create()
    disk.copies[0].unlink()
    disk.copies[1].write_bytes(b"")
    with pytest.raises(VaultError, match=r"data/tree: missing; .*second/tree: .*got 0"):
        disk.open()


def test_a_full_disk_still_forgets_in_memory_and_catches_up_later(
    disk: KeysOnDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyring = disk.create()

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(NoSpace, match="could not be written"):
            keyring.puncture([Span(7)])
    assert not keyring.derives(7)
    assert disk.open().derives(7)
    # Nothing new is asked, but the batch that failed is still owed.
    keyring.puncture([])
    assert not disk.open().derives(7)
    assert len(disk.kek_files()) == 1


def test_leases_are_allowed_only_below_what_the_state_reserves(disk: KeysOnDisk) -> None:
    keyring = disk.create()
    epoch = keyring.epoch
    assert keyring.reserve(RESERVE_CALLS) == epoch
    assert keyring.reserve(RESERVE_CALLS + 1) == epoch + 1
    assert disk.open().reserved == 2 * RESERVE_CALLS + 1
    with pytest.raises(VaultError, match="used up"):
        keyring.reserve(CALLS.calls + 1)


def test_one_puncture_is_durable_well_within_the_time_of_a_withdrawal(
    disk: KeysOnDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyring = disk.create()
    synced: list[float] = []

    def timed(real: Callable[[int], None]) -> Callable[[int], None]:
        def sync(descriptor: int) -> None:
            began = time.monotonic()
            real(descriptor)
            synced.append(time.monotonic() - began)

        return sync

    for name in ("fsync", "fdatasync"):
        monkeypatch.setattr(os, name, timed(getattr(os, name)))
    own = []
    for index in range(5):
        began, before = time.monotonic(), sum(synced)
        keyring.puncture([Span(100 + index)])
        own.append(time.monotonic() - began - (sum(synced) - before))
    # The best of five: the machine may be busy and its disk slow, but the way may not be long, nor wait for anything.
    assert min(own) < 0.3
    assert 0 < len(synced) <= 5 * 10


def test_no_key_shows_in_a_representation(disk: KeysOnDisk) -> None:
    keyring = disk.create()
    assert keyring.call_node(0).hex() not in repr(keyring) + repr(keyring._state)
    assert str(disk.copies[0]) in str(keyring.copies)
