"""Reading the media journal of a recorder that ended: once for all calls, whatever state it is in."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from mitschnitt.vault.slice_files import SliceWriter
from mitschnitt.vault.slice_index import SliceIndex, calls, scan
from vault.test_slice_files import CALL, OTHER, frame


def write(directory: Path, *frames: bytes, rotate_bytes: int = 1 << 20) -> None:
    writer = SliceWriter(directory, rotate_bytes=rotate_bytes)
    for data in frames:
        writer.append([data], [1])
    writer.close()


def told(index: SliceIndex, party: int = 0, call_id: bytes = CALL) -> list[tuple[int, int, bytes]]:
    return [(piece.track, piece.number, bytes(piece.ciphertext)) for piece in index.of_party(call_id, party)]


def test_a_party_is_given_in_order_of_arrival_wherever_its_slices_lie(tmp_path: Path) -> None:
    rows = [(CALL, 0, 1, 0, b"d"), (CALL, 0, 0, 2, b"c"), (OTHER, 0, 0, 0, b"x"), (CALL, 0, 0, 0, b"a")]
    write(tmp_path, *(frame(row) for row in [*rows, (CALL, 1, 0, 0, b"z"), (CALL, 0, 0, 1, b"b")]), rotate_bytes=1)
    index = SliceIndex(tmp_path)
    assert told(index) == [(0, 0, b"a"), (0, 1, b"b"), (0, 2, b"c"), (1, 0, b"d")]
    assert told(index, 1) == [(0, 0, b"z")]
    assert told(index, 0, bytes([9]) * 16) == []
    assert index.calls() == calls(tmp_path) == {CALL, OTHER}


def test_of_two_copies_of_a_slice_one_is_given(tmp_path: Path) -> None:
    write(tmp_path, frame((CALL, 0, 0, 0, b"a"), (CALL, 0, 0, 1, b"b")), frame((CALL, 0, 0, 0, b"a")))
    assert told(SliceIndex(tmp_path)) == [(0, 0, b"a"), (0, 1, b"b")]
    assert [piece.number for piece in scan(tmp_path, CALL)] == [0, 1]


def test_what_was_taken_back_is_gone_in_all_its_copies(tmp_path: Path) -> None:
    slices = frame((CALL, 0, 0, 0, b"a"), (CALL, 0, 0, 1, b"b"))
    write(tmp_path, slices, frame((CALL, 0, 0, 1, b"")), slices)
    assert told(SliceIndex(tmp_path)) == [(0, 0, b"a")]


def test_an_empty_directory_has_no_calls(tmp_path: Path) -> None:
    assert calls(tmp_path) == set()
    assert list(scan(tmp_path, CALL)) == []


def test_each_segment_is_opened_once_for_the_index_however_many_calls_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = [bytes([number]) * 16 for number in range(40)]
    write(tmp_path, *(frame(*((call, 0, 0, n, b"a") for call in many)) for n in range(10)))
    heads: list[int] = []
    real = os.pread

    def pread(descriptor: int, length: int, offset: int) -> bytes:
        heads.append(offset)
        return real(descriptor, length, offset)

    monkeypatch.setattr(os, "pread", pread)
    index = SliceIndex(tmp_path)
    assert len(heads) == 2 * 10 + 1  # head and index of each frame, and the end
    assert all(len(told(index, call_id=call)) == 10 for call in many)


@pytest.mark.parametrize("bad, left", [(24 + 2 * 32, [1]), (0, []), (24, [])])
def test_a_bad_sector_costs_what_lies_on_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bad: int, left: list[int]
) -> None:
    write(tmp_path, frame((CALL, 0, 0, 0, b"a"), (CALL, 0, 0, 1, b"b")))
    real = os.pread

    def pread(descriptor: int, length: int, offset: int) -> bytes:
        if offset <= bad < offset + length:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(descriptor, length, offset)

    monkeypatch.setattr(os, "pread", pread)
    assert [number for _, number, _ in told(SliceIndex(tmp_path))] == left


def test_an_error_that_is_no_bad_sector_is_not_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, frame((CALL, 0, 0, 0, b"a")))

    def refused(*_: int) -> bytes:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    monkeypatch.setattr(os, "pread", refused)
    with pytest.raises(OSError, match="Bad file descriptor"):
        SliceIndex(tmp_path)
