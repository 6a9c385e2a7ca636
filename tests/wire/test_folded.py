"""Whatever part of a folded layout is unfolded, it is that part of the whole one, packet by packet."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from examples import many
from mitschnitt.wire.folded import Even, Folded, in_order
from mitschnitt.wire.layout import Layout
from mitschnitt.wire.rtp import RUN
from mitschnitt.wire.timeline import fold

MS = 1_000_000
HOUR_RUNS = 4 * 3600  # one a drain
COLUMNS = ("first", "span", "offset", "length", "codec", "epoch")


@st.composite
def layouts(draw: st.DrawFn) -> Folded:
    """Rows in any order, some of which lie among others, of senders whose clocks run fast, slow or right."""
    size = draw(st.integers(0, 12))
    column = st.lists(st.integers(0, 40), min_size=size, max_size=size)
    first, count, length, epoch = (np.array(draw(column), np.int64) for _ in range(4))
    step = np.array(draw(st.lists(st.sampled_from([20, 30]), min_size=size, max_size=size)), np.int64) * MS
    sounds = np.array(draw(st.lists(st.sampled_from([10, 20, 60]), min_size=size, max_size=size)), np.int64) * MS
    factor = np.array(draw(st.lists(st.sampled_from([1.0, 0.99993, 1.00051]), min_size=size, max_size=size)))
    even = Even(step, sounds, np.cumsum(step) * 1_000, factor)
    span = even.lasts(np.zeros(size, np.int64))
    codec = epoch % 2
    rows = Layout(7, first * 15 * MS, span, np.cumsum(count * length), length, codec, epoch, ("", "PCMA"))
    return Folded(rows, count + 1, even)


def columns(layout: Layout, rows: NDArray[np.int64] | slice = slice(None)) -> dict[str, list[int]]:
    return {name: getattr(layout, name)[rows].tolist() for name in COLUMNS}


@pytest.mark.thorough
@settings(max_examples=many(300))
@given(layouts(), st.data())
def test_a_part_of_the_rows_is_that_part_of_the_packets(folded: Folded, data: st.DataObject) -> None:
    low = data.draw(st.integers(0, folded.count.size))
    high = data.draw(st.integers(low, folded.count.size))
    begin, end = int(folded.count[:low].sum()), int(folded.count[:high].sum())
    assert columns(folded.unfolded(low, high)) == columns(folded.unfolded(), slice(begin, end))


@settings(max_examples=many(300))
@given(layouts())
def test_order_by_rows_is_the_order_of_packets(folded: Folded) -> None:
    whole, found = folded.unfolded(), in_order(folded)
    assert columns(found.unfolded()) == columns(whole, np.argsort(whole.first, kind="stable"))
    assert (found.rows.first[1:] >= found.last()[:-1]).all()
    assert found.packets() == np.bincount(whole.codec, minlength=2).tolist()


def test_packets_of_a_clock_that_runs_fast_lie_closer_and_each_to_the_ns() -> None:
    told = np.arange(50) * 20 * MS + 3_600_000 * MS
    one = np.ones(1, np.int64)
    even = Even(20 * MS * one, 20 * MS * one, told[:1], np.array([0.9997]))
    rows = Layout(0, 5 * one, 7 * one, 0 * one, 160 * one, 0 * one, 0 * one, ("PCMA",))
    found = Folded(rows, 50 * one, even).unfolded()
    ours = np.rint(told * 0.9997).astype(np.int64)
    assert np.array_equal(found.first, ours - ours[0] + 5)
    assert np.array_equal(found.first[1:-1] + found.span[1:-1], found.first[2:])
    assert found.offset.tolist() == list(range(0, 50 * 160, 160))


def test_nothing_unfolds_to_nothing() -> None:
    nothing = Folded(Layout(5, codecs=("", "PCMA")), np.zeros(0, np.int64), Even.of(0))
    assert (nothing.duration_ns, nothing.packets(), nothing.unfolded().first.size) == (0, [0, 0], 0)
    assert in_order(nothing) is nothing


def hour(*, fast_ppm: int = 0) -> NDArray[np.void]:
    """One run a drain, 12 or 13 packets of 20 ms each."""
    runs = np.zeros(HOUR_RUNS, RUN)
    number = np.arange(HOUR_RUNS, dtype=np.int64) * 25 // 2
    runs["count"] = np.diff(number, append=HOUR_RUNS * 25 // 2)
    drain = (np.arange(HOUR_RUNS, dtype=np.int64) + 2) * 250 * MS
    runs["arrival_ns"] = drain - drain * fast_ppm // 1_000_000
    runs["seq"], runs["rtp_time"] = number % (1 << 16), number * 160
    runs["step"], runs["length"], runs["payload_type"], runs["ssrc"] = 160, 160, 8, 1
    return runs


def test_an_hour_takes_as_many_rows_as_runs_whether_its_clock_runs_right_or_fast() -> None:
    for ppm, is_corrected in ((0, False), (200, True)):
        folded = fold(hour(fast_ppm=ppm), {8: ("PCMA", 8000)})
        assert folded.rows.skew.is_corrected == is_corrected
        assert folded.count.size == HOUR_RUNS
        assert int(folded.count.sum()) == folded.unfolded().first.size == HOUR_RUNS * 25 // 2


def test_every_column_of_rows_has_one_entry_for_each() -> None:
    folded = fold(hour(), {8: ("PCMA", 8000)})
    assert {getattr(folded.even, field.name).size for field in fields(Even)} == {HOUR_RUNS}
    assert {getattr(folded.rows, name).size for name in COLUMNS} == {HOUR_RUNS}
