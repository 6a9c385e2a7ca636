"""What RTCP tells of a stream's past: its clocks for the timeline, and a name that comes late."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from media_rig import T0, Rig, read_party
from mitschnitt.vault.artefact import reports_of
from rtcp_client import Client, says_who, sender_report

SECOND = 4  # ticks


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path)
    yield rig
    rig.close()


def test_row_34_what_a_sender_reports_of_its_clocks_goes_into_the_timeline(rig: Rig) -> None:
    client, track = Client(), rig.track()
    line = rig.media.line()
    rig.media.aim(line, client.peer)
    rig.media.keep(line, track)
    came = []
    for number in range(3):
        client.says(line.port)
        ntp = (3_908_988_800 + 5 * number << 32) + (1 << 31)
        client.tells(line.port, sender_report(client.ssrc, ntp=ntp, rtp_time=40_000 * number))
        rig.tick(5 * SECOND)
        came.append((client.ssrc, 1_700_000_000_500_000_000 + 5_000_000_000 * number, 40_000 * number))
    _, timeline = read_party(rig.blobs, rig.finish(track))
    reports = reports_of(timeline.header)
    assert [report[1:] for report in reports] == came
    arrivals = [report.arrival_ns for report in reports]
    assert [later - earlier for earlier, later in pairwise(arrivals)] == [5_000_000_000] * 2
    assert T0 < arrivals[0] <= T0 + 5_000_000_000


@pytest.mark.parametrize("comes_back", [False, True], ids=["the new source stays", "the old source is back"])
def test_a_name_that_comes_after_a_pause_takes_back_what_its_source_said_before(
    rig: Rig,
    comes_back: bool,  # noqa: FBT001 - a case
) -> None:
    client, track = Client(0x51), rig.track()
    line = rig.media.line()
    rig.media.aim(line, client.peer)
    rig.media.keep(line, track)
    client.says(line.port, 3)
    client.tells(line.port, says_who(0x51, b"clara"))
    rig.tick(8)
    client.ssrc = 0x99
    client.says(line.port, 3, mark=b"STRANGER")
    rig.tick()
    since_ns = rig.now_ns
    rig.tick(40)
    rig.media.shut(line)
    fresh = rig.media.line()
    rig.media.follow(line, fresh)
    rig.media.keep(fresh, track)
    client.ssrc = 0x51 if comes_back else 0x99
    client.says(fresh.port)
    client.tells(fresh.port, says_who(0x99, b"somebody else"))
    rig.tick(8)
    assert rig.doubts == [(fresh.number, "binding.cname", since_ns)]
    rig.media.shut(fresh, since_ns=since_ns)
    media, _ = read_party(rig.blobs, rig.finish(track))
    assert b"STRANGER" not in media
    assert len(media) == 3 * 160
