"""A recorder that drains: it is over when nothing runs and all is written, or when the time is up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from mitschnitt.recorder.calls import Calls
from mitschnitt.recorder.drain import Drain


@dataclass
class PlayedCalls:
    """So many run."""

    running: int = 0
    is_draining: bool = False

    @property
    def is_idle(self) -> bool:
        return not self.running

    def drain(self) -> None:
        self.is_draining = True


@dataclass
class Clock:
    seconds: float = 100.0

    def __call__(self) -> float:
        return self.seconds


def stage(running: int) -> tuple[Drain, PlayedCalls, Clock]:
    calls, clock = PlayedCalls(running), Clock()
    return Drain(cast(Calls, calls), clock), calls, clock


def test_an_idle_recorder_that_does_not_drain_goes_on() -> None:
    drain, _, _ = stage(0)
    assert not drain.look()
    assert not drain.over.is_set()


def test_it_is_over_when_the_last_call_has_ended() -> None:
    drain, calls, _ = stage(2)
    drain.begin(900)
    assert calls.is_draining
    assert drain.look()
    calls.running = 1
    assert drain.look()
    assert not drain.over.is_set()
    calls.running = 0
    assert drain.look()
    assert drain.over.is_set()


def test_it_is_over_when_the_time_is_up_whatever_runs() -> None:
    drain, _, clock = stage(1)
    drain.begin(900)
    clock.seconds += 899
    drain.look()
    assert not drain.over.is_set()
    assert drain.left_s == 1
    clock.seconds += 1
    drain.look()
    assert drain.over.is_set()


def test_said_again_it_can_only_become_shorter() -> None:
    drain, _, _ = stage(1)
    drain.begin(60)
    drain.begin(900)
    assert drain.left_s == 60
    drain.begin(0)
    drain.look()
    assert drain.over.is_set()
