"""What tests of keys share: a key tree on disk, and a disk that dies at the n-th step."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mitschnitt.keeper.kek import FileKeks
from mitschnitt.keeper.keyring import Keyring


class Killed(BaseException):
    """The process ended here: nothing catches it, and nothing after it happens."""


def counted(start: int = 0) -> Callable[[int], bytes]:
    """Randomness that can be told apart: call number n gives bytes of n."""
    numbers = itertools.count(start)
    return lambda size: next(numbers).to_bytes(4, "big") * (size // 4)


class KeysOnDisk:
    """A data directory, its keys directory beside it, and two copies of the state."""

    def __init__(self, root: Path) -> None:
        self.data = root / "data"
        self.keks = root / "data.keys"
        self.data.mkdir(mode=0o700)
        self.keks.mkdir(mode=0o700)
        (root / "second").mkdir(mode=0o700)
        self.copies = (self.data / "tree", root / "second" / "tree")
        self.random = counted()

    def create(self) -> Keyring:
        return Keyring.create(self.copies, FileKeks(self.keks, data_directory=self.data), random=self.random)

    def open(self) -> Keyring:
        """As after a restart."""
        return Keyring.open(self.copies, FileKeks(self.keks, data_directory=self.data), random=self.random)

    def kek_files(self) -> list[str]:
        return sorted(path.name for path in self.keks.iterdir())


STEPS = ("open", "write", "fsync", "replace", "unlink")


@contextmanager
def dies_at(step: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The `step`-th call that changes the disk does not happen, nor does any after it."""
    done: list[str] = []
    with monkeypatch.context() as patch:
        for name in STEPS:
            patch.setattr(os, name, _mortal(name, getattr(os, name), step, done))
        yield done


def _mortal(name: str, real: Callable[..., Any], step: int, done: list[str]) -> Callable[..., Any]:
    def call(*args: Any, **keywords: Any) -> Any:
        if name == "open" and not (args[1] & os.O_CREAT):
            return real(*args, **keywords)
        if len(done) >= step:
            raise Killed
        done.append(name)
        return real(*args, **keywords)

    return call
