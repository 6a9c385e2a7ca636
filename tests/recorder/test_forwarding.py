"""Long calls among short ones: the journal stays small, and nothing is lost, doubled or brought back."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from media_rig import AT, CALL, LEAF, PCMA, Rig, Sender, read_party, stamps_in
from mitschnitt.recorder.media import Track
from mitschnitt.vault.artefact import PartyHeader
from mitschnitt.vault.blobs import MemoryBlobs
from mitschnitt.vault.finish import SALT_BYTES, SealedParty, recover_party
from mitschnitt.vault.slice_files import SliceWriter, segments
from mitschnitt.vault.slice_index import SliceIndex

ROTATE_BYTES = 16 * 1024
SHORT_CALLS = 30
SHORT_TICKS = 11  # of each: the hold, and some that are sealed
COPIES_BYTES = ROTATE_BYTES  # of a round that is not over: less than half a segment, twice


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path, journal_in=lambda directory: SliceWriter(directory, rotate_bytes=ROTATE_BYTES))
    yield rig
    rig.close()


def on_disk(directory: Path) -> int:
    return sum(path.stat().st_size for _, path in segments(directory))


class LongCall:
    """One that goes on while others come and go; says one packet a tick."""

    def __init__(self, rig: Rig) -> None:
        self.rig, self.track = rig, rig.track()
        self.line, self.sender = rig.open_line(self.track)
        self.said = 0
        self.each_tick: Callable[[], None] = lambda: None

    def tick(self) -> None:
        self.sender.stamped([self.said])
        self.said += 1
        self.rig.tick()
        self.each_tick()
        self.rig.journal.wait()

    def among(self, calls: int) -> int:
        """So many short calls come and go, ten packets a tick; the largest excess over the bound."""
        worst = 0
        for number in range(calls):
            other = self.rig.media.track(call_id=bytes([200, number % 256]) * 8, party=0, leaf_key=LEAF, codecs=PCMA)
            line, voice = self.rig.open_line(other)
            for tick in range(SHORT_TICKS):
                voice.stamped(range(10 * tick, 10 * tick + 10))
                self.tick()
            self.rig.media.drop(other)
            self.rig.media.release(line)
            journal = self.rig.journal
            journal._worker.submit(int).result()  # deletions are the worker's
            bound = 2 * journal.live + 2 * ROTATE_BYTES + COPIES_BYTES
            worst = max(worst, on_disk(self.rig.directory) - bound)
        return worst


def recovered(directory: Path) -> list[int]:
    """What a start after a kill -9 at this moment would find."""
    blobs = MemoryBlobs()
    party = recover_party(
        directory, before=None, leaf_key=LEAF, call_id=CALL, party=0,
        header=PartyHeader(PCMA, AT, AT, "truncated"), blobs=blobs, salts=(bytes(SALT_BYTES), bytes(SALT_BYTES)),
    )  # fmt: skip
    return stamps_in(read_party(blobs, party)[0])


def test_row_7_a_long_call_does_not_hold_on_to_the_journal_of_short_ones(rig: Rig, tmp_path: Path) -> None:
    long = LongCall(rig)
    assert long.among(SHORT_CALLS) <= 0
    assert rig.media.forwarder.copied > 0
    assert segments(tmp_path)[0][0] > 0, "the oldest segment is gone"
    party = rig.finish(long.track)
    media, timeline = read_party(rig.blobs, party)
    assert stamps_in(media) == list(range(long.said))
    assert timeline.header["packets"] == long.said
    rig.media.settled(long.track)
    rig.journal._worker.submit(int).result()
    assert on_disk(tmp_path) == 0
    assert (rig.journal.size, rig.journal.live) == (0, 0)


@pytest.mark.thorough
def test_row_7_without_copying_forward_the_journal_would_grow_with_every_call(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rig.media.forwarder, "step", lambda: None)
    assert LongCall(rig).among(SHORT_CALLS) > 4 * ROTATE_BYTES


@pytest.mark.thorough
def test_row_7_a_kill_at_any_moment_of_the_copying_leaves_every_slice_once(rig: Rig, tmp_path: Path) -> None:
    long, kills = LongCall(rig), [0, 0]  # before and after the copies are written

    def kill() -> None:
        around = rig.media.forwarder._round
        if around is not None:
            kills[around.mark >= 0] += 1
            found = recovered(tmp_path)
            assert found == list(range(len(found)))
            assert len(found) >= long.said - 8  # the hold

    long.each_tick = kill
    long.among(SHORT_CALLS)
    assert min(kills) > 3, "no kill fell into the copying"


@pytest.mark.thorough
def test_row_7_slices_keep_their_nonces_and_their_bytes(rig: Rig, tmp_path: Path) -> None:
    long = LongCall(rig)
    before: dict[tuple[int, int], bytes] = {}
    for _ in range(SHORT_CALLS):
        long.among(1)
        for piece in SliceIndex(tmp_path).of_party(CALL, 0):
            sealed = bytes(piece.ciphertext)
            assert before.setdefault((piece.track, piece.number), sealed) == sealed
    assert rig.media.forwarder.copied > 0


@pytest.mark.thorough
def test_row_7_what_was_taken_back_stays_away_whatever_is_copied(rig: Rig, tmp_path: Path) -> None:
    long = LongCall(rig)
    long.among(3)
    gone_from = long.said - 10
    rig.media.shut(long.line, since_ns=rig.now_ns - 9 * 250_000_000 - 1)
    rig.media.keep(long.line, long.track)
    resumed = long.said
    long.among(SHORT_CALLS)
    assert rig.media.forwarder.copied > 0
    expected = [number for number in range(long.said) if not gone_from <= number < resumed]
    found = recovered(tmp_path)
    assert found == expected[: len(found)]
    assert len(found) >= len(expected) - 8
    assert stamps_in(read_party(rig.blobs, rig.finish(long.track))[0]) == expected


@pytest.mark.thorough
def test_row_7_a_withdrawal_leaves_nothing_of_any_copy_that_anybody_points_to(rig: Rig, tmp_path: Path) -> None:
    long = LongCall(rig)
    long.among(SHORT_CALLS)
    assert rig.media.forwarder.copied > 0
    rig.media.drop(long.track)
    rig.tick(8)
    rig.journal._worker.submit(int).result()
    assert on_disk(tmp_path) == 0
    assert long.track.leaf_key == b""


def test_row_7_a_call_that_ends_while_it_is_copied_is_whole(rig: Rig) -> None:
    long = LongCall(rig)
    ended: list[SealedParty] = []

    def end() -> None:
        around = rig.media.forwarder._round
        if around is not None and around.copies and not ended:
            ended.append(rig.finish(long.track))

    long.each_tick = end
    while not ended:
        long.among(1)
    (party,) = ended
    rig.tick(8)
    stamps = stamps_in(read_party(rig.blobs, party)[0])
    assert stamps == list(range(len(stamps)))
    assert party.packets == len(stamps) > 8


def test_row_7_nothing_is_moved_from_under_the_thread_that_writes_a_calls_files(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = LongCall(rig)
    ended: list[SealedParty] = []
    emptied: list[int] = []  # segments
    real = rig.journal.read_into

    def read(memory: memoryview, segment: int, offset: int) -> bool:
        if segment in emptied:  # where the slice lies was looked up; now the loop goes on with its copying
            emptied.clear()
            for _ in range(4):
                rig.tick()
                rig.journal.wait()
        return real(memory, segment, offset)

    def end() -> None:
        around = rig.media.forwarder._round
        if around is not None and around.copies and not ended:
            emptied.append(around.segment)
            monkeypatch.setattr(rig.journal, "read_into", read)
            ended.append(rig.finish(long.track))

    long.each_tick = end
    while not ended:
        long.among(1)
    assert not emptied
    stamps = stamps_in(read_party(rig.blobs, ended[0])[0])
    assert stamps == list(range(len(stamps)))
    assert len(stamps) > 8


@pytest.mark.thorough
def test_row_7_a_disk_that_refuses_a_copy_costs_nothing_but_time(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    long = LongCall(rig)
    refused: list[bool] = []
    copy, write = rig.media.forwarder._copy, os.writev

    def copy_on_a_full_disk(around: Any) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "writev", full)
            copy(around)

    def full(descriptor: int, pieces: Any) -> int:
        if refused:
            return write(descriptor, pieces)
        refused.append(True)
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(rig.media.forwarder, "_copy", copy_on_a_full_disk)
    long.among(2 * SHORT_CALLS)
    assert refused
    assert rig.media.counts.no_space == 1
    assert long.track.failed is None
    assert rig.media.forwarder.copied > 0
    assert stamps_in(read_party(rig.blobs, rig.finish(long.track))[0]) == list(range(long.said))


def test_a_track_knows_which_of_its_slices_lie_where(rig: Rig) -> None:
    track: Track = rig.track()
    assert track.places_in(0) == []
    line, sender = rig.open_line(track)
    assert isinstance(sender, Sender)
    sender.stamped([1])
    rig.tick(8)
    assert track.places_in(0) == [0]
    assert track.lies_in(0, 0)
    assert not track.lies_in(1, 0)
    rig.media.release(line)
