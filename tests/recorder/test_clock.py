"""Jumps of the system clock, with both clocks in the test's hands."""

from __future__ import annotations

from datetime import UTC, datetime

from mitschnitt.recorder.clock import MAX_JUMP_NS, STEADY_NS, SteadyClock, moment, nanoseconds, rfc3339

START = 1_790_000_000_000_000_000


class Hands:
    """Two clocks that the test turns."""

    def __init__(self) -> None:
        self.wall = START
        self.mono = 5_000_000_000

    def run(self, nanoseconds: int, *, wall_extra: int = 0) -> None:
        self.mono += nanoseconds
        self.wall += nanoseconds + wall_extra


def _clock() -> tuple[Hands, SteadyClock]:
    hands = Hands()
    return hands, SteadyClock(lambda: hands.wall, lambda: hands.mono)


def test_time_goes_on_by_the_monotonic_clock_when_the_wall_clock_jumps() -> None:
    hands, clock = _clock()
    hands.run(1_000_000_000, wall_extra=3_600_000_000_000)
    clock.check()
    assert clock.now_ns() == START + 1_000_000_000
    assert not clock.steady
    assert clock.jumps == 1


def test_a_minute_of_even_running_makes_the_new_time_the_time() -> None:
    hands, clock = _clock()
    hands.run(0, wall_extra=10 * MAX_JUMP_NS)
    clock.check()
    hands.run(STEADY_NS - 1)
    clock.check()
    assert not clock.steady
    hands.run(1)
    clock.check()
    assert clock.steady
    assert clock.now_ns() == hands.wall


def test_a_second_jump_starts_the_minute_anew() -> None:
    hands, clock = _clock()
    hands.run(0, wall_extra=10 * MAX_JUMP_NS)
    clock.check()
    hands.run(STEADY_NS // 2, wall_extra=10 * MAX_JUMP_NS)
    clock.check()
    hands.run(STEADY_NS // 2)
    clock.check()
    assert not clock.steady
    assert clock.jumps == 2


def test_small_corrections_are_followed_and_time_never_runs_backwards() -> None:
    hands, clock = _clock()
    before = clock.now_ns()
    hands.run(1_000, wall_extra=-MAX_JUMP_NS)
    clock.check()
    assert clock.steady
    assert before <= clock.now_ns() <= before + 1_000


def test_a_clock_that_was_set_back_goes_on_at_half_speed_until_it_is_right() -> None:
    hands, clock = _clock()
    hands.run(0, wall_extra=-60_000_000_000)
    clock.check()
    hands.run(STEADY_NS)
    clock.check()
    before = clock.now_ns()
    hands.run(10_000_000_000)
    assert clock.now_ns() == before + 5_000_000_000
    hands.run(120_000_000_000)
    assert clock.now_ns() == hands.wall


def test_moments_are_written_in_utc_with_microseconds() -> None:
    at = datetime(2026, 11, 23, 9, 30, 0, 250_000, tzinfo=UTC)
    assert rfc3339(at) == "2026-11-23T09:30:00.250000Z"
    assert moment(nanoseconds(at)) == at
