"""When the wall clock is trusted with days: against monotonic time, and against what was seen before."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from mitschnitt.keeper.time_watch import AHEAD, BACK, MAX_ABSENCE, MAX_JUMP, TimeWatch

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


class Clocks:
    def __init__(self, seen: datetime | None = None) -> None:
        self.wall, self.seconds = NOON, 100.0
        self.watch = TimeWatch(seen, lambda: self.seconds)

    def wait(self, how_long: timedelta) -> str:
        self.wall += how_long
        self.seconds += how_long.total_seconds()
        return self.watch.look(self.wall)

    def jump(self, by: timedelta) -> str:
        self.wall += by
        return self.watch.look(self.wall)


def test_a_clock_that_goes_on_is_trusted() -> None:
    clocks = Clocks()
    assert {clocks.wait(timedelta(hours=1)) for _ in range(100)} == {""}


@pytest.mark.parametrize(
    "by, rule",
    [
        (MAX_JUMP, ""),
        (-MAX_JUMP, ""),
        (MAX_JUMP + SECOND, AHEAD),
        (-MAX_JUMP - SECOND, BACK),
        (timedelta(hours=-1), BACK),
        (timedelta(days=30), AHEAD),
    ],
)
def test_a_jump_of_more_than_five_minutes_is_not(by: timedelta, rule: str) -> None:
    clocks = Clocks()
    clocks.wait(timedelta(0))
    assert clocks.jump(by) == rule


def test_it_is_trusted_again_when_it_comes_back_and_not_because_it_stays_away() -> None:
    clocks = Clocks()
    clocks.wait(timedelta(0))
    clocks.jump(timedelta(hours=-1))
    assert {clocks.wait(timedelta(minutes=20)) for _ in range(10)} == {BACK}
    assert clocks.jump(timedelta(hours=1)) == ""


def test_slow_drift_is_no_jump_however_long_it_goes_on() -> None:
    clocks = Clocks()
    clocks.wait(timedelta(0))
    for _ in range(100):
        clocks.wait(timedelta(hours=1))
        assert clocks.jump(timedelta(minutes=1)) == ""


@pytest.mark.parametrize(
    "off, rule",
    [
        (timedelta(0), ""),
        (timedelta(days=3), ""),
        (MAX_ABSENCE, ""),
        (MAX_ABSENCE + SECOND, AHEAD),
        (timedelta(hours=-1), BACK),
    ],
)
def test_after_a_start_it_is_held_against_what_was_seen_before(off: timedelta, rule: str) -> None:
    assert Clocks(seen=NOON - off).wait(timedelta(0)) == rule


def test_a_clock_that_was_behind_at_the_start_is_trusted_when_it_is_right() -> None:
    clocks = Clocks(seen=NOON + timedelta(hours=1))
    assert clocks.wait(timedelta(0)) == BACK
    assert clocks.jump(timedelta(hours=1)) == ""


@pytest.mark.parametrize(
    "first, second, rule",
    [
        (None, timedelta(0), ""),
        (None, timedelta(hours=1), BACK),
        (None, timedelta(days=-30), AHEAD),
        (timedelta(days=-30), timedelta(0), ""),
        (timedelta(0), timedelta(days=-30), ""),
        (timedelta(hours=1), timedelta(0), BACK),
    ],
)
@pytest.mark.parametrize("looked", [False, True])
def test_of_several_notes_the_newest_counts_also_after_a_first_look(
    first: timedelta | None, second: timedelta, rule: str, looked: bool
) -> None:
    clocks = Clocks(seen=None if first is None else NOON + first)
    if looked:
        clocks.wait(timedelta(0))
    clocks.watch.remember(NOON + second)
    assert clocks.wait(timedelta(0)) == rule


def test_a_further_note_that_fits_leaves_the_clock_held_against_monotonic_time() -> None:
    clocks = Clocks()
    clocks.wait(timedelta(0))
    clocks.watch.remember(NOON - timedelta(days=1))
    assert clocks.jump(timedelta(hours=1)) == AHEAD


def test_somebody_who_says_so_makes_it_right() -> None:
    clocks = Clocks(seen=NOON - timedelta(days=90))
    assert clocks.wait(timedelta(0)) == AHEAD
    clocks.watch.confirm(clocks.wall)
    assert clocks.wait(timedelta(hours=1)) == ""
    assert clocks.jump(timedelta(hours=1)) == AHEAD
