"""Two agents talk; the wire between them loses what the test says (RFC 3261, 13-15; RFC 7866)."""

from __future__ import annotations

import pytest

from mitschnitt.wire.sip.endpoint import ANSWER_SECONDS
from mitschnitt.wire.sip.events import (
    AckReceived,
    ByeReceived,
    DialogEnded,
    InviteReceived,
    MessageRefused,
    OfferReceived,
    OptionsReceived,
    ReinviteReceived,
    ResponseReceived,
    RetryDue,
    UpdateReceived,
)
from mitschnitt.wire.sip.hop import Hop
from mitschnitt.wire.sip.message import Request
from sip_pair import CLIENT_PORT, SDP, SERVER_URI, Pair, established

TRANSPORTS = ["UDP", "TCP"]
SDP_TYPE = "application/sdp"
ANSWER = SDP + b"s=closed\r\n"


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


# --- a session that the recorder starts -----------------------------------------------------------------


def recorder_calls(pair: Pair) -> str:
    """The recorder starts a session towards the client; its dialog."""
    uri = f"sip:client@127.0.0.1:{CLIENT_PORT}"
    hop = Hop(pair.transport, "127.0.0.1", CLIENT_PORT)
    return pair.server.invite(uri, hop, now=pair.now, sender="sip:recorder@127.0.0.1")


def offered(pair: Pair) -> OfferReceived:
    """What the client's 200 brought."""
    pair.run()
    (event,) = pair.client_events(InviteReceived)
    assert isinstance(event, InviteReceived)
    pair.client.respond(event.transaction, 200, now=pair.now, body=SDP, content_type=SDP_TYPE)
    pair.run()
    (told,) = pair.server_events(OfferReceived)
    assert isinstance(told, OfferReceived)
    return told


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_row_14_a_session_that_the_recorder_starts_asks_for_the_offer_and_answers_in_its_ack(transport: str) -> None:
    pair = Pair(transport=transport)
    mine = recorder_calls(pair)
    told = offered(pair)
    assert told.dialog == mine
    assert told.response.body == SDP
    invite = pair.last_request("INVITE")
    assert (invite.body, invite.headers.get("Content-Type")) == (b"", None)
    assert "+sip.srs" in (invite.headers.get("Contact") or "")
    assert invite.headers.tokens("Require") == {"siprec"}
    assert "< ACK" not in pair.log
    assert pair.server.acknowledge(mine, now=pair.now, body=ANSWER, content_type=SDP_TYPE)
    pair.run()
    ack = pair.last_request("ACK")
    assert (ack.body, ack.headers.get("Content-Type"), ack.cseq.number) == (ANSWER, SDP_TYPE, invite.cseq.number)
    (confirmed,) = pair.client_events(AckReceived)
    assert isinstance(confirmed, AckReceived)
    assert confirmed.request.body == ANSWER
    assert not pair.server.acknowledge(mine, now=pair.now, body=ANSWER, content_type=SDP_TYPE)
    assert pair.server.reinvite(mine, now=pair.now, body=SDP, content_type=SDP_TYPE)


def test_row_14_a_recorder_that_would_start_with_an_offer_is_stopped() -> None:
    pair = Pair()
    hop = Hop("UDP", "127.0.0.1", CLIENT_PORT)
    with pytest.raises(RuntimeError, match=r"without an offer \(RFC 7866, 7.2\), got a body"):
        pair.server.invite(
            "sip:c@127.0.0.1", hop, now=pair.now, sender="sip:r@127.0.0.1", body=SDP, content_type=SDP_TYPE
        )
    assert pair.server.outbox() == []
    assert pair.server.load == (0, 0)


def test_row_14_without_an_answer_in_time_the_session_is_acknowledged_bare_and_ended() -> None:
    pair = Pair()
    mine = recorder_calls(pair)
    offered(pair)
    pair.wait(ANSWER_SECONDS - 0.1)
    assert "< ACK" not in pair.log
    assert pair.log.count("> 200 INVITE") > 1  # its copies are no reason to hurry
    pair.wait(0.2)
    assert pair.log[-3:] == ["< ACK", "< BYE", "> 200 BYE"]
    assert pair.last_request("ACK").body == b""
    assert pair.last_request("BYE").headers.get("Reason") == 'SIP;cause=488;text="The offer was not answered"'
    assert pair.server_events(DialogEnded) == [DialogEnded(mine, 200)]
    assert not pair.server.acknowledge(mine, now=pair.now, body=ANSWER, content_type=SDP_TYPE)
    assert pair.wait(40).server.load == (0, 0)


def test_row_14_a_copy_of_the_200_gets_the_answer_again() -> None:
    pair = Pair()
    mine = recorder_calls(pair)
    offered(pair)
    pair.lose = lambda line: line == "< ACK" and "x< ACK" not in pair.log
    pair.server.acknowledge(mine, now=pair.now, body=ANSWER, content_type=SDP_TYPE)
    pair.run().wait(3)
    acks = [m for m in pair.sent if isinstance(m, Request) and m.method == "ACK"]
    assert [ack.body for ack in acks] == [ANSWER, ANSWER]
    assert pair.server_events(OfferReceived) == []


def test_while_the_clients_offer_waits_for_our_answer_nothing_else_is_offered() -> None:
    pair = Pair()
    mine = recorder_calls(pair)
    offered(pair)
    assert pair.server.reinvite(mine, now=pair.now, body=SDP, content_type=SDP_TYPE) is None
    pair.server.acknowledge(mine, now=pair.now, body=ANSWER, content_type=SDP_TYPE)
    assert [type(event) for event in pair.server_events()] == [RetryDue]


def test_a_bye_while_the_clients_offer_waits_acknowledges_first() -> None:
    pair = Pair()
    mine = recorder_calls(pair)
    offered(pair)
    pair.server.bye(mine, now=pair.now)
    assert pair.run().log[-3:] == ["< ACK", "< BYE", "> 200 BYE"]


def test_an_offerless_invite_that_was_given_up_is_acknowledged_and_ended_without_a_question() -> None:
    pair = Pair()
    mine = recorder_calls(pair)
    pair.run()
    (event,) = pair.client_events(InviteReceived)
    assert isinstance(event, InviteReceived)
    pair.server.cancel(mine, now=pair.now)
    pair.client.respond(event.transaction, 200, now=pair.now, body=SDP, content_type=SDP_TYPE)
    pair.run()
    assert pair.server_events(OfferReceived) == []
    assert [line for line in pair.log if line in ("< ACK", "< BYE")] == ["< ACK", "< BYE"]


def test_a_client_that_answers_an_offerless_invite_without_an_offer_is_acknowledged_bare() -> None:
    pair = Pair()
    recorder_calls(pair)
    pair.run()
    (event,) = pair.client_events(InviteReceived)
    assert isinstance(event, InviteReceived)
    pair.client.respond(event.transaction, 200, now=pair.now)
    assert pair.run().log[-1] == "< ACK"
    assert [type(told) for told in pair.server_events()] == [ResponseReceived, ResponseReceived]
