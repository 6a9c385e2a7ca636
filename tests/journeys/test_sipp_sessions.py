"""Shapes of recording sessions, each with sipp against a whole site: how many lines, IPv6, transfer, timers, fail-over.

Who speaks is told by stamped packets; every answer is compared whole.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from journeys.ivr import NO, YES, Ringing
from journeys.running import bound_udp_ports
from journeys.sipp_centre import Centre, running_centre
from journeys.sipp_run import END_OF_LINE, SCENARIOS, SippRun, line_parts, sipp_path
from journeys.speaker import ports_told, speaking
from journeys.voices import Voices, heard

pytestmark = [pytest.mark.journey, pytest.mark.timeout(180)]

TRANSPORTS = ["UDP", "TCP"]
TALK_PACKETS = 75
BEGIN = '<?part invite cseq="2" to="" direction="sendonly"?><?part closed_answer cseq="2"?>'
OPENED = '<?part opened meanwhile="nothing"?>'
TRANSFER = (
    '<?part invite cseq="3" to="[peer_tag_param]" direction="sendonly" metadata="metadata_transferred" '
    'second="mia.lorenz"?><?part answered cseq="3" address="%here%" direction="recvonly"?>'
)
A_WHILE = '<pause milliseconds="1000"/>'
TIMED_SECONDS = 90  # of a session of 90 s whose client never refreshes; it is asked well before that
LINE = (
    "m=audio {port} RTP/AVP 8 101\nc=IN IP[media_ip_type] [media_ip]\na=label:{label}\na=rtpmap:8 PCMA/8000\n"
    "a=rtpmap:101 telephone-event/8000\na=fmtp:101 0-15\na=sendonly\na=ptime:20\n"
)
VIDEO = "m=video 40000 RTP/AVP 96\na=rtpmap:96 H264/90000\na=label:video\na=sendonly"
NO_VIDEO = f"m=video 0 RTP/AVP 96{END_OF_LINE}.*a=inactive{END_OF_LINE}"


def scenario(*steps: str) -> str:
    """A scenario that has no file."""
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', '<scenario name="session">', *steps]
    return "\n".join([*lines, '<Reference variables="1"/>', "</scenario>", ""])


def bye(cseq: int) -> str:
    """The client ends the session."""
    return f'<?part bye cseq="{cseq}"?>'


@pytest.fixture(scope="module")
def centre(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Centre]:
    """One site for the whole file; skips before it is made when there is no sipp."""
    sipp_path()
    with running_centre(tmp_path_factory.mktemp("site")) as running:
        yield running


@pytest.fixture(scope="module", autouse=True)
def unrefreshed(centre: Centre, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Ringing, SippRun]]:
    """Sessions with a timer that their client forgets; they run out while all other tests run."""
    directory = tmp_path_factory.mktemp("unrefreshed")
    runs = []
    for transport in TRANSPORTS:
        ringing = centre.ivr.announce()
        run = centre.dial("sessions/unrefreshed", transport, directory, ringing, seconds=TIMED_SECONDS)
        runs.append((ringing, run))
    return runs


def keeps(centre: Centre, ringing: Ringing, run: SippRun, voices: Voices) -> dict[str, dict[int, set[int]]]:
    """The caller agrees, the voices speak where the opening says, the client ends: what is kept of whom."""
    run.wait_for("CSeq: 2 ACK")
    centre.ivr.press(ringing, YES)
    run.wait_for("a=recvonly")
    voices.aim([port for port in run.told()[1].in_order if port])
    voices.speak(TALK_PACKETS)
    run.finish()
    assert centre.site.wait_outcome(ringing.call) == "kept"
    return heard(centre.site, ringing.call)


def has_ipv6() -> bool:
    """Whether this machine has ::1."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def test_every_session_is_run() -> None:
    assert {path.stem for path in (SCENARIOS / "sessions").glob("*.xml")} == {
        "line_added", "many_lines", "no_snapshot", "timers_and_info", "transferred", "unrefreshed",
    }  # fmt: skip


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
@pytest.mark.parametrize("lines", [1, 3, 8])
def test_row_08_every_line_is_answered_in_its_place_and_video_is_refused(
    lines: int, transport: str, centre: Centre, tmp_path: Path
) -> None:
    ringing = centre.ivr.announce()
    centre.ivr.press(ringing, NO)
    told = "".join(f'<?part told_line label="{place}"?>' for place in range(lines))
    given = {"lines": line_parts(*(str(30_000 + 2 * place) for place in range(lines))) + "\n" + VIDEO}
    text = scenario(BEGIN, bye(3))
    run = centre.dial("lines", transport, tmp_path, ringing, text=text, given={**given, "told_lines": told + NO_VIDEO})
    run.finish()
    (answer,) = run.told()
    assert len(answer.ports) == lines + 1, "two lines share a port"
    assert answer.in_order[-1] == 0, "video was taken"
    assert centre.site.wait_outcome(ringing.call) == "not_kept"


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_row_09_three_parties_who_agreed_are_kept_by_label_each_on_its_own(
    transport: str, centre: Centre, tmp_path: Path
) -> None:
    ringing = centre.ivr.announce()
    with Voices(3) as voices:
        told = "".join(f'<?part told_line label="{place}"?>' for place in range(3))
        given = {"lines": line_parts(*(str(stream.port) for stream in voices.streams)), "told_lines": told}
        text = scenario(BEGIN, OPENED, A_WHILE * 4, bye(3))
        run = centre.dial(
            "three", transport, tmp_path, ringing, text=text, given={**given, "metadata": "metadata_three"}
        )
        run.wait_for("CSeq: 2 ACK")
        centre.ivr.press(ringing, YES)
        run.wait_for("a=recvonly")
        voices.aim(run.told()[1].in_order)
        voices.speak(TALK_PACKETS)
        run.finish()
    assert centre.site.wait_outcome(ringing.call) == "kept"
    assert streams_by_party(centre, ringing) == [{stream.setup.stream} for stream in voices.streams]


def streams_by_party(centre: Centre, ringing: Ringing) -> list[set[int]]:
    """Which stamped streams each kept party's track holds, in the order of the parties."""
    shown = centre.site.door.get(f"/calls/{ringing.call}", **{"as": "coach"})
    tracks = heard(centre.site, ringing.call, by="party")
    return [set(tracks[str(party["party"])]) for party in shown["parties"]]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_line_that_is_added_while_the_version_of_the_offer_stays_is_answered(
    transport: str, centre: Centre, tmp_path: Path
) -> None:
    ringing = centre.ivr.announce()
    run = centre.dial("sessions/line_added", transport, tmp_path, ringing)
    run.wait_for("CSeq: 2 ACK")
    with speaking(ports_told(run)):
        centre.ivr.press(ringing, YES)
        run.finish()
    assert centre.site.wait_outcome(ringing.call) == "kept"
    _, opened, answered = run.told()
    assert answered.in_order == (*opened.in_order, 0)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_row_12_early_media_is_cut_off_until_an_act_that_comes_long_after_the_session_began(
    transport: str, centre: Centre, tmp_path: Path
) -> None:
    ringing = centre.ivr.announce(asked=False)
    text = scenario(BEGIN, OPENED, A_WHILE * 4, bye(3))
    with Voices() as voices:
        run = centre.dial("early", transport, tmp_path, ringing, text=text, given=voices.given)
        run.wait_for("CSeq: 2 ACK")
        voices.aim(run.told()[0].in_order)  # ringing is heard, and nobody has answered yet
        voices.speak(TALK_PACKETS // 2)
        early = voices.counters()
        centre.ivr.ask(ringing)
        kept = keeps(centre, ringing, run, voices)
    for role, stream, first in zip(("caller", "agent"), voices.streams, early, strict=True):
        assert set(kept[role]) == {stream.setup.stream}
        assert min(kept[role][stream.setup.stream]) >= first


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_row_30_who_takes_a_call_over_is_a_party_of_its_own_in_a_new_session_of_the_group(
    transport: str, centre: Centre, tmp_path: Path
) -> None:
    ringing = centre.ivr.announce()
    text = scenario(BEGIN, OPENED, A_WHILE * 3, TRANSFER, A_WHILE * 4, bye(4))
    with Voices() as voices:
        run = centre.dial("transfer", transport, tmp_path, ringing, text=text, given=voices.given)
        run.wait_for("CSeq: 2 ACK")
        centre.ivr.press(ringing, YES)
        run.wait_for("a=recvonly")
        voices.aim(run.told()[1].in_order)
        voices.speak(TALK_PACKETS)
        run.wait_for("CSeq: 3 ACK")
        _, before, after = run.told()
        assert after.in_order[0] == before.in_order[0], "the caller's line moved though nobody there changed"
        assert after.in_order[1] not in before.ports, "the newcomer was let in where another had spoken"
        between = voices.counters()
        voices.aim(after.in_order)
        voices.speak(TALK_PACKETS)
        run.finish()
    assert centre.site.wait_outcome(ringing.call) == "kept"
    shown = centre.site.door.get(f"/calls/{ringing.call}", **{"as": "coach"})
    assert [party["role"] for party in shown["parties"]] == ["caller", "agent", "agent"]
    agent = voices.streams[1].setup.stream
    tracks = heard(centre.site, ringing.call, by="party")
    _, first, second = (tracks[str(party["party"])] for party in shown["parties"])
    assert max(first[agent]) < min(second[agent])
    assert min(second[agent]) >= between[1]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_client_that_refuses_to_tell_the_whole_is_not_asked_for_ever_and_stays_closed(
    transport: str, centre: Centre, tmp_path: Path
) -> None:
    ringing = centre.ivr.announce()
    run = centre.dial("sessions/no_snapshot", transport, tmp_path, ringing)
    run.finish()
    assert {told.direction for told in run.told()} == {"inactive"}
    assert "requestsnapshot" in run.messages


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_row_40_session_timers_and_info_are_spoken(transport: str, centre: Centre, tmp_path: Path) -> None:
    ringing = centre.ivr.announce()
    centre.ivr.press(ringing, NO)
    centre.dial("sessions/timers_and_info", transport, tmp_path, ringing).finish()
    assert centre.site.wait_outcome(ringing.call) == "not_kept"


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
def test_over_ipv6_a_call_is_closed_to_nowhere_and_kept_on_the_recorder_s_address(tmp_path: Path) -> None:
    sipp_path()
    with running_centre(tmp_path, host="::1") as six:
        for transport in TRANSPORTS:
            ringing = six.ivr.announce()
            with Voices(host="::1") as voices:
                text = scenario(BEGIN, OPENED, A_WHILE * 4, bye(3))
                run = six.dial("six", transport, tmp_path, ringing, text=text, given=voices.given)
                kept = keeps(six, ringing, run, voices)
            assert "c=IN IP6 ::\r" in run.messages or "c=IN IP6 ::\n" in run.messages
            assert {role: set(streams) for role, streams in kept.items()} == {
                "caller": {voices.streams[0].setup.stream},
                "agent": {voices.streams[1].setup.stream},
            }
        assert "Traceback" not in six.site.log.read_text(encoding="utf-8")


def test_a_client_that_is_sent_away_by_one_recorder_is_kept_by_the_next(centre: Centre, tmp_path: Path) -> None:
    with running_centre(tmp_path, max_calls=1) as full:
        held = full.dial("held", "UDP", tmp_path, full.ivr.announce())
        held.wait_for("ACK sip:")
        for transport in TRANSPORTS:
            ringing = centre.ivr.announce()
            full.dial("at_capacity", transport, tmp_path, ringing).finish()
            text = scenario(BEGIN, OPENED, bye(3))
            run = centre.dial("next", transport, tmp_path, ringing, text=text)
            run.wait_for("CSeq: 2 ACK")
            with speaking(ports_told(run)):
                centre.ivr.press(ringing, YES)
                run.finish()
            assert centre.site.wait_outcome(ringing.call) == "kept"
        assert ringing.call not in full.calls()


def test_row_40_a_session_that_its_client_forgot_is_noticed_by_its_timer_and_its_ports_are_closed(
    centre: Centre, unrefreshed: list[tuple[Ringing, SippRun]]
) -> None:
    for ringing, run in unrefreshed:
        run.finish(TIMED_SECONDS)
        assert centre.site.wait_outcome(ringing.call) == "not_kept"
        assert not any(told.ports & bound_udp_ports() for told in run.told())


def test_none_of_it_was_an_error(centre: Centre) -> None:
    log = centre.site.log.read_text(encoding="utf-8")
    assert '"level": "error"' not in log
    assert "Traceback" not in log
    assert log.count('"event": "ready"') == 1, "the recorder was started again"
