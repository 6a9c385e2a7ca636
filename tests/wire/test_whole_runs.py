"""Runs that are put in order by their first packets lie where their packets lie, whatever a stranger sends."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from examples import many
from mitschnitt.errors import TooLarge
from mitschnitt.wire.rtp import EVENT_NOT_KEPT, RUN
from mitschnitt.wire.timeline import Layout, lay_out
from mitschnitt.wire.whole_runs import sounding
from sent_packets import Path, keep, rough_paths, talk

CODECS = {8: ("PCMA", 8000), 9: ("G722", 8000), 13: ("CN", 8000), 98: ("L16", 44_100), 111: ("OPUS", 48_000)}
KINDS = st.sampled_from([8, 8, 8, 9, 13, 98, 101, 111, 111])
DRAIN_NS = 250_000_000
REPORTS = [[3 * DRAIN_NS, 1, 5 * DRAIN_NS, 8_000], [9 * DRAIN_NS, 1, 11 * DRAIN_NS, 20_000]]


def in_single_packets(runs: NDArray[Any]) -> NDArray[Any]:
    """The same packets, each in a run of its own."""
    counts = runs["count"].astype(np.int64)
    alone = np.repeat(runs, counts)
    inside = np.arange(alone.size) - np.repeat(np.cumsum(counts) - counts, counts)
    alone["seq"] = (alone["seq"].astype(np.int64) + inside) % (1 << 16)
    alone["rtp_time"] = (alone["rtp_time"].astype(np.int64) + alone["step"].astype(np.int64) * inside) % (1 << 32)
    alone["count"], alone["step"] = 1, 0
    return alone


def assert_the_same(runs: NDArray[Any], codecs: dict[int, tuple[str, int]]) -> None:
    try:
        expected = lay_out(in_single_packets(runs), codecs, reports=REPORTS)
    except TooLarge:
        return
    found = lay_out(runs, codecs, reports=REPORTS)
    for field in fields(Layout):
        assert np.array_equal(getattr(found, field.name), getattr(expected, field.name)), field.name


@st.composite
def hostile(draw: st.DrawFn) -> NDArray[Any]:
    """Runs that lie among each other, come twice, stand still, run backwards or say nothing."""
    rows: list[tuple[int, ...]] = []
    drain = 0
    for _ in range(draw(st.integers(1, 40))):
        drain += draw(st.sampled_from([0, 0, 1, 1, 1, 2, 40]))
        ahead = draw(st.sampled_from([0, 0, 0, 160, -160, 80, -2000, 60_000, 1 << 31, -drain * 2000]))
        step = draw(st.sampled_from([160, 160, 160, 320, 882, 960, 961, 80, 0, 7000, (1 << 32) - 160]))
        seq = draw(st.sampled_from([drain * 12, drain * 12 + 1, 65_530]))
        count = draw(st.sampled_from([1, 2, 3, 12, 12, 12, 30, 0 if rows else 1]))
        length = draw(st.sampled_from([160, 160, 160, 20, 0, 4000]))
        flags = draw(st.sampled_from([0, 0, 0, 0, 0, 0, 0, EVENT_NOT_KEPT]))
        time = (drain * 2000 + ahead - 1000) % (1 << 32)
        rows.append((drain * DRAIN_NS, time, step, seq, count, length, draw(KINDS), flags, draw(st.integers(1, 2)), 0))
    return np.array(rows, RUN)


@pytest.mark.thorough
@settings(max_examples=many(400), deadline=None)
@given(hostile())
def test_runs_that_a_stranger_made_lie_as_their_packets_lie_one_by_one(runs: NDArray[Any]) -> None:
    assert_the_same(runs, CODECS)


@settings(max_examples=many(40), deadline=None)
@given(
    rough_paths(),
    st.sampled_from([(8000, 0.0), (44_100, 0.0), (48_000, 0.0), (8000, 900.0), (48_000, -700.0)]),
    st.booleans(),
)
def test_minutes_of_speech_lie_as_their_packets_lie_one_by_one(
    path: Path, clock_and_ppm: tuple[int, float], bytes_tell: bool
) -> None:
    clock, ppm = clock_and_ppm
    came = path.carry(talk(0.1, 90, seq=65_500, rtp_time=2**32 - 800, clock=clock, ppm=ppm))
    runs = keep(came, with_media=False).runs
    assert_the_same(runs, {96: (f"L16/{clock}/1" if bytes_tell else "OPUS", clock)})


def test_a_quiet_call_is_looked_at_by_the_first_packets_of_its_runs() -> None:
    runs = keep(talk(0.1, 60), with_media=False).runs
    heard = sounding(runs, {96: ("L16/8000/1", 8000)})
    picked = heard.picked(heard.even(0.12))
    assert int(heard.count.sum()) == 3000
    assert picked.run.size == runs.size
    assert int(picked.count.sum()) == 3000


def test_a_run_that_is_longer_than_any_drain_is_taken_packet_by_packet() -> None:
    runs = np.array([(0, 0, 160, 0, 65_535, 160, 8, 0, 1, 0)], RUN)
    heard = sounding(runs, CODECS)
    assert not heard.even(0.12).any()
    assert heard.picked(heard.even(0.12)).run.size == 65_535
