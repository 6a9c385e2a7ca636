"""One party in time: a stretch has exactly the packets that sound in it, and their bytes, however they arrived."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from examples import many
from mitschnitt.errors import Damaged, TooLarge
from mitschnitt.keeper import laid_out as module
from mitschnitt.keeper.laid_out import MAX_HOLE_BYTES, LaidOut
from mitschnitt.wire.folded import Even, Folded
from mitschnitt.wire.layout import Layout
from mitschnitt.wire.timeline import fold, lay_out
from sent_packets import Path, keep, rough_paths, talk

MS = 1_000_000


def placed(first: list[int], span: list[int], length: list[int], offset: list[int]) -> LaidOut:
    ints = [np.array(column, np.int64) for column in (first, span, length, offset)]
    zeros = np.zeros(len(first), np.int64)
    rows = Layout(0, first=ints[0], span=ints[1], length=ints[2], codec=zeros, epoch=zeros, offset=ints[3])
    return LaidOut(3, Folded(rows, zeros + 1, Even.of(len(first))))


def even(count: int = 10) -> LaidOut:
    return placed([20 * MS * n for n in range(count)], [20 * MS] * count, [4] * count, [4 * n for n in range(count)])


MEDIA = bytes(range(256)) * 2_000


def fetch(start: int, stop: int) -> bytes:
    return MEDIA[start:stop]


def test_a_stretch_has_the_packets_that_sound_in_it_and_no_other() -> None:
    found = even().stretch(fetch, 25 * MS, 60 * MS, before=0)
    assert found.party == 3
    assert found.rows["first_ns"].tolist() == [20 * MS, 40 * MS]
    assert found.payload == MEDIA[4:12]


def test_packets_before_it_are_added_as_far_as_there_are_any() -> None:
    assert even().stretch(fetch, 40 * MS, 60 * MS, before=1).rows["first_ns"].tolist() == [20 * MS, 40 * MS]
    assert even().stretch(fetch, 20 * MS, 40 * MS, before=9).rows["first_ns"].tolist() == [0, 20 * MS]


def test_silence_and_what_lies_outside_are_empty_and_fetch_nothing() -> None:
    with_gap = placed([0, 500 * MS], [20 * MS] * 2, [4, 4], [0, 4])
    for start, stop in ((20 * MS, 500 * MS), (600 * MS, 700 * MS), (10 * MS, 10 * MS)):
        found = with_gap.stretch(lambda _a, _b: b"never asked", start, stop, before=2)
        assert (found.rows.size, found.payload) == (0, b"")
    nobody = placed([], [], [], [])
    assert nobody.end_ns == 0
    assert nobody.stretch(fetch, 0, MS, before=2).rows.size == 0


def test_its_end_is_that_of_the_packet_that_ends_last() -> None:
    assert placed([0, 20 * MS], [60 * MS, 20 * MS], [1, 1], [0, 1]).end_ns == 60 * MS


def test_payload_comes_in_order_of_time_whatever_the_order_of_arrival() -> None:
    swapped = placed([0, 20 * MS, 40 * MS], [20 * MS] * 3, [2, 3, 4], [0, 6, 2])
    assert swapped.stretch(fetch, 0, 60 * MS, before=0).payload == MEDIA[0:2] + MEDIA[6:9] + MEDIA[2:6]


def test_a_large_hole_between_two_packets_is_not_read() -> None:
    asked: list[tuple[int, int]] = []

    def watched(start: int, stop: int) -> bytes:
        asked.append((start, stop))
        return MEDIA[start:stop]

    far = 5 + MAX_HOLE_BYTES + 1
    apart = placed([0, 20 * MS, 40 * MS], [20 * MS] * 3, [5, 5, 2], [0, far, far + 5])
    assert apart.stretch(watched, 0, 60 * MS, before=0).payload == MEDIA[:5] + MEDIA[far : far + 7]
    assert asked == [(0, 5), (far, far + 7)]


@pytest.mark.thorough
@given(st.data())
def test_any_layout_gives_the_bytes_of_its_packets(data: st.DataObject) -> None:
    length = data.draw(st.lists(st.integers(0, 400), min_size=1, max_size=12))
    gaps = data.draw(
        st.lists(st.sampled_from([0, 0, 7, MAX_HOLE_BYTES + 9]), min_size=len(length), max_size=len(length))
    )
    ends = np.cumsum(np.array(length) + gaps)
    offset = (ends - length).tolist()
    order = data.draw(st.permutations(range(len(length))))
    rows = placed(
        [20 * MS * n for n in range(len(length))],
        [20 * MS] * len(length),
        [length[n] for n in order],
        [offset[n] for n in order],
    )
    begin, end = sorted(data.draw(st.tuples(st.integers(0, len(length)), st.integers(0, len(length)))))
    found = rows.stretch(fetch, begin * 20 * MS, end * 20 * MS, before=0)
    assert found.payload == b"".join(MEDIA[offset[n] : offset[n] + length[n]] for n in order[begin:end])


def test_media_that_is_shorter_than_its_timeline_is_damaged() -> None:
    with pytest.raises(Damaged, match="names 40 bytes of media from 0 on, there are 3"):
        even().stretch(lambda _a, _b: b"abc", 0, 200 * MS, before=0)


def test_more_than_an_answer_holds_is_refused_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_STRETCH_BYTES", 39)
    with pytest.raises(TooLarge, match="40 bytes are wanted; at most 39"):
        even().stretch(lambda _a, _b: b"never asked", 0, 200 * MS, before=0)


@settings(max_examples=many(30), deadline=None)
@given(
    rough_paths(),
    st.sampled_from([(8_000, 0.0), (8_000, 900.0), (44_100, 0.0), (48_000, -700.0)]),
    st.data(),
)
def test_any_stretch_is_that_part_of_the_whole_layout(
    path: Path, clock_and_ppm: tuple[int, float], data: st.DataObject
) -> None:
    clock, ppm = clock_and_ppm
    came = path.carry(talk(0.1, 40, seq=65_500, rtp_time=2**32 - 800, clock=clock, ppm=ppm))
    runs, codecs = keep(came, with_media=False).runs, {96: (f"L16/{clock}/1", clock)}
    whole, places = lay_out(runs, codecs), LaidOut(0, fold(runs, codecs))
    assert places.end_ns == whole.duration_ns
    for _ in range(10):
        start, stop = data.draw(st.tuples(st.integers(0, 41_000), st.integers(0, 41_000)))
        before = data.draw(st.sampled_from([0, 1, 10, 100]))
        found = places.stretch(lambda a, b: bytes(b - a), start * MS, stop * MS, before=before)
        high = int(np.searchsorted(whole.first, stop * MS))
        sounds = np.flatnonzero(whole.first[:high] + whole.span[:high] > start * MS)
        low = max(int(sounds[0]) - before, 0) if sounds.size and start < stop else high
        assert found.rows["first_ns"].tolist() == whole.first[low:high].tolist()
        assert found.rows["span_ns"].tolist() == whole.span[low:high].tolist()
        assert len(found.payload) == int(whole.length[low:high].sum())
