from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from media_rig import CALL, LEAF, PCMA
from mitschnitt.errors import ConfigError, NoSpace, VaultError
from mitschnitt.recorder import tracks as module
from mitschnitt.recorder.hold import PART, Block, Parts, Tick
from mitschnitt.recorder.tracks import FrameBuilder, JournalFailed, Track, Tracks, as_no_space
from mitschnitt.vault.artefact import RUN, pack_slice
from mitschnitt.vault.slice_files import SUFFIX, SliceWriter
from mitschnitt.vault.slice_index import scan
from mitschnitt.vault.slices import open_slice


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[SliceWriter]:
    journal = SliceWriter(tmp_path)
    yield journal
    journal.close()


def add(tracks: Tracks, party: int = 0, call_id: bytes = CALL) -> Track:
    return tracks.add(call_id, party, LEAF, PCMA)


def tick_of(*pieces: tuple[Track | int, bytes, int]) -> tuple[Tick, Parts]:
    """A tick with one part per (track or slot, payload, arrival)."""
    block, parts = Block(), np.zeros(len(pieces), PART)
    for part, (track, payload, arrival_ns) in zip(parts, pieces, strict=True):
        runs = np.zeros(1, RUN)
        runs["count"], runs["length"], runs["arrival_ns"] = 1, len(payload), arrival_ns
        plain = pack_slice(runs, payload)
        block.bytes[block.used : block.used + len(plain)] = np.frombuffer(plain, np.uint8)
        part["slot"] = track.slot if isinstance(track, Track) else track
        part["offset"], part["length"], part["arrival_ns"] = block.used, len(plain), arrival_ns
        block.used += len(plain)
    return Tick(1, [block], parts), parts


def payloads(track: Track, journal: SliceWriter) -> list[tuple[int, bytes]]:
    found = [open_slice(track.cipher, piece) for piece in track.sealed(journal)]
    return [(piece.number, bytes(piece.payload)) for piece in found]


def test_parts_become_slices_that_their_track_finds_again(journal: SliceWriter, tmp_path: Path) -> None:
    tracks = Tracks()
    first, second = add(tracks), add(tracks, 1)
    frames = FrameBuilder(tracks, journal)
    frames.write([tick_of((first, b"one", 1), (second, b"two", 1))])
    frames.write([tick_of((second, b"three", 2), (first, b"four", 2))])
    assert payloads(first, journal) == [(0, b"one"), (1, b"four")]
    assert payloads(second, journal) == [(0, b"two"), (1, b"three")]
    found = [(piece.party, piece.track, piece.number) for piece in scan(tmp_path, CALL)]
    assert found == [(0, 0, 0), (1, 0, 0), (1, 0, 1), (0, 0, 1)]


def test_a_slice_that_the_disk_cannot_read_costs_no_other(
    journal: SliceWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracks = Tracks()
    track = add(tracks)
    frames = FrameBuilder(tracks, journal)
    for number in range(3):
        frames.write([tick_of((track, b"%d" % number, number))])
    read, bad = os.preadv, track.starts[1]

    def preadv(descriptor: int, buffers: Sequence[memoryview], offset: int) -> int:
        if offset == bad:  # all lie in segment 0
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return read(descriptor, buffers, offset)

    monkeypatch.setattr(os, "preadv", preadv)
    assert payloads(track, journal) == [(0, b"0"), (2, b"2")]


def test_a_track_that_is_forgotten_while_a_thread_reads_it_ends_there(journal: SliceWriter) -> None:
    tracks = Tracks()
    track = add(tracks)
    frames = FrameBuilder(tracks, journal)
    for number in range(3):
        frames.write([tick_of((track, b"%d" % number, number))])
    reading = track.sealed(journal)
    assert next(reading).number == 0
    del track.starts[:]  # so far has `forget` come when the thread goes on
    assert list(reading) == []


@pytest.mark.parametrize("segments", [1 << 24, 1 << 31])
def test_a_slice_is_found_however_many_segments_came_before_it(tmp_path: Path, segments: int) -> None:
    (tmp_path / f"{segments - 1:012d}{SUFFIX}").touch()
    with contextlib.closing(SliceWriter(tmp_path)) as journal:
        tracks = Tracks()
        track = add(tracks)
        FrameBuilder(tracks, journal).write([tick_of((track, b"one", 1), (track, b"two", 1))])
        assert payloads(track, journal) == [(0, b"one"), (1, b"two")]
        assert track.places_in(segments) == [0, 1]
        assert track.lies_in(1, segments)


def test_several_parts_of_one_track_in_a_frame_get_numbers_of_their_own(journal: SliceWriter) -> None:
    tracks = Tracks()
    track, other = add(tracks), add(tracks, 1)
    frames = FrameBuilder(tracks, journal)
    frames.write([tick_of((track, b"a", 1), (other, b"x", 1), (track, b"b", 1)), tick_of((track, b"c", 2))])
    frames.write([tick_of((track, b"d", 3))])
    assert payloads(track, journal) == [(0, b"a"), (1, b"b"), (2, b"c"), (3, b"d")]
    assert payloads(other, journal) == [(0, b"x")]


def test_wiped_parts_and_tracks_that_are_gone_or_failed_are_left_out(journal: SliceWriter, tmp_path: Path) -> None:
    tracks = Tracks()
    track, gone, failed = add(tracks), add(tracks, 1), add(tracks, 2)
    tick, parts = tick_of((track, b"kept", 1), (track, b"wiped", 1), (gone, b"gone", 1), (failed, b"no", 1))
    parts["length"][1] = 0
    tracks.forget(gone)
    tracks.fail(failed, NoSpace("full"))
    FrameBuilder(tracks, journal).write([(tick, parts)])
    assert payloads(track, journal) == [(0, b"kept")]
    assert len(list(scan(tmp_path, CALL))) == 1


def test_nothing_to_seal_writes_nothing(journal: SliceWriter, tmp_path: Path) -> None:
    FrameBuilder(Tracks(), journal).write([])
    assert list(tmp_path.iterdir()) == []


def test_a_party_that_comes_again_gets_another_number_because_the_key_is_the_same() -> None:
    tracks = Tracks()
    first, second = add(tracks), add(tracks)
    assert (first.number, second.number) == (0, 1)
    assert add(tracks, 1).number == 0
    assert len(list(tracks)) == 3


def test_a_party_has_a_limited_number_of_tracks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_TRACKS_OF_PARTY", 1)
    tracks = Tracks()
    add(tracks)
    with pytest.raises(ConfigError, match="at most 1 tracks"):
        add(tracks)


def test_forgetting_takes_key_and_index_and_frees_the_slot(journal: SliceWriter) -> None:
    tracks = Tracks()
    track = add(tracks)
    FrameBuilder(tracks, journal).write([tick_of((track, b"x", 1))])
    tracks.forget(track)
    assert track not in tracks
    assert (track.leaf_key, len(track.starts), hasattr(track, "cipher")) == (b"", 0, False)
    later = add(tracks, call_id=bytes(16))
    assert later.slot == track.slot
    assert later.owner != track.owner
    assert tracks.at(later.slot) is later


def test_the_newest_slices_are_taken_back_by_arrival(journal: SliceWriter) -> None:
    tracks = Tracks()
    track = add(tracks)
    frames = FrameBuilder(tracks, journal)
    for arrival in (10, 20, 30):
        frames.write([tick_of((track, b"%d" % arrival, arrival))])
    assert track.take_back(31, journal) == (0, 0)
    assert track.take_back(20, journal) == (1, 2)
    frames.write([tick_of((track, b"40", 40))])
    assert payloads(track, journal) == [(0, b"10"), (3, b"40")]
    assert track.take_back(0, journal) == (0, 4)
    assert track.take_back(0, journal) == (0, 0)


def test_what_was_taken_back_stays_away_after_a_crash(journal: SliceWriter, tmp_path: Path) -> None:
    tracks = Tracks()
    track = add(tracks)
    frames = FrameBuilder(tracks, journal)
    for arrival in (10, 20, 30):
        frames.write([tick_of((track, b"x", arrival))])
    frames.take_back(track, *track.take_back(20, journal))
    assert [piece.number for piece in scan(tmp_path, CALL)] == [0]


def test_a_frame_that_cannot_be_written_names_its_tracks_and_its_numbers_are_not_used_again(
    journal: SliceWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracks = Tracks()
    track = add(tracks)
    frames = FrameBuilder(tracks, journal)
    frames.write([tick_of((track, b"good", 1))])
    with monkeypatch.context() as patch:

        def full(*_: object) -> None:
            raise NoSpace("full")

        patch.setattr(journal, "append", full)
        with pytest.raises(JournalFailed) as caught:
            frames.write([tick_of((track, b"lost", 2))])
    assert list(caught.value.tracks) == [track]
    frames.write([tick_of((track, b"later", 3))])
    assert payloads(track, journal) == [(0, b"good"), (2, b"later")]


def test_any_failure_to_write_reads_as_no_space() -> None:
    full = NoSpace("full")
    assert as_no_space(full) is full
    assert str(as_no_space(VaultError("bad descriptor"))) == "bad descriptor"


def test_the_tables_grow_and_keep_what_they_know(journal: SliceWriter) -> None:
    tracks = Tracks()
    made = [add(tracks, call_id=n.to_bytes(16, "big")) for n in range(600)]
    frames = FrameBuilder(tracks, journal)
    frames.write([tick_of(*((track, b"%d" % track.slot, 1) for track in made))])
    frames.write([tick_of((made[0], b"again", 2), (made[599], b"again", 2))])
    assert payloads(made[0], journal) == [(0, b"0"), (1, b"again")]
    assert payloads(made[599], journal) == [(0, b"599"), (1, b"again")]
    assert payloads(made[300], journal) == [(0, b"300")]
