"""The statement of how complete a recording is: loss, pauses and silence that was meant are told apart."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mitschnitt.wire.completeness import MAX_GAPS, Completeness, Gap, GapKind, statement
from sent_packets import CN, NOON, Path, Sent, event, keep, talk

HEADER: dict[str, Any] = {
    "codecs": {"96": ["L16", 8000], "13": ["CN", 8000], "18": ["G729", 8000], "111": ["opus", 48_000]}
}
QUIET = Path()


def said(sent: Sent, carried: Path = QUIET, **header: Any) -> Completeness:
    return statement(keep(carried.carry(sent), with_media=False).runs, HEADER | header)


def noise(at: float, seconds: float, *, every: float, seq: int) -> Sent:
    """Comfort noise (RFC 3389): a byte, now and then."""
    sent = talk(at, seconds, ptime=round(every * 1000), seq=seq, rtp_time=round(at * 8000), kind=CN)
    return replace(sent, size=np.full(sent.seq.size, 1))


def later(at: float, seconds: float, *, seq: int) -> Sent:
    """Speech of a sender whose clock ran on since 0."""
    return talk(at, seconds, seq=seq, rtp_time=round(at * 8000), index=round(at * 8000))


def iso(seconds: float) -> str:
    return str(np.datetime64(NOON // 1000 + round(seconds * 1e6), "us")) + "Z"


def test_an_unbroken_call_lacks_nothing() -> None:
    found = said(talk(0, 60, seq=65_500, rtp_time=2**32 - 800))
    assert (found.expected, found.received, found.lost, found.late, found.duplicate) == (3000, 3000, 0, 0, 0)
    assert (found.gaps, found.epochs, found.masked, found.injected) == ((), 1, 0, 0)


@pytest.mark.parametrize("loss", [0.005, 0.05])
def test_every_lost_packet_is_counted_and_its_gap_is_loss(loss: float) -> None:
    path = Path(loss=loss, jitter_ms=150, reorder=0.02, twice=0.01)
    sent = talk(0, 200, seq=65_500, rtp_time=2**32 - 800)
    came = path.carry(sent)
    found = said(sent, path)
    different = np.unique(came.seq).size
    edges = int(sent.seq[-1] - came.seq.max())  # what was lost at the very end cannot be known
    assert (found.received, found.duplicate) == (came.seq.size, came.seq.size - different)
    assert (found.expected, found.lost) == (sent.seq.size - edges, sent.seq.size - edges - different)
    assert {gap.kind for gap in found.gaps} == {GapKind.LOSS}
    lost_ms = sum(gap.to_ms - gap.from_ms for gap in found.gaps) + sum(ms for _, ms in found.more_gaps.values())
    assert lost_ms == 20 * found.lost


@pytest.mark.parametrize("seconds, kind", [(2, GapKind.DTX), (15, GapKind.HOLD), (600, GapKind.HOLD)])
def test_silence_without_a_missing_number_is_not_loss(seconds: int, kind: GapKind) -> None:
    found = said(talk(0, 10) + later(10 + seconds, 10, seq=500))
    assert found.lost == 0
    assert found.gaps == (Gap(10_000, 10_000 + seconds * 1000, kind),)


def test_silence_with_comfort_noise_is_dtx_however_long() -> None:
    found = said(talk(0, 10) + noise(10, 300, every=0.2, seq=500) + later(310, 10, seq=2000))
    assert (found.lost, found.undecoded) == (0, 0)
    assert found.gaps == (Gap(10_000, 310_000, GapKind.DTX),)


def test_a_short_frame_of_g729_is_comfort_noise() -> None:
    sent = talk(0, 10) + later(40, 10, seq=501)
    runs = keep(sent, with_media=False).runs
    sid = np.zeros(1, runs.dtype)
    sid["arrival_ns"], sid["seq"], sid["rtp_time"], sid["count"] = NOON + 10_250_000_000, 500, 80_000, 1
    sid["length"], sid["payload_type"], sid["ssrc"] = 2, 18, 1
    found = statement(np.concatenate((runs[:40], sid, runs[40:])), HEADER)
    assert found.gaps == (Gap(10_000, 40_000, GapKind.DTX),)


def test_numbers_that_are_missing_for_seconds_are_loss() -> None:
    found = said(talk(0, 10) + later(15, 10, seq=750))
    assert (found.expected, found.lost) == (1250, 250)
    assert found.gaps == (Gap(10_000, 15_000, GapKind.LOSS),)


def test_a_minute_and_more_that_is_missing_is_loss_where_number_and_time_agree() -> None:
    found = said(talk(0, 10) + later(110, 10, seq=5500))
    assert (found.lost, found.gaps) == (5000, (Gap(10_000, 110_000, GapKind.LOSS),))


def test_what_our_own_pause_left_out_is_not_lost() -> None:
    sent = talk(0, 10) + later(610, 10, seq=30_500)
    found = said(sent, pauses=[[iso(10), iso(610)]])
    assert (found.expected, found.lost) == (1000, 0)
    assert found.gaps == (Gap(10_000, 610_000, GapKind.PAUSE),)


def test_a_clock_that_stood_still_and_another_source_are_holds() -> None:
    found = said(talk(0, 10) + talk(13, 10, seq=500, rtp_time=80_000) + talk(25, 10, seq=9, ssrc=2))
    assert (found.lost, found.epochs) == (0, 3)
    assert [gap.kind for gap in found.gaps] == [GapKind.HOLD, GapKind.HOLD]


def test_a_held_key_is_masked_and_no_loss() -> None:
    found = said(talk(0, 10) + event(10, 3, seq=500, rtp_time=80_000) + later(13, 10, seq=650))
    assert (found.masked, found.lost, found.received) == (150, 0, 1150)
    assert found.gaps == (Gap(10_000, 13_000, GapKind.MASKED),)


def test_a_late_start_is_told() -> None:
    found = said(talk(4, 10), started_at=iso(0))
    assert [gap.kind for gap in found.gaps] == [GapKind.LATE_START]
    assert found.gaps[0].from_ms == pytest.approx(-4000, abs=15)
    assert said(talk(0.1, 10), started_at=iso(0)).gaps == ()


def test_a_packet_is_late_when_much_newer_ones_came_before_it() -> None:
    sent = talk(0, 10)
    at = sent.at.copy()
    at[[100, 300]] += 0.23, 0.19
    found = said(replace(sent, at=at))
    assert (found.late, found.lost, found.gaps) == (1, 0, ())


@pytest.mark.parametrize("seq", [50_000, 1000, 200])
def test_two_senders_under_one_ssrc_have_lost_what_each_of_them_lost(seq: int) -> None:
    sent = talk(0, 10) + talk(2.007, 6, seq=seq, rtp_time=1 << 31, who=2)
    found = said(sent)
    assert (found.epochs, found.lost, found.duplicate, found.expected) == (2, 0, 0, 800)
    found = said(sent.pick(~np.isin(np.arange(800), (250, 600))))
    assert (found.lost, found.expected) == (2, 800)


def test_a_sender_that_comes_back_has_not_lost_what_it_said_elsewhere() -> None:
    sent = talk(0, 10) + talk(10, 10, ssrc=2, seq=5) + later(20, 10, seq=1000)
    assert (said(sent).lost, said(sent).gaps) == (0, ())


def test_packets_that_carried_nothing_to_keep_are_not_lost() -> None:
    sent = talk(0, 10)
    found = said(sent.pick(sent.seq % 100 != 50), path={"expected": 500, "received": 500, "injected": 7})
    assert (found.lost, found.injected) == (0, 7)


def test_more_gaps_than_one_reads_are_summed() -> None:
    sent = talk(0, 100)
    found = said(sent.pick(sent.seq % 10 != 5))
    assert len(found.gaps) == MAX_GAPS
    assert found.more_gaps == {"loss": (500 - MAX_GAPS, 20 * (500 - MAX_GAPS))}


def test_what_cannot_be_decoded_is_counted_for_who_asks() -> None:
    runs = keep(talk(0, 2), with_media=False).runs
    assert statement(runs, HEADER).undecoded == 0
    assert statement(runs, HEADER, decoders={}).undecoded == 100


def test_a_party_without_a_packet_has_a_statement() -> None:
    found = statement(keep(talk(0, 0), with_media=False).runs, HEADER)
    assert (found.expected, found.received, found.gaps) == (0, 0, ())


def test_the_statement_is_plain_json() -> None:
    found = said(talk(0, 600, ppm=200) + later(610, 10, seq=30_000), Path(loss=0.01)).as_dict()
    assert json.loads(json.dumps(found)) == found
    assert found["skew_ppm"] == pytest.approx(200, abs=found["skew_error_ppm"])
    assert found["skew_corrected"] is True
    assert {kind for _, _, kind in found["gaps"]} == {"loss"}
    assert said(talk(0, 3)).as_dict()["skew_ppm"] is None
