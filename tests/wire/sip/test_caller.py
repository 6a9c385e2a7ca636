"""Answers from peers: acknowledged, doubled, late, refused (RFC 3261, 13.2.2 and 14.1)."""

from __future__ import annotations

import pytest

from mitschnitt.wire.sip.config import AgentConfig
from mitschnitt.wire.sip.dialog import answer_to
from mitschnitt.wire.sip.events import (
    ByeReceived,
    ByeRefused,
    DialogEnded,
    InviteReceived,
    MessageRefused,
    ReinviteReceived,
    ResponseReceived,
    RetryDue,
    TransactionTimedOut,
)
from mitschnitt.wire.sip.hop import Hop
from mitschnitt.wire.sip.message import Headers, Request, Response, parse_message
from sip_pair import SDP, Pair, established


@pytest.mark.parametrize("transport", ["TCP", "UDP"])
def test_an_answer_that_comes_plain_does_not_move_a_dialog_off_tls(transport: str) -> None:
    pair = Pair(transport="TLS")
    _, theirs = established(pair)
    pair.server.reinvite(theirs, now=pair.now, body=SDP, content_type="application/sdp")
    [(_, data)] = pair.server.outbox()
    invite = parse_message(data)
    assert isinstance(invite, Request)
    answer = answer_to(invite, 200, None, headers=[("Contact", "<sip:c@127.0.0.1:5070>")])
    pair.server.receive(bytes(answer), Hop(transport, "127.0.0.1", 5070, 9), pair.now)
    [(hop, ack)] = pair.server.outbox()
    assert ack.startswith(b"ACK ")
    assert hop.transport == "TLS"


def test_a_lost_ack_is_sent_again_with_each_copy_of_the_200() -> None:
    pair = Pair()
    pair.lose = lambda line: line == "> ACK" and pair.log.count("x> ACK") < 2
    pair.invite()
    pair.run()
    (event,) = pair.server_events(InviteReceived)
    assert isinstance(event, InviteReceived)
    pair.server.respond(event.transaction, 200, now=pair.now, body=SDP, content_type="application/sdp")
    pair.run().wait(10)
    assert pair.log[2:] == ["< 200 INVITE", "x> ACK"] * 2 + ["< 200 INVITE", "> ACK"]
    assert len(pair.client_events(ResponseReceived)) == 2  # 100 and one 200, copies untold


def test_a_200_that_is_faster_than_the_cancel_is_acknowledged_and_ended() -> None:
    pair = Pair()
    mine = pair.invite()
    pair.client.cancel(mine, now=pair.now)  # nothing came back yet: held
    pair.lose = lambda line: line == "< 100 INVITE"
    pair.run()
    (event,) = pair.server_events(InviteReceived)
    assert isinstance(event, InviteReceived)
    pair.server.respond(event.transaction, 200, now=pair.now, body=SDP, content_type="application/sdp")
    pair.run()
    assert pair.log[2:] == ["< 200 INVITE", "> ACK", "> BYE", "< 200 BYE"]


def test_glare_is_answered_491_and_each_side_waits_its_own_time() -> None:
    pair = Pair()
    mine, theirs = established(pair)
    pair.server.reinvite(theirs, now=pair.now, body=SDP, content_type="application/sdp")
    pair.client.reinvite(mine, now=pair.now, body=SDP, content_type="application/sdp")
    pair.run()
    assert pair.log.count("< 491 INVITE") == 1
    assert pair.log.count("> 491 INVITE") == 1
    begun = pair.now
    assert pair.server.reinvite(theirs, now=pair.now, body=SDP, content_type="application/sdp") is None
    pair.server_events()
    pair.wait(2)
    assert pair.server_events(RetryDue) == [RetryDue(theirs)]  # 0 to 2 s: not the owner of the Call-ID
    assert pair.client_events(RetryDue) == []
    pair.wait(begun + 4 - pair.now)
    assert pair.client_events(RetryDue) == [RetryDue(mine)]  # 2.1 to 4 s


def test_a_refused_bye_is_told_and_the_dialog_stays_until_forgotten() -> None:
    deaf = AgentConfig(port=5070, feature="+sip.src", allow=("INVITE", "ACK", "CANCEL", "UPDATE"))
    pair = Pair(client=deaf)
    mine, theirs = established(pair)
    pair.server.bye(theirs, now=pair.now)
    pair.run()
    assert pair.server_events(ByeRefused) == [ByeRefused(theirs, 405)]
    pair.client.bye(mine, now=pair.now)
    pair.run()
    assert [type(event) for event in pair.server_events()] == [ByeReceived]


def test_a_malformed_contact_does_not_move_the_target() -> None:
    pair = Pair()
    mine, theirs = established(pair)
    pair.server.reinvite(theirs, now=pair.now, body=SDP, content_type="application/sdp")
    pair.run()
    offer = pair.last_request("INVITE")
    copied = [(n, v) for n, v in offer.headers if n in ("Via", "From", "To", "Call-ID", "CSeq")]
    answer = Response(Headers.of([*copied, ("Contact", "<<sip:9.9.9.9:1>;+sip.src>")]), b"", 200)
    pair.server.receive(bytes(answer), Hop("UDP", "127.0.0.1", 5070), pair.now)
    (hop, data) = pair.server.outbox()[-1]
    assert data.startswith(b"ACK sip:127.0.0.1:5070")
    assert hop == Hop("UDP", "127.0.0.1", 5070)


def test_nobody_answers_an_invite_and_the_client_is_told() -> None:
    pair = Pair()
    pair.lose = lambda line: line.startswith(">")
    mine = pair.invite()
    pair.run().wait(33)
    assert pair.log == ["x> INVITE"] * 7
    (told,) = pair.client_events()
    assert isinstance(told, TransactionTimedOut)
    assert (told.dialog, told.method, told.undeliverable) == (mine, "INVITE", False)
    assert pair.client.load == (0, 0)


def test_what_cannot_be_delivered_is_told_at_once() -> None:
    pair = Pair()
    pair.invite()
    pair.client.outbox()
    pair.client.undeliverable(pair.server_hop, pair.now)
    (told,) = pair.client_events()
    assert isinstance(told, TransactionTimedOut)
    assert told.undeliverable


def test_a_second_answerer_of_our_invite_is_acknowledged_and_ended() -> None:
    pair = Pair()
    mine, _ = established(pair)
    fork = forged(pair.last_response(200), "To", "<sip:recorder@127.0.0.1:5060>;tag=fork")
    pair.client.receive(fork, pair.server_hop, pair.now)
    sent = [data.split(b" ")[0] for _, data in pair.client.outbox()]
    assert sent == [b"ACK", b"BYE"]
    assert pair.client_events() == []
    pair.client.bye(mine, now=pair.now)
    assert pair.run().log[-1] == "< 200 BYE"  # the first answerer's dialog is unharmed


def test_a_200_behind_the_end_of_its_transaction_still_gets_its_ack() -> None:
    pair = Pair()
    established(pair)
    pair.wait(40)
    assert pair.client.load == (1, 0)
    pair.client.receive(bytes(pair.last_response(200)), pair.server_hop, pair.now)
    ((_, data),) = pair.client.outbox()
    assert data.startswith(b"ACK ")


def test_an_unusable_response_is_dropped_and_told() -> None:
    pair = Pair()
    pair.invite()
    pair.run()
    (event,) = pair.server_events(InviteReceived)
    assert isinstance(event, InviteReceived)
    pair.server.respond(event.transaction, 200, now=pair.now)
    ((_, data),) = pair.server.outbox()
    broken = forged(parsed(data), "To", "<<sip:x>")
    pair.client.events()
    pair.client.receive(broken, pair.server_hop, pair.now)
    assert [type(told) for told in pair.client_events()] == [MessageRefused]
    assert pair.client.outbox() == []


def test_a_481_to_our_offer_ends_the_dialog() -> None:
    pair = Pair()
    mine, theirs = established(pair)
    pair.client.forget(mine)
    pair.server.reinvite(theirs, now=pair.now, body=SDP, content_type="application/sdp")
    pair.run()
    assert pair.server_events(DialogEnded) == [DialogEnded(theirs, 481)]
    assert pair.server.load[0] == 0
    assert "< BYE" in pair.log  # in case that the peer comes to know the dialog after all


def test_a_481_from_a_peer_that_our_200_has_not_reached_ends_nothing() -> None:
    pair = Pair()
    pair.invite()
    pair.run()
    (event,) = pair.server_events(InviteReceived)
    assert isinstance(event, InviteReceived)
    pair.lose = lambda line: line == "< 200 INVITE"
    pair.server.respond(event.transaction, 200, now=pair.now, body=SDP, content_type="application/sdp")
    assert pair.server.update(event.dialog, now=pair.now) is not None
    pair.run()
    assert "> 481 UPDATE" in pair.log
    pair.lose = lambda _: False
    pair.wait(1.0)
    assert [pair.client.load[0], pair.server.load[0]] == [1, 1]
    assert pair.server_events(DialogEnded) == []


def test_a_488_to_our_offer_leaves_the_session_as_it_is() -> None:
    pair = Pair()
    _, theirs = established(pair)
    pair.server.reinvite(theirs, now=pair.now, body=SDP, content_type="application/sdp")
    pair.run()
    (event,) = pair.client_events(ReinviteReceived)
    assert isinstance(event, ReinviteReceived)
    pair.client.respond(event.transaction, 488, now=pair.now)
    assert pair.run().log[-2:] == ["> 488 INVITE", "< ACK"]
    assert pair.server.reinvite(theirs, now=pair.now, body=SDP, content_type="application/sdp")


def test_an_offer_that_is_never_answered_frees_the_dialog_for_the_next() -> None:
    pair = Pair()
    _, theirs = established(pair)
    pair.lose = lambda line: line == "< INVITE"
    pair.server.reinvite(theirs, now=pair.now, body=SDP, content_type="application/sdp")
    assert pair.server.reinvite(theirs, now=pair.now, body=SDP, content_type="application/sdp") is None
    pair.run().wait(33)
    assert [type(told) for told in pair.server_events()] == [TransactionTimedOut, RetryDue]


def test_a_bye_that_nobody_answers_ends_the_dialog_after_32_seconds() -> None:
    pair = Pair()
    _, theirs = established(pair)
    pair.lose = lambda line: line == "< BYE"
    pair.server.bye(theirs, now=pair.now)
    pair.run().wait(33)
    assert DialogEnded(theirs, 408) in pair.server_events()
    assert pair.server.load == (0, 0)


def parsed(data: bytes) -> Response:
    """The response in these bytes."""
    message = parse_message(data)
    assert isinstance(message, Response)
    return message


def forged(response: Response, name: str, value: str) -> bytes:
    """The response with another value of that header."""
    headers = response.headers.without(name).plus((name, value))
    return bytes(Response(headers, response.body, response.status, response.reason))
