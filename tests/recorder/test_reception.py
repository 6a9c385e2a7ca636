"""Counting of what came, against a reckoning packet by packet after RFC 3550, A.1, A.3 and A.8."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from examples import many
from media_rig import T0, TICK_NS, Rig, read_party
from mitschnitt.recorder.counts import LOSS_ALARM_PACKETS
from mitschnitt.recorder.reception import FIRST_LINES, MAX_TURNS, Loss, Reception, Source
from mitschnitt.vault.artefact import PathCounts, path_of
from mitschnitt.wire import rtp
from rtcp_client import Client
from rtp_files import parsed

CLOCK = 8_000
DRAIN_NS = 250_000_000


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path)
    yield rig
    rig.close()


def packet(seq: int, ssrc: int = 7, *, time: int | None = None) -> bytes:
    """A packet of 20 ms."""
    head = bytes((0x80, 8)) + (seq & 0xFFFF).to_bytes(2, "big")
    return (
        head + ((seq * 160 if time is None else time) & 0xFFFFFFFF).to_bytes(4, "big") + ssrc.to_bytes(4, "big") + b"a"
    )


@dataclass
class Counting:
    """A reception with lines opened at once."""

    lines: int = 2
    reception: Reception = field(default_factory=Reception)
    now_ns: int = T0

    def __post_init__(self) -> None:
        for line in range(self.lines):
            self.reception.begin(line, CLOCK)

    def come(self, *packets: bytes, line: int = 0, after_ns: int = DRAIN_NS) -> list[int]:
        """One drain of one line."""
        return self.drain({line: list(packets)}, after_ns=after_ns)

    def drain(self, packets: dict[int, list[bytes]], *, after_ns: int = DRAIN_NS) -> list[int]:
        """One drain of several lines."""
        self.now_ns += after_ns
        flat = [one for line in packets for one in packets[line]]
        headers = parsed(flat, [line for line in packets for _ in packets[line]])
        runs, first = rtp.runs(headers, self.now_ns)
        return self.reception.count(headers.stream[first], runs, self.now_ns)


def test_nothing_that_came_is_nothing_told() -> None:
    counting = Counting()
    assert counting.drain({}) == []
    assert counting.reception.block(0) is None
    assert counting.reception.source(0) is None
    assert counting.reception.loss(0) == Loss(0, 0)
    assert Loss().share == 0.0


def test_every_packet_in_order_is_no_loss() -> None:
    counting = Counting()
    for start in range(100, 160, 12):
        counting.come(*(packet(seq) for seq in range(start, start + 12)))
    block = counting.reception.block(0)
    assert block is not None
    assert (block.ssrc, block.fraction_lost, block.lost, block.highest, block.jitter) == (7, 0, 0, 159, 0)
    assert counting.reception.loss(0) == Loss(60, 60)


def test_the_highest_sequence_number_counts_its_wraps() -> None:
    counting = Counting()
    for start in range(65_500, 65_500 + 3 * 65_536, 1_000):
        counting.come(packet(start))
    block = counting.reception.block(0)
    assert block is not None
    assert block.highest == (65_500 + 196 * 1_000)
    assert block.highest >> 16 == 3


def test_disorder_over_the_wrap_is_no_loss_and_a_duplicate_counts_as_come() -> None:
    counting = Counting()
    counting.come(*(packet(65_535 + step) for step in (0, 2, 1, 3, 3, 4)))
    counting.come(packet(65_538), packet(65_540))
    block = counting.reception.block(0)
    assert block is not None
    assert (block.lost, block.highest) == (-2, 65_540)
    assert counting.reception.loss(0).lost == 0


def test_loss_is_told_in_all_and_since_the_last_report() -> None:
    counting = Counting()
    counting.come(*(packet(seq) for seq in range(100) if seq % 4))
    first = counting.reception.block(0)
    counting.come(*(packet(seq) for seq in range(100, 200)))
    second = counting.reception.block(0)
    assert first is not None
    assert second is not None
    # The very first packet was lost before anybody knew of it.
    assert (first.lost, first.fraction_lost) == (24, 24 * 256 // 99)
    assert (second.lost, second.fraction_lost) == (24, 0)
    loss = counting.reception.loss(0)
    assert (loss.expected, loss.lost, round(loss.share, 3)) == (199, 24, 0.121)


def test_a_new_source_begins_an_epoch_and_its_line_is_named() -> None:
    counting = Counting()
    assert counting.come(packet(1), packet(2)) == []
    assert counting.come(packet(4), packet(9_000, 8), packet(9_001, 8)) == [0]
    assert counting.reception.source(0) == Source(8, counting.now_ns)
    assert counting.reception.epochs(0) == 2
    block = counting.reception.block(0)
    assert block is not None
    assert (block.ssrc, block.highest, block.lost) == (8, 9_001, 0)
    assert counting.reception.loss(0) == Loss(6, 5)


def test_a_restart_of_the_same_source_is_an_epoch_and_no_change_of_source() -> None:
    counting = Counting()
    counting.come(packet(1), packet(2))
    began = counting.reception.source(0)
    assert counting.come(packet(40_000), packet(40_002)) == []
    assert counting.reception.source(0) == began
    assert counting.reception.epochs(0) == 2
    assert counting.reception.loss(0) == Loss(5, 4)


def test_two_lines_with_the_same_source_are_counted_apart() -> None:
    counting = Counting()
    counting.drain({0: [packet(1), packet(2)], 1: [packet(50_000)]})
    counting.drain({0: [packet(4)], 1: [packet(50_001), packet(50_002)]})
    assert counting.reception.loss(0) == Loss(4, 3)
    assert counting.reception.loss(1) == Loss(3, 3)
    assert (counting.reception.epochs(0), counting.reception.epochs(1)) == (1, 1)


def test_a_line_that_is_opened_again_begins_anew() -> None:
    counting = Counting()
    counting.come(packet(1), packet(20))
    counting.reception.begin(0, CLOCK)
    assert counting.reception.loss(0) == Loss(0, 0)
    assert counting.come(packet(500, 9)) == []
    assert counting.reception.loss(0) == Loss(1, 1)


def test_the_table_grows_and_keeps_what_it_knew() -> None:
    counting = Counting()
    counting.come(packet(1), packet(3))
    far = 5 * FIRST_LINES
    counting.reception.begin(far, CLOCK)
    counting.come(packet(5), line=far)
    assert counting.reception.loss(0) == Loss(3, 2)
    assert counting.reception.loss(far) == Loss(1, 1)


def test_packets_without_payload_to_keep_are_no_loss() -> None:
    counting = Counting()
    counting.come(packet(1), packet(4))
    stream, ssrc = np.array([0, 0, 0, 1], np.int32), np.array([7, 7, 8, 7], np.uint32)
    counting.reception.count_idle(stream, ssrc)
    assert counting.reception.loss(0) == Loss(4, 4)
    assert counting.reception.loss(1) == Loss(0, 0)


@pytest.mark.parametrize(("late_ms", "least", "most"), [(0, 0, 0), (10, 0, 0), (40, 70, 320), (100, 500, 700)])
def test_jitter_is_what_exceeds_the_spacing_of_packets(late_ms: int, least: int, most: int) -> None:
    """Every second drain finds packets that are late by that much."""
    counting, seq = Counting(), 0
    for drain in range(200):
        due = (drain + 1) * 250 - (late_ms if drain % 2 else 0)
        packets = [packet(number) for number in range(seq, due // 20)]
        seq = due // 20
        counting.come(*packets)
    block = counting.reception.block(0)
    assert block is not None
    assert least <= block.jitter <= most


def test_a_clock_that_jumps_is_no_jitter() -> None:
    counting = Counting()
    for start in range(0, 120, 12):
        jump = 80_000_000 if start >= 60 else 0
        counting.come(*(packet(seq, time=seq * 160 + jump) for seq in range(start, start + 12)), after_ns=240_000_000)
    block = counting.reception.block(0)
    assert block is not None
    assert block.jitter == 0


def test_lines_that_lose_much_are_found_and_those_that_just_began_are_not() -> None:
    counting = Counting(lines=3)
    counting.come(*(packet(seq) for seq in range(0, 300, 2)), line=0)
    counting.come(*(packet(seq) for seq in range(300)), line=1)
    counting.come(packet(0), packet(9), line=2)
    assert counting.reception.lossy([0, 1, 2], share=0.02, least=250) == [0]


def mixed(reception: Reception, *rows: tuple[int, int, int]) -> list[int]:
    """Rows of (line, contributors, first of them)."""
    line, count, source = zip(*rows, strict=True)
    return reception.mix(np.array(line, np.int32), np.array(count, np.uint8), np.array(source, np.uint32))


def test_one_contributing_source_is_a_translator() -> None:
    counting = Counting()
    assert mixed(counting.reception, (0, 1, 50), (0, 1, 50), (1, 1, 60)) == []
    assert mixed(counting.reception, (0, 1, 50), (1, 1, 60)) == []


def test_two_contributing_sources_in_a_packet_are_a_mix_and_told_once() -> None:
    counting = Counting()
    assert mixed(counting.reception, (0, 1, 50), (0, 2, 50), (1, 1, 50)) == [0]
    assert mixed(counting.reception, (0, 15, 50)) == []
    counting.reception.begin(0, CLOCK)
    assert mixed(counting.reception, (0, 2, 50)) == [0]


def test_a_contributing_source_that_another_replaces_is_a_mix() -> None:
    counting = Counting()
    assert mixed(counting.reception, (0, 1, 50), (1, 1, 60), (1, 1, 61)) == [1]
    assert mixed(counting.reception, (0, 1, 51)) == [0]


# A second reckoning, packet by packet.


@dataclass
class Slow:
    """RFC 3550, A.1 and A.3, one packet at a time; a restart is believed at once."""

    ssrc: int = -1
    base: int = 0
    last: int = 0
    highest: int = 0
    received: int = 0
    former: Loss = Loss()
    epochs: int = 0

    def take(self, seq: int, ssrc: int) -> None:
        """One packet."""
        ahead = (seq - self.last) % 65_536
        step = ahead - 65_536 if ahead >= 32_768 else ahead
        if ssrc != self.ssrc or step > 3_000 or step < -100:
            self.former = self.total
            self.ssrc, self.base, self.last, self.highest, self.received = ssrc, seq, seq, seq, 1
            self.epochs += 1
            return
        self.last += step
        self.highest = max(self.highest, self.last)
        self.received += 1

    @property
    def total(self) -> Loss:
        """All epochs."""
        return self.former + Loss(self.highest - self.base + 1, self.received) if self.received else Loss()


PACKETS = st.lists(
    st.tuples(st.integers(0, 2), st.integers(-150, 150), st.sampled_from([1, 1, 1, 1, 2]), st.booleans()), max_size=60
)


@settings(max_examples=many(300), deadline=None)
@given(PACKETS)
def test_batches_count_what_single_packets_count(packets: list[tuple[int, int, int, bool]]) -> None:
    """(line, distance from where the line is, source, whether a drain ends here)."""
    counting, slow = Counting(lines=3), {line: Slow() for line in range(3)}
    at = dict.fromkeys(range(3), 65_500)
    waiting: dict[int, list[bytes]] = {}
    for line, distance, source, ends in packets:
        # Mostly the next packet; else anything near, over the limits of a restart too.
        at[line] += 1 if abs(distance) < 75 else 30 * distance
        waiting.setdefault(line, []).append(packet(at[line], source, time=0))
        slow[line].take(at[line] % 65_536, source)
        if ends:
            counting.drain(dict(sorted(waiting.items())))
            waiting = {}
    counting.drain(dict(sorted(waiting.items())))
    for line, one in slow.items():
        assert counting.reception.loss(line) == one.total
        assert counting.reception.epochs(line) == one.epochs
        block = counting.reception.block(line)
        assert (block is None) == (one.received == 0)
        assert block is None or (block.ssrc, block.highest) == (one.ssrc, one.highest & 0xFFFFFFFF)


# In the media plane: rows 36 and 38 of the SIPREC checklist.


def test_row_36_contributing_sources_of_a_mixer_are_a_doubt_told_once(rig: Rig) -> None:
    line, _ = rig.open_line(rig.track())
    mixer = Client()
    mixer.says(line.port, 2, csrc=(7,))
    rig.tick()
    assert rig.doubts == []
    mixer.says(line.port, 2, csrc=(7, 8))
    mixer.says(line.port, 2, csrc=(8,))
    rig.tick()
    rig.tick()
    assert rig.doubts == [(line.number, "binding.mixed", T0 + 2 * TICK_NS)]
    assert rig.media.counts.mixed == 1
    assert rig.media.counts.kept == 6


def test_row_36_a_mixer_that_names_one_speaker_after_the_other_is_a_doubt(rig: Rig) -> None:
    line, _ = rig.open_line(rig.track())
    mixer = Client()
    for speaker in (7, 7, 8):
        mixer.says(line.port, 2, csrc=(speaker,))
        mixer.says(line.port, 1)
        rig.tick()
    assert [(number, rule) for number, rule, _ in rig.doubts] == [(line.number, "binding.mixed")]


def test_row_36_a_mix_is_seen_among_rows_that_are_not_kept(rig: Rig) -> None:
    gated, (line, _) = rig.media.line(), rig.open_line(rig.track())
    mixer = Client()
    mixer.says(gated.port, 3, csrc=(7, 8))  # cut to the header: not readable, and not kept
    mixer.says(line.port, 3, csrc=(9, 10))
    rig.tick()
    assert [(number, rule) for number, rule, _ in rig.doubts] == [(line.number, "binding.mixed")]


def test_row_38_what_a_line_lost_is_known_while_it_runs_and_told_in_its_timeline(rig: Rig) -> None:
    track = rig.track()
    line, sender = rig.open_line(track)
    sender.stamped(range(40))
    sender.stamped(range(50, 60))
    rig.tick()
    assert rig.media.loss(line) == Loss(60, 50)
    rig.media.shut(line)
    assert rig.media.loss(line) == Loss()
    assert rig.media.counts.lost == 10
    other, sender = rig.open_line(track)
    sender.stamped(range(5))
    sender.stamped(range(6, 10))
    _, timeline = read_party(rig.blobs, rig.finish(track))
    assert path_of(timeline.header) == PathCounts(70, 59)
    assert rig.media.counts.lost == 11
    assert rig.media.loss(other) == Loss()


def test_row_38_a_line_that_loses_much_is_told_of_once(rig: Rig) -> None:
    (line, sender), (_, steady) = rig.open_line(rig.track()), rig.open_line(rig.track(1))
    for start in range(0, 4_000, 40):
        sender.stamped(number for number in range(start, start + 40) if number % 20)
        steady.stamped(range(start, start + 40))
        rig.tick()
    assert len(rig.losses) == 1
    number, loss = rig.losses[0]
    assert number == line.number
    assert loss.expected >= LOSS_ALARM_PACKETS
    assert 0.04 < loss.share < 0.06


def test_empty_and_unnegotiated_packets_are_not_taken_for_loss(rig: Rig) -> None:
    line, sender = rig.open_line(rig.track())
    sender.stamped(range(3))
    sender.packet(3, b"")
    sender.packet(4, b"unnegotiated", kind=97)
    sender.stamped(range(5, 8))
    rig.tick()
    sender.packet(8, b"")
    sender.stamped(range(9, 10))
    rig.tick()
    assert rig.media.loss(line) == Loss(10, 10)


def test_a_line_that_goes_into_another_track_is_counted_for_each(rig: Rig) -> None:
    first, second = rig.track(), rig.track(1)
    line, sender = rig.open_line(first)
    sender.stamped(range(10))
    rig.tick()
    rig.media.keep(line, second)
    sender.stamped(range(11, 14))
    for party, track, path in ((0, first, (10, 10)), (1, second, (3, 3))):
        _, timeline = read_party(rig.blobs, rig.finish(track))
        assert timeline.header["party"] == party
        assert path_of(timeline.header) == PathCounts(*path)


def test_a_sender_that_makes_a_run_of_each_packet_is_looked_behind_so_often_and_no_further() -> None:
    reception, count = Reception(), MAX_TURNS + 10
    runs = np.zeros(count + 2, rtp.RUN)
    runs["seq"][:count] = np.arange(count)
    runs["seq"][count - 1] = count - 2  # the last came twice, behind what is looked at
    runs["seq"][count:] = 5  # on the other line too
    runs["count"], runs["ssrc"], runs["step"] = 1, 7, 160
    runs["rtp_time"] = runs["seq"].astype(np.uint32) * 160
    for number in (1, 2):
        reception.begin(number, 8_000)
    line = np.append(np.full(count, 1, np.int32), np.full(2, 2, np.int32))
    reception.count(line, runs, T0)
    assert (reception.path(1).received, reception.path(1).duplicates) == (count, 0)
    assert reception.loss(1) == Loss(count - 1, count)
    assert reception.path(2).duplicates == 1
    following = np.zeros(1, rtp.RUN)
    following["seq"], following["count"], following["ssrc"], following["step"] = count - 1, 1, 7, 160
    following["rtp_time"] = (count - 1) * 160
    for _ in range(2):
        reception.count(np.array([1], np.int32), following, T0)
    assert reception.path(1).duplicates == 1, "a line that makes fewer runs again is looked behind again"
