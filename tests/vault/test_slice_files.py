from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mitschnitt.errors import Damaged, NoSpace, VaultError
from mitschnitt.vault import slices
from mitschnitt.vault.slice_files import SliceWriter, drop_before, segments
from mitschnitt.vault.slice_index import calls, scan

CALL, OTHER = bytes(range(16)), bytes(16)


def frame(*rows: tuple[bytes, int, int, int, bytes]) -> bytes:
    """One frame of (call, party, track, slice, ciphertext); b"" takes one slice back."""
    index = np.zeros(len(rows), slices.INDEX)
    offset, body = slices.body_offset(len(rows)), b""
    for row, (call, party, track, number, data) in zip(index, rows, strict=True):
        row["call"] = np.void(call)
        row["party"], row["track"], row["slice"] = party, track, number
        row["offset"], row["length"] = (offset + len(body), len(data)) if data else (1, 0)
        body += data
    return slices.pack_head(index, length=offset + len(body)) + body


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[SliceWriter]:
    writer = SliceWriter(tmp_path)
    yield writer
    writer.close()


def found(directory: Path, call_id: bytes = CALL) -> list[tuple[int, int, int, bytes]]:
    return [(piece.party, piece.track, piece.number, bytes(piece.ciphertext)) for piece in scan(directory, call_id)]


def test_slices_of_a_call_are_found_in_order_and_others_are_not(tmp_path: Path, writer: SliceWriter) -> None:
    writer.append([frame((CALL, 0, 0, 0, b"one"), (OTHER, 0, 0, 0, b"else"))], [1, 2])
    writer.append([frame((CALL, 1, 0, 0, b"two")), b""], [1])
    writer.append([frame((CALL, 0, 0, 1, b"three"))], [1])
    assert found(tmp_path) == [(0, 0, 0, b"one"), (1, 0, 0, b"two"), (0, 0, 1, b"three")]
    assert found(tmp_path, OTHER) == [(0, 0, 0, b"else")]
    assert calls(tmp_path) == {CALL, OTHER}


def test_a_frame_can_be_read_back_by_its_position(writer: SliceWriter) -> None:
    writer.append([b"first frame"], [1])
    position = writer.append([b"second ", b"frame"], [1])
    assert (position.segment, position.offset) == (0, 11)
    assert writer.read(0, position.offset + 7, 5) == b"frame"
    with pytest.raises(Damaged, match="gave 5 of 6"):
        writer.read(0, position.offset + 7, 6)
    memory = memoryview(bytearray(6))
    assert writer.read_into(memory[:5], 0, position.offset + 7)
    assert bytes(memory) == b"frame\0"
    assert not writer.read_into(memory, 0, position.offset + 7)


def test_a_bad_sector_fills_nothing_and_any_other_error_is_told(
    writer: SliceWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer.append([b"frame"], [1])
    monkeypatch.setattr(os, "preadv", FullDisk(os.preadv, errno.EIO))
    assert not writer.read_into(memoryview(bytearray(5)), 0, 0)
    monkeypatch.setattr(os, "preadv", FullDisk(os.preadv, errno.EBADF))
    with pytest.raises(OSError, match="Bad file"):
        writer.read_into(memoryview(bytearray(5)), 0, 0)


def test_slices_that_were_taken_back_are_not_given(tmp_path: Path, writer: SliceWriter) -> None:
    writer.append([frame((CALL, 0, 0, 0, b"kept"), (CALL, 0, 0, 1, b"back"))], [1])
    writer.append([frame((CALL, 0, 0, 1, b""))], [1])
    writer.append([frame((CALL, 0, 0, 2, b"later"), (CALL, 1, 0, 1, b"other party"))], [1])
    assert found(tmp_path) == [(0, 0, 0, b"kept"), (0, 0, 2, b"later"), (1, 0, 1, b"other party")]


@pytest.mark.parametrize("cut", [1, 10, 23, 24, 60, 87, 88, 91])
def test_a_torn_last_frame_costs_only_itself(tmp_path: Path, cut: int, writer: SliceWriter) -> None:
    whole = frame((CALL, 0, 0, 0, b"whole"))
    torn = frame((CALL, 0, 0, 1, b"abc"), (CALL, 0, 0, 2, b"defg"))
    assert len(torn) == 95
    writer.append([whole], [1])
    writer.append([torn[:cut]], [1])
    expected = [(0, 0, 0, b"whole")] + [(0, 0, 1, b"abc")] * (cut >= 91)
    assert found(tmp_path) == expected
    assert calls(tmp_path) == {CALL}


def test_a_damaged_index_in_the_middle_costs_only_its_frame(tmp_path: Path, writer: SliceWriter) -> None:
    damaged = bytearray(frame((CALL, 0, 0, 1, b"damaged")))
    damaged[30] ^= 1
    for piece in (frame((CALL, 0, 0, 0, b"before")), bytes(damaged), frame((CALL, 0, 0, 2, b"after"))):
        writer.append([piece], [1])
    assert found(tmp_path) == [(0, 0, 0, b"before"), (0, 0, 2, b"after")]


def test_a_full_segment_is_followed_by_another(tmp_path: Path) -> None:
    writer = SliceWriter(tmp_path, rotate_bytes=100)
    for number in range(5):
        writer.append([frame((CALL, 0, 0, number, b"x" * 20))], [1])
    writer.close()
    assert [path.name for _, path in segments(tmp_path)] == [f"{n:012d}.sec" for n in range(3)]
    assert [number for _, _, number, _ in found(tmp_path)] == [0, 1, 2, 3, 4]


def test_a_segment_goes_when_its_last_owner_does(tmp_path: Path) -> None:
    writer = SliceWriter(tmp_path, rotate_bytes=1)
    writer.append([b"a"], [1, 2])
    writer.append([b"b"], [2])
    writer.append([b"c"], [3])
    assert writer.held == (3, 3)
    writer.release(1)
    assert writer.read(0, 0, 1) == b"a"
    writer.release(2)
    writer.release(99)
    assert writer.read(2, 0, 1) == b"c"
    assert writer.held == (1, 1)
    writer.close()
    assert [number for number, _ in segments(tmp_path)] == [2]


def test_also_the_current_segment_goes_and_the_next_frame_gets_a_new_one(tmp_path: Path) -> None:
    writer = SliceWriter(tmp_path)
    writer.append([b"a"], [1])
    writer.sync()
    writer.release(1)
    assert writer.append([b"b"], [2]).segment == 1
    writer.close()
    assert [number for number, _ in segments(tmp_path)] == [1]


def test_a_new_writer_leaves_old_segments_to_recovery(tmp_path: Path) -> None:
    first = SliceWriter(tmp_path)
    first.append([frame((CALL, 0, 0, 0, b"old"))], [1])
    first.close()
    second = SliceWriter(tmp_path)
    assert second.first_segment == 1
    second.append([frame((CALL, 0, 0, 0, b"new"))], [1])
    assert [piece.ciphertext for piece in scan(tmp_path, CALL, before=second.first_segment)] == [b"old"]
    assert calls(tmp_path, before=second.first_segment) == {CALL}
    assert drop_before(tmp_path, second.first_segment) == 1
    assert drop_before(tmp_path, second.first_segment) == 0
    assert found(tmp_path) == [(0, 0, 0, b"new")]
    second.close()


def test_syncs_happen_one_at_a_time_and_are_reported_once(tmp_path: Path, writer: SliceWriter) -> None:
    writer.sync()
    assert not writer.has_synced()
    writer.append([b"a"], [1])
    writer.sync()
    first = writer._syncing
    writer.append([b"b"], [1])
    writer.sync()
    assert writer._syncing is first
    assert first is not None
    first.result()
    assert writer.has_synced()
    assert not writer.has_synced()
    writer.wait()
    assert writer._unsynced == set()


class FullDisk:
    """Stands in for a system call that fails after `good` successes."""

    def __init__(self, real: Any, code: int, good: int = 0) -> None:
        self.real, self.code, self.good = real, code, good

    def __call__(self, *arguments: Any) -> Any:
        self.good -= 1
        if self.good < 0:
            raise OSError(self.code, os.strerror(self.code))
        return self.real(*arguments)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_a_disk_that_takes_no_more_keeps_what_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, writer: SliceWriter
) -> None:
    writer.append([frame((CALL, 0, 0, 0, b"good"))], [1])
    with monkeypatch.context() as patch:
        patch.setattr(os, "writev", FullDisk(os.writev, code))
        with pytest.raises(NoSpace, match="writing media journal"):
            writer.append([frame((CALL, 0, 0, 1, b"lost"))], [1])
    assert writer.append([frame((CALL, 0, 0, 2, b"again"))], [1]).segment == 1
    assert [number for _, _, number, _ in found(tmp_path)] == [0, 2]


def test_a_short_write_is_carried_on_and_a_full_disk_then_tears_only_that_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writer: SliceWriter
) -> None:
    data = frame((CALL, 0, 0, 0, b"good"))
    real = os.writev
    monkeypatch.setattr(os, "writev", lambda descriptor, pieces: real(descriptor, [pieces[0][:50]]))
    writer.append([data], [1])
    assert found(tmp_path) == [(0, 0, 0, b"good")]
    monkeypatch.setattr(os, "write", FullDisk(os.write, errno.ENOSPC))
    with pytest.raises(NoSpace):
        writer.append([frame((CALL, 0, 0, 1, b"lost"))], [1])
    assert found(tmp_path) == [(0, 0, 0, b"good")]


def test_no_segment_can_be_made_on_a_read_only_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writer: SliceWriter
) -> None:
    monkeypatch.setattr(os, "open", FullDisk(os.open, errno.EROFS))
    with pytest.raises(NoSpace, match="creating media journal"):
        writer.append([b"a"], [1])


def test_a_failed_sync_is_told_and_its_file_is_not_trusted_again(
    monkeypatch: pytest.MonkeyPatch, writer: SliceWriter
) -> None:
    writer.append([b"a"], [1])
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", FullDisk(os.fdatasync, errno.EIO))
        writer.sync()
        with pytest.raises(NoSpace, match="syncing the media journal"):
            writer.wait()
    assert writer.append([b"b"], [1]).segment == 1


def test_a_lost_directory_is_not_made_anew(tmp_path: Path) -> None:
    with pytest.raises(VaultError, match="does not exist"):
        SliceWriter(tmp_path / "lost")


def test_a_writer_knows_what_its_owners_still_need(tmp_path: Path) -> None:
    writer = SliceWriter(tmp_path, rotate_bytes=10)
    for number in range(4):
        writer.append([b"x" * 10], {1: 2, 10 + number: 8})
    assert (writer.size, writer.live, writer.written) == (40, 40, 4)
    assert writer.mostly_dead() == []
    for number in (0, 1, 2):
        writer.release(10 + number)
    assert (writer.size, writer.live) == (40, 16)
    writer.release(13)
    assert writer.mostly_dead() == [0, 1, 2], "the newest segment is still written"
    writer.let_go(0, [1])
    assert writer.owners_of(0) == frozenset()
    assert writer.owners_of(1) == {1}
    assert (writer.size, writer.live) == (30, 6)
    writer.let_go(0, [1])
    writer.wait()
    assert writer.durable == 4
    writer.close()
    assert [number for number, _ in segments(tmp_path)] == [1, 2, 3]


def test_a_segment_that_could_not_be_deleted_goes_with_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = SliceWriter(tmp_path, rotate_bytes=1)
    for owner in range(3):
        writer.append([b"a"], [owner])
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", FullDisk(Path.unlink, errno.EROFS))
        writer.release(0)
        writer._worker.submit(int).result()
    assert [number for number, _ in segments(tmp_path)] == [0, 1, 2]
    writer.release(1)
    writer._worker.submit(int).result()
    assert [number for number, _ in segments(tmp_path)] == [2]
    writer.close()
