"""The parties of a call on one axis of time, and whose timeline is none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from mitschnitt.core.call import decode_call_id
from mitschnitt.errors import Damaged
from mitschnitt.keeper.laid_out_voices import OpenedTimeline, laid_out_voices, stated
from mitschnitt.vault.artefact import PartyHeader, Report, pack_timeline
from mitschnitt.wire.rtp import RUN

NOON_NS = 1_795_435_200_000_000_000
RAW = decode_call_id("0" * 25 + "1")


def timeline(
    party: int, *, late_ms: int = 0, packets: int = 10, codec: str = "PCMA", reports: Sequence[Report] = ()
) -> bytes:
    runs = np.zeros(1 if packets else 0, RUN)
    if packets:
        arrival = NOON_NS + (late_ms + 20 * packets) * 1_000_000
        runs[0] = (arrival, 4_294_967_000, 160, 65_530, packets, 160, 8, 1, 7, 0)
    header = PartyHeader({8: (codec, 8_000)}, "2026-11-23T12:00:00Z", "2026-11-23T12:00:01Z", "ended", reports=reports)
    return pack_timeline(RAW, party, header, runs, flags=0)


def opened(*plains: bytes) -> list[OpenedTimeline]:
    roles = ("caller", "agent")
    return [OpenedTimeline(number, roles[number], "ended", plain) for number, plain in enumerate(plains)]


def test_all_count_from_the_first_packet_of_any() -> None:
    voices = laid_out_voices(opened(timeline(0, late_ms=500), timeline(1)))
    assert int(voices[1].places.folded.rows.first[0]) == 0
    assert int(voices[0].places.folded.rows.first[0]) == 500_000_000
    assert voices[0].places.end_ns == 700_000_000


def test_where_reports_tell_of_one_clock_it_says_how_the_parties_lie() -> None:
    reports = [
        Report(NOON_NS + 300_000_000, 7, NOON_NS, 4_294_967_000)
    ]  # both spoke at noon; the caller's way is longer
    late = timeline(0, late_ms=50, reports=reports)
    voices = laid_out_voices(opened(late, timeline(1, reports=reports)))
    assert [int(voice.places.folded.rows.first[0]) for voice in voices.values()] == [0, 0]
    voices = laid_out_voices(opened(late, timeline(1)))
    assert int(voices[0].places.folded.rows.first[0]) == 50_000_000


def test_what_one_party_needed_longer_on_its_way_is_taken_out_where_reports_show_it() -> None:
    came = [Report(NOON_NS, 7, NOON_NS, 4_294_967_000), Report(NOON_NS, 7, NOON_NS - 60_000_000, 4_294_967_000)]
    voices = laid_out_voices(opened(timeline(0, reports=came[:1]), timeline(1, late_ms=500, reports=came[1:])))
    assert int(voices[0].places.folded.rows.first[0]) == 0
    assert int(voices[1].places.folded.rows.first[0]) == 500_000_000
    near = laid_out_voices(opened(timeline(0, reports=came[:1]), timeline(1, late_ms=60, reports=came[:1])))
    assert int(near[1].places.folded.rows.first[0]) == 0


def test_a_voice_tells_its_codings_and_a_statement_what_became_of_its_packets() -> None:
    (one,) = opened(timeline(0, codec="g729"))
    (voice,) = laid_out_voices([one]).values()
    assert dict(voice.codecs)["G729"] == 10
    assert (voice.role, voice.reason) == ("caller", "ended")
    told = stated(one)
    assert (told["expected"], told["received"], told["lost"], told["reason"]) == (10, 10, 0, "ended")


def test_a_party_of_whom_nothing_came_moves_nobody() -> None:
    voices = laid_out_voices(opened(timeline(0, packets=0), timeline(1)))
    assert voices[0].places.end_ns == 0
    assert sum(count for _, count in voices[0].codecs) == 0
    assert int(voices[1].places.folded.rows.first[0]) == 0
    assert stated(opened(timeline(0, packets=0))[0])["received"] == 0


def test_a_call_without_parties_has_no_voices() -> None:
    assert laid_out_voices([]) == {}


@pytest.mark.parametrize("data", [b"RIFF", timeline(1)[:-1], timeline(1).replace(b"8000", b"8e99")])
def test_a_timeline_that_is_none_says_whose_it_is(data: bytes) -> None:
    broken = opened(timeline(0), data)
    with pytest.raises(Damaged, match=r"timeline of party 1 \(agent\)"):
        laid_out_voices(broken)
    with pytest.raises(Damaged, match=r"timeline of party 1 \(agent\)"):
        stated(broken[1])
