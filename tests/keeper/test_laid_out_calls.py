"""Calls that are laid out: bounded in rows and time, forgotten when erased."""

from __future__ import annotations

import numpy as np
import pytest

from mitschnitt.keeper import laid_out_calls as module
from mitschnitt.keeper.laid_out import LaidOut
from mitschnitt.keeper.laid_out_calls import REST_SECONDS, LaidOutCalls
from mitschnitt.keeper.laid_out_voices import LaidOutVoice, Voices
from mitschnitt.wire.folded import Even, Folded
from mitschnitt.wire.layout import Layout


def voices(rows: int) -> Voices:
    places = LaidOut(0, Folded(Layout(0), np.ones(rows, np.int64), Even.of(rows)))
    return {0: LaidOutVoice("caller", "ended", places, ())}


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_call_is_found_until_it_rested_for_too_long() -> None:
    clock, one = Clock(), voices(3)
    calls = LaidOutCalls(clock)
    calls.remember("a", one)
    clock.now = REST_SECONDS
    assert calls.find("a") is one
    clock.now = 2 * REST_SECONDS
    assert calls.find("a") is one
    clock.now = 3 * REST_SECONDS + 1
    assert calls.find("a") is None


def test_an_erased_call_is_forgotten_and_no_other() -> None:
    calls = LaidOutCalls(Clock())
    calls.remember("a", voices(1))
    calls.remember("b", voices(1))
    calls.forget("a")
    calls.forget("never")
    assert calls.find("a") is None
    assert calls.find("b") is not None


def test_what_rested_longest_makes_room_and_the_newest_stays_whatever_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ROWS", 10)
    calls = LaidOutCalls(Clock())
    for name in "abc":
        calls.remember(name, voices(4))
    assert [calls.find(name) is not None for name in "abc"] == [False, True, True]
    calls.find("b")
    calls.remember("d", voices(4))
    assert [calls.find(name) is not None for name in "bcd"] == [True, False, True]
    calls.remember("e", voices(99))
    assert [calls.find(name) is not None for name in "bde"] == [False, False, True]


def test_all_that_is_remembered_takes_66_megabytes() -> None:
    one = np.zeros(1, np.int64)
    folded = Folded(Layout(0, one, one, one, one, one, one), one + 1, Even.of(1))
    columns = [value for part in (folded.rows, folded.even, folded) for value in vars(part).values()]
    row = sum(column.nbytes for column in columns if isinstance(column, np.ndarray))
    assert row * module.MAX_ROWS <= 66_000_000
