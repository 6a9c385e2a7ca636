"""Dialogs: how they are made, what requests they build, when their target moves (RFC 3261, 12)."""

from __future__ import annotations

import pytest

from mitschnitt.errors import MalformedPacket
from mitschnitt.wire.sip.dialog import MAX_ROUTES, Dialog, answer_to, answered_dialog, routes_of
from mitschnitt.wire.sip.headers import Address, Via
from mitschnitt.wire.sip.hop import Hop
from mitschnitt.wire.sip.message import Headers, Request

SOURCE = Hop("TCP", "192.0.2.10", 40_000, 3)
VIA = Via("TCP", "192.0.2.1", 5060)


def invite(*headers: tuple[str, str]) -> Request:
    usual = [
        ("Via", "SIP/2.0/TCP 192.0.2.10;branch=z9hG4bKi"),
        ("From", '"Anna" <sip:a@x>;tag=theirs'),
        ("To", "<sip:r@y>"),
        ("Call-ID", "c"),
        ("CSeq", "5 INVITE"),
    ]
    return Request(Headers.of([*usual, *headers]), b"", "INVITE", "sip:r@y")


def dialog(*headers: tuple[str, str]) -> Dialog:
    made = answered_dialog(invite(*headers), "ours", SOURCE, "sip:192.0.2.10:40000")
    made.confirmed = True
    return made


def test_an_answered_dialog_turns_from_and_to_around() -> None:
    request = dialog(("Contact", "<sip:b@192.0.2.11;transport=tcp>;+sip.src")).request("UPDATE", VIA)
    assert request.uri == "sip:b@192.0.2.11;transport=tcp"
    assert request.headers.get("From") == "<sip:r@y>;tag=ours"
    assert request.headers.get("To") == '"Anna" <sip:a@x>;tag=theirs'
    assert (request.call_id, str(request.cseq), request.headers.get("Max-Forwards")) == (
        "c",
        "1 UPDATE",
        "70",
    )


def test_numbers_rise_and_an_ack_takes_its_own() -> None:
    made = dialog()
    numbers = [made.request(method, VIA).cseq.number for method in ("INVITE", "UPDATE")]
    assert [*numbers, made.request("ACK", VIA, seq=1).cseq.number] == [1, 2, 1]


@pytest.mark.parametrize("contact", ["<<sip:9.9.9.9>;+sip.src>", "<tel:+49>", "", "*"])
def test_without_a_usable_contact_the_target_is_where_the_invite_came_from(contact: str) -> None:
    made = dialog(("Contact", contact))
    assert made.target == "sip:192.0.2.10:40000"
    assert made.next_hop() == Hop("TCP", "192.0.2.10", 40_000, 3)


def test_a_good_contact_moves_the_target_and_a_bad_one_does_not() -> None:
    made = dialog(("Contact", "<sip:one@192.0.2.11>"))
    made.refresh(Address("sip:two@192.0.2.12:5070"))
    made.refresh(None)
    made.refresh(Address("mailto:x@y"))
    assert made.next_hop() == Hop("TCP", "192.0.2.12", 5070, 3)


def test_loose_routes_are_followed_and_strict_ones_become_the_request_uri() -> None:
    loose = dialog(("Record-Route", "<sip:p1@192.0.2.21;lr>, <sip:192.0.2.22;lr>"), ("Contact", "<sip:t@192.0.2.9>"))
    request = loose.request("BYE", VIA)
    assert (request.uri, request.headers.all("Route")) == (
        "sip:t@192.0.2.9",
        ("<sip:p1@192.0.2.21;lr>", "<sip:192.0.2.22;lr>"),
    )
    assert loose.next_hop().host == "192.0.2.21"
    strict = dialog(("Record-Route", "<sip:192.0.2.21>"), ("Contact", "<sip:t@192.0.2.9>"))
    request = strict.request("BYE", VIA)
    assert (request.uri, request.headers.all("Route")) == ("sip:192.0.2.21", ("<sip:t@192.0.2.9>",))


def test_recorded_routes_are_bounded_and_must_be_addresses() -> None:
    with pytest.raises(MalformedPacket, match="routes"):
        routes_of(invite(*[("Record-Route", "<sip:p;lr>")] * (MAX_ROUTES + 1)))
    with pytest.raises(MalformedPacket):
        routes_of(invite(("Record-Route", "<<sip:p>")))


def test_a_dialog_is_known_by_call_id_and_both_tags() -> None:
    made = dialog()
    assert made.knows(invite())
    assert not made.knows(invite().with_headers(Headers.of([("Call-ID", "other"), ("From", "<sip:a@x>;tag=theirs")])))
    assert not made.knows(invite().with_headers(Headers.of([("Call-ID", "c"), ("From", "<sip:a@x>;tag=other")])))


def test_an_offer_waits_while_anything_is_under_way() -> None:
    made = dialog()
    assert made.may_offer
    made.invite_in = "t"
    assert not made.may_offer
    made.invite_in, made.backing_off = None, True
    assert not made.may_offer


def test_an_answer_copies_what_it_must_and_adds_our_tag_once() -> None:
    answer = answer_to(invite(("Via", "SIP/2.0/TCP behind")), 200, "ours", headers=[("Server", "x")], body=b"b")
    assert answer.headers.all("Via") == ("SIP/2.0/TCP 192.0.2.10;branch=z9hG4bKi", "SIP/2.0/TCP behind")
    assert (answer.recipient.tag, answer.sender.tag, answer.body) == ("ours", "theirs", b"b")
    assert answer_to(invite(), 100, None).recipient.tag is None
    inside = invite().headers.without("To").plus(("To", "<sip:r@y>;tag=given"))
    assert answer_to(invite().with_headers(inside), 200, "ours").recipient.tag == "given"
