"""Every sample of calls over a bad path is where it was spoken, and nothing else is heard anywhere."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from operator import add

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mitschnitt.wire import timeline
from mitschnitt.wire.codecs import Int64s, Samples
from mitschnitt.wire.timeline import Layout
from sent_packets import CODECS, DECODERS, NOON, TICK_NS, Kept, Path, Sent, heard, keep, said_in, talk

RATE = 8000
HOUR = 3600
MS = 1_000_000  # ns
MARGIN_MS = 20  # within which a sender lies whose place only arrival tells


def laid(kept: Kept) -> Layout:
    return timeline.lay_out(kept.runs, CODECS)


def played(kept: Kept, rate: int = RATE) -> Samples:
    layout = laid(kept)
    return timeline.render(layout, kept.fetch, DECODERS, 0, layout.samples(rate), rate)


def spoken_ns(sent: Sent, layout: Layout, came: Sent) -> Int64s:
    """When the first sample of each row was spoken, by our clock, ns since 1970."""
    ends = np.cumsum(came.size * 2)
    row = np.searchsorted(ends, layout.offset, side="right")
    order = np.argsort(sent.seq)
    leaves = sent.at[order][np.searchsorted(sent.seq[order], came.seq[row])]
    return NOON + np.rint(leaves * 1e9).astype(np.int64) - layout.span


# --- one sender, a bad path ---------------------------------------------------------------------------


@pytest.mark.parametrize("jitter_ms", [0, 60, 200])
@pytest.mark.parametrize("loss", [0.0, 0.005, 0.02, 0.05])
def test_losses_are_silence_where_they_belong_and_all_else_is_exact(jitter_ms: int, loss: float) -> None:
    path = Path(jitter_ms=jitter_ms, loss=loss, reorder=0.02, twice=0.01)
    came = path.carry(talk(0.1, 60, seq=65_500, rtp_time=2**32 - 800))
    found = played(keep(came))
    assert (found == heard(came, samples=found.size)).all()
    assert found.size == 60 * RATE


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 65_535),
    st.integers(0, 2**32 - 1),
    st.builds(
        Path,
        seed=st.integers(0, 2**31),
        jitter_ms=st.floats(0, 200),
        loss=st.floats(0, 0.3),
        reorder=st.floats(0, 0.3),
        twice=st.floats(0, 0.3),
    ),
    st.sampled_from([50 * MS, TICK_NS, 400 * MS]),
)
def test_no_start_no_path_and_no_drain_moves_a_sample(seq: int, rtp_time: int, path: Path, tick_ns: int) -> None:
    came = path.carry(talk(0.1, 8, seq=seq, rtp_time=rtp_time))
    found = played(keep(came, tick_ns=tick_ns))
    assert (found == heard(came, samples=found.size)).all()


def test_an_hour_with_all_its_wraps_has_every_packet_in_its_place() -> None:
    path = Path(jitter_ms=200, loss=0.02, reorder=0.02, twice=0.01)
    sent = talk(0.1, HOUR, seq=65_500, rtp_time=2**32 - 800)
    came = path.carry(sent)
    layout = laid(keep(came, with_media=False))
    assert layout.first.tolist() == (np.unique(came.index) * 125_000).tolist()
    assert layout.repeated == came.seq.size - layout.first.size
    assert not layout.is_stretched


def test_a_day_less_an_hour_at_48_khz_wraps_its_time_too() -> None:
    sent = talk(0, 23 * HOUR, ptime=60, seq=1, rtp_time=2**31, clock=48_000, kind=98).pick(np.arange(0, 1_380_000, 97))
    layout = laid(keep(sent, with_media=False))
    assert np.abs(layout.first * 48 - sent.index * 1_000_000).max() <= 48
    assert not layout.epoch.any()


# --- holds and gaps -----------------------------------------------------------------------------------

HOLDS: dict[str, Callable[[float, float], Sent]] = {
    "time ran on": lambda at, hold: talk(at + hold, 20, seq=2000, rtp_time=round((at + hold) * RATE)),
    "time stood still": lambda at, hold: talk(at + hold, 20, seq=2000, rtp_time=round(at * RATE)),
    "another source": lambda at, hold: talk(at + hold, 20, seq=5, rtp_time=77, ssrc=2),
    "the same source anew": lambda at, hold: talk(at + hold, 20, seq=50_000, rtp_time=2**31),
    "our gate was closed": lambda at, hold: talk(
        at + hold, 20, seq=2000 + round(hold * 50), rtp_time=round((at + hold) * RATE)
    ),
}


@pytest.mark.parametrize("kind", HOLDS)
@pytest.mark.parametrize("path", [Path(), Path(jitter_ms=200, reorder=0.02)], ids=["quiet", "jitter"])
def test_a_minute_with_a_hold_of_10_s_in_it_lasts_a_minute(kind: str, path: Path) -> None:
    sent = talk(0, 30, seq=500) + HOLDS[kind](30, 10)
    assert laid(keep(path.carry(sent))).duration_ns == pytest.approx(60_000 * MS, abs=MARGIN_MS * MS)


@pytest.mark.thorough
@pytest.mark.parametrize("kind", HOLDS)
@pytest.mark.parametrize("hold", [10, 15, 31, 600])
def test_a_minute_of_speech_and_a_hold_last_as_long_as_both(kind: str, hold: int) -> None:
    sent = talk(0, 40) + HOLDS[kind](40, hold)
    kept = keep(sent)
    layout = laid(kept)
    is_exact = kind in ("time ran on", "our gate was closed")
    assert layout.duration_ns == pytest.approx((60 + hold) * 1000 * MS, abs=0 if is_exact else MARGIN_MS * MS)
    found = played(kept)
    begin = int(layout.first[2000]) * RATE // 10**9
    assert (found[: 40 * RATE] == said_in(sent)[: 40 * RATE]).all()
    assert not found[40 * RATE : begin].any()
    assert (found[begin:] == said_in(sent)[40 * RATE :]).all()


# --- senders that change ------------------------------------------------------------------------------


def test_two_senders_at_once_are_both_heard() -> None:
    first, second = talk(0, 10), talk(2.007, 6, seq=50_000, rtp_time=2**31, who=2)
    for other in (second, talk(2.007, 6, seq=5, rtp_time=77, ssrc=2, who=2)):
        sent = first + other
        kept = keep(sent.pick(np.argsort(sent.at, kind="stable")))
        layout = laid(kept)
        begin = int(layout.first[layout.epoch == 1][0]) * RATE // 10**9
        both = said_in(first).astype(np.int64)
        both[begin : begin + 6 * RATE] += said_in(other)
        assert begin == pytest.approx(2.007 * RATE, abs=MARGIN_MS * 8)
        assert (played(kept) == np.clip(both, -32768, 32767)).all()


def test_stale_packets_before_a_call_do_not_move_it() -> None:
    sent = talk(0, 0.4, seq=777, rtp_time=999_999, ssrc=9, who=9) + talk(0.1, 10)
    layout = laid(keep(sent.pick(np.argsort(sent.at, kind="stable"))))
    mine = layout.first[layout.epoch == np.argmax(np.bincount(layout.epoch))]
    assert (layout.start_ns + int(mine[0]) - NOON) / MS == pytest.approx(100, abs=MARGIN_MS)
    assert np.unique(np.diff(mine)).tolist() == [20 * MS]


def test_a_short_sender_that_came_late_does_not_move_the_long_one_behind_it() -> None:
    sent = talk(0, 0.04, seq=7, rtp_time=99, ssrc=9, who=9) + talk(0.04, 30)
    layout = laid(keep(sent))
    mine = layout.start_ns + layout.first[layout.epoch == 1]
    assert (int(mine[0]) - NOON) / MS == pytest.approx(40, abs=MARGIN_MS)
    assert int(layout.first[layout.epoch == 0][-1]) + 20 * MS <= int(mine[0]) - layout.start_ns


def test_senders_that_follow_each_other_at_once_leave_no_hole_and_cover_nothing() -> None:
    sent = reduce(add, [talk(5 * n, 5, seq=9 * n, rtp_time=77 * n, ssrc=n + 1, who=n) for n in range(6)])
    kept = keep(sent)
    found, layout, said = played(kept), laid(kept), said_in(sent)
    assert found.size == pytest.approx(30 * RATE, abs=MARGIN_MS * 8)
    for n in range(6):
        start = int(layout.first[layout.epoch == n].min()) * RATE // 10**9
        assert start == pytest.approx(5 * n * RATE, abs=MARGIN_MS * 8)
        assert (found[start : start + 5 * RATE] == said[5 * n * RATE : 5 * (n + 1) * RATE]).all()


def test_a_sender_that_numbers_and_times_anew_at_once_is_not_taken_for_copies() -> None:
    sent = talk(0, 3, seq=1, rtp_time=0) + talk(3, 3, seq=1, rtp_time=0, index=3 * RATE)
    kept = keep(sent)
    assert laid(kept).repeated == 0
    assert (played(kept)[-3 * RATE :] == said_in(sent)[3 * RATE :]).all()


# --- packets of all lengths and clocks ----------------------------------------------------------------


@pytest.mark.parametrize("ptime", [10, 20, 30, 40, 60])
@pytest.mark.parametrize("kind, clock", [(96, 8000), (97, 16_000), (98, 48_000)])
def test_packets_of_any_length_at_any_clock_are_exact(ptime: int, kind: int, clock: int) -> None:
    came = Path(jitter_ms=100, loss=0.02, reorder=0.02, twice=0.01).carry(
        talk(0.1, 12, ptime=ptime, seq=65_500, rtp_time=2**32 - 800, kind=kind, clock=clock)
    )
    found = played(keep(came), clock)
    assert (found == heard(came, samples=found.size)).all()


def test_a_call_may_change_the_length_of_its_packets_at_any_time() -> None:
    pieces, at, seq = [], 0.0, 65_500
    for ptime in (10, 60, 20, 40, 30, 10, 20):
        sample = round(at * RATE)
        pieces.append(talk(at, 1.2, ptime=ptime, seq=seq, rtp_time=2**32 - 800 + sample, index=sample))
        at, seq = at + 1.2, seq + pieces[-1].seq.size
    came = Path(jitter_ms=150, loss=0.03, reorder=0.02).carry(reduce(add, pieces))
    found = played(keep(came))
    assert (found == heard(came, samples=found.size)).all()


# --- clocks that run fast or slow ---------------------------------------------------------------------


@pytest.mark.thorough
@pytest.mark.parametrize("ppm", [50, 500])
@pytest.mark.parametrize("path", [Path(), Path(jitter_ms=200, loss=0.02, reorder=0.02)], ids=["quiet", "jitter"])
def test_after_an_hour_two_sides_are_less_than_20_ms_apart(ppm: int, path: Path) -> None:
    off = {}
    for side in (ppm, -ppm):
        sent = talk(0.1, HOUR, seq=65_500, rtp_time=2**32 - 800, ppm=side)
        came = path.carry(sent)
        layout = laid(keep(came, with_media=False))
        assert layout.skew.ppm == pytest.approx(side, abs=layout.skew.error_ppm)
        assert layout.skew.error_ppm < 6
        off[side] = (layout.start_ns + layout.first - spoken_ns(sent, layout, came)) / MS
        assert np.unique(layout.first[1:] - (layout.first + layout.span)[:-1]).min() >= 0
    everywhere = [np.percentile(off[side], (0, 100)) for side in (ppm, -ppm)]
    assert max(abs(everywhere[0][1] - everywhere[1][0]), abs(everywhere[1][1] - everywhere[0][0])) < MARGIN_MS


@pytest.mark.parametrize("ppm", [-500, 500])
def test_a_corrected_call_has_no_click_in_it(ppm: int) -> None:
    layout = laid(keep(talk(0, 600, ppm=ppm), with_media=False))
    assert layout.is_stretched
    steady = np.full(600 * RATE, 12_000, ">i2").tobytes()
    for start in (RATE, 300 * RATE):
        found = timeline.render(layout, lambda a, b: steady[a:b], DECODERS, start, start + 10 * RATE, RATE)
        assert np.abs(found.astype(np.int64) - 12_000).max() <= 12


@pytest.mark.parametrize("ppm", [-500, -100, 100, 500])
def test_in_a_short_call_skew_moves_nothing(ppm: int) -> None:
    came = Path(jitter_ms=50).carry(talk(0.1, 25, ppm=ppm))
    found = played(keep(came))
    assert (found == heard(came, samples=found.size)).all()


def test_a_hold_of_ten_minutes_at_500_ppm_is_as_long_as_it_was() -> None:
    sent = talk(0, 600, ppm=500)
    rest = talk(1200, 600, seq=30_000, rtp_time=round(1200 * RATE * 1.0005), ppm=500)
    layout = laid(keep(sent + rest, with_media=False))
    assert layout.duration_ns == pytest.approx((1200 + 600 / 1.0005) * 1e9, abs=MARGIN_MS * MS)
