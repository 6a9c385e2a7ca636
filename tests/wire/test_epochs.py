"""A clock that stood still or was moved on begins an epoch; jitter, stalls and silences do not."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from mitschnitt.wire.epochs import split

MS = 1_000_000
TICK = 250 * MS


def epochs_of(sent_ms: NDArray[np.int64], time_ms: NDArray[np.int64], *, tick: int = TICK) -> list[int]:
    """Epochs of packets that were complete at `sent_ms` of our clock, and say `time_ms` by their own."""
    arrival = -(-sent_ms * MS // tick) * tick
    order = np.argsort(arrival, kind="stable")
    arrival, time = arrival[order], time_ms[order] * MS
    return [int(one) for one in split(np.zeros(time.size, np.int64), arrival, arrival - time, time)]


def evenly(count: int, *, start_ms: int = 0) -> NDArray[np.int64]:
    return np.arange(1, count + 1) * 20 + start_ms


@pytest.mark.parametrize("stop_ms", [400, 700, 1500, 4000])
def test_a_clock_that_stood_still_begins_anew_with_the_first_packet_behind_the_pause(stop_ms: int) -> None:
    sent = np.concatenate((evenly(400), evenly(400, start_ms=8000 + stop_ms)))
    assert epochs_of(sent, evenly(800)) == [0] * 400 + [1] * 400


@pytest.mark.parametrize("pause_ms", [400, 4000, 31_000, 600_000])
def test_a_clock_that_ran_on_goes_on(pause_ms: int) -> None:
    sent = np.concatenate((evenly(400), evenly(400, start_ms=8000 + pause_ms)))
    assert set(epochs_of(sent, sent)) == {0}


def test_a_long_silence_of_a_clock_that_runs_slow_is_no_step() -> None:
    sent = np.concatenate((evenly(400), evenly(400, start_ms=608_000)))
    assert set(epochs_of(sent, sent - sent // 2000)) == {0}


def test_a_clock_that_was_moved_on_begins_anew() -> None:
    time = np.concatenate((evenly(400), evenly(400, start_ms=11_000)))
    assert epochs_of(evenly(800), time) == [0] * 400 + [1] * 400


@pytest.mark.parametrize("tick_ms", [50, 250, 2000, 4000])
def test_however_long_a_drain_waits_nothing_begins_anew(tick_ms: int) -> None:
    assert set(epochs_of(evenly(1000), evenly(1000), tick=tick_ms * MS)) == {0}


@pytest.mark.parametrize("seed", range(5))
def test_jitter_and_speech_in_spurts_begin_nothing(seed: int) -> None:
    luck = np.random.default_rng(seed)
    spurts = np.cumsum(luck.integers(1, 4, 3000) * luck.choice([1, 1, 1, 1, 1, 20], 3000)) * 20
    assert set(epochs_of(spurts + luck.integers(0, 200, 3000), spurts)) == {0}


def test_a_burst_behind_a_stall_of_the_path_begins_nothing() -> None:
    sent = evenly(1000)
    stalled = np.where((sent > 6000) & (sent <= 7500), 7500, sent)
    assert set(epochs_of(stalled, sent)) == {0}


def test_a_path_that_becomes_quicker_begins_nothing() -> None:
    sent = evenly(1000)
    assert set(epochs_of(np.maximum.accumulate(np.where(sent < 5000, sent + 600, sent)), sent)) == {0}


def test_the_last_packet_of_all_may_be_late() -> None:
    sent = evenly(500)
    sent[-1] += 290
    assert set(epochs_of(sent, evenly(500))) == {0}


def test_a_copy_that_comes_long_after_everything_begins_nothing() -> None:
    sent = np.append(evenly(500), 10_000 + 1300)
    assert set(epochs_of(sent, np.append(evenly(500), 9_980))) == {0}


def test_nothing_has_no_epoch() -> None:
    none = np.zeros(0, np.int64)
    assert split(none, none, none, none).size == 0


def test_each_clock_has_epochs_of_its_own() -> None:
    time = np.repeat(evenly(100), 2) * MS
    arrival = -(-time // TICK) * TICK
    found = split(np.tile([0, 1], 100), arrival, arrival - time, time)
    assert found.tolist() == [0, 1] * 100
