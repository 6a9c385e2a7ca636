"""Figures of the process itself, read from the real /proc; free bytes in steps, and full when nobody can say."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest

from mitschnitt import __version__
from mitschnitt.telemetry import process
from mitschnitt.telemetry.process import ROOM_STEP_BYTES, ProcessFigures, is_full, process_table


def test_every_line_of_the_table_is_read_and_nothing_else(tmp_path: Path) -> None:
    read = ProcessFigures("keeper", tmp_path, now=lambda: 12.3456).read()
    assert sorted(read) == sorted(figure.name for figure in process_table("keeper"))
    assert read["keeper_start_time_seconds"] == 12.346
    assert read["keeper_build_info"] == {__version__: 1.0}


def test_what_is_read_is_of_this_process(tmp_path: Path) -> None:
    figures = ProcessFigures("recorder", tmp_path, now=lambda: 0.0)
    before = figures.read()["recorder_open_files"]
    with (tmp_path / "file").open("w"):
        assert figures.read()["recorder_open_files"] == int(str(before)) + 1
    read = figures.read()
    assert read["recorder_open_files_limit"] == resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    assert int(str(read["recorder_resident_bytes"])) > 1_000_000
    assert float(str(read["recorder_cpu_seconds"])) > 0


def test_free_bytes_are_told_in_steps_that_show_no_single_call(tmp_path: Path) -> None:
    free = ProcessFigures("keeper", tmp_path, now=lambda: 0.0).read()["keeper_disk_free_bytes"]
    found = os.statvfs(tmp_path)
    assert int(str(free)) % ROOM_STEP_BYTES == 0
    assert abs(int(str(free)) - found.f_bavail * found.f_frsize) < 64 * ROOM_STEP_BYTES


def test_a_place_that_cannot_be_asked_counts_as_full(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    assert ProcessFigures("keeper", gone, now=lambda: 0.0).read()["keeper_disk_free_bytes"] == -1
    assert is_full(gone)


def test_a_place_is_full_below_the_least(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = process.free_bytes(tmp_path)
    assert free is not None
    monkeypatch.setattr(process, "LEAST_FREE_BYTES", free // 2)
    assert not is_full(tmp_path)
    monkeypatch.setattr(process, "LEAST_FREE_BYTES", free * 2)
    assert is_full(tmp_path)
