"""Which offer waits, and for how long (RFC 3261, 14; RFC 3311, 5)."""

from __future__ import annotations

import pytest

from mitschnitt.wire.sip.dialog import Content, Dialog
from mitschnitt.wire.sip.headers import Address
from mitschnitt.wire.sip.hop import Hop
from mitschnitt.wire.sip.message import Headers, Request, Response
from mitschnitt.wire.sip.offers import MAX_WAIT_SECONDS, carries_sdp, collision, offer_wait, retry_after


def dialog() -> Dialog:
    return Dialog("t", "c", Address("sip:a@b"), Address("sip:c@d"), "sip:c@d", Hop("UDP", "h", 1), caller=False)


def request(method: str, body: bytes = b"v=0\r\n") -> Request:
    return Request(Headers.of([("Content-Type", "application/sdp")]), body, method, "sip:a@b")


def refused(status: int, wait: str | None = None) -> Response:
    return Response(Headers.of([("Retry-After", wait)] if wait is not None else []), b"", status)


@pytest.mark.parametrize(
    "content_type, body, found",
    [
        ("application/sdp", b"v=0", True),
        ("", b"v=0", True),
        ("Application/SDP;x=y", b"v=0", True),
        ("multipart/mixed;boundary=b", b"--b\r\nContent-Type: Application/SDP\r\n", True),
        ("multipart/mixed;boundary=b", b"--b\r\nContent-Type: application/rs-metadata+xml\r\n", False),
        ("application/rs-metadata+xml", b"<a/>", False),
        ("application/sdp", b"", False),
    ],
)
def test_an_offer_is_known_by_its_type(content_type: str, body: bytes, found: bool) -> None:
    assert carries_sdp(Content(body, content_type)) is found


@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
def test_two_offers_at_once_are_491_and_one_more_of_theirs_is_500(method: str) -> None:
    ours, theirs = dialog(), dialog()
    assert collision(ours, request(method), dice=0.5) is None
    ours.invite_out = "x"
    assert collision(ours, request(method), dice=0.5) == (491, "offer.glare", ())
    ours.invite_out, ours.update_out = None, "x"
    assert collision(ours, request(method), dice=0.5) == (491, "offer.glare", ())
    ours.update_out, ours.ack_due = None, 1
    assert collision(ours, request(method), dice=0.5) == (491, "offer.glare", ())
    theirs.invite_in = "x"
    assert collision(theirs, request(method), dice=0.5) == (500, "offer.pending", (("Retry-After", "5"),))
    theirs.invite_in, theirs.update_in = None, "x"
    assert collision(theirs, request(method), dice=0.99) == (500, "offer.pending", (("Retry-After", "9"),))


def test_an_update_without_an_offer_never_collides_and_a_reinvite_without_one_does() -> None:
    busy = dialog()
    busy.invite_out = busy.invite_in = "x"
    assert collision(busy, request("UPDATE", b""), dice=0.5) is None
    assert collision(busy, request("INVITE", b""), dice=0.5) == (491, "offer.glare", ())


@pytest.mark.parametrize(
    "value, seconds",
    [("120", 120.0), (" 18000;duration=3600", 18000.0), ("120 (I'm in a meeting)", 120.0), ("soon", None), ("", None)],
)
def test_retry_after_is_read_with_or_without_its_comment(value: str, seconds: float | None) -> None:
    assert retry_after(refused(503, value)) == seconds


def test_the_dice_of_491_fall_apart_by_who_owns_the_call_id() -> None:
    waits = [offer_wait(refused(491), owner=owner, dice=dice) for owner in (True, False) for dice in (0.0, 1.0)]
    assert waits == [2.1, 4.0, 0.0, 2.0]


@pytest.mark.parametrize("status", [480, 486, 500, 503, 504, 600, 603])
def test_a_busy_peer_is_asked_again_when_it_says_and_not_later_than_we_can_bear(status: int) -> None:
    assert offer_wait(refused(status, "3"), owner=False, dice=0.5) == 3.0
    assert offer_wait(refused(status, "0"), owner=False, dice=0.5) == 0.5
    assert offer_wait(refused(status, "3600"), owner=False, dice=0.5) == MAX_WAIT_SECONDS
    assert offer_wait(refused(status), owner=False, dice=0.5) is None


def test_a_refusal_for_good_is_not_asked_again() -> None:
    assert offer_wait(refused(488, "3"), owner=False, dice=0.5) is None
