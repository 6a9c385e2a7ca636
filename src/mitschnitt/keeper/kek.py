"""Key-encryption keys as files outside the data directory: one per erasure batch, destroyed with the next.

Holds no key in memory and seals nothing. What it cannot promise: that flash or a snapshot forgot the old bytes.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import Protocol

from mitschnitt.errors import ConfigError, KeyGone, VaultError
from mitschnitt.vault.blobs import sync_directory, write_all

KEK_BYTES = 32  # AES-256
NAME = re.compile(r"([0-9]{12})\.kek")  # the epoch that the key seals
TEMP_SUFFIX = ".new"
OPEN = os.O_NOFOLLOW | os.O_CLOEXEC


class KekStore(Protocol):
    """One custodian of KEKs; other custodians (PKCS#11) keep the same promises."""

    def epochs(self) -> list[int]:
        """Epochs whose KEK is there, ascending."""

    def write(self, epoch: int, key: bytes) -> None:
        """The KEK of a new epoch; durable when it returns. VaultError when the epoch has one."""

    def read(self, epoch: int) -> bytes:
        """The KEK of an epoch. KeyGone when it was destroyed or never was."""

    def destroy(self, epoch: int) -> None:
        """Overwritten and removed, durably; nothing happens when it is gone already."""


def check_private(path: Path, *, mode: int, what: str) -> None:
    """ConfigError unless `path` belongs to this user and has exactly this mode (no more, no less)."""
    try:
        found = path.lstat()
    except FileNotFoundError as error:
        raise ConfigError(f"{what}: {path} is missing; `mitschnitt init DIR` makes it") from error
    if stat.S_ISLNK(found.st_mode):
        raise ConfigError(f"{what}: {path} is a symbolic link; expected the thing itself")
    if found.st_uid != os.geteuid():
        raise ConfigError(f"{what}: {path} belongs to user {found.st_uid}, expected {os.geteuid()}")
    if stat.S_IMODE(found.st_mode) != mode:
        raise ConfigError(f"{what}: {path} has mode {stat.S_IMODE(found.st_mode):04o}, expected {mode:04o}")


def replace_file(path: Path, data: bytes) -> None:
    """`path` holds `data` (mode 0600), durably; before that it holds what it held.

    A crash leaves a file with TEMP_SUFFIX beside it, which the next call overwrites and start-up removes.
    """
    temp = path.with_name(path.name + TEMP_SUFFIX)
    descriptor = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | OPEN, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
        write_all(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    temp.replace(path)
    sync_directory(path.parent)


class FileKeks:
    """KEKs as files of mode 0600 in a directory of mode 0700 that lies outside the data directory."""

    def __init__(self, directory: Path, *, data_directory: Path) -> None:
        if directory.resolve().is_relative_to(data_directory.resolve()):
            raise ConfigError(f"keys: {directory} lies inside {data_directory}; a copy of that would open everything")
        check_private(directory, mode=0o700, what="keys")
        self._directory = directory
        for path in sorted(directory.iterdir()):
            if path.name.endswith(TEMP_SUFFIX):
                # A crash came before the rename: this key never sealed anything.
                path.unlink()
            else:
                check_private(path, mode=0o600, what="keys")

    def epochs(self) -> list[int]:
        """See `KekStore.epochs`."""
        names = (NAME.fullmatch(path.name) for path in self._directory.iterdir())
        return sorted(int(name[1]) for name in names if name)

    def write(self, epoch: int, key: bytes) -> None:
        """See `KekStore.write`."""
        if len(key) != KEK_BYTES:
            raise VaultError(f"a KEK has {KEK_BYTES} bytes, got {len(key)}")
        path = self._path(epoch)
        if path.exists():
            raise VaultError(f"epoch {epoch} has a KEK already; two states would share it")
        replace_file(path, key)

    def read(self, epoch: int) -> bytes:
        """See `KekStore.read`."""
        try:
            key = self._path(epoch).read_bytes()
        except FileNotFoundError as error:
            raise KeyGone(f"the KEK of epoch {epoch} is not here: destroyed, or another directory") from error
        if len(key) != KEK_BYTES:
            raise KeyGone(f"the KEK of epoch {epoch} has {len(key)} bytes, not {KEK_BYTES}: its destruction began")
        return key

    def destroy(self, epoch: int) -> None:
        """See `KekStore.destroy`.

        A crash after the overwriting leaves a file of zeros; no state is sealed under it, and start-up destroys
        what no state needs.
        """
        path = self._path(epoch)
        try:
            descriptor = os.open(path, os.O_WRONLY | OPEN)
        except FileNotFoundError:
            return
        try:
            write_all(descriptor, bytes(KEK_BYTES))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        path.unlink(missing_ok=True)
        sync_directory(self._directory)

    def _path(self, epoch: int) -> Path:
        return self._directory / f"{epoch:012d}.kek"
