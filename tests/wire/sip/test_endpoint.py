"""What is resent, held back and put into every message (RFC 3261, 13.3.1.4, 14.1 and 15)."""

from __future__ import annotations

from mitschnitt.wire.sip.events import (
    AckReceived,
    DialogEnded,
    DialogTimedOut,
    InviteReceived,
    ReinviteReceived,
    RetryDue,
)
from sip_pair import SDP, Pair, established


def test_every_200_and_request_of_the_recorder_carries_its_feature() -> None:
    pair = Pair()
    _, theirs = established(pair)
    pair.server.reinvite(theirs, now=pair.now, body=SDP, content_type="application/sdp")
    pair.run()
    ours = [message for message in pair.sent if message.headers.get("Server") or message.headers.get("User-Agent")]
    contacts = {m.headers.get("Contact") for m in ours if "5060" in (m.headers.get("Contact") or "")}
    assert contacts == {"<sip:127.0.0.1:5060>;+sip.srs"}


def test_a_lost_200_is_sent_again_until_the_ack_comes() -> None:
    pair = Pair()
    pair.invite()
    pair.run()
    (event,) = pair.server_events(InviteReceived)
    assert isinstance(event, InviteReceived)
    pair.lose = lambda line: line == "< 200 INVITE" and pair.log.count("x< 200 INVITE") < 3
    pair.server.respond(event.transaction, 200, now=pair.now, body=SDP, content_type="application/sdp")
    pair.run().wait(10)
    assert pair.log[2:] == ["x< 200 INVITE"] * 3 + ["< 200 INVITE", "> ACK"]
    assert [type(event) for event in pair.server_events()] == [AckReceived]


def test_a_200_that_is_never_acknowledged_times_the_dialog_out_and_sends_bye() -> None:
    pair = Pair()
    pair.lose = lambda line: line == "> ACK"
    pair.invite()
    pair.run()
    (event,) = pair.server_events(InviteReceived)
    assert isinstance(event, InviteReceived)
    pair.server.respond(event.transaction, 200, now=pair.now, body=SDP, content_type="application/sdp")
    pair.run().wait(33)
    assert pair.log.count("< 200 INVITE") == 11  # 0, 0.5, 1.5, 3.5, 7.5, 11.5 ... 31.5 s
    told = pair.server_events(DialogTimedOut, DialogEnded)
    assert told == [DialogTimedOut(event.dialog), DialogEnded(event.dialog, 200)]
    assert pair.log[-2:] == ["< BYE", "> 200 BYE"]


def test_an_offer_during_the_peers_offer_waits_for_its_end() -> None:
    pair = Pair()
    mine, theirs = established(pair)
    pair.client.reinvite(mine, now=pair.now, body=SDP, content_type="application/sdp")
    pair.run()
    (event,) = pair.server_events(ReinviteReceived)
    assert isinstance(event, ReinviteReceived)
    assert pair.server.reinvite(theirs, now=pair.now, body=SDP, content_type="application/sdp") is None
    pair.server.respond(event.transaction, 200, now=pair.now, body=SDP, content_type="application/sdp")
    assert pair.server_events(RetryDue) == []  # not before the ACK
    pair.run()
    assert [type(event) for event in pair.server_events()] == [AckReceived, RetryDue]
    assert pair.server.reinvite(theirs, now=pair.now, body=SDP, content_type="application/sdp")


def test_a_bye_before_the_ack_waits_for_it() -> None:
    pair = Pair()
    pair.invite()
    pair.run()
    (event,) = pair.server_events(InviteReceived)
    assert isinstance(event, InviteReceived)
    pair.server.respond(event.transaction, 200, now=pair.now, body=SDP, content_type="application/sdp")
    assert pair.server.bye(event.dialog, now=pair.now) is None
    pair.run()
    assert pair.log[2:] == ["< 200 INVITE", "> ACK", "< BYE", "> 200 BYE"]
