"""Parties on one axis: by arrival, or by a clock that their reports share."""

from __future__ import annotations

import numpy as np
import pytest

from mitschnitt.wire.layout import Layout
from mitschnitt.wire.timeline import lay_out, lined_up
from sent_packets import CODECS, NOON, Path, keep, talk

MS = 1_000_000
AHEAD_NS = 2_208_988_800 * 10**9  # of the senders' clock: it counts from 1900


def party(at: float, delay_ms: float, *, reports: int = 20, ahead_ns: int = AHEAD_NS, scatter_ns: int = 0) -> Layout:
    """30 s of speech that began at `at` s and took so long to come; its sender says so in its reports."""
    sent = talk(at, 30, rtp_time=2**32 - 80_000, ssrc=5)
    came = Path(delay_ms=delay_ms).carry(sent)
    luck = np.random.default_rng(3)
    told = [
        [NOON + round((at + second + delay_ms / 1000) * 1e9), 5,
         NOON + round((at + second) * 1e9) + ahead_ns + int(luck.integers(-scatter_ns, scatter_ns + 1)),
         (2**32 - 80_000 + second * 8000) % 2**32]
        for second in range(1, reports + 1)
    ]  # fmt: skip
    return lay_out(keep(came, with_media=False).runs, CODECS, reports=told)


def apart_ms(first: Layout, second: Layout) -> float:
    """How much later the second one begins, once they are lined up."""
    one, other = lined_up([first, second])
    assert one.start_ns == other.start_ns
    return int(other.first[0] - one.first[0]) / MS


def test_without_reports_a_party_lies_as_late_as_its_way_was_long() -> None:
    assert apart_ms(party(0, 3, reports=0), party(2, 93, reports=0)) == pytest.approx(2090, abs=11)


def test_reports_of_one_clock_take_the_way_out_again() -> None:
    assert apart_ms(party(0, 3), party(2, 93)) == pytest.approx(2000, abs=1)
    assert apart_ms(party(0, 93), party(2, 3)) == pytest.approx(2000, abs=1)


def test_reports_of_two_clocks_say_nothing_together() -> None:
    assert apart_ms(party(0, 3), party(2, 3, ahead_ns=AHEAD_NS + 5 * 10**9)) == pytest.approx(2000, abs=11)


def test_one_party_without_reports_leaves_both_to_arrival() -> None:
    assert apart_ms(party(0, 3), party(2, 93, reports=0)) == pytest.approx(2090, abs=11)


def test_reports_that_contradict_themselves_are_not_believed() -> None:
    assert party(0, 3, scatter_ns=400 * MS).ahead_ns is None
    assert party(0, 3, scatter_ns=MS).ahead_ns == pytest.approx(AHEAD_NS, abs=15 * MS)


def test_reports_of_nobody_known_and_from_long_ago_are_passed_over() -> None:
    sent = keep(talk(0, 5, ssrc=5), with_media=False)
    strangers = [[NOON, 6, AHEAD_NS, 0], [NOON - 3600 * 10**9, 5, AHEAD_NS, 0]]
    assert lay_out(sent.runs, CODECS, reports=strangers).ahead_ns is None


def test_a_party_without_packets_hinders_nobody() -> None:
    empty = Layout(0)
    one, two, none = lined_up([party(1, 3, reports=0), party(2, 3, reports=0), empty])
    assert one.start_ns == two.start_ns == none.start_ns
    assert int(one.first[0]) == 0
    assert lined_up([empty]) == [empty]
