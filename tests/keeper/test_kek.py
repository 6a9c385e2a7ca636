"""KEK files: modes, places, destruction."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from keeper.keys import Killed, dies_at
from mitschnitt.errors import ConfigError, KeyGone, VaultError
from mitschnitt.keeper.kek import FileKeks, check_private, replace_file

KEY = bytes(range(32))


@pytest.fixture
def keks(tmp_path: Path) -> FileKeks:
    (tmp_path / "data.keys").mkdir(mode=0o700)
    return FileKeks(tmp_path / "data.keys", data_directory=tmp_path / "data")


def test_a_kek_is_a_private_file_named_by_its_epoch(keks: FileKeks, tmp_path: Path) -> None:
    keks.write(3, KEY)
    path = tmp_path / "data.keys" / "000000000003.kek"
    assert path.read_bytes() == KEY == keks.read(3)
    assert path.stat().st_mode & 0o777 == 0o600
    assert keks.epochs() == [3]


def test_an_epoch_has_one_kek_only(keks: FileKeks) -> None:
    keks.write(3, KEY)
    with pytest.raises(VaultError, match="epoch 3 has a KEK already"):
        keks.write(3, bytes(32))
    with pytest.raises(VaultError, match="a KEK has 32 bytes, got 5"):
        keks.write(4, b"short")
    assert keks.read(3) == KEY


def test_a_destroyed_kek_is_overwritten_before_it_is_removed(
    keks: FileKeks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keks.write(3, KEY)
    path = tmp_path / "data.keys" / "000000000003.kek"
    with dies_at(2, monkeypatch) as done, pytest.raises(Killed):
        keks.destroy(3)  # dies when it wants to remove the name
    assert done == ["write", "fsync"]
    assert path.read_bytes() == bytes(32)
    keks.destroy(3)
    keks.destroy(3)
    assert keks.epochs() == []
    with pytest.raises(KeyGone, match="epoch 3 is not here"):
        keks.read(3)


def test_a_cut_kek_is_gone(keks: FileKeks, tmp_path: Path) -> None:
    keks.write(3, KEY)
    os.truncate(tmp_path / "data.keys" / "000000000003.kek", 7)
    with pytest.raises(KeyGone, match="7 bytes, not 32"):
        keks.read(3)


def test_keys_inside_the_data_directory_are_refused(tmp_path: Path) -> None:
    inside = tmp_path / "data" / "keys"
    inside.mkdir(mode=0o700, parents=True)
    (tmp_path / "link").symlink_to(inside)
    for place in (inside, tmp_path / "link"):
        with pytest.raises(ConfigError, match="lies inside"):
            FileKeks(place, data_directory=tmp_path / "data")


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o640, 0o400, 0o660])
def test_only_mode_0600_is_private(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "secret"
    path.write_bytes(b"x")
    path.chmod(mode)
    if mode == 0o600:
        check_private(path, mode=0o600, what="token")
        return
    with pytest.raises(ConfigError, match=f"mode {mode:04o}, expected 0600"):
        check_private(path, mode=0o600, what="token")


def test_a_missing_or_linked_secret_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(ConfigError, match="is missing"):
        check_private(tmp_path / "secret", mode=0o600, what="token")
    with pytest.raises(ConfigError, match="symbolic link"):
        check_private(tmp_path / "link", mode=0o600, what="token")


def test_a_directory_or_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    open_to_all = tmp_path / "open.keys"
    open_to_all.mkdir()
    open_to_all.chmod(0o755)  # whatever the umask is
    with pytest.raises(ConfigError, match="mode 0755, expected 0700"):
        FileKeks(open_to_all, data_directory=tmp_path / "data")
    open_to_all.chmod(0o700)
    FileKeks(open_to_all, data_directory=tmp_path / "data").write(1, KEY)
    (open_to_all / "000000000001.kek").chmod(0o644)
    with pytest.raises(ConfigError, match="mode 0644, expected 0600"):
        FileKeks(open_to_all, data_directory=tmp_path / "data")


def test_what_a_crash_left_half_written_is_removed_at_start(keks: FileKeks, tmp_path: Path) -> None:
    (tmp_path / "data.keys" / "000000000009.kek.new").write_bytes(b"half")
    again = FileKeks(tmp_path / "data.keys", data_directory=tmp_path / "data")
    assert (again.epochs(), list((tmp_path / "data.keys").iterdir())) == ([], [])


def test_a_replaced_file_is_whole_at_every_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    for step in range(4):
        with dies_at(step, monkeypatch), pytest.raises(Killed):
            replace_file(path, b"new")
        assert path.read_bytes() in (b"old", b"new")
    replace_file(path, b"newest")
    assert path.read_bytes() == b"newest"
