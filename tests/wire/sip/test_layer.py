"""Matching messages to transactions and carrying out what the tables say (RFC 3261, 17.1.3 and 17.2.3)."""

from __future__ import annotations

import pytest

from mitschnitt.wire.sip.dialog import answer_to
from mitschnitt.wire.sip.hop import Hop
from mitschnitt.wire.sip.layer import TransactionLayer, failure_ack, server_key
from mitschnitt.wire.sip.message import Headers, Request
from mitschnitt.wire.sip.timers import Timers
from mitschnitt.wire.sip.transaction import Action, Durations, Timer

HOP = Hop("UDP", "127.0.0.1", 5070)


def request(method: str, branch: str = "z9hG4bKx", *headers: tuple[str, str]) -> Request:
    items = [
        ("Via", f"SIP/2.0/UDP 127.0.0.1:5070;branch={branch}"),
        ("From", "<sip:a@x>;tag=1"),
        ("To", "<sip:b@y>"),
        ("Call-ID", "c"),
        ("CSeq", f"1 {method}"),
        *headers,
    ]
    return Request(Headers.of(items), b"", method, "sip:b@y")


@pytest.fixture
def layer() -> TransactionLayer:
    return TransactionLayer(Durations(), Timers())


@pytest.mark.parametrize("branch", ["z9hG4bKx", "1", ""])
def test_an_ack_to_a_failure_is_its_invites_with_any_kind_of_branch(branch: str) -> None:
    assert server_key(request("ACK", branch)) == server_key(request("INVITE", branch))
    assert server_key(request("BYE", branch)) != server_key(request("INVITE", branch))


def test_a_copy_of_a_request_gets_the_same_bytes_again(layer: TransactionLayer) -> None:
    transaction = layer.serve(request("BYE"), "t", HOP, 0.0)
    assert layer.absorb(request("BYE"), 0.1)
    assert layer.outbox == []
    assert layer.answer(transaction, answer_to(request("BYE"), 200, "x"), 0.2)
    assert layer.absorb(request("BYE"), 0.3)
    assert layer.outbox[0] == layer.outbox[1]
    assert not layer.answer(transaction, answer_to(request("BYE"), 486, "x"), 0.4)


def test_a_response_finds_its_request_by_branch_and_method(layer: TransactionLayer) -> None:
    layer.ask(request("UPDATE"), "t", HOP, 0.0, "d")
    assert not layer.receive_response(answer_to(request("BYE"), 200, "x"), 0.1)
    assert layer.receive_response(answer_to(request("UPDATE"), 200, "x"), 0.1)
    (happening,) = layer.happenings
    assert (happening.transaction.id, happening.transaction.dialog, happening.action) == (
        "t",
        "d",
        Action.TELL,
    )
    layer.receive_response(answer_to(request("UPDATE"), 200, "x"), 0.2)
    assert len(layer.happenings) == 1


def test_a_failure_is_acknowledged_along_the_invites_way() -> None:
    invite = request("INVITE", "z9hG4bKx", ("Route", "<sip:p;lr>"), ("Max-Forwards", "70"))
    ack = failure_ack(invite, answer_to(invite, 486, "far"))
    assert (ack.method, ack.uri, ack.via.branch, ack.recipient.tag) == ("ACK", "sip:b@y", "z9hG4bKx", "far")
    assert (str(ack.cseq), ack.headers.all("Route")) == ("1 ACK", ("<sip:p;lr>",))


def test_what_is_over_is_forgotten_with_its_timers() -> None:
    timers = Timers()
    layer = TransactionLayer(Durations(), timers)
    transaction = layer.ask(request("UPDATE"), "t", HOP, 0.0, None)
    assert layer.hop(transaction) == HOP
    while key := timers.pop_due(40.0):
        layer.fire(key[0], Timer(key[1]), 40.0)
    assert (len(layer), len(timers), layer.find("t"), layer.hop(transaction)) == (0, 0, None, None)
    assert layer.happenings[-1].action is Action.TIME_OUT


def test_a_lost_hop_fails_what_waits_for_it(layer: TransactionLayer) -> None:
    layer.ask(request("UPDATE"), "t", HOP, 0.0, None)
    layer.lost(Hop("UDP", "127.0.0.2", 5070), 0.1)
    assert layer.happenings == []
    layer.lost(HOP, 0.1)
    assert layer.happenings[-1].action is Action.FAIL
    assert len(layer) == 0


def test_a_cancel_finds_its_invite_only(layer: TransactionLayer) -> None:
    invite = layer.serve(request("INVITE"), "t", HOP, 0.0)
    assert layer.cancelled_invite(request("CANCEL")) is invite
    assert layer.cancelled_invite(request("CANCEL", "z9hG4bKother")) is None


def test_a_request_that_came_another_way_is_known_while_the_first_runs(layer: TransactionLayer) -> None:
    first, second = request("OPTIONS", "z9hG4bKone"), request("OPTIONS", "z9hG4bKtwo")
    within = second.with_headers(second.headers.without("To").plus(("To", "<sip:b@y>;tag=2")))
    assert not layer.merges(second)
    transaction = layer.serve(first, "t", HOP, 0.0)
    assert layer.merges(second)
    assert not layer.merges(within)
    assert not layer.merges(request("INVITE", "z9hG4bKtwo"))
    layer.serve(second, "u", HOP, 0.0)
    layer.answer(transaction, answer_to(first, 200, "x"), 0.1)
    layer.fire("t", Timer.J, 33.0)
    assert not layer.merges(second)  # the end of the first is the end of the rule


def test_a_cancelled_invite_waits_no_longer_than_it_is_told(layer: TransactionLayer) -> None:
    transaction = layer.ask(request("INVITE"), "t", HOP, 0.0, None)
    layer.hasten(transaction, 32.0)  # nothing came back yet: timer B ends it at the same time
    assert Timer.C not in transaction.deadlines
    layer.receive_response(answer_to(request("INVITE"), 180, "x"), 1.0)
    layer.hasten(transaction, 33.0)
    assert transaction.deadlines == {Timer.C: 33.0}
    layer.hasten(transaction, 50.0)
    assert transaction.deadlines == {Timer.C: 33.0}
