"""A small disk of its own for a test, which fills it, makes it read-only, and gives it back."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

SMALL_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True)
class SmallDisk:
    """A mounted tmpfs; `journal` and `audio` lie on it."""

    root: Path

    @property
    def journal(self) -> Path:
        return self.root / "journal"

    @property
    def audio(self) -> Path:
        return self.root / "audio"

    def fill(self) -> None:
        """Not one more byte fits."""
        with (self.root / "fill").open("ab", buffering=0) as file:
            size = 1 << 20
            while size:
                try:
                    file.write(bytes(size))
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    size //= 2

    def free(self) -> None:
        (self.root / "fill").unlink()

    def remount(self, mode: str) -> None:
        """`ro` or `rw`. A disk with files open for writing becomes read-only by force only, as after an error."""
        run("mount", "-o", f"remount,{mode}", str(self.root))


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


@contextlib.contextmanager
def small_disk(root: Path, *, size_bytes: int = SMALL_BYTES) -> Iterator[SmallDisk]:
    """Skips where this user may not mount."""
    root.mkdir()
    try:
        run("mount", "-t", "tmpfs", "-o", f"size={size_bytes},mode=700", "mitschnitt-test", str(root))
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("only root may mount the small disk that this test fills; run it as root")
    try:
        disk = SmallDisk(root)
        disk.journal.mkdir()
        disk.audio.mkdir()
        yield disk
    finally:
        if os.path.ismount(root):
            run("umount", "-l", str(root))
