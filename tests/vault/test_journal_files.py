"""Twin of vault/journal_files: order, rotation, crashes and full disks, a reader beside a living writer."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mitschnitt.core.call import encode_call_id
from mitschnitt.errors import Damaged, NoSpace, VaultError
from mitschnitt.vault.journal import Entry, pack_entry
from mitschnitt.vault.journal_files import JournalReader, JournalWriter, segment_name, segments

CALL = encode_call_id(bytes(range(16)))
AT = "2026-03-01T09:00:00.000000Z"


class Crash(BaseException):
    """The process ends here."""


def crash(*_: object, **__: object) -> None:
    raise Crash


def refusing(code: int) -> Callable[..., None]:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    return refuse


def fill(writer: JournalWriter, count: int, data: dict[str, Any] | None = None) -> list[Entry]:
    return [writer.append(CALL, "track", data or {}, at=AT) for _ in range(count)]


def everything(directory: Path, segment: int = 0, offset: int = 0) -> list[Entry]:
    return [entry for entry, _, _ in JournalReader(directory).read_from(segment, offset)]


FRAME_BYTES = len(pack_entry(Entry(1, AT, CALL, "track", {})))


def test_what_was_synced_is_read_in_order(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path, next_seq=1)
    written = fill(writer, 3, {"party": 0})
    writer.sync()
    assert [entry.seq for entry in written] == [1, 2, 3]
    assert everything(tmp_path) == written


def test_an_appended_entry_is_not_on_disk_before_the_sync(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path, next_seq=1)
    fill(writer, 3)
    assert everything(tmp_path) == []
    writer.sync()
    assert len(everything(tmp_path)) == 3


def test_a_sync_calls_fdatasync_once_and_only_when_something_is_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = JournalWriter(tmp_path, next_seq=1)
    synced: list[int] = []
    real = os.fdatasync

    def counted(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_size)
        real(descriptor)

    monkeypatch.setattr(os, "fdatasync", counted)
    writer.sync()
    fill(writer, 5)
    writer.sync()
    writer.sync()
    assert synced == [5 * FRAME_BYTES]


def test_files_are_for_the_owner_only_and_named_by_their_first_seq(tmp_path: Path) -> None:
    directory = tmp_path / "1" / "journal"
    writer = JournalWriter(directory, next_seq=42)
    fill(writer, 1)
    writer.sync()
    assert [path.name for path in directory.iterdir()] == ["000000000042.jnl"]
    assert stat.S_IMODE((directory / "000000000042.jnl").stat().st_mode) == 0o600
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_a_full_file_is_synced_before_the_next_one_exists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = JournalWriter(tmp_path, next_seq=1, rotate_bytes=2 * FRAME_BYTES)
    fill(writer, 2)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", crash)
        with pytest.raises(Crash):
            fill(writer, 1)
    assert segments(tmp_path) == [1]


def test_files_rotate_and_every_position_continues(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path, next_seq=1, rotate_bytes=3 * FRAME_BYTES)
    written = fill(writer, 10)
    writer.sync()
    assert segments(tmp_path) == [1, 4, 7, 10]
    read = list(JournalReader(tmp_path).read_from(0, 0))
    assert [entry for entry, _, _ in read] == written
    for number, (_, segment, offset) in enumerate(read, start=1):
        assert everything(tmp_path, segment, offset) == written[number:]


def test_a_file_ends_where_it_is_told_to_and_an_empty_one_never_begins(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path, next_seq=1)
    writer.rotate()
    written = fill(writer, 2)
    writer.rotate()
    writer.rotate()
    assert segments(tmp_path) == [1]
    written += fill(writer, 1)
    writer.sync()
    assert segments(tmp_path) == [1, 3]
    assert everything(tmp_path) == written


def test_an_entry_larger_than_a_file_gets_one_of_its_own(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path, next_seq=1, rotate_bytes=10)
    written = fill(writer, 3)
    writer.sync()
    assert segments(tmp_path) == [1, 2, 3]
    assert everything(tmp_path) == written


def test_applied_files_are_dropped_and_the_position_stays_valid(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path, next_seq=1, rotate_bytes=3 * FRAME_BYTES)
    written = fill(writer, 10)
    writer.sync()
    reader = JournalReader(tmp_path)
    _, segment, offset = list(reader.read_from(0, 0))[4]
    reader.drop_before(segment)
    reader.drop_before(segment)
    assert segments(tmp_path) == [4, 7, 10]
    assert everything(tmp_path, segment, offset) == written[5:]


def test_a_writer_continues_where_the_last_one_ended(tmp_path: Path) -> None:
    first = JournalWriter(tmp_path, next_seq=1)
    fill(first, 2)
    first.close()
    second = JournalWriter(tmp_path, next_seq=1)
    assert second.next_seq == 3
    fill(second, 2)
    second.close()
    assert [entry.seq for entry in everything(tmp_path)] == [1, 2, 3, 4]
    assert segments(tmp_path) == [1]


def test_a_writer_that_the_keeper_knows_further_begins_a_new_file(tmp_path: Path) -> None:
    first = JournalWriter(tmp_path, next_seq=1)
    fill(first, 2)
    first.close()
    second = JournalWriter(tmp_path, next_seq=9)
    fill(second, 1)
    second.close()
    assert segments(tmp_path) == [1, 9]
    assert [entry.seq for entry in everything(tmp_path)] == [1, 2, 9]
    assert everything(tmp_path, 1, 8 * FRAME_BYTES)[0].seq == 9


@given(st.integers(0, 3 * FRAME_BYTES), st.binary(max_size=40))
@settings(max_examples=60, deadline=None)
def test_a_torn_tail_is_cut_off_and_the_seq_goes_on(
    tmp_path_factory: pytest.TempPathFactory, cut: int, garbage: bytes
) -> None:
    directory = tmp_path_factory.mktemp("journal")
    writer = JournalWriter(directory, next_seq=1)
    fill(writer, 3)
    writer.close()
    path = directory / segment_name(1)
    path.write_bytes(path.read_bytes()[:cut] + garbage)
    whole = cut // FRAME_BYTES
    assert len(everything(directory)) == whole
    again = JournalWriter(directory, next_seq=1)
    assert again.next_seq == whole + 1
    assert path.stat().st_size == whole * FRAME_BYTES
    fill(again, 2)
    again.close()
    assert [entry.seq for entry in everything(directory)] == list(range(1, whole + 3))


def test_a_crash_before_the_first_entry_leaves_an_empty_file_that_is_used(tmp_path: Path) -> None:
    fill(JournalWriter(tmp_path, next_seq=5), 1)  # never synced
    assert (tmp_path / segment_name(5)).stat().st_size == 0
    writer = JournalWriter(tmp_path, next_seq=5)
    fill(writer, 1)
    writer.close()
    assert [entry.seq for entry in everything(tmp_path)] == [5]


def test_an_empty_file_that_the_seq_has_passed_is_taken_away(tmp_path: Path) -> None:
    fill(JournalWriter(tmp_path, next_seq=5), 1)  # never synced
    writer = JournalWriter(tmp_path, next_seq=8)
    fill(writer, 1)
    writer.close()
    assert segments(tmp_path) == [8]


def test_a_crash_while_the_tail_is_cut_is_repaired_by_the_next_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = JournalWriter(tmp_path, next_seq=1)
    fill(writer, 2)
    writer.close()
    path = tmp_path / segment_name(1)
    path.write_bytes(path.read_bytes()[:-1])
    for step in ("ftruncate", "fsync", "fdatasync"):
        with monkeypatch.context() as patch:
            patch.setattr(os, step, crash)
            with pytest.raises(Crash):
                JournalWriter(tmp_path, next_seq=1)
        assert [entry.seq for entry in everything(tmp_path)] == [1]
    assert JournalWriter(tmp_path, next_seq=1).next_seq == 2


def test_a_broken_middle_is_not_cut_off(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path, next_seq=1)
    fill(writer, 3)
    writer.close()
    path = tmp_path / segment_name(1)
    broken = bytearray(path.read_bytes())
    broken[FRAME_BYTES + 20] ^= 1
    path.write_bytes(broken)
    with pytest.raises(Damaged, match="whole entries follow"):
        JournalWriter(tmp_path, next_seq=1)
    with pytest.raises(Damaged, match="whole entries follow"):
        everything(tmp_path)
    assert path.read_bytes() == broken


def test_a_file_that_is_not_the_newest_must_be_whole(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path, next_seq=1, rotate_bytes=2 * FRAME_BYTES)
    fill(writer, 4)
    writer.close()
    path = tmp_path / segment_name(1)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(Damaged, match="000000000001.jnl is broken at byte"):
        everything(tmp_path)


def test_entries_that_do_not_count_up_are_damaged(tmp_path: Path) -> None:
    frames = [pack_entry(Entry(seq, AT, CALL, "track", {})) for seq in (1, 2, 4)]
    (tmp_path / segment_name(1)).write_bytes(b"".join(frames))
    with pytest.raises(Damaged, match="entry 4 of 000000000001.jnl is not 3"):
        everything(tmp_path)
    (tmp_path / segment_name(1)).rename(tmp_path / segment_name(7))
    with pytest.raises(Damaged, match="entry 1 of 000000000007.jnl is not 7"):
        everything(tmp_path)


def test_a_position_in_a_file_that_is_missing_is_damaged(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path, next_seq=10)
    fill(writer, 1)
    writer.close()
    with pytest.raises(Damaged, match="no file 000000000003.jnl with a position 20"):
        everything(tmp_path, 3, 20)


def test_a_reader_follows_a_living_writer(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path, next_seq=1, rotate_bytes=4 * FRAME_BYTES)
    reader, position, seen = JournalReader(tmp_path), (0, 0), []
    for _ in range(7):
        fill(writer, 3)
        writer.sync()
        for entry, segment, offset in reader.read_from(*position):
            position = (segment, offset)
            seen.append(entry.seq)
    assert seen == list(range(1, 22))


def test_other_files_in_the_directory_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "000000000001.sec").write_bytes(b"media")
    (tmp_path / "1.jnl").write_bytes(b"not ours")
    writer = JournalWriter(tmp_path, next_seq=1)
    written = fill(writer, 1)
    writer.close()
    assert everything(tmp_path) == written
    JournalReader(tmp_path).drop_before(10**9)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000000000001.sec", "1.jnl"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_a_full_disk_leaves_whole_entries_and_the_rest_for_the_next_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    writer = JournalWriter(tmp_path, next_seq=1)
    written = fill(writer, 2)
    writer.sync()
    real = os.write
    left = [FRAME_BYTES + 5]  # bytes that still fit

    def half(descriptor: int, data: bytes) -> int:
        if not left:
            raise OSError(code, os.strerror(code))
        return real(descriptor, data[: left.pop()])

    written += fill(writer, 2)
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", half)
        with pytest.raises(NoSpace, match="writing the journal"):
            writer.sync()
    assert (tmp_path / segment_name(1)).stat().st_size == 2 * FRAME_BYTES
    assert everything(tmp_path) == written[:2]
    written += fill(writer, 1)
    writer.sync()
    assert everything(tmp_path) == written


def test_after_a_failed_fdatasync_the_writer_refuses_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = JournalWriter(tmp_path, next_seq=1)
    fill(writer, 1)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", refusing(errno.EIO))
        with pytest.raises(NoSpace, match="syncing the journal"):
            writer.sync()
    with pytest.raises(NoSpace, match="open a new one"):
        writer.sync()
    with pytest.raises(NoSpace, match="open a new one"):
        fill(writer, 1)
    again = JournalWriter(tmp_path, next_seq=1)
    assert again.next_seq == 2


def test_a_tail_that_cannot_be_cut_ends_the_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = JournalWriter(tmp_path, next_seq=1)
    fill(writer, 1)
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", refusing(errno.ENOSPC))
        patch.setattr(os, "ftruncate", refusing(errno.EIO))
        with pytest.raises(NoSpace, match="cutting a half-written journal"):
            writer.sync()
    with pytest.raises(NoSpace, match="open a new one"):
        writer.sync()


def test_a_seq_is_not_used_up_by_an_entry_that_was_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = JournalWriter(tmp_path, next_seq=1)
    with pytest.raises(VaultError, match="integers below"):
        fill(writer, 1, {"n": 2**60})
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refusing(errno.ENOSPC))
        with pytest.raises(NoSpace, match="opening a journal file"):
            fill(writer, 1)
    assert writer.next_seq == 1
    assert [entry.seq for entry in fill(writer, 1)] == [1]


def test_a_closed_writer_takes_nothing_and_has_lost_nothing(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path, next_seq=1)
    written = fill(writer, 2)
    writer.close()
    writer.close()
    assert everything(tmp_path) == written
    with pytest.raises(NoSpace, match="closed"):
        fill(writer, 1)


def test_a_journal_in_a_directory_that_is_missing_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(VaultError, match="listing the journal"):
        everything(tmp_path / "none")
