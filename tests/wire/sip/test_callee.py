"""Requests from peers: copies, cancels, glare, refusals by rule, limits (RFC 3261, 8.2, 9.2, 14.2)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitschnitt.wire.sip.agent import UserAgent
from mitschnitt.wire.sip.config import AgentConfig
from mitschnitt.wire.sip.events import (
    AckReceived,
    CancelReceived,
    DialogEnded,
    InfoReceived,
    InviteReceived,
    MessageRefused,
    ReinviteReceived,
)
from mitschnitt.wire.sip.hop import Hop
from mitschnitt.wire.sip.message import Headers, Request
from mitschnitt.wire.sip.reasons import NORMAL
from sip_pair import SDP, Pair, established, inside, raw_request, tokens


def test_100_is_sent_before_anybody_decides() -> None:
    pair = Pair()
    pair.invite()
    assert pair.run().log == ["> INVITE", "< 100 INVITE"]


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
    assert pair.server_events() == [CancelReceived(event.dialog, event.transaction, ends=True, reason=NORMAL)]
    assert not pair.server.respond(event.transaction, 200, now=pair.now, body=SDP)
    pair.wait(40)
    assert pair.server.load == pair.client.load == (0, 0)


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
    pair.server.receive(bytes(Request(stranger, b"", "CANCEL", "sip:c@d")), Hop("UDP", "127.0.0.1", 5070), pair.now)
    pair.run()
    assert pair.log == ["< 481 CANCEL"]


@pytest.mark.parametrize("transport, answered, cancelled", [("UDP", 481, 0), ("TCP", 481, 0), ("TLS", 200, 1)])
def test_an_invite_over_tls_is_cancelled_over_tls_only(transport: str, answered: int, cancelled: int) -> None:
    server = UserAgent(AgentConfig(), tokens("s"))
    via = ("Via", "SIP/2.0/TLS 127.0.0.1:5070;branch=z9hG4bK1")
    server.receive(raw_request("INVITE", via), Hop("TLS", "127.0.0.1", 5070, 1), 0.0)
    server.outbox()
    server.receive(raw_request("CANCEL", via), Hop(transport, "127.0.0.1", 5070, 1), 0.0)
    assert server.outbox()[0][1].startswith(f"SIP/2.0 {answered} ".encode())
    assert sum(isinstance(event, CancelReceived) for event in server.events()) == cancelled


def test_a_second_offer_before_the_first_is_answered_gets_500_with_retry_after() -> None:
    pair = Pair()
    mine, _ = established(pair)
    pair.client.reinvite(mine, now=pair.now, body=SDP, content_type="application/sdp")
    pair.run()
    inside(pair, "UPDATE", 3, body=SDP)
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


def test_a_bye_while_an_offer_waits_for_its_answer_ends_both() -> None:
    pair = Pair()
    mine, _ = established(pair)
    pair.client.reinvite(mine, now=pair.now, body=SDP, content_type="application/sdp")
    pair.run()
    pair.client.bye(mine, now=pair.now)
    pair.run()
    assert pair.log[-4:] == ["> BYE", "< 200 BYE", "< 487 INVITE", "> ACK"]


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


@pytest.mark.parametrize(
    "method, status", [("INFO", 481), ("PRACK", 405), ("REFER", 405), ("DANCE", 501), ("BYE", 481)]
)
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
    assert pair.log[-3:] == ["< 481 UPDATE", "> BYE", "< 481 BYE"]
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


def test_a_full_recorder_answers_503_without_keeping_anything() -> None:
    pair = Pair(server=AgentConfig(max_dialogs=1))
    established(pair)
    pair.invite()
    pair.run()
    assert 10 <= int(pair.last_response(503).headers.get("Retry-After") or "") <= 15
    pair = Pair(server=AgentConfig(max_transactions=0))
    pair.invite()
    pair.run()
    assert 10 <= int(pair.last_response(503).headers.get("Retry-After") or "") <= 15
    assert pair.server.load == (0, 0)


def test_one_host_cannot_take_every_place() -> None:
    pair = Pair(server=AgentConfig(max_dialogs_per_source=1))
    mine, _ = established(pair)
    pair.server.receive(raw_request("INVITE"), Hop("UDP", "127.0.0.2", 5070), pair.now)
    assert [type(told) for told in pair.server_events()] == [InviteReceived]
    pair.invite()
    assert pair.run().log[-2:] == ["< 503 INVITE", "> ACK"]
    pair.client.bye(mine, now=pair.now)
    pair.run().invite()
    assert pair.run().log[-1] == "< 100 INVITE"


def test_a_running_dialog_is_served_while_new_ones_are_refused() -> None:
    pair = Pair(server=AgentConfig(max_transactions=1))
    mine, _ = established(pair)
    pair.invite()
    pair.run()
    assert pair.log[-2:] == ["< 503 INVITE", "> ACK"]
    pair.client.bye(mine, now=pair.now)
    pair.run()
    assert pair.log[-1] == "< 200 BYE"


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


def test_an_ack_that_reuses_its_invites_branch_is_taken() -> None:
    pair = Pair()
    pair.invite()
    pair.run()
    (event,) = pair.server_events(InviteReceived)
    assert isinstance(event, InviteReceived)
    pair.server.respond(event.transaction, 200, now=pair.now, body=SDP, content_type="application/sdp")
    ((_, answer),) = pair.server.outbox()
    to = next(line for line in answer.split(b"\r\n") if line.startswith(b"To:")).decode()[4:]
    invite = pair.last_request("INVITE")
    items = [(name, value) for name, value in invite.headers if name in ("Via", "From", "Call-ID")]
    ack = Request(Headers.of([*items, ("To", to), ("CSeq", "1 ACK")]), b"", "ACK", invite.uri)
    pair.server.receive(bytes(ack), Hop("UDP", "127.0.0.1", 5070), pair.now)
    assert [type(told) for told in pair.server_events()] == [AckReceived]
    assert pair.wait(10).log[2:] == []  # no 200 is sent again


def test_a_request_whose_number_belongs_to_another_method_is_refused() -> None:
    pair = Pair()
    data = raw_request("OPTIONS").replace(b"1 OPTIONS", b"1 INVITE")
    pair.server.receive(data, Hop("UDP", "127.0.0.1", 5070), pair.now)
    assert pair.run().log == ["< 400 INVITE"]


@pytest.mark.parametrize("header", ["Record-Route: <<sip:p>", "Require: " + ",".join("x" * 70)])
def test_a_malformed_or_overlong_header_is_answered_400_without_state(header: str) -> None:
    pair = Pair()
    data = raw_request("INVITE").replace(b"Max-Forwards: 70", header.encode())
    pair.server.receive(data, Hop("UDP", "127.0.0.1", 5070), pair.now)
    assert pair.run().log == ["< 400 INVITE"]
    assert pair.server.load == (0, 0)


def test_a_dialog_over_tcp_follows_its_peers_newest_connection() -> None:
    pair = Pair(transport="TCP")
    mine, theirs = established(pair)
    pair.client.update(mine, now=pair.now)
    ((_, data),) = pair.client.outbox()
    pair.server.receive(data, Hop("TCP", "127.0.0.1", 50_000, 9), pair.now)
    pair.server.outbox()
    pair.server.update(theirs, now=pair.now)
    ((hop, _),) = pair.server.outbox()
    assert hop == Hop("TCP", "127.0.0.1", 5070, 9)


def test_an_unknown_dialog_is_not_entered_by_guessing_a_tag() -> None:
    pair = Pair()
    _, theirs = established(pair)
    data = raw_request("BYE").replace(b"To: <sip:b@127.0.0.1>", f"To: <sip:b@127.0.0.1>;tag={theirs}".encode())
    pair.server.receive(data, Hop("UDP", "127.0.0.66", 5070), pair.now)
    assert pair.run().log[-1] == "< 481 BYE"
    assert pair.server.load[0] == 1


@given(st.lists(st.tuples(st.integers(0, 700), st.binary(max_size=4), st.integers(0, 6)), max_size=4))
def test_no_change_to_what_a_peer_sends_makes_the_agent_raise(changes: list[tuple[int, bytes, int]]) -> None:
    pair = Pair()
    data = raw_request("INVITE")
    for position, inserted, removed in changes:
        data = data[:position] + inserted + data[position + removed :]
    pair.server.receive(data, Hop("UDP", "127.0.0.1", 5070), pair.now)
    for event in pair.server_events(InviteReceived):
        assert isinstance(event, InviteReceived)
        assert pair.server.respond(event.transaction, 200, now=pair.now, body=SDP)
    pair.server.tick(pair.now + 100)
    assert all(bytes(data).startswith((b"SIP/2.0 ", b"BYE ")) for _, data in pair.server.outbox())


def test_an_invite_whose_contacts_are_too_many_leaves_no_transaction_behind() -> None:
    pair = Pair()
    contacts = ",".join(f"<sip:c{number}@127.0.0.1>" for number in range(70))
    pair.server.receive(raw_request("INVITE", ("Contact", contacts)), Hop("UDP", "127.0.0.1", 5070), pair.now)
    (event,) = pair.server_events(InviteReceived)
    assert isinstance(event, InviteReceived)
    pair.server.respond(event.transaction, 486, now=pair.now)
    pair.wait(100.0)
    assert pair.server.load == (0, 0)


# --- Require, INFO, merged requests ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "required, unsupported",
    [
        ("siprec, foo", "foo"),
        ("100rel", "100rel"),  # PRACK is not for us: a recorder has nothing to say before its 200
        ("SIPREC,Timer,, foo ,bar", "bar, foo"),
        ("replaces", "replaces"),
    ],
)
def test_row_03_an_unknown_required_extension_is_refused_by_its_name(required: str, unsupported: str) -> None:
    pair = Pair()
    pair.server.receive(raw_request("INVITE", ("Require", required)), Hop("UDP", "127.0.0.1", 5070), pair.now)
    pair.run()
    assert pair.last_response(420).headers.get("Unsupported") == unsupported
    assert [type(event) for event in pair.server_events()] == [MessageRefused]
    assert pair.server.load[0] == 0


@pytest.mark.parametrize("required", ["siprec", "SipRec", "siprec , timer", "timer", ""])
def test_row_03_a_known_required_extension_is_taken_in_any_spelling(required: str) -> None:
    pair = Pair()
    pair.server.receive(raw_request("INVITE", ("Require", required)), Hop("UDP", "127.0.0.1", 5070), pair.now)
    assert pair.run().log == ["< 100 INVITE"]


@pytest.mark.parametrize("content_type", ["application/dtmf-relay", "application/dtmf", "text/plain", ""])
def test_an_info_is_answered_and_what_it_says_is_neither_told_nor_kept(content_type: str) -> None:
    pair = Pair()
    _, theirs = established(pair)
    named = (("Content-Type", content_type),) if content_type else ()
    inside(pair, "INFO", 2, *named, body=b"")
    assert pair.run().log[-1] == "< 200 INFO"
    secret = b"Signal=7\r\nDuration=160\r\n"
    inside(pair, "INFO", 3, ("Content-Type", content_type), body=secret)
    assert pair.run().log[-1] == "< 200 INFO"
    assert pair.server_events() == [InfoReceived(theirs), InfoReceived(theirs)]
    assert b"Signal" not in repr(vars(pair.server._end.layer)).encode()


def test_an_info_package_is_refused_and_told_that_we_take_none() -> None:
    pair = Pair()
    established(pair)
    inside(pair, "INFO", 2, ("Info-Package", "infoDtmf"))
    pair.run()
    assert pair.last_response(469).headers.get("Recv-Info") == ""
    assert pair.server.load[0] == 1


def test_an_info_for_no_dialog_is_answered_481() -> None:
    pair = Pair()
    _, theirs = established(pair)
    pair.server.forget(theirs)
    inside(pair, "INFO", 2)
    assert pair.run().log[-1] == "< 481 INFO"


def test_a_request_that_came_another_way_already_is_answered_482_and_the_first_goes_on() -> None:
    pair = Pair()
    first, second = raw_request("INVITE"), raw_request("INVITE").replace(b"z9hG4bKraw", b"z9hG4bKraw2")
    for data in (first, second, second):
        pair.server.receive(data, Hop("UDP", "127.0.0.1", 5070), pair.now)
    pair.run()
    assert pair.log == ["< 100 INVITE", "< 482 INVITE", "< 482 INVITE"]
    event, refused = pair.server_events()
    assert isinstance(event, InviteReceived)
    assert isinstance(refused, MessageRefused)
    assert refused.why == "request.merged"
    assert pair.server.respond(event.transaction, 200, now=pair.now, body=SDP, content_type="application/sdp")


def test_what_is_over_can_come_another_way_and_nothing_of_it_stays_in_memory() -> None:
    pair = Pair()
    hop = Hop("UDP", "127.0.0.1", 5070)
    for branch in (b"z9hG4bKraw", b"z9hG4bKraw2"):
        pair.server.receive(raw_request("OPTIONS").replace(b"z9hG4bKraw", branch), hop, pair.now)
        pair.run().wait(33)
    assert pair.log == ["< 200 OPTIONS"] * 2
    assert pair.server._end.layer._first == {}
