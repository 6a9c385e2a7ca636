from __future__ import annotations

import asyncio
import errno
import os
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from media_rig import AT, CALL, EVENTS, LEAF, PCMA, T0, TICK_NS, Rig, Sender, read_party, stamp, stamps_in
from mitschnitt.errors import ConfigError, NoSpace, VaultError
from mitschnitt.recorder import filters
from mitschnitt.recorder.media import DIGIT_TICK_NS, HOLD_NS
from mitschnitt.recorder.receiver import WIDE_BYTES, Batch
from mitschnitt.vault.artefact import PartyHeader, Runs
from mitschnitt.vault.blobs import BlobWriter, MemoryBlobs
from mitschnitt.vault.finish import recover_party
from mitschnitt.vault.slice_index import scan
from mitschnitt.wire import rtp
from mitschnitt.wire.timeline import lay_out
from ring_rig import needs_ring

HOLD_TICKS = HOLD_NS // TICK_NS


@pytest.fixture(params=[pytest.param(0, id="sockets"), pytest.param(2, id="ring", marks=needs_ring)])
def rig(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Rig]:
    """The same promises, whichever receiver the open lines have."""
    rig = Rig(tmp_path, ring_mib=request.param)
    yield rig
    rig.close()


def recovered(rig: Rig, directory: Path) -> tuple[bytes, Runs]:
    party = recover_party(
        directory,
        before=None,
        leaf_key=LEAF,
        call_id=CALL,
        party=0,
        header=PartyHeader(PCMA, AT, AT, "truncated"),
        blobs=(blobs := MemoryBlobs()),
        salts=(bytes(24), bytes(24)),
    )
    media, timeline = read_party(blobs, party)
    return media, timeline.runs


# Gated lines


def test_audio_before_consent_never_reaches_this_process_and_is_counted_as_a_leak(rig: Rig) -> None:
    line = rig.media.line(event_types=EVENTS)
    sender = Sender(line.port)
    seen: list[bytes] = []
    process = rig.media._process

    def look_and_process(batch: Batch) -> None:
        seen.append(batch.rows.tobytes())
        process(batch)

    rig.media._process = look_and_process  # type: ignore[method-assign]
    sender.stamped(range(5))
    rig.tick()
    assert len(seen) == 1
    assert b"STAMP" not in seen[0]
    assert rig.leaks == [(line.number, 5)]
    assert rig.media.counts.leaked == 5
    rig.tick()
    assert rig.leaks == [(line.number, 5)]


def test_without_the_filter_the_marker_would_arrive(rig: Rig) -> None:
    line = rig.media.line(event_types=EVENTS)
    filters.attach(rig.media.lines.state(line).sock, filters.open_filter(filters.ANYBODY))
    seen: list[bytes] = []
    rig.media._process = lambda batch: seen.append(batch.rows.tobytes())  # type: ignore[method-assign]
    Sender(line.port).stamped(range(1))
    rig.tick()
    assert b"STAMP" in seen[0]
    assert not rig.holds(b"STAMP")


def test_a_digit_on_a_gated_line_is_heard_once_with_its_time(rig: Rig) -> None:
    line = rig.media.line(event_types=EVENTS)
    sender = Sender(line.port)
    for number in range(6):
        sender.key(number, 1, 800, end=number >= 3)
    rig.tick()
    assert rig.digits == [(line.number, "1", T0 + TICK_NS)]
    sender.key(6, 1, 800, end=True)
    sender.key(7, 10, 4000)
    rig.tick()
    assert [digit for _, digit, _ in rig.digits] == ["1", "*"]
    assert rig.leaks == []


def test_digits_come_in_between_whole_ticks(rig: Rig) -> None:
    line = rig.media.line(event_types=EVENTS)
    Sender(line.port).key(1, 5, 800)
    for _ in rig.media._digit_steps():
        pass
    assert [digit for _, digit, _ in rig.digits] == ["5"]
    assert TICK_NS % DIGIT_TICK_NS == 0


def test_listening_ends_when_no_event_type_is_left(rig: Rig) -> None:
    line = rig.media.line(event_types=EVENTS)
    rig.media.listen(line, {})
    Sender(line.port).key(1, 5, 800)
    rig.tick()
    assert rig.digits == []
    assert rig.leaks == [(line.number, 1)]


def test_control_packets_are_no_leak(rig: Rig) -> None:
    line = rig.media.line()
    sender = Sender(line.port)
    sender.sends(b"\x81\xc9" + bytes(30))
    rig.tick()
    assert rig.leaks == []


# Keeping


def test_packets_queued_before_the_gate_opened_stay_cut(rig: Rig) -> None:
    line = rig.media.line(event_types=EVENTS)
    sender = Sender(line.port)
    sender.stamped(range(3))
    track = rig.track()
    rig.media.keep(line, track)
    sender.stamped(range(3, 6))
    media, _ = read_party(rig.blobs, rig.finish(track))
    assert stamps_in(media) == [3, 4, 5]


def test_every_packet_sent_is_in_the_finished_file_with_duplicates_disorder_and_wrap(rig: Rig) -> None:
    track = rig.track()
    _, sender = rig.open_line(track)
    order = [n ^ 1 if n % 10 == 4 or n % 10 == 5 else n for n in range(300)]  # pairs swapped
    order = [n for number, n in enumerate(order) for _ in range(2 if number % 50 == 7 else 1)]
    for start in range(0, len(order), 12):
        sender.stamped(order[start : start + 12], first_seq=65400)
        rig.tick()
    party = rig.finish(track)
    media, timeline = read_party(rig.blobs, party)
    assert stamps_in(media) == order
    assert party.packets == len(order)
    placed = lay_out(timeline.runs, PCMA)
    in_order = [stamps_in(media[at : at + 160])[0] for at in placed.offset.tolist()]
    assert in_order == list(range(300))
    assert placed.repeated == 6
    assert rig.media.counts.refused == {}


def test_what_is_no_rtp_or_was_not_negotiated_is_counted_and_not_kept(rig: Rig) -> None:
    track = rig.track()
    _, sender = rig.open_line(track)
    sender.packet(1, b"unknown codec", kind=97)
    sender.sends(b"junk")
    sender.sends(struct.pack(">BBHII", 0x80, 8, 1, 1, 1) + bytes(WIDE_BYTES))
    sender.stamped([7])
    media, timeline = read_party(rig.blobs, rig.finish(track))
    assert stamps_in(media) == [7]
    assert (rig.media.counts.strange, rig.media.counts.refused) == (1, {"SHORT": 1, "TRUNCATED": 1})
    assert timeline.header["digits"] is False


def test_events_on_an_open_line_are_told_but_never_kept(rig: Rig) -> None:
    track = rig.track()
    line, sender = rig.open_line(track)
    sender.stamped([0])
    sender.key(1, 9, 800)
    sender.key(2, 9, 800, end=True)
    sender.stamped([3])
    rig.tick()
    assert rig.digits == [(line.number, "9", T0 + TICK_NS)]
    media, timeline = read_party(rig.blobs, rig.finish(track))
    assert stamps_in(media) == [0, 3]
    assert timeline.header["digits"] is True
    assert [(int(run["seq"]), int(run["count"]), int(run["flags"])) for run in timeline.runs] == [
        (0, 1, 0),
        (1, 2, rtp.EVENT_NOT_KEPT),
        (3, 1, 0),
    ]


def test_only_events_on_an_open_line_leave_an_empty_media_file(rig: Rig) -> None:
    track = rig.track()
    _, sender = rig.open_line(track)
    sender.key(1, 9, 800)
    media, timeline = read_party(rig.blobs, rig.finish(track))
    assert media == b""
    assert timeline.header["digits"] is True


def test_a_track_outlives_its_line_and_goes_on_over_another(rig: Rig) -> None:
    track = rig.track()
    first, sender = rig.open_line(track)
    sender.stamped(range(10))
    rig.tick()
    second, later = rig.open_line(track)
    sender.stamped(range(10, 12))
    rig.media.release(first)
    later.stamped(range(12, 20))
    rig.tick(2)
    media, _ = read_party(rig.blobs, rig.finish(track))
    assert stamps_in(media) == list(range(20))
    rig.media.release(second)


def test_two_streams_at_once_do_not_mix(rig: Rig) -> None:
    tracks = [rig.track(0), rig.track(1)]
    senders = [rig.open_line(track)[1] for track in tracks]
    for tick in range(10):
        senders[0].stamped(range(tick * 12, tick * 12 + 12))
        senders[1].stamped(range(5000 + tick * 12, 5000 + tick * 12 + 12))
        rig.tick()
    found = [stamps_in(read_party(rig.blobs, rig.finish(track))[0]) for track in tracks]
    assert found == [list(range(120)), list(range(5000, 5120))]


# The hold


def test_nothing_is_sealed_before_the_hold_is_over_and_everything_after(rig: Rig, tmp_path: Path) -> None:
    track = rig.track()
    _, sender = rig.open_line(track)
    sender.stamped(range(12))
    rig.tick(HOLD_TICKS)
    assert list(scan(tmp_path, CALL)) == []
    assert rig.holds(b"STAMP")
    rig.tick()
    assert len(list(scan(tmp_path, CALL))) == 1
    assert not rig.holds(b"STAMP")
    assert not any(b"STAMP" in path.read_bytes() for path in tmp_path.iterdir())


@pytest.mark.parametrize("moved_s", [-3600, 3600])
def test_a_wall_clock_that_is_set_anew_neither_shortens_nor_lengthens_the_hold(
    rig: Rig, tmp_path: Path, moved_s: int
) -> None:
    track = rig.track()
    line, sender = rig.open_line(track)
    sender.stamped(range(12))
    rig.tick()
    rig.wall_moved_ns = moved_s * 1_000_000_000
    rig.tick(HOLD_TICKS - 1)
    assert list(scan(tmp_path, CALL)) == []
    rig.tick()
    assert len(list(scan(tmp_path, CALL))) == 1
    rig.media.shut(line)


def test_after_a_kill_at_most_two_seconds_are_missing(rig: Rig, tmp_path: Path) -> None:
    track = rig.track()
    _, sender = rig.open_line(track)
    for tick in range(20):
        sender.stamped(range(tick * 12, tick * 12 + 12))
        rig.tick()
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in tmp_path.glob("*.sec"):
        shutil.copy(path, copy)
    media, _ = recovered(rig, copy)
    found = stamps_in(media)
    assert found == list(range(len(found)))
    last_sent_s, last_found_s = 20 * 0.25, len(found) / 12 * 0.25
    assert last_sent_s - last_found_s <= 1.75


def test_recovery_without_an_end_gives_the_same_media_as_the_end(rig: Rig, tmp_path: Path) -> None:
    track = rig.track()
    _, sender = rig.open_line(track)
    for tick in range(8):
        sender.stamped(range(tick * 12, tick * 12 + 12), first_seq=65500)
        rig.tick()
    rig.tick(HOLD_TICKS)
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in tmp_path.glob("*.sec"):
        shutil.copy(path, copy)
    media, timeline = read_party(rig.blobs, rig.finish(track))
    found, runs = recovered(rig, copy)
    assert found == media
    assert runs.tobytes() == timeline.runs.tobytes()


def test_shutting_wipes_hold_and_arena_and_drops_what_is_queued(rig: Rig, tmp_path: Path) -> None:
    track = rig.track()
    line, sender = rig.open_line(track)
    for tick in range(4):
        sender.stamped(range(tick * 3, tick * 3 + 3))
        rig.tick()
    sender.stamped(range(100, 110))
    assert rig.holds(b"STAMP")
    assert rig.media.shut(line) == 0
    assert not rig.holds(b"STAMP")
    assert rig.media.counts.wiped_octets > 12 * 160
    sender.stamped(range(200, 203))
    rig.tick(HOLD_TICKS + 2)
    assert rig.leaks == [(line.number, 3)]
    media, _ = read_party(rig.blobs, rig.finish(track))
    assert media == b""
    assert not any(b"STAMP" in path.read_bytes() for path in tmp_path.iterdir())


def test_shutting_leaves_other_parties_alone(rig: Rig) -> None:
    one, two = rig.track(0), rig.track(1)
    line, sender = rig.open_line(one)
    _, other = rig.open_line(two)
    sender.stamped(range(3))
    other.stamped(range(50, 53))
    rig.tick()
    rig.media.shut(line)
    assert stamps_in(read_party(rig.blobs, rig.finish(two))[0]) == [50, 51, 52]


def test_a_join_that_is_reported_late_takes_back_what_was_sealed_since(rig: Rig, tmp_path: Path) -> None:
    track = rig.track()
    line, sender = rig.open_line(track)
    for tick in range(20):
        sender.stamped(range(tick * 12, tick * 12 + 12))
        rig.tick()
    joined_ns = T0 + 5 * TICK_NS + 1  # after the fifth drain
    assert rig.media.shut(line, since_ns=joined_ns) == 20 - 5 - HOLD_TICKS
    rig.media.keep(line, track)
    sender.stamped(range(1000, 1012))
    rig.tick(HOLD_TICKS + 1)
    assert stamps_in(recovered(rig, tmp_path)[0]) == [*range(60), *range(1000, 1012)]
    media, _ = read_party(rig.blobs, rig.finish(track))
    assert stamps_in(media) == [*range(60), *range(1000, 1012)]


def test_a_digit_may_shut_its_own_line_from_the_callback(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    track = rig.track()
    line, sender = rig.open_line(track)
    rig.media._on_digit = lambda line, digit, at_ns: rig.media.drop(track)
    sender.stamped(range(5))
    sender.key(6, 9, 800)
    rig.tick()
    assert not rig.holds(b"STAMP")
    assert track not in rig.media._tracks
    assert rig.media.lines.lines_into(track.slot) == []
    with pytest.raises(VaultError, match="was dropped"):
        rig.media.keep(line, track)
    rig.tick(HOLD_TICKS + 1)
    assert list(tmp_path.glob("*.sec")) == []
    rig.close()


def test_a_line_released_in_the_middle_of_a_drain_keeps_its_descriptor_until_the_end(rig: Rig) -> None:
    lines = [rig.media.line(event_types=EVENTS) for _ in range(2)]
    Sender(lines[0].port).key(1, 1, 800)
    descriptor = rig.media.lines.state(lines[1]).sock.fileno()
    made: list[int] = []

    def on_digit(*_: object) -> None:
        rig.media.release(lines[1])
        made.append(rig.media.lines.state(rig.media.line()).sock.fileno())

    rig.media._on_digit = on_digit
    rig.tick()
    assert descriptor not in made
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
    with pytest.raises(ConfigError, match="was released"):
        rig.media.keep(lines[1], rig.track())


# Ends


def test_dropping_wipes_the_hold_forgets_the_key_and_frees_the_journal(rig: Rig, tmp_path: Path) -> None:
    track = rig.track()
    line, sender = rig.open_line(track)
    for tick in range(10):
        sender.stamped(range(tick * 3, tick * 3 + 3))
        rig.tick()
    assert list(scan(tmp_path, CALL)) != []
    rig.media.drop(track)
    assert not rig.holds(b"STAMP")
    assert track.leaf_key == b""
    rig.journal._worker.submit(int).result()
    assert list(tmp_path.glob("*.sec")) == []
    rig.tick(HOLD_TICKS)
    assert rig.media.lines.slot(line) == -1


def test_the_journal_keeps_slices_until_the_end_is_settled(rig: Rig, tmp_path: Path) -> None:
    track = rig.track()
    _, sender = rig.open_line(track)
    sender.stamped(range(3))
    rig.finish(track)
    assert len(list(scan(tmp_path, CALL))) == 1
    rig.media.settled(track)
    rig.journal._worker.submit(int).result()
    assert list(tmp_path.glob("*.sec")) == []


def test_syncs_are_reported(rig: Rig) -> None:
    track = rig.track()
    _, sender = rig.open_line(track)
    sender.stamped(range(3))
    rig.tick(HOLD_TICKS + 1)
    rig.journal._worker.submit(int).result()
    rig.tick()
    assert rig.synced == 1


@pytest.mark.thorough
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_a_disk_that_takes_no_more_fails_its_tracks_and_shuts_their_lines(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    track = rig.track()
    line, sender = rig.open_line(track)
    sender.stamped(range(12))
    rig.tick(HOLD_TICKS + 1)
    sender.stamped(range(12, 24))
    with monkeypatch.context() as patch:

        def full(*_: object) -> int:
            raise OSError(code, os.strerror(code))

        patch.setattr(os, "writev", full)
        rig.tick(HOLD_TICKS)
        assert rig.failed == []
        sender.stamped(range(24, 30))
        rig.tick()
    assert [(failed, type(error)) for failed, error in rig.failed] == [(track, NoSpace)]
    assert not rig.holds(b"STAMP")
    sender.stamped(range(30, 40))
    rig.tick(HOLD_TICKS + 2)
    assert rig.leaks == [(line.number, 10)]
    assert len(rig.failed) == 1
    with pytest.raises(VaultError, match="its journal failed"):
        rig.media.keep(line, track)
    media, timeline = read_party(rig.blobs, rig.finish(track, reason="failed"))
    assert stamps_in(media) == list(range(12))
    assert timeline.header["reason"] == "failed"
    assert not any(b"STAMP" in path.read_bytes() for path in tmp_path.iterdir())


def test_a_failed_sync_fails_every_open_track(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    track, other = rig.track(0), rig.track(1)
    _, sender = rig.open_line(track)
    rig.open_line(other)
    sender.stamped(range(3))

    def full(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fdatasync", full)
    rig.tick(HOLD_TICKS + 1)
    rig.journal._worker.submit(int).result()
    rig.tick()
    assert [failed for failed, _ in rig.failed] == [track, other]
    assert rig.media.lines.lines_into(other.slot) == []
    monkeypatch.undo()


def test_files_that_could_not_be_written_can_be_tried_again(tmp_path: Path) -> None:
    class Full(MemoryBlobs):
        is_full = True

        def create(self, name: str) -> BlobWriter:
            if self.is_full and name.endswith("timeline"):
                raise NoSpace("full")
            return super().create(name)

    blobs = Full()
    rig = Rig(tmp_path, blobs=blobs)
    track = rig.track()
    _, sender = rig.open_line(track)
    sender.stamped(range(3))
    with pytest.raises(NoSpace):
        rig.finish(track)
    blobs.is_full = False
    assert stamps_in(read_party(blobs, rig.finish(track))[0]) == [0, 1, 2]
    rig.close()


def test_whether_memory_is_locked_is_told_for_all_of_it(rig: Rig) -> None:
    rig.tick()
    assert rig.media.is_locked == rig.media.receiver.is_locked
    track = rig.track()
    _, sender = rig.open_line(track)
    sender.stamped(range(3))
    rig.tick()
    [block] = rig.media.hold.memory()
    block.memory.is_locked = False
    assert not rig.media.is_locked


@pytest.mark.parametrize("rig", [0], indirect=True, ids=["sockets"])  # of the ring: test_mapped
def test_kernel_drops_are_read_when_asked_and_at_release(rig: Rig) -> None:
    track = rig.track()
    line, sender = rig.open_line(track)
    sock = rig.media.lines.state(line).sock
    sock.setsockopt(1, 8, 2048)  # SOL_SOCKET, SO_RCVBUF: the least that the system gives
    sender.stamped(range(100))
    drops = rig.media.read_drops()
    assert drops > 0
    assert rig.media.read_drops() == drops
    rig.media.release(line)
    assert rig.media.counts.kernel_drops == drops
    assert rig.media.counts.kept == 100 - drops


def test_closing_leaves_no_plaintext(rig: Rig) -> None:
    track = rig.track()
    _, sender = rig.open_line(track)
    sender.stamped(range(3))
    rig.tick()
    rig.media.close()
    assert not rig.holds(b"STAMP")
    assert list(rig.media.lines) == []


def test_the_timer_loop_drains_and_stops(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.media._on_digit = lambda line, digit, at_ns: rig.media.stop()
    line = rig.media.line(event_types=EVENTS)
    Sender(line.port).key(1, 3, 800)

    async def main() -> None:
        await asyncio.wait_for(rig.media.run(), timeout=60)

    asyncio.run(main())
    assert rig.media.counts.events == 1
    rig.close()


def test_a_party_is_finished_from_an_event_loop(rig: Rig) -> None:
    async def main() -> list[int]:
        track = rig.track()
        _, sender = rig.open_line(track)
        sender.stamped(range(4))
        party = await rig.media.finish(track, reason="ended", started_at=AT, ended_at=AT, pauses=[(AT, AT)])
        media, timeline = read_party(rig.blobs, party)
        assert timeline.header["pauses"] == [[AT, AT]]
        return stamps_in(media)

    assert asyncio.run(main()) == [0, 1, 2, 3]


def test_a_stamp_is_what_it_says() -> None:
    assert stamps_in(stamp(5) + stamp(70000)) == [5, 70000]
