from __future__ import annotations

from pathlib import Path

import pytest

from mitschnitt.recorder import memory
from mitschnitt.recorder.memory import PinnedBuffer


def test_a_buffer_is_zero_writable_and_stays_where_it_is() -> None:
    buffer = PinnedBuffer(8192)
    assert not buffer.bytes.any()
    buffer.view[5] = 7
    assert buffer.bytes[5] == 7
    assert buffer.bytes.ctypes.data == buffer.address


def test_a_buffer_is_left_out_of_core_dumps() -> None:
    buffer = PinnedBuffer(4096)
    flags, is_ours = [], False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        first = line.split(maxsplit=1)[0]
        if "-" in first and ":" not in first:
            start, end = (int(part, 16) for part in first.split("-"))
            is_ours = start <= buffer.address < end
        elif is_ours and first == "VmFlags:":
            flags = line.split()
    assert "dd" in flags
    assert ("lo" in flags) == buffer.is_locked


def test_a_system_that_locks_nothing_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    class OldLibrary:
        pass

    monkeypatch.setattr(memory, "_LIBC", OldLibrary())
    assert not PinnedBuffer(4096).is_locked
