"""Whether the disks would keep something: real small disks that are full or read-only, and what was refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mitschnitt.recorder.disk import NO_SPACE, PROBE_BYTES, Disk
from small_disk import SmallDisk, small_disk

LEAST = 256 * 1024


class Failures:
    """Counts what was refused."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> int:
        return self.count


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk") as disk:
        yield disk


def test_a_disk_with_room_is_believed_without_a_probe(tmp_path: Path) -> None:
    looked_at = Disk([tmp_path], failures=Failures(), least_free_bytes=LEAST)
    looked_at.check()
    assert (looked_at.refuses, looked_at.rule, looked_at.alarms) == (False, "", 0)


def test_a_refused_write_counts_at_once_and_until_the_disk_has_taken_a_probe(tmp_path: Path) -> None:
    failures = Failures()
    looked_at = Disk([tmp_path], failures=failures, least_free_bytes=LEAST)
    failures.count = 1
    assert looked_at.rule == NO_SPACE
    looked_at.check()
    assert (looked_at.rule, looked_at.alarms) == ("", 1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", [0, 1])
def test_a_place_that_is_gone_refuses(tmp_path: Path, place: int) -> None:
    places = [tmp_path, tmp_path]
    places[place] = tmp_path / "gone"
    looked_at = Disk(places, failures=Failures(), least_free_bytes=LEAST)
    looked_at.check()
    assert looked_at.refuses


def test_below_the_least_free_space_nobody_new_is_recorded_before_anything_failed(disk: SmallDisk) -> None:
    looked_at = Disk([disk.journal], failures=Failures(), least_free_bytes=LEAST)
    looked_at.check()
    assert not looked_at.refuses
    disk.fill()
    looked_at.check()
    looked_at.check()
    assert (looked_at.rule, looked_at.alarms) == (NO_SPACE, 1)
    disk.free()
    looked_at.check()
    assert not looked_at.refuses
    assert PROBE_BYTES < 8 * LEAST


def test_a_disk_that_was_made_read_only_refuses_until_it_is_writable(disk: SmallDisk) -> None:
    looked_at = Disk([disk.audio], failures=Failures(), least_free_bytes=LEAST)
    disk.remount("ro")
    looked_at.check()
    assert looked_at.refuses
    looked_at.check()
    assert looked_at.refuses
    disk.remount("rw")
    looked_at.check()
    assert not looked_at.refuses
    assert list(disk.audio.iterdir()) == []
