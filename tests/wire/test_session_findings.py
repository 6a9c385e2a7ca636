"""What is odd or wrong with a session: one flaw, one finding; and nothing is found where nothing is."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mitschnitt.wire.findings import findings_from_json, findings_to_json
from mitschnitt.wire.session_findings import Behaviour, announced, behaved, offered_events
from mitschnitt.wire.sip.message import Request, parse_message
from mitschnitt.wire.sip.recording import build_body

VECTORS = Path(__file__).parents[1] / "vectors"
EXPECTED: dict[str, list[str]] = json.loads((VECTORS / "findings" / "announced.json").read_text(encoding="utf-8"))
SDP = (VECTORS / "sip" / "two-lines.sdp").read_bytes()
XML = (VECTORS / "sip" / "metadata-complete.xml").read_bytes().replace(b"+0000<", b"Z<")
ARRIVED = datetime(2026, 11, 23, 16, 53, 51, tzinfo=UTC)  # as the files' own times


def file(name: str) -> Request:
    message = parse_message((VECTORS / "sip" / name).read_bytes())
    assert isinstance(message, Request)
    return message


def invite(*headers: tuple[str, str], sdp: bytes = SDP, xml: bytes = XML) -> Request:
    """An INVITE without a flaw, but for what is given."""
    base = file("invite-two-lines.sip")
    kind, body = build_body(sdp, xml, boundary="x")
    given = [name for name, _ in headers]
    typed = () if "Content-Type" in given else (("Content-Type", kind),)
    items = base.headers.without("Content-Type", *given).plus(*typed, *headers)
    return replace(base, headers=items, body=body)


def codes(request: Request, *, arrived: datetime = ARRIVED, agents: str = "known") -> list[str]:
    found = announced(request, arrived=arrived, agents=agents)
    assert findings_from_json(findings_to_json(found)) == found
    return [finding.code for finding in found]


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_file_gives_the_findings_that_stand_beside_it(name: str) -> None:
    request = file(name) if name.endswith(".sip") else invite(xml=(VECTORS / "sip" / name).read_bytes())
    assert codes(request) == EXPECTED[name]


def test_a_client_that_does_everything_right_gives_none() -> None:
    assert codes(invite()) == []


@pytest.mark.parametrize("agents, expected", [("none", ["agents.none"]), ("ambiguous", ["agents.ambiguous"]), ("", [])])
def test_what_the_directory_says_of_the_line_is_a_finding(agents: str, expected: list[str]) -> None:
    assert codes(invite(), agents=agents) == expected


@pytest.mark.parametrize(
    "sdp, expected",
    [
        (SDP.replace(b"a=label:1\r\n", b"").replace(b"a=label:1\n", b""), ["labels.missing"]),
        (SDP.replace(b"a=label:1", b"a=label:0"), ["labels.doubled"]),
        (SDP.replace(b"a=label:1", b"a=label:9"), ["labels.unknown"]),
        (SDP.replace(b"RTP/AVP", b"RTP/SAVP"), ["srtp.offered"]),
        (SDP.replace(b"telephone-event", b"CN"), ["events.missing"]),
        (b"v=0\r\nnothing", ["sdp.broken"]),
    ],
)
def test_a_flaw_of_the_description_is_found(sdp: bytes, expected: list[str]) -> None:
    assert [code for code in codes(invite(sdp=sdp)) if code != "labels.unknown" or code in expected] == expected


def test_a_body_that_cannot_be_taken_apart_is_told_as_such() -> None:
    request = invite(("Content-Type", "multipart/mixed"))
    assert codes(request) == ["metadata.broken"]


@pytest.mark.parametrize("seconds, expected", [(0, []), (2, []), (-2, []), (3, ["time.ahead"]), (-3, ["time.behind"])])
def test_the_date_header_tells_for_certain_how_far_off_a_clock_is(seconds: int, expected: list[str]) -> None:
    date = (ARRIVED + timedelta(seconds=seconds)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    request = invite(("Date", date))
    assert codes(request) == expected
    if expected:
        assert announced(request, arrived=ARRIVED, agents="known")[0].values == {"seconds": 3}


@pytest.mark.parametrize("date", ["yesterday", "Mon, 31 Feb 2026 16:00:00 GMT", "Mon, 23 Foo 2026 16:00:00 GMT"])
def test_a_date_that_is_none_leaves_the_metadata_to_tell(date: str) -> None:
    assert codes(invite(("Date", date))) == []
    assert codes(invite(("Date", date)), arrived=ARRIVED - timedelta(seconds=9)) == ["time.ahead"]


def test_metadata_from_before_the_invite_may_be_of_an_older_call() -> None:
    assert codes(invite(), arrived=ARRIVED + timedelta(seconds=9)) == ["time.unclear"]


def test_times_without_zone_tell_nothing_of_a_clock() -> None:
    assert codes(invite(xml=XML.replace(b"Z<", b"<")), arrived=ARRIVED + timedelta(days=1)) == ["dialect.times"]


def test_a_contact_that_is_none_is_found() -> None:
    assert codes(invite(("Contact", "<<sip:192.0.2.10>;+sip.src>"))) == ["contact.malformed"]


GOOD = Behaviour(open_lines=2, has_rtcp=True, awaited_digits=True, has_events=True)


@pytest.mark.parametrize(
    "behaviour, expected",
    [
        (GOOD, []),
        (replace(GOOD, acknowledged=False), ["ack.missing"]),
        (replace(GOOD, refused=(("BYE", 405), ("INVITE", 488))), ["refused", "refused"]),
        (replace(GOOD, unanswered=("UPDATE",)), ["unanswered"]),
        (replace(GOOD, same_version=2), ["sdp.version"]),
        (replace(GOOD, silent_lines=2, has_rtcp=False), ["rtp.missing"]),
        (replace(GOOD, leaked=7), ["rtp.leak"]),
        (replace(GOOD, has_rtcp=False), ["rtcp.missing"]),
        (replace(GOOD, has_rtcp=None), []),
        (replace(GOOD, has_events=False), ["events.silent"]),
        (replace(GOOD, has_events=False, awaited_digits=False), []),
        (replace(GOOD, broken_contact=True), ["contact.malformed"]),
    ],
)
def test_what_a_client_does_wrong_is_found(behaviour: Behaviour, expected: list[str]) -> None:
    found = behaved(behaviour, offered_events=2)
    assert [finding.code for finding in found] == expected
    assert findings_from_json(findings_to_json(found)) == found


def test_keys_that_were_never_offered_are_not_missed_twice() -> None:
    assert behaved(replace(GOOD, has_events=False), offered_events=0) == []
    assert offered_events(invite()) == 2
    assert offered_events(invite(("Content-Type", "multipart/mixed"))) == 0
    assert offered_events(invite(sdp=b"v=0\r\nx")) == 0
