"""The client's offers and metadata are well-formed; it reads the recorder's answers as a good client does."""

from __future__ import annotations

from datetime import UTC, datetime
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

import world
from mitschnitt.errors import MalformedPacket
from mitschnitt.gateways import session_text
from mitschnitt.gateways.cast import Speaker
from mitschnitt.gateways.session_text import Asked, Line, SessionNames
from mitschnitt.wire.g711 import Law

NAMES = SessionNames("c2Vzc2lvbg==", "ab;remote=cd", 7, "127.0.0.1", Law.PCMA)
CALLER = Line("1", 40_000, Speaker(world.CALLER.name, world.CALLER.aor), "cDE=", "czE=")
AGENT = Line("2", 40_002, Speaker("Al & <ice>", world.AGENT_WITH_GRANT.aor), "cDI=", "czI=")
XMLNS = {"r": "urn:ietf:params:xml:ns:recording:1"}

CLOSED = b"""v=0\r
o=rec 1 1 IN IP4 127.0.0.1\r
s=-\r
c=IN IP4 0.0.0.0\r
t=0 0\r
m=audio 10000 RTP/AVP 8 101\r
a=label:1\r
a=inactive\r
m=audio 10002 RTP/AVP 8 101\r
a=label:2\r
a=inactive\r
"""
OPEN = CLOSED.replace(b"0.0.0.0", b"127.0.0.9").replace(b"inactive", b"recvonly")


def test_an_offer_has_one_labelled_line_per_party() -> None:
    offer = session_text.offer(NAMES, [CALLER, AGENT], version=3, directions=["sendonly", "inactive"])
    lines = offer.decode().split("\r\n")
    assert lines[1] == "o=centre 7 3 IN IP4 127.0.0.1"
    assert [line for line in lines if line.startswith("m=")] == [
        "m=audio 40000 RTP/AVP 8 101",
        "m=audio 40002 RTP/AVP 8 101",
    ]
    assert [line for line in lines if line.startswith("a=label")] == ["a=label:1", "a=label:2"]
    assert lines.index("a=sendonly") < lines.index("a=inactive")
    assert lines.count("a=rtpmap:101 telephone-event/8000") == 2


def test_the_other_law_has_its_own_payload_type() -> None:
    names = SessionNames("s", "x", 1, "127.0.0.1", Law.PCMU)
    offer = session_text.offer(names, [CALLER], version=1, directions=["sendonly"])
    assert b"m=audio 40000 RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\n" in offer


def test_the_closed_answer_asks_for_nothing() -> None:
    asked = session_text.read_description(CLOSED)
    assert asked == [Asked("0.0.0.0", 10_000, "inactive"), Asked("0.0.0.0", 10_002, "inactive")]
    assert not any(line.wants_media for line in asked)
    assert session_text.answers_to(asked) == ["inactive", "inactive"]


def test_recvonly_with_an_address_asks_for_media_there() -> None:
    asked = session_text.read_description(OPEN)
    assert asked == [Asked("127.0.0.9", 10_000, "recvonly"), Asked("127.0.0.9", 10_002, "recvonly")]
    assert all(line.wants_media for line in asked)
    assert session_text.answers_to(asked) == ["sendonly", "sendonly"]


@pytest.mark.parametrize(
    "line",
    [
        Asked("127.0.0.1", 10_000, "inactive"),
        Asked("127.0.0.1", 10_000, "sendonly"),
        Asked("0.0.0.0", 10_000, "recvonly"),
        Asked("127.0.0.1", 0, "recvonly"),
    ],
)
def test_anything_less_than_a_clear_request_asks_for_nothing(line: Asked) -> None:
    assert not line.wants_media


def test_a_line_of_its_own_overrides_what_the_session_says() -> None:
    sdp = OPEN.replace(b"a=label:2\r\na=recvonly", b"c=IN IP4 127.0.0.8\r\na=label:2\r\na=inactive")
    assert session_text.read_description(sdp)[1] == Asked("127.0.0.8", 10_002, "inactive")


def test_what_is_no_description_is_refused() -> None:
    with pytest.raises(MalformedPacket, match="begins with v=0"):
        session_text.read_description(b"")
    with pytest.raises(MalformedPacket, match="a port of at most 65535"):
        session_text.read_description(b"v=0\nm=audio 70000 RTP/AVP 8\n")


@given(st.binary(max_size=200))
def test_any_bytes_are_a_description_or_refused(noise: bytes) -> None:
    for data in (noise, b"v=0\n" + noise, OPEN[:60] + noise):
        try:
            assert isinstance(session_text.read_description(data), list)
        except MalformedPacket:
            continue


def test_metadata_binds_each_party_to_its_label() -> None:
    now = datetime(2026, 11, 23, 12, 0, 0, 5000, UTC)
    document = ElementTree.fromstring(session_text.metadata(NAMES, [CALLER, AGENT], now=now))
    assert document.findtext("r:session/r:sipSessionID", namespaces=XMLNS) == "ab;remote=cd"
    labels = {
        stream.attrib["stream_id"]: stream.findtext("r:label", namespaces=XMLNS)
        for stream in document.findall("r:stream", XMLNS)
    }
    aors = {
        person.attrib["participant_id"]: name_id.attrib["aor"]
        for person in document.findall("r:participant", XMLNS)
        for name_id in person.findall("r:nameID", XMLNS)
    }
    bound = {
        labels[link.findtext("r:send", "", XMLNS)]: aors[link.attrib["participant_id"]]
        for link in document.findall("r:participantstreamassoc", XMLNS)
    }
    assert bound == {"1": world.CALLER.aor, "2": world.AGENT_WITH_GRANT.aor}
    times = {time.text for time in document.iter(f"{{{XMLNS['r']}}}associate-time")}
    assert times == {"2026-11-23T12:00:00.005Z"}


def test_names_with_markup_stay_text() -> None:
    now = datetime(2026, 11, 23, 12, tzinfo=UTC)
    document = ElementTree.fromstring(session_text.metadata(NAMES, [AGENT], now=now))
    assert document.findtext("r:participant/r:nameID/r:name", namespaces=XMLNS) == "Al & <ice>"
