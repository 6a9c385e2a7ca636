"""What is resent, held back and put into every message (RFC 3261, 13.3.1.4, 14.1 and 15)."""

from __future__ import annotations

import pytest

from mitschnitt.wire.sip.events import (
    AckReceived,
    DialogEnded,
    DialogTimedOut,
    InviteReceived,
    ReinviteReceived,
    RetryDue,
    UpdateReceived,
)
from mitschnitt.wire.sip.hop import Hop
from mitschnitt.wire.sip.message import Request, Response
from sip_pair import CLIENT_PORT, SDP, SERVER_URI, Pair, established, inside


@pytest.mark.parametrize("transport, uri", [("UDP", "sip:127.0.0.1:5060"), ("TCP", "sip:127.0.0.1:5060;transport=tcp")])
def test_row_02_every_2xx_and_request_of_the_recorder_carries_its_feature(transport: str, uri: str) -> None:
    pair = Pair(transport=transport)
    mine, theirs = established(pair)
    pair.client.update(mine, now=pair.now)
    pair.client.options(SERVER_URI, pair.server_hop, now=pair.now, sender="sip:probe@127.0.0.1")
    pair.run()
    (event,) = pair.server_events(UpdateReceived)
    assert isinstance(event, UpdateReceived)
    pair.server.respond(event.transaction, 200, now=pair.now)
    inside(pair, "OPTIONS", 8)
    pair.server.reinvite(theirs, now=pair.now, body=SDP, content_type="application/sdp")
    pair.server.update(theirs, now=pair.now)
    client = Hop(transport, "127.0.0.1", CLIENT_PORT, 1 if transport == "TCP" else 0)
    pair.server.invite("sip:client@127.0.0.1:5070", client, now=pair.now, sender="sip:recorder@127.0.0.1")
    pair.run()
    answers = [m for m in pair.sent if isinstance(m, Response) and m.status == 200 and m.headers.get("Server")]
    requests = [m for m in pair.sent if isinstance(m, Request) and m.headers.get("User-Agent")]
    ours = [m for m in requests if "recorder" in (m.headers.get("From") or "")]
    assert sorted(str(m.cseq).split()[1] for m in answers) == ["INVITE", "OPTIONS", "OPTIONS", "UPDATE"]
    assert sorted(m.method for m in ours) == ["INVITE", "INVITE", "UPDATE"]
    assert {m.headers.get("Contact") for m in [*answers, *ours]} == {f"<{uri}>;+sip.srs"}


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


def test_a_bye_of_ours_gives_the_same_reason_whatever_it_was_for() -> None:
    reasons = set()
    for early in (True, False):
        pair = Pair()
        pair.invite()
        pair.run()
        (event,) = pair.server_events(InviteReceived)
        assert isinstance(event, InviteReceived)
        pair.server.respond(event.transaction, 200, now=pair.now, body=SDP, content_type="application/sdp")
        if early:  # it waits for the ACK
            pair.server.bye(event.dialog, now=pair.now)
        pair.run()
        pair.server.bye(event.dialog, now=pair.now)
        reasons.add(pair.run().last_request("BYE").headers.get("Reason"))
        assert pair.log.count("< BYE") == 1
    assert reasons == {'Q.850;cause=16;text="Normal call clearing"'}


def test_whoever_drives_us_may_give_a_reason_of_its_own() -> None:
    pair = Pair()
    _, theirs = established(pair)
    pair.server.bye(theirs, now=pair.now, headers=(("Reason", "SIP;cause=503"),))
    assert pair.run().last_request("BYE").headers.all("Reason") == ("SIP;cause=503",)
