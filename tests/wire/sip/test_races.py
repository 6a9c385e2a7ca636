"""What crosses on the wire: CANCEL, ACK and BYE in every order, copies behind the end (RFC 3261, 9, 13-15).

Checklist row 40 of RFC 7866's recorder: session timers are in test_refreshes, the rest of the row is here.
"""

from __future__ import annotations

import pytest

from mitschnitt.wire.sip.config import SRC_FEATURE, AgentConfig
from mitschnitt.wire.sip.events import (
    AckReceived,
    ByeReceived,
    CancelReceived,
    DialogEnded,
    InviteReceived,
    ReinviteReceived,
    ResponseReceived,
    RetryDue,
    TransactionTimedOut,
    UpdateReceived,
)
from mitschnitt.wire.sip.hop import Hop
from mitschnitt.wire.sip.message import Headers, Request, Response
from mitschnitt.wire.sip.reasons import NORMAL, NOT_ACKNOWLEDGED, EndReason
from sip_pair import CLIENT_PORT, SDP, Pair, established, inside

SDP_TYPE = "application/sdp"
CLIENT = Hop("UDP", "127.0.0.1", CLIENT_PORT)


def invited(pair: Pair) -> InviteReceived:
    """The INVITE that the recorder has to answer."""
    (event,) = pair.server_events(InviteReceived)
    assert isinstance(event, InviteReceived)
    return event


def accept(pair: Pair, event: InviteReceived | ReinviteReceived, *, by_client: bool = False) -> bool:
    agent = pair.client if by_client else pair.server
    return agent.respond(event.transaction, 200, now=pair.now, body=SDP, content_type=SDP_TYPE)


def reoffered(pair: Pair) -> tuple[str, str, ReinviteReceived]:
    """Both dialogs and the recorder's re-INVITE, which the client has not answered yet."""
    mine, theirs = established(pair)
    assert pair.server.reinvite(theirs, now=pair.now, body=SDP, content_type=SDP_TYPE)
    pair.run()
    (event,) = pair.client_events(ReinviteReceived)
    assert isinstance(event, ReinviteReceived)
    return mine, theirs, event


# --- CANCEL of the client --------------------------------------------------------------------------------


def test_row_40_a_cancel_before_our_100_arrived_waits_for_it_and_then_ends_the_invite() -> None:
    pair = Pair()
    pair.lose = lambda line: line == "< 100 INVITE" and "x< 100 INVITE" not in pair.log
    mine = pair.invite()
    pair.run()
    pair.client.cancel(mine, now=pair.now)
    assert pair.run().log == ["> INVITE", "x< 100 INVITE"]
    pair.wait(0.6)
    assert pair.log[2:] == ["> INVITE", "< 100 INVITE", "> CANCEL", "< 200 CANCEL", "< 487 INVITE", "> ACK"]
    assert [type(event) for event in pair.server_events()] == [InviteReceived, CancelReceived]
    assert pair.server.load[0] == 0


def test_row_40_a_cancel_between_100_and_200_is_told_with_its_reason() -> None:
    pair = Pair()
    mine = pair.invite()
    pair.run()
    event = invited(pair)
    pair.client.cancel(mine, now=pair.now)
    pair.run()
    assert pair.server_events() == [CancelReceived(event.dialog, event.transaction, ends=True, reason=NORMAL)]
    assert not accept(pair, event)
    assert pair.wait(40).server.load == pair.client.load == (0, 0)


def test_row_40_a_cancel_that_crosses_our_200_changes_nothing_and_the_client_hangs_up() -> None:
    pair = Pair()
    mine = pair.invite()
    pair.run()
    event = invited(pair)
    pair.client.cancel(mine, now=pair.now)
    accept(pair, event)
    pair.run()
    assert sorted(pair.log[2:5]) == ["< 200 CANCEL", "< 200 INVITE", "> CANCEL"]
    assert [line for line in pair.log if line in ("> ACK", "> BYE", "< 200 BYE")] == ["> ACK", "> BYE", "< 200 BYE"]
    assert [type(told) for told in pair.server_events()] == [AckReceived, ByeReceived]
    assert DialogEnded(mine, 200) in pair.client_events()


def test_row_40_a_cancel_behind_our_200_is_answered_and_without_effect() -> None:
    pair = Pair()
    pair.invite()
    pair.run()
    event = invited(pair)
    invite = pair.last_request("INVITE")
    accept(pair, event)
    pair.run().server_events()
    items = [(name, value) for name, value in invite.headers if name in ("Via", "From", "To", "Call-ID")]
    cancel = Request(Headers.of([*items, ("CSeq", "1 CANCEL")]), b"", "CANCEL", invite.uri)
    pair.server.receive(bytes(cancel), CLIENT, pair.now)
    assert pair.run().log[-1] == "< 200 CANCEL"
    assert pair.server_events() == []
    assert pair.server.load[0] == 1


def test_row_40_a_cancel_for_a_reinvite_leaves_the_session() -> None:
    pair = Pair()
    mine, theirs = established(pair)
    pair.client.reinvite(mine, now=pair.now, body=SDP, content_type=SDP_TYPE)
    pair.run().server_events()
    pair.client.cancel(mine, now=pair.now)
    pair.run()
    assert pair.log[-4:] == ["> CANCEL", "< 200 CANCEL", "< 487 INVITE", "> ACK"]
    (told,) = pair.server_events()
    assert isinstance(told, CancelReceived)
    assert (told.dialog, told.ends) == (theirs, False)
    assert pair.server.reinvite(theirs, now=pair.now, body=SDP, content_type=SDP_TYPE)
    pair.client.events()
    pair.client.bye(mine, now=pair.now)
    assert pair.run().log[-3:].count("< 200 BYE") == 1


# --- CANCEL of ours --------------------------------------------------------------------------------------


def test_a_reinvite_that_is_accepted_after_our_cancel_changes_the_session_and_ends_nothing() -> None:
    pair = Pair()
    mine, theirs, event = reoffered(pair)
    pair.server.cancel(theirs, now=pair.now)
    accept(pair, event, by_client=True)
    pair.run()
    assert "< BYE" not in pair.log
    assert "< ACK" in pair.log
    assert pair.server.load[0] == pair.client.load[0] == 1
    assert pair.server.reinvite(theirs, now=pair.now, body=SDP, content_type=SDP_TYPE)


def test_a_reinvite_that_our_cancel_stopped_leaves_the_session_and_frees_the_dialog() -> None:
    pair = Pair()
    _, theirs, _ = reoffered(pair)
    pair.server.cancel(theirs, now=pair.now)
    pair.run()
    assert pair.log[-4:] == ["< CANCEL", "> 200 CANCEL", "> 487 INVITE", "< ACK"]
    assert pair.server_events(DialogEnded) == []
    assert pair.server.reinvite(theirs, now=pair.now, body=SDP, content_type=SDP_TYPE)


def test_an_invite_that_nobody_answers_after_its_cancel_is_given_up_after_32_seconds() -> None:
    pair = Pair()
    mine = pair.invite()
    pair.run()
    pair.lose = lambda line: line == "> CANCEL"
    pair.client.cancel(mine, now=pair.now)
    pair.run().wait(31)
    assert pair.client.load[0] == 1
    pair.wait(2)
    assert [type(told) for told in pair.client_events(TransactionTimedOut)] == [TransactionTimedOut]
    assert pair.client.load[0] == 0


# --- copies of an INVITE and of a 200 --------------------------------------------------------------------


def test_row_40_a_retransmitted_invite_gets_the_same_answer_before_and_behind_the_200() -> None:
    pair = Pair()
    pair.invite()
    copy = pair.client.outbox()[0][1]
    for _ in range(2):
        pair.server.receive(copy, CLIENT, pair.now)
    event = invited(pair)
    accept(pair, event)
    pair.server.receive(copy, CLIENT, pair.now)
    sent = [data for _, data in pair.server.outbox()]
    assert [data.split(b"\r\n")[0] for data in sent] == [b"SIP/2.0 100 Trying"] * 2 + [b"SIP/2.0 200 OK"] * 2
    assert sent[2] == sent[3]
    assert pair.server_events() == []


def test_a_200_that_comes_again_behind_the_end_of_its_dialog_is_acknowledged_and_told_to_nobody() -> None:
    pair = Pair()
    mine, theirs, event = reoffered(pair)
    accept(pair, event, by_client=True)
    pair.run()
    answer = bytes(next(m for m in reversed(pair.sent) if isinstance(m, Response) and m.body == SDP))
    pair.client.bye(mine, now=pair.now)
    pair.run().server_events()
    pair.server.receive(answer, CLIENT, pair.now)
    ((_, data),) = pair.server.outbox()
    assert data.startswith(b"ACK ")
    assert pair.server_events() == []
    pair.wait(40)
    pair.server.receive(answer, CLIENT, pair.now)
    assert pair.server.outbox() == []


def test_an_old_200_that_comes_again_during_a_newer_offer_is_acknowledged_and_changes_nothing() -> None:
    pair = Pair()
    mine, _ = established(pair)
    first = bytes(pair.last_response(200))
    pair.client.reinvite(mine, now=pair.now, body=SDP, content_type=SDP_TYPE)
    pair.run()
    (event,) = pair.server_events(ReinviteReceived)
    assert isinstance(event, ReinviteReceived)
    accept(pair, event)
    pair.run().client_events()
    second = bytes(pair.last_response(200))
    assert pair.client.reinvite(mine, now=pair.now, body=SDP, content_type=SDP_TYPE)
    pair.run().client_events()
    for copy, number in ((first, b"CSeq: 1 ACK"), (second, b"CSeq: 2 ACK")):
        pair.client.receive(copy, pair.server_hop, pair.now)
        ((_, data),) = pair.client.outbox()
        assert number in data.split(b"\r\n")
    assert pair.client_events(ResponseReceived, DialogEnded) == []
    assert pair.client.reinvite(mine, now=pair.now, body=SDP, content_type=SDP_TYPE) is None  # ours still runs


# --- ACK -------------------------------------------------------------------------------------------------


def acknowledging(pair: Pair) -> tuple[InviteReceived, Request]:
    """A session whose 200 is out, and the client's ACK, which is not delivered."""
    pair.lose = lambda line: line == "> ACK"
    pair.invite()
    pair.run()
    event = invited(pair)
    accept(pair, event)
    return event, pair.run().last_request("ACK")


def with_header(request: Request, name: str, value: str) -> bytes:
    return bytes(request.with_headers(request.headers.without(name).plus((name, value))))


def test_an_ack_with_any_branch_counts_once() -> None:
    pair = Pair()
    event, ack = acknowledging(pair)
    via = "SIP/2.0/UDP 127.0.0.1:5070;branch="
    for branch in ("z9hG4bKother", "1", "z9hG4bKother"):
        pair.server.receive(with_header(ack, "Via", via + branch), CLIENT, pair.now)
    (told,) = pair.server_events()
    assert isinstance(told, AckReceived)
    assert told.dialog == event.dialog
    assert pair.wait(10).log.count("< 200 INVITE") == 1


def test_an_ack_of_another_fork_does_not_confirm_ours() -> None:
    pair = Pair()
    _, ack = acknowledging(pair)
    pair.server.receive(with_header(ack, "To", "<sip:recorder@127.0.0.1:5060>;tag=fork"), CLIENT, pair.now)
    pair.server.receive(with_header(ack, "From", "<sip:client@127.0.0.1>;tag=fork"), CLIENT, pair.now)
    pair.server.receive(with_header(ack, "CSeq", "7 ACK"), CLIENT, pair.now)
    assert pair.server_events() == []
    pair.wait(0.6)
    assert pair.log.count("< 200 INVITE") == 2


def test_an_ack_with_a_body_confirms_and_its_body_is_for_the_owner() -> None:
    pair = Pair()
    event, ack = acknowledging(pair)
    loaded = Request(ack.headers.plus(("Content-Type", SDP_TYPE)), SDP, "ACK", ack.uri)
    pair.server.receive(bytes(loaded), CLIENT, pair.now)
    (told,) = pair.server_events()
    assert isinstance(told, AckReceived)
    assert (told.dialog, told.request.body) == (event.dialog, SDP)


def test_a_late_ack_behind_the_end_is_dropped() -> None:
    pair = Pair()
    _, ack = acknowledging(pair)
    pair.wait(33)
    bye = pair.last_request("BYE")
    assert bye.headers.get("Reason") == str(NOT_ACKNOWLEDGED)
    pair.server_events()
    pair.server.receive(bytes(ack), CLIENT, pair.now)
    assert pair.server_events() == []
    assert pair.server.outbox() == []


# --- BYE -------------------------------------------------------------------------------------------------


def test_row_40_a_bye_without_ack_ends_the_session_and_the_resending() -> None:
    pair = Pair()
    event, _ = acknowledging(pair)
    reason = ("Reason", 'SIP;cause=200;text="Call completed elsewhere"')
    inside(pair, "BYE", 2, reason)
    assert pair.run().log[-1] == "< 200 BYE"
    (told,) = pair.server_events()
    assert isinstance(told, ByeReceived)
    assert (told.dialog, told.reason) == (event.dialog, EndReason("SIP", 200, "Call completed elsewhere"))
    before = len(pair.log)
    assert pair.wait(40).log[before:] == []
    assert pair.server.load == (0, 0)


@pytest.mark.parametrize("status", [200, 487, 481, 500])
def test_a_bye_that_crosses_our_reinvite_ends_the_dialog_whatever_the_reinvite_gets(status: int) -> None:
    pair = Pair()
    _, _, event = reoffered(pair)
    pair.server_events()
    inside(pair, "BYE", 2)
    assert [type(told) for told in pair.server_events()] == [ByeReceived]
    body = SDP if status == 200 else b""
    pair.client.respond(event.transaction, status, now=pair.now, body=body, content_type=SDP_TYPE if body else "")
    pair.run()
    assert "< ACK" in pair.log
    assert "< BYE" not in pair.log
    told = pair.server_events(DialogEnded, RetryDue)
    assert told == []
    assert pair.wait(80).server.load == (0, 0)


def test_two_byes_that_cross_are_both_answered() -> None:
    pair = Pair()
    mine, theirs = established(pair)
    pair.server.bye(theirs, now=pair.now)
    pair.client.bye(mine, now=pair.now)
    pair.run()
    assert sorted(pair.log[-4:]) == ["< 200 BYE", "< BYE", "> 200 BYE", "> BYE"]
    assert pair.wait(40).server.load == pair.client.load == (0, 0)


def test_row_40_a_481_to_whatever_we_ask_ends_the_dialog() -> None:
    for ask in ("reinvite", "update", "bye"):
        pair = Pair()
        mine, theirs = established(pair)
        pair.client.forget(mine)
        if ask == "reinvite":
            pair.server.reinvite(theirs, now=pair.now, body=SDP, content_type=SDP_TYPE)
        elif ask == "update":
            pair.server.update(theirs, now=pair.now)
        else:
            pair.server.bye(theirs, now=pair.now)
        pair.run()
        assert pair.server_events(DialogEnded) == [DialogEnded(theirs, 481)], ask
        assert pair.server.load[0] == 0


def test_a_408_to_whatever_we_ask_ends_the_dialog_with_a_last_bye() -> None:
    pair = Pair()
    _, theirs = established(pair)
    pair.server.update(theirs, now=pair.now)
    pair.run()
    (event,) = pair.client_events(UpdateReceived)
    assert isinstance(event, UpdateReceived)
    pair.client.respond(event.transaction, 408, now=pair.now)
    pair.run()
    assert pair.log[-3:] == ["> 408 UPDATE", "< BYE", "> 200 BYE"]
    assert pair.server_events(DialogEnded) == [DialogEnded(theirs, 408)]
    assert pair.server.load[0] == 0


# --- glare -----------------------------------------------------------------------------------------------


def test_row_39_two_offers_at_once_are_refused_491_and_each_comes_again_after_its_own_wait() -> None:
    pair = Pair()
    mine, theirs = established(pair)
    pair.server.reinvite(theirs, now=pair.now, body=SDP, content_type=SDP_TYPE)
    pair.client.reinvite(mine, now=pair.now, body=SDP, content_type=SDP_TYPE)
    pair.run()
    assert (pair.log.count("< 491 INVITE"), pair.log.count("> 491 INVITE")) == (1, 1)
    refused = pair.server_events(ResponseReceived)[-1]
    assert isinstance(refused, ResponseReceived)
    assert refused.retry_due
    pair.wait(2)
    assert pair.server_events(RetryDue) == [RetryDue(theirs)]
    assert pair.client_events(RetryDue) == []
    assert pair.server.reinvite(theirs, now=pair.now, body=SDP, content_type=SDP_TYPE)
    pair.run()
    (event,) = pair.client_events(ReinviteReceived)
    assert isinstance(event, ReinviteReceived)
    accept(pair, event, by_client=True)
    pair.run().wait(2.1)
    assert pair.client_events(RetryDue) == [RetryDue(mine)]


def test_an_offer_by_update_meets_an_offer_by_reinvite_in_both_directions() -> None:
    for first, second in (("UPDATE", "INVITE"), ("INVITE", "UPDATE")):
        pair = Pair()
        mine, theirs = established(pair)
        for agent, dialog, method in ((pair.server, theirs, first), (pair.client, mine, second)):
            ask = agent.update if method == "UPDATE" else agent.reinvite
            assert ask(dialog, now=pair.now, body=SDP, content_type=SDP_TYPE)
        pair.run()
        assert f"< 491 {second}" in pair.log
        assert f"> 491 {first}" in pair.log
        assert pair.wait(4.1).server_events(RetryDue) == [RetryDue(theirs)]
        assert pair.client_events(RetryDue) == [RetryDue(mine)]


def test_an_offer_by_update_holds_back_the_next_offer_until_it_is_answered() -> None:
    pair = Pair()
    _, theirs = established(pair)
    assert pair.server.update(theirs, now=pair.now, body=SDP, content_type=SDP_TYPE)
    assert pair.server.update(theirs, now=pair.now, body=SDP, content_type=SDP_TYPE) is None
    assert pair.server.reinvite(theirs, now=pair.now, body=SDP, content_type=SDP_TYPE) is None
    assert pair.server.update(theirs, now=pair.now)  # a sign of life is no offer
    pair.run()
    event = pair.client_events(UpdateReceived)[0]
    assert isinstance(event, UpdateReceived)
    pair.client.respond(event.transaction, 200, now=pair.now, body=SDP, content_type=SDP_TYPE)
    pair.run()
    assert pair.server_events(RetryDue) == [RetryDue(theirs)]
    assert "< ACK" not in pair.log


def test_an_offer_of_theirs_by_update_holds_back_ours_until_it_is_answered() -> None:
    pair = Pair()
    mine, theirs = established(pair)
    pair.client.update(mine, now=pair.now, body=SDP, content_type=SDP_TYPE)
    pair.run()
    (event,) = pair.server_events(UpdateReceived)
    assert isinstance(event, UpdateReceived)
    assert pair.server.reinvite(theirs, now=pair.now, body=SDP, content_type=SDP_TYPE) is None
    inside(pair, "INVITE", 3, body=SDP)
    assert "< 500 INVITE" in pair.run().log
    pair.server.respond(event.transaction, 200, now=pair.now, body=SDP, content_type=SDP_TYPE)
    assert pair.server_events(RetryDue) == [RetryDue(theirs)]


@pytest.mark.parametrize("status", [486, 500, 503])
def test_a_busy_client_is_offered_anew_when_it_said(status: int) -> None:
    pair = Pair()
    _, theirs, event = reoffered(pair)
    pair.client.respond(event.transaction, status, now=pair.now, headers=(("Retry-After", "3"),))
    pair.run()
    assert pair.server_events(RetryDue) == []
    pair.wait(2.9)
    assert pair.server_events(RetryDue) == []
    assert pair.wait(0.2).server_events(RetryDue) == [RetryDue(theirs)]


def test_what_a_client_refuses_with_405_disturbs_nothing() -> None:
    pair = Pair(client=AgentConfig(port=CLIENT_PORT, feature=SRC_FEATURE, allow=("INVITE", "ACK", "BYE", "CANCEL")))
    _, theirs = established(pair)
    pair.server.update(theirs, now=pair.now, body=SDP, content_type=SDP_TYPE)
    assert pair.run().log[-1] == "> 405 UPDATE"
    assert pair.server_events(DialogEnded, RetryDue) == []
    assert pair.server.reinvite(theirs, now=pair.now, body=SDP, content_type=SDP_TYPE)
    assert pair.run().log[-1] == "> 100 INVITE"
