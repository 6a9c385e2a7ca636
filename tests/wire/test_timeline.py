"""Runs and payload bytes become samples at the right place; what was not kept becomes exact silence.

Vectors: tests/vectors/timeline, written by tests/second/make_timeline_vectors.py.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mitschnitt.errors import MalformedPacket, TooLarge
from mitschnitt.gateways.decoders import decoders
from mitschnitt.wire import g711, timeline
from mitschnitt.wire.codecs import codings
from mitschnitt.wire.completeness import statement
from mitschnitt.wire.rtp import RUN
from mitschnitt.wire.timeline import Layout, Samples
from rtp_files import VECTORS

DECODERS = decoders(("PCMA", "PCMU"))
CODECS = {8: ("PCMA", 8000), 0: ("PCMU", 8000), 18: ("G729", 8000)}
NOON = 1_795_435_200_000_000_000  # ns; some wall clock
PACKET = 160  # bytes and samples: 20 ms of G.711
SECOND = 8000  # samples


CASES: dict[str, dict[str, Any]] = json.loads((VECTORS / "timeline/cases.json").read_text())
MS = 1_000_000  # ns


def of_case(name: str) -> Layout:
    runs = timeline.parse_runs((VECTORS / f"timeline/{name}.bin").read_bytes())
    return timeline.lay_out(runs, codings(CASES[name]["codecs"], {}))


@pytest.mark.parametrize("name", CASES)
def test_every_packet_of_a_vector_lies_where_it_was_spoken(name: str) -> None:
    expected, layout = CASES[name], of_case(name)
    order = np.argsort(layout.offset, kind="stable")
    places = np.array(sorted(expected["places"], key=lambda place: place[2])) * [MS, MS, 1]
    assert layout.offset[order].tolist() == places[:, 2].tolist()
    moved = layout.first[order] - places[:, 0]
    assert int(np.ptp(moved)) <= expected["off"] * MS
    assert layout.span[order].tolist() == pytest.approx(places[:, 1].tolist(), abs=expected["off"] * MS)
    assert layout.repeated == expected["twice"]
    assert np.unique(layout.epoch).size == expected["epochs"]
    for epoch in np.unique(layout.epoch):  # within one clock, nothing but RTP time counts
        assert np.unique(moved[layout.epoch[order] == epoch]).size == 1


@pytest.mark.parametrize("name", CASES)
def test_a_vector_lacks_what_its_case_says(name: str) -> None:
    expected = CASES[name]
    runs = timeline.parse_runs((VECTORS / f"timeline/{name}.bin").read_bytes())
    start = of_case(name).start_ns // 1000
    pauses = [[f"{np.datetime64(start + at * 1000, 'us')}Z" for at in pause] for pause in expected["pauses"]]
    found = statement(runs, {"codecs": expected["codecs"], "pauses": pauses})
    assert found.lost == expected["lost"]
    assert found.duplicate == expected["twice"]
    assert [gap.kind.value for gap in found.gaps] == [kind for _, _, kind in expected["gaps"]]
    edges = [(gap.from_ms, gap.to_ms) for gap in found.gaps]
    for edge, (begin, end, _) in zip(edges, expected["gaps"], strict=True):
        assert edge == pytest.approx((begin, end), abs=expected["off"])


@dataclass
class Recorder:
    """Drains every `tick_ns`, as the media plane does, and writes one run per stretch of packets."""

    start_ns: int = NOON
    tick_ns: int = 250_000_000
    rows: list[tuple[int, ...]] = field(default_factory=list)
    media: bytearray = field(default_factory=bytearray)

    def heard(
        self, at: float, packets: int, *, rtp_time: int, fill: int, ssrc: int = 1, payload_type: int = 8
    ) -> Recorder:
        """`packets` of 20 ms from `at` seconds on, all payload bytes `fill`."""
        done = 0
        while done < packets:
            begin_ns = self.start_ns + round(at * 1e9) + done * 20_000_000
            drain_ns = (begin_ns // self.tick_ns + 1) * self.tick_ns
            count = min(packets - done, max(1, (drain_ns - begin_ns) // 20_000_000))
            time = (rtp_time + done * PACKET) % (1 << 32)
            self.rows.append((drain_ns, time, PACKET, done & 0xFFFF, count, PACKET, payload_type, 0, ssrc, 0))
            self.media += bytes([fill]) * (count * PACKET)
            done += count
        return self

    def layout(self) -> Layout:
        return timeline.lay_out(timeline.parse_runs(np.array(self.rows, RUN).tobytes()), CODECS)

    def fetch(self, start: int, stop: int) -> bytes:
        return bytes(self.media[start:stop])

    def samples(self) -> Samples:
        layout = self.layout()
        return timeline.render(layout, self.fetch, DECODERS, 0, layout.samples(SECOND), SECOND)


def stretches(samples: Samples) -> list[tuple[int, int]]:
    """(value, how many samples) for each stretch of equal samples."""
    edges = np.flatnonzero(np.diff(samples)) + 1
    bounds = [0, *edges.tolist(), len(samples)]
    return [(int(samples[a]), b - a) for a, b in zip(bounds, bounds[1:], strict=False)]


def level(fill: int) -> int:
    return int(g711.decode(bytes([fill]), g711.Law.PCMA)[0])


def test_runs_are_32_bytes_and_half_a_run_is_refused() -> None:
    assert RUN.itemsize == 32
    with pytest.raises(MalformedPacket, match="runs have 32 bytes each, got 33 bytes"):
        timeline.parse_runs(bytes(33))


def test_an_unbroken_minute_is_a_minute() -> None:
    assert stretches(Recorder().heard(0, 3000, rtp_time=7, fill=1).samples()) == [(level(1), 60 * SECOND)]


@pytest.mark.parametrize("hold", [0.5, 10, 31, 600])
def test_a_hold_becomes_silence_of_exact_length(hold: float) -> None:
    recorder = Recorder().heard(0, 100, rtp_time=0, fill=1)
    recorder.heard(2 + hold, 100, rtp_time=round((2 + hold) * SECOND), fill=2)
    expected = [(level(1), 2 * SECOND), (0, round(hold * SECOND)), (level(2), 2 * SECOND)]
    assert stretches(recorder.samples()) == expected


def test_rtp_time_and_sequence_wrap_without_a_seam() -> None:
    samples = Recorder().heard(0, 200, rtp_time=(1 << 32) - 800, fill=3).samples()
    assert stretches(samples) == [(level(3), 4 * SECOND)]


def test_a_packet_that_came_twice_is_played_once() -> None:
    recorder = Recorder().heard(0, 10, rtp_time=0, fill=1).heard(0.2, 10, rtp_time=1600, fill=2)
    recorder.heard(0.21, 1, rtp_time=1600, fill=9)
    layout = recorder.layout()
    assert layout.repeated == 1
    samples = timeline.render(layout, recorder.fetch, DECODERS, 0, layout.samples(SECOND), SECOND)
    assert stretches(samples) == [(level(1), 1600), (level(2), 1600)]


def test_packets_out_of_order_come_back_into_order() -> None:
    recorder = Recorder()
    for order, fill in ((1, 2), (0, 1), (3, 4), (2, 3)):
        recorder.heard(0.1, 1, rtp_time=order * PACKET, fill=fill)
    assert [value for value, _ in stretches(recorder.samples())] == [level(fill) for fill in (1, 2, 3, 4)]


def test_a_lost_packet_leaves_20_ms_of_silence() -> None:
    recorder = Recorder().heard(0, 5, rtp_time=0, fill=1).heard(0.12, 5, rtp_time=6 * PACKET, fill=1)
    assert stretches(recorder.samples()) == [(level(1), 800), (0, PACKET), (level(1), 800)]


def test_a_new_ssrc_with_a_new_clock_lies_where_it_arrived() -> None:
    recorder = Recorder().heard(0, 100, rtp_time=1_000, fill=1, ssrc=1)
    recorder.heard(5, 100, rtp_time=3_000_000_000, fill=2, ssrc=2)
    (_, first), (silence, gap), (_, second) = stretches(recorder.samples())
    assert (first, silence, second) == (2 * SECOND, 0, 2 * SECOND)
    assert gap == pytest.approx(3 * SECOND, abs=PACKET)


def test_a_new_ssrc_at_once_never_covers_the_old_ones_last_packets() -> None:
    recorder = Recorder().heard(0, 100, rtp_time=0, fill=1, ssrc=1)
    recorder.heard(1.99, 100, rtp_time=9_999, fill=2, ssrc=2)
    assert stretches(recorder.samples()) == [(level(1), 2 * SECOND), (level(2), 2 * SECOND)]


def test_the_same_ssrc_with_its_clock_set_anew_lies_where_it_arrived() -> None:
    recorder = Recorder().heard(0, 100, rtp_time=0, fill=1).heard(12, 100, rtp_time=2_000_000_000, fill=2)
    (_, first), (_, gap), (_, second) = stretches(recorder.samples())
    assert (first, second) == (2 * SECOND, 2 * SECOND)
    assert gap == pytest.approx(10 * SECOND, abs=PACKET)


def test_a_clock_that_stood_still_in_a_pause_still_leaves_the_pause() -> None:
    recorder = Recorder().heard(0, 100, rtp_time=0, fill=1).heard(32, 100, rtp_time=2 * SECOND, fill=2)
    assert stretches(recorder.samples())[1][1] == pytest.approx(30 * SECOND, abs=PACKET)


def test_a_stalled_drain_moves_nothing() -> None:
    recorder = Recorder(tick_ns=4_000_000_000).heard(0, 500, rtp_time=0, fill=1)
    assert stretches(recorder.samples()) == [(level(1), 10 * SECOND)]


def test_two_parties_line_up_by_the_wall_clock() -> None:
    caller = Recorder().heard(0.013, 500, rtp_time=5, fill=1).layout()
    agent = Recorder().heard(3.1, 500, rtp_time=777, fill=2).layout()
    agent = timeline.shifted(agent, caller.start_ns)
    assert int(agent.first[0]) == pytest.approx((3.1 - 0.013) * 1e9, abs=20_000_000)
    assert agent.duration_ns == int(agent.first[0]) + 10_000_000_000
    silence = timeline.render(agent, lambda start, stop: bytes(stop - start), DECODERS, 0, SECOND, SECOND)
    assert not silence.any()


def test_both_laws_may_follow_each_other_in_one_party() -> None:
    recorder = Recorder().heard(0, 50, rtp_time=0, fill=0, payload_type=8)
    recorder.heard(1, 50, rtp_time=SECOND, fill=0, payload_type=0)
    mu_law = int(g711.decode(b"\0", g711.Law.PCMU)[0])
    assert stretches(recorder.samples()) == [(level(0), SECOND), (mu_law, SECOND)]


def test_a_codec_that_is_not_played_is_silence_and_counted() -> None:
    recorder = Recorder().heard(0, 50, rtp_time=0, fill=1)
    recorder.heard(1, 50, rtp_time=SECOND, fill=1, payload_type=18)
    recorder.heard(2, 50, rtp_time=2 * SECOND, fill=1)
    assert recorder.layout().undecoded(DECODERS) == 50
    assert stretches(recorder.samples()) == [(level(1), SECOND), (0, SECOND), (level(1), SECOND)]


def test_a_party_without_a_packet_is_an_empty_layout() -> None:
    layout = timeline.lay_out(timeline.parse_runs(b""), CODECS)
    assert layout.samples(SECOND) == 0
    assert timeline.render(layout, lambda start, stop: b"", DECODERS, 0, 10, SECOND).tolist() == [0] * 10


def test_a_run_of_no_packets_is_nothing() -> None:
    runs = np.array([(NOON, 5, PACKET, 1, 0, PACKET, 8, 0, 1, 0)], RUN)
    assert timeline.lay_out(runs, CODECS).samples(SECOND) == 0


def test_a_key_held_for_long_is_silence_and_no_loss() -> None:
    recorder = Recorder().heard(0, 50, rtp_time=0, fill=1)
    for tick in range(5, 31):  # the same event, its RTP time standing still, for 6.5 s
        recorder.rows.append((NOON + tick * 250_000_000, SECOND, 0, 50 + tick, 12, 0, 101, 1, 1, 0))
    recorder.heard(7.5, 50, rtp_time=round(7.5 * SECOND), fill=1)
    assert recorder.layout().undecoded(DECODERS) == 0
    assert stretches(recorder.samples()) == [(level(1), SECOND), (0, round(6.5 * SECOND)), (level(1), SECOND)]


def test_a_run_whose_time_runs_backwards_is_laid_out_backwards() -> None:
    runs = np.array([(NOON, 1000, (1 << 32) - PACKET, 1, 3, PACKET, 8, 0, 1, 0)], RUN)
    layout = timeline.lay_out(runs, CODECS)
    assert layout.first.tolist() == [0, 20_000_000, 40_000_000]
    assert layout.offset.tolist() == [2 * PACKET, PACKET, 0]


def test_media_shorter_than_its_timeline_is_refused() -> None:
    recorder = Recorder().heard(0, 10, rtp_time=0, fill=1)
    layout = recorder.layout()
    with pytest.raises(MalformedPacket, match="the timeline names 1600 bytes of media, got 1599"):
        timeline.render(layout, lambda start, stop: bytes(stop - start - 1), DECODERS, 0, 1600, SECOND)


def test_a_timeline_of_more_than_a_day_is_refused() -> None:
    recorder = Recorder().heard(0, 1, rtp_time=0, fill=1).heard(90_000, 1, rtp_time=0, fill=1, ssrc=2)
    with pytest.raises(TooLarge, match="at most 86400 s are played"):
        recorder.layout()


@pytest.mark.thorough
@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 30), st.integers(0, 50)), min_size=1, max_size=8),
    st.integers(0, (1 << 32) - 1),
    st.integers(1, 5000),
)
def test_any_cut_into_blocks_gives_the_same_samples(stretch: list[tuple[int, int]], rtp_time: int, block: int) -> None:
    recorder, packets = Recorder(), 0
    for fill, (count, gap) in enumerate(stretch):
        recorder.heard(packets * 0.02, count, rtp_time=(rtp_time + packets * PACKET) % (1 << 32), fill=fill + 1)
        packets += count + gap
    layout = recorder.layout()
    whole = timeline.render(layout, recorder.fetch, DECODERS, 0, layout.samples(SECOND), SECOND)
    block = max(block, whole.size // 150)  # of any length, and not a hundred thousand of them
    blocks = [
        timeline.render(layout, recorder.fetch, DECODERS, at, min(at + block, whole.size), SECOND)
        for at in range(0, whole.size, block)
    ]
    assert whole.size == (packets - stretch[-1][1]) * PACKET
    assert (np.concatenate(blocks) == whole).all()
    assert int((whole != 0).sum()) == sum(count for count, _ in stretch) * PACKET


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=320).map(lambda data: data[: len(data) // 32 * 32]))
def test_any_bytes_as_runs_give_a_layout_or_our_own_error(data: bytes) -> None:
    runs = timeline.parse_runs(data)
    try:
        layout = timeline.lay_out(runs, CODECS, reports=[[0, 1, 2, 3]])
    except TooLarge:
        return
    assert (layout.first >= 0).all()
    assert (layout.span >= 0).all()
    said = statement(runs, {"codecs": {"8": ["PCMA", 8000]}})
    assert said.received == int(runs["count"].sum(dtype=np.int64))
    assert said.expected == said.received - said.duplicate + said.lost
