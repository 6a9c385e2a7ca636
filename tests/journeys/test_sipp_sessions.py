"""Recording sessions of every shape: more lines than voices, a transfer, early media, and IPv6 from end to end."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from journeys.ivr import YES
from journeys.sipp_centre import Centre, running_centre
from journeys.sipp_run import SCENARIOS, sipp_path
from journeys.speaker import ports_told, speaking
from journeys.voices import Voices, heard

pytestmark = [pytest.mark.journey, pytest.mark.timeout(180)]

TRANSPORTS = ["UDP", "TCP"]
TALK_PACKETS = 75  # a second and a half
LINE = (
    "m=audio {port} RTP/AVP 8 101\nc=IN IP[media_ip_type] [media_ip]\na=label:{label}\na=rtpmap:8 PCMA/8000\n"
    "a=rtpmap:101 telephone-event/8000\na=fmtp:101 0-15\na=sendonly\na=ptime:20\n"
)


@pytest.fixture(scope="module")
def centre(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Centre]:
    """One site for the whole file; skips before it is made when there is no sipp."""
    sipp_path()
    with running_centre(tmp_path_factory.mktemp("site")) as running:
        yield running


def has_ipv6() -> bool:
    """Whether this machine has ::1."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def test_every_session_is_run() -> None:
    assert {path.stem for path in (SCENARIOS / "sessions").glob("*.xml")} == {"many_lines", "transferred"}


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("count", [3, 8])
def test_each_audio_line_is_answered_and_video_refused_and_a_line_of_nobody_keeps_shut(
    count: int, transport: str, centre: Centre, tmp_path: Path
) -> None:
    ringing = centre.ivr.announce()
    centre.ivr.press(ringing, YES)
    told = "".join(
        f'<?part told_line label="{label}" address="0\\.0\\.0\\.0" direction="inactive"?>' for label in range(count)
    )
    lines = "".join(LINE.format(port=31_002 + 2 * label, label=label) for label in range(count))
    run = centre.dial("sessions/many_lines", transport, tmp_path, ringing, given={"lines": lines, "told": told})
    run.finish()
    assert centre.site.wait_outcome(ringing.call) == "not_kept"
    assert centre.site.rule(ringing.call).startswith("binding.")


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_transfer_to_somebody_whom_nobody_asked_closes_the_call(
    transport: str, centre: Centre, tmp_path: Path
) -> None:
    ringing = centre.ivr.announce()
    given = {"who": "third", "aor": "sip:+49305550042@carrier.example.org;user=phone", "name": "Tarek Haddad"}
    run = centre.dial("sessions/transferred", transport, tmp_path, ringing, given=given)
    run.wait_for("ACK sip:")
    centre.ivr.press(ringing, YES)
    run.finish()
    assert [one.direction for one in run.told()] == ["inactive", "recvonly", "inactive"]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_row_12_media_that_is_early_is_kept_from_the_yes_on_and_not_before(
    transport: str, centre: Centre, tmp_path: Path
) -> None:
    ringing = centre.ivr.announce()
    with Voices() as voices:
        run = centre.dial("early", transport, tmp_path, ringing, given=voices.given, text=early())
        run.wait_for("ACK sip:")
        voices.aim(run.told()[0].in_order)
        voices.speak(TALK_PACKETS)
        centre.ivr.press(ringing, YES)
        run.wait_for("ACK sip:", 2)
        first = voices.counters()
        voices.aim(run.told()[1].in_order)
        voices.speak(TALK_PACKETS)
        run.finish()
    assert centre.site.wait_outcome(ringing.call) == "kept"
    found = heard(centre.site, ringing.call)
    for role, stream, begin in zip(("caller", "agent"), voices.streams, first, strict=True):
        assert min(found[role][stream.setup.stream]) >= begin


def early() -> str:
    """Two lines that talk from their first moment on, and for three seconds once they are wanted."""
    steps = (
        '<?part invite cseq="2" to="" direction="sendonly"?>',
        '<?part closed_answer cseq="2"?>',
        '<?part opened meanwhile="nothing"?>',
        '<pause milliseconds="3000"/>',
        '<?part bye cseq="3"?>',
        '<Reference variables="1"/>',
    )
    return "\n".join(['<?xml version="1.0" encoding="UTF-8"?>', '<scenario name="early">', *steps, "</scenario>", ""])


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
def test_a_site_on_ipv6_is_closed_and_opened_as_any_other(tmp_path: Path) -> None:
    sipp_path()
    with running_centre(tmp_path, host="::1") as six:
        for transport in TRANSPORTS:
            ringing = six.ivr.announce()
            run = six.dial("pause_resume", transport, tmp_path, ringing)
            run.wait_for("ACK sip:")
            with speaking(ports_told(run), host="::1"):
                six.ivr.press(ringing, YES)
                run.finish()
            assert "c=IN IP6 ::\n" in run.messages
            assert "c=IN IP6 ::1\n" in run.messages
            assert six.site.wait_outcome(ringing.call) == "kept"
