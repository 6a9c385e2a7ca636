"""Two agents talk; the wire between them loses what the test says (RFC 3261, 13-15; RFC 7866)."""

from __future__ import annotations

import pytest

from mitschnitt.wire.sip.config import AgentConfig
from mitschnitt.wire.sip.events import (
    AckReceived,
    ByeReceived,
    ByeRefused,
    CancelReceived,
    DialogEnded,
    DialogTimedOut,
    InviteReceived,
    MessageRefused,
    OptionsReceived,
    ReinviteReceived,
    ResponseReceived,
    RetryDue,
    TransactionTimedOut,
    UpdateReceived,
)
from mitschnitt.wire.sip.hop import Hop
from mitschnitt.wire.sip.message import Headers, Request, Response
from sip_pair import SDP, SERVER_URI, Pair

TRANSPORTS = ["UDP", "TCP"]


def established(pair: Pair) -> tuple[str, str]:
    """(client's dialog, server's dialog) after INVITE, 200, ACK."""
    mine = pair.invite()
    pair.run()
    (event,) = pair.server_events(InviteReceived)
    assert isinstance(event, InviteReceived)
    assert pair.server.respond(event.transaction, 200, now=pair.now, body=SDP, content_type="application/sdp")
    pair.run()
    (confirmed,) = pair.server_events()
    assert isinstance(confirmed, AckReceived)
    assert confirmed.dialog == event.dialog
    pair.client_events()
    return mine, event.dialog


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


def test_100_is_sent_before_anybody_decides() -> None:
    pair = Pair()
    pair.invite()
    assert pair.run().log == ["> INVITE", "< 100 INVITE"]


def test_every_200_and_request_of_the_recorder_carries_its_feature() -> None:
    pair = Pair()
    _, theirs = established(pair)
    pair.server.reinvite(theirs, now=pair.now, body=SDP, content_type="application/sdp")
    pair.run()
    ours = [
        message for message in pair.sent if message.headers.get("Server") or message.headers.get("User-Agent")
    ]
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


def test_a_copy_of_the_invite_gets_the_same_answer_and_no_second_session() -> None:
    pair = Pair()
    pair.lose = lambda line: line == "< 100 INVITE" and "x< 100 INVITE" not in pair.log
    pair.invite()
    pair.run().wait(0.6)
    assert pair.log == ["> INVITE", "x< 100 INVITE", "> INVITE", "< 100 INVITE"]
    assert len(pair.server_events(InviteReceived)) == 1


def test_cancel_before_the_answer_ends_the_invite_with_487() -> None:
    pair = Pair()
    mine = pair.invite()
    pair.run()
    (event,) = pair.server_events(InviteReceived)
    assert isinstance(event, InviteReceived)
    pair.client.cancel(mine, now=pair.now)
    pair.run()
    assert pair.log[2:] == ["> CANCEL", "< 200 CANCEL", "< 487 INVITE", "> ACK"]
    assert pair.server_events() == [CancelReceived(event.dialog, event.transaction)]
    assert not pair.server.respond(event.transaction, 200, now=pair.now, body=SDP)
    pair.wait(40)
    assert pair.server.load == pair.client.load == (0, 0)


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


def test_cancel_for_an_unknown_invite_is_answered_481() -> None:
    pair = Pair()
    stranger = Headers.of(
        [
            ("Via", "SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bKnone"),
            ("From", "<sip:a@b>;tag=1"),
            ("To", "<sip:c@d>"),
            ("Call-ID", "x"),
            ("CSeq", "1 CANCEL"),
        ]
    )
    pair.server.receive(
        bytes(Request(stranger, b"", "CANCEL", "sip:c@d")), Hop("UDP", "127.0.0.1", 5070), pair.now
    )
    pair.run()
    assert pair.log == ["< 481 CANCEL"]


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


def test_a_second_offer_before_the_first_is_answered_gets_500_with_retry_after() -> None:
    pair = Pair()
    mine, _ = established(pair)
    pair.client.reinvite(mine, now=pair.now, body=SDP, content_type="application/sdp")
    pair.run()
    pair.client.update(mine, now=pair.now, body=SDP, content_type="application/sdp")
    pair.run()
    refused = pair.last_response(500)
    assert refused.headers.get("Retry-After")


def test_a_second_offer_before_the_ack_is_taken() -> None:
    pair = Pair()
    mine, _ = established(pair)
    pair.lose = lambda line: line == "> ACK"
    pair.client.reinvite(mine, now=pair.now, body=SDP, content_type="application/sdp")
    pair.run()
    (event,) = pair.server_events(ReinviteReceived)
    assert isinstance(event, ReinviteReceived)
    pair.server.respond(event.transaction, 200, now=pair.now, body=SDP, content_type="application/sdp")
    pair.run()
    pair.client.reinvite(mine, now=pair.now, body=SDP, content_type="application/sdp")
    pair.run()
    assert len(pair.server_events(ReinviteReceived)) == 1


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


def test_a_bye_while_an_offer_waits_for_its_answer_ends_both() -> None:
    pair = Pair()
    mine, _ = established(pair)
    pair.client.reinvite(mine, now=pair.now, body=SDP, content_type="application/sdp")
    pair.run()
    pair.client.bye(mine, now=pair.now)
    pair.run()
    assert pair.log[-4:] == ["> BYE", "< 200 BYE", "< 487 INVITE", "> ACK"]


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
    "headers, status, named",
    [
        ((("Require", "foo, 100rel"),), 420, ("Unsupported", "100rel, foo")),
        ((("Max-Forwards", "0"),), 483, None),
        ((("Content-Type", "text/plain"),), 415, ("Accept", AgentConfig().accept)),
    ],
)
def test_an_invite_that_breaks_a_rule_is_refused_by_it(
    headers: tuple[tuple[str, str], ...], status: int, named: tuple[str, str] | None
) -> None:
    pair = Pair()
    pair.server.receive(raw_request("INVITE", *headers), Hop("UDP", "127.0.0.1", 5070), pair.now)
    pair.run()
    refused = pair.last_response(status)
    assert named is None or refused.headers.get(named[0]) == named[1]
    assert [type(event) for event in pair.server_events()] == [MessageRefused]


@pytest.mark.parametrize("method, status", [("INFO", 405), ("REFER", 405), ("DANCE", 501), ("BYE", 481)])
def test_methods_we_do_not_serve_are_refused(method: str, status: int) -> None:
    pair = Pair()
    pair.server.receive(raw_request(method), Hop("UDP", "127.0.0.1", 5070), pair.now)
    pair.run()
    assert pair.log == [f"< {status} {method}"]


def test_a_request_in_an_unknown_dialog_is_answered_481() -> None:
    pair = Pair()
    mine, theirs = established(pair)
    pair.server.forget(theirs)
    pair.client.update(mine, now=pair.now)
    pair.run()
    assert pair.log[-1] == "< 481 UPDATE"
    assert DialogEnded(mine, 481) in pair.client_events()


def test_an_old_number_within_a_dialog_is_refused() -> None:
    pair = Pair()
    established(pair)
    ack = pair.last_request("ACK")
    old = Headers.of(
        [
            ("Via", "SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bKold"),
            *((name, value) for name, value in ack.headers if name in ("From", "To", "Call-ID")),
            ("CSeq", "1 UPDATE"),
        ]
    )
    pair.server.receive(bytes(Request(old, b"", "UPDATE", ack.uri)), Hop("UDP", "127.0.0.1", 5070), pair.now)
    pair.run()
    assert pair.log[-1] == "< 500 UPDATE"


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


def test_a_full_recorder_answers_503_without_keeping_anything() -> None:
    pair = Pair(server=AgentConfig(max_dialogs=1))
    established(pair)
    pair.invite()
    pair.run()
    assert pair.last_response(503).headers.get("Retry-After") == "10"
    pair = Pair(server=AgentConfig(max_transactions=0))
    pair.invite()
    pair.run()
    assert pair.last_response(503).headers.get("Retry-After") == "10"
    assert pair.server.load == (0, 0)


def test_a_running_dialog_is_served_while_new_ones_are_refused() -> None:
    pair = Pair(server=AgentConfig(max_transactions=1))
    mine, _ = established(pair)
    pair.invite()
    pair.run()
    assert pair.log[-2:] == ["< 503 INVITE", "> ACK"]
    pair.client.bye(mine, now=pair.now)
    pair.run()
    assert pair.log[-1] == "< 200 BYE"


@pytest.mark.parametrize(
    "data", [b"", b"\0", b"hello\r\n\r\n", b"INVITE sip:a SIP/2.0\r\n\r\n", b"SIP/2.0 200 OK\r\n\r\n"]
)
def test_garbage_is_dropped_and_told(data: bytes) -> None:
    pair = Pair()
    pair.server.receive(data, Hop("UDP", "127.0.0.1", 5070), pair.now)
    assert pair.server.outbox() == []
    assert [type(event) for event in pair.server_events()] == [MessageRefused]


def test_answers_go_back_the_way_the_via_says() -> None:
    pair = Pair()
    data = raw_request("OPTIONS").replace(b"branch=z9hG4bKraw", b"branch=z9hG4bKraw;rport")
    pair.server.receive(data, Hop("UDP", "127.0.0.9", 40_000), pair.now)
    ((hop, answer),) = pair.server.outbox()
    assert hop == Hop("UDP", "127.0.0.9", 40_000)
    assert b"received=127.0.0.9;rport=40000" in answer
    data = raw_request("OPTIONS").replace(b"branch=z9hG4bKraw", b"branch=z9hG4bKother")
    pair.server.receive(data, Hop("TCP", "127.0.0.1", 40_000, 7), pair.now)
    ((hop, _),) = pair.server.outbox()
    assert hop == Hop("TCP", "127.0.0.1", 5070, 7)  # the connection first, its Via port when that is gone


def raw_request(method: str, *headers: tuple[str, str]) -> bytes:
    """A request from outside any dialog, as bytes."""
    given = {name for name, _ in headers}
    usual = [
        ("Via", "SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bKraw"),
        ("From", "<sip:a@127.0.0.1>;tag=1"),
        ("To", "<sip:b@127.0.0.1>"),
        ("Call-ID", "raw@127.0.0.1"),
        ("CSeq", f"1 {method}"),
        ("Max-Forwards", "70"),
        ("Content-Type", "application/sdp"),
    ]
    kept = [pair for pair in usual if pair[0] not in given]
    return bytes(Request(Headers.of([*kept, *headers]), SDP, method, "sip:b@127.0.0.1"))
