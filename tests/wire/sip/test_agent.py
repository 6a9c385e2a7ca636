"""Two agents talk; the wire between them loses what the test says (RFC 3261, 13-15; RFC 7866)."""

from __future__ import annotations

import pytest

from mitschnitt.wire.sip.events import (
    ByeReceived,
    DialogEnded,
    MessageRefused,
    OptionsReceived,
    ReinviteReceived,
    ResponseReceived,
    UpdateReceived,
)
from mitschnitt.wire.sip.hop import Hop
from sip_pair import SDP, SERVER_URI, Pair, established

TRANSPORTS = ["UDP", "TCP"]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_session_is_asked_for_answered_acknowledged_and_ended(transport: str) -> None:
    pair = Pair(transport=transport)
    mine, theirs = established(pair)
    pair.client.bye(mine, now=pair.now)
    pair.run()
    assert pair.log == ["> INVITE", "< 100 INVITE", "< 200 INVITE", "> ACK", "> BYE", "< 200 BYE"]
    assert [type(event) for event in pair.server_events()] == [ByeReceived]
    assert DialogEnded(mine, 200) in pair.client_events()
    pair.wait(40)
    assert pair.server.load == (0, 0)
    assert pair.client.load == (0, 0)


def test_the_recorder_offers_anew_and_the_client_answers() -> None:
    pair = Pair()
    mine, theirs = established(pair)
    transaction = pair.server.reinvite(theirs, now=pair.now, body=SDP, content_type="application/sdp")
    pair.run()
    (event,) = pair.client_events(ReinviteReceived)
    assert isinstance(event, ReinviteReceived)
    assert event.dialog == mine
    pair.client.respond(event.transaction, 200, now=pair.now, body=SDP, content_type="application/sdp")
    pair.run()
    assert pair.log[4:] == ["< INVITE", "> 100 INVITE", "> 200 INVITE", "< ACK"]
    answers = pair.server_events(ResponseReceived)
    assert [(a.transaction, a.response.status) for a in answers if isinstance(a, ResponseReceived)] == [
        (transaction, 100),
        (transaction, 200),
    ]


def test_update_goes_both_ways() -> None:
    pair = Pair()
    mine, theirs = established(pair)
    pair.client.update(mine, now=pair.now, body=b"<recording/>", content_type="application/rs-metadata+xml")
    pair.run()
    (event,) = pair.server_events(UpdateReceived)
    assert isinstance(event, UpdateReceived)
    assert (event.dialog, event.request.body) == (theirs, b"<recording/>")
    assert pair.server.respond(event.transaction, 200, now=pair.now)
    pair.server.update(theirs, now=pair.now)
    pair.run()
    assert pair.log[4:] == ["> UPDATE", "< 200 UPDATE", "< UPDATE"]


def test_options_is_answered_with_what_we_are() -> None:
    pair = Pair()
    pair.client.options(SERVER_URI, pair.server_hop, now=pair.now, sender="sip:probe@127.0.0.1")
    pair.run()
    answer = pair.last_response(200)
    assert "UPDATE" in (answer.headers.get("Allow") or "")
    assert "siprec" in answer.headers.tokens("Supported")
    assert "application/rs-metadata+xml" in answer.headers.tokens("Accept")
    assert [type(event) for event in pair.server_events()] == [OptionsReceived]
    (told,) = pair.client_events(ResponseReceived)
    assert isinstance(told, ResponseReceived)
    assert (told.dialog, told.method, told.response.status) == (None, "OPTIONS", 200)


@pytest.mark.parametrize(
    "data", [b"", b"\0", b"hello\r\n\r\n", b"INVITE sip:a SIP/2.0\r\n\r\n", b"SIP/2.0 200 OK\r\n\r\n"]
)
def test_garbage_is_dropped_and_told(data: bytes) -> None:
    pair = Pair()
    pair.server.receive(data, Hop("UDP", "127.0.0.1", 5070), pair.now)
    assert pair.server.outbox() == []
    assert [type(event) for event in pair.server_events()] == [MessageRefused]
