"""RTP times are told apart by the clock that they were read from, and unwrapped."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from examples import many
from mitschnitt.wire.clocks import ns_of, tell_apart, ticks_of
from mitschnitt.wire.packets import Packets, unfold
from mitschnitt.wire.rtp import RUN

MS = 1_000_000
CODECS = {8: ("PCMA", 8000), 111: ("OPUS", 48_000)}


def packets(rows: list[tuple[int, int, int, int]]) -> Packets:
    """(arrival in ms, RTP time, SSRC, payload type) of each packet."""
    runs = [(at * MS, time % 2**32, 0, number, 1, 160, kind, 0, ssrc, 0)
            for number, (at, time, ssrc, kind) in enumerate(rows)]  # fmt: skip
    return unfold(np.array(runs, RUN), CODECS)


def test_a_wrap_of_rtp_time_is_no_new_clock() -> None:
    clock, ticks = tell_apart(packets([(20, -160, 1, 8), (40, 0, 1, 8), (60, 160, 1, 8)]), 0)
    assert clock.tolist() == [0, 0, 0]
    assert np.diff(ticks).tolist() == [160, 160]


def test_two_senders_under_one_ssrc_that_alternate_are_two_clocks() -> None:
    rows = [(at, (at - 20) * 8 + (3_000_000_000 if at % 40 else 0), 1, 8) for at in range(20, 220, 20)]
    clock, ticks = tell_apart(packets(rows), 0)
    assert clock.tolist() == [0, 1] * 5
    assert np.diff(ticks[0::2]).tolist() == [320] * 4
    assert np.diff(ticks[1::2]).tolist() == [320] * 4


@pytest.mark.parametrize("apart_ms, clocks", [(4900, 1), (5100, 2), (60_000, 2), (2**32 // 8 - 5100, 2)])
def test_times_that_are_more_than_5_s_apart_are_of_two_clocks(apart_ms: int, clocks: int) -> None:
    rows = [(at, (at - 20) * 8 + (apart_ms * 8 if at % 40 else 0), 1, 8) for at in range(20, 220, 20)]
    clock, _ = tell_apart(packets(rows), 0)
    assert len(set(clock.tolist())) == clocks


def test_a_sender_that_comes_back_with_its_clock_is_the_same_clock() -> None:
    clock, _ = tell_apart(packets([(20, 160, 1, 8), (40, 99, 2, 8), (600_020, 4_800_160, 1, 8)]), 0)
    assert clock.tolist() == [0, 1, 0]


def test_another_rtp_clock_of_one_ssrc_is_another_clock() -> None:
    clock, _ = tell_apart(packets([(20, 160, 1, 8), (40, 960, 1, 111), (60, 480, 1, 8)]), 0)
    assert clock.tolist() == [0, 1, 0]


def test_no_packets_have_no_clock() -> None:
    clock, ticks = tell_apart(packets([]), 0)
    assert (clock.size, ticks.size) == (0, 0)


@pytest.mark.thorough
@settings(max_examples=many(100), deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 80_000_000), st.permutations(range(30)))
def test_no_start_and_no_order_cuts_a_clock_in_two(start: int, late_ms: int, order: list[int]) -> None:
    rows = [(late_ms + 600, start + late_ms * 8 + number * 160, 1, 8) for number in order]
    clock, ticks = tell_apart(packets([(0, start, 1, 8), *rows]), 0)
    assert set(clock.tolist()) == {0}
    assert (ticks[1:] - ticks[0]).tolist() == [late_ms * 8 + number * 160 for number in order]


@given(st.integers(0, 10**10), st.sampled_from([8000, 16_000, 44_100, 48_000]))
def test_ticks_and_ns_turn_into_each_other(ticks: int, clock: int) -> None:
    time = ns_of(np.array([ticks]), np.array([clock]))
    assert abs(int(time[0]) * clock - ticks * 10**9) <= clock // 2 + 1
    assert int(ticks_of(time + 1, np.array([clock]))[0]) == ticks
