"""Packets that came late or twice, against a reckoning packet by packet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from examples import many
from media_rig import Rig, read_party
from mitschnitt.recorder.reception import LATE_MS
from mitschnitt.vault.artefact import PathCounts, path_of
from recorder.test_reception import Counting, packet

LATE_PACKETS = LATE_MS // 20


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path)
    yield rig
    rig.close()


def counted(*drains: list[int]) -> tuple[int, int]:
    """(late, duplicates) of one line that gets these sequence numbers."""
    counting = Counting(lines=1)
    for numbers in drains:
        counting.come(*(packet(number) for number in numbers))
    path = counting.reception.path(0)
    assert path.received == sum(map(len, drains))
    return path.late, path.duplicates


@pytest.mark.parametrize("again", [99, 90, 99 - 63])
def test_a_packet_that_came_before_is_a_duplicate_within_a_drain_and_across(again: int) -> None:
    assert counted([*range(100), again]) == (0, 1)
    assert counted(list(range(100)), [again]) == (0, 1)
    assert counted(list(range(50)), list(range(50, 100)), [again, again, 100]) == (0, 2)


def test_a_whole_drain_that_comes_twice_is_as_many_duplicates() -> None:
    assert counted(list(range(12)), list(range(12)), list(range(12, 24))) == (0, 12)


def test_what_overlaps_with_what_came_counts_for_its_old_part() -> None:
    assert counted(list(range(12)), list(range(8, 20))) == (0, 4)


@pytest.mark.parametrize(("behind", "late"), [(1, 0), (LATE_PACKETS, 0), (LATE_PACKETS + 1, 1), (63, 1), (99, 1)])
def test_what_fills_a_gap_later_than_a_listener_would_wait_is_late(behind: int, late: int) -> None:
    start = [number for number in range(100, 200) if number != 199 - behind]
    assert counted(start, [199 - behind]) == (late, 0)
    assert counted([*start, 199 - behind]) == (late, 0)


def test_of_a_stretch_that_fills_a_gap_only_the_old_part_is_late() -> None:
    assert counted([0, *range(21, 30)], list(range(1, 30))) == (29 - LATE_PACKETS - 1 - 0, 9)


def test_the_wrap_of_the_sequence_is_no_lateness() -> None:
    assert counted(list(range(65_500, 65_536)), list(range(65_536, 65_560)), [65_530]) == (0, 1)


def test_a_new_epoch_knows_nothing_of_the_one_before() -> None:
    counting = Counting(lines=1)
    counting.come(*(packet(number) for number in range(20)))
    counting.come(*(packet(number, ssrc=8) for number in range(20)))
    counting.come(packet(30_000, ssrc=8), packet(30_001, ssrc=8), packet(30_000, ssrc=8))
    assert counting.reception.path(0) == PathCounts(42, 43, 0, 1)


@dataclass
class Slow:
    """One packet at a time."""

    ssrc: int = -1
    last: int = 0
    top: int = 0
    seen: set[int] = field(default_factory=set)
    late: int = 0
    duplicates: int = 0

    def take(self, seq: int, ssrc: int) -> None:
        """One packet of 20 ms."""
        ahead = (seq - self.last) % 65_536
        step = ahead - 65_536 if ahead >= 32_768 else ahead
        if ssrc != self.ssrc or step > 3_000 or step < -100:
            self.ssrc, self.last, self.top, self.seen = ssrc, seq, seq, {seq}
            return
        self.last += step
        if self.last in self.seen and self.top - self.last < 64:
            self.duplicates += 1
        elif self.top - self.last > LATE_PACKETS:
            self.late += 1
        self.seen.add(self.last)
        self.top = max(self.top, self.last)


PACKETS = st.lists(
    st.tuples(
        st.integers(0, 2), st.sampled_from([1, 1, 1, 1, 0, 2, -1, -3, -11, -12, 20, -30, 64, -64, -70, 150, -150]),
        st.sampled_from([1, 1, 1, 1, 1, 1, 2]), st.integers(0, 3).map(lambda number: number == 0),
    ),
    max_size=120,
)  # fmt: skip


@settings(max_examples=many(400), deadline=None)
@given(PACKETS, st.integers(0, 65_535))
def test_batches_find_what_single_packets_find(packets: list[tuple[int, int, int, bool]], start: int) -> None:
    """(line, distance from the packet before, source, whether a drain ends here)."""
    counting, slow = Counting(lines=3), {line: Slow() for line in range(3)}
    at = dict.fromkeys(range(3), start + 65_536)
    waiting: dict[int, list[bytes]] = {}
    for line, distance, source, ends in packets:
        at[line] += distance
        waiting.setdefault(line, []).append(packet(at[line], source))
        slow[line].take(at[line] % 65_536, source)
        if ends:
            counting.drain(dict(sorted(waiting.items())))
            waiting = {}
    counting.drain(dict(sorted(waiting.items())))
    for line, one in slow.items():
        path = counting.reception.path(line)
        assert (path.late, path.duplicates) == (one.late, one.duplicates)


def test_late_packets_and_duplicates_are_told_in_the_timeline(rig: Rig) -> None:
    track = rig.track()
    _, sender = rig.open_line(track)
    sender.stamped([0, 1, *range(3, 20), 19])
    rig.tick()
    sender.stamped([2, 20])
    rig.tick()
    _, timeline = read_party(rig.blobs, rig.finish(track))
    assert path_of(timeline.header) == PathCounts(21, 22, late=1, duplicates=1)
    assert (rig.media.counts.late, rig.media.counts.duplicates) == (1, 1)
