"""Times within a recording that the clock leapt through: they run as the monotonic clock did."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitschnitt.recorder.clock import MAX_JUMP_NS, STEADY_NS, SteadyClock
from mitschnitt.recorder.leaps import Leap, run_on, steadied
from mitschnitt.vault.artefact import RUN, PlainSlices

SECOND = 1_000_000_000
START = 1_790_000_000 * SECOND


class Hands:
    """Two clocks that the test turns, looked at every quarter of a second as a recorder does."""

    def __init__(self) -> None:
        self.wall, self.mono = START, 5 * SECOND
        self.clock = SteadyClock(lambda: self.wall, lambda: self.mono)
        self.stamps: list[int] = []
        self.true: list[int] = []

    def run(self, seconds: int) -> None:
        for _ in range(4 * seconds):
            self.mono += SECOND // 4
            self.wall += SECOND // 4
            self.clock.check()
            self.stamps.append(self.clock.now_ns())
            self.true.append(START + self.mono - 5 * SECOND)

    def corrected(self) -> list[int]:
        found: list[int] = run_on(np.array(self.stamps, np.int64), self.clock.leaps_since(0)).tolist()
        return found


@pytest.mark.parametrize("by_seconds", [3, 3_600, 40 * 86_400, -3, -20, -3_600])
def test_row_4_a_recording_that_goes_on_through_a_jump_has_the_times_of_the_monotonic_clock(by_seconds: int) -> None:
    hands = Hands()
    hands.run(10)
    hands.wall += by_seconds * SECOND
    hands.run(STEADY_NS // SECOND + 100)
    assert hands.clock.steady
    assert [jump.by_ns for jump in hands.clock.jumped_since(0)] == [by_seconds * SECOND]
    assert max(abs(a - b) for a, b in zip(hands.corrected(), hands.true, strict=True)) <= 1_000
    assert hands.stamps == sorted(hands.stamps)


@pytest.mark.thorough
@given(st.lists(st.integers(-300, 300).filter(lambda by: abs(by) * SECOND > MAX_JUMP_NS), max_size=4))
def test_row_4_whatever_jumps_come_one_after_the_other(jumps: list[int]) -> None:
    hands = Hands()
    hands.run(2)
    for by_seconds in jumps:
        hands.wall += by_seconds * SECOND
        hands.run(STEADY_NS // SECOND + 2 * 300 + 5)
    assert len(hands.clock.leaps_since(0)) == len(jumps)
    assert max(abs(a - b) for a, b in zip(hands.corrected(), hands.true, strict=True)) <= 1_000


def test_row_4_only_what_happened_during_a_recording_concerns_it() -> None:
    hands = Hands()
    hands.wall += 60 * SECOND
    hands.run(70)
    assert len(hands.clock.leaps_since(0)) == 1
    assert hands.clock.leaps_since(hands.clock.now_ns()) == []
    assert hands.clock.jumped_since(hands.clock.now_ns()) == []


def test_the_slices_of_a_recording_keep_everything_but_their_times() -> None:
    runs = np.zeros(2, RUN)
    runs["arrival_ns"] = [START, START + 3_600 * SECOND + 5]
    runs["seq"] = [7, 8]
    piece = PlainSlices(1, runs, b"payload")
    (steady,) = steadied([piece], [Leap(START, 3_600 * SECOND)])
    assert steady.runs["arrival_ns"].tolist() == [START, START + 5]
    assert steady.runs["seq"].tolist() == [7, 8]
    assert (steady.flags, steady.payload) == (1, b"payload")
    assert runs["arrival_ns"][1] == START + 3_600 * SECOND + 5
