"""Looks for bytes where they must not be: the memory of processes and every file of directories."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

STEP_BYTES = 16 * 1024 * 1024  # of one read
OVERLAP_BYTES = 64  # longer than any marker, so that none hides on a border


def memory_of(pid: int) -> Iterator[bytes]:
    """All readable memory of a process, in overlapping pieces. Needs root (or the same user and a dumpable process)."""
    maps = Path(f"/proc/{pid}/maps").read_text(encoding="utf-8").splitlines()
    handle = os.open(f"/proc/{pid}/mem", os.O_RDONLY)
    try:
        for line in maps:
            span, rights, *_ = line.split()
            if "r" not in rights or line.endswith(("[vvar]", "[vsyscall]", "[vvar_vclock]")):
                continue
            start, stop = (int(part, 16) for part in span.split("-"))
            yield from _pieces(handle, start, stop)
    finally:
        os.close(handle)


def _pieces(handle: int, start: int, stop: int) -> Iterator[bytes]:
    at = start
    while at < stop:
        try:
            piece = os.pread(handle, min(STEP_BYTES, stop - at), at)
        except OSError:
            return  # a mapping that cannot be read (a device, or gone since)
        if not piece:
            return
        yield piece
        at += max(len(piece) - OVERLAP_BYTES, 1) if at + len(piece) < stop else len(piece)


def files_below(*roots: Path) -> Iterator[tuple[Path, bytes]]:
    """Every regular file below these directories, whole."""
    for root in roots:
        for path in sorted(root.rglob("*")):
            if path.is_file() and not path.is_symlink():
                try:
                    yield path, path.read_bytes()
                except OSError:
                    continue  # removed while we looked
