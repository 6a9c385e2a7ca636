"""Requests that cannot be read: who is still answered, with what, and who is not (RFC 3261, 8.2 and 18.3)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitschnitt.errors import MalformedPacket, PeerError, TooLarge
from mitschnitt.wire.sip.hop import Hop
from mitschnitt.wire.sip.message import MAX_HEADERS, parse_message
from mitschnitt.wire.sip.unreadable import answer_unreadable
from sip_pair import raw_request

SOURCE = Hop("UDP", "192.0.2.9", 40_000)
WRONG = MalformedPacket("whatever")


def answered(data: bytes, error: PeerError = WRONG) -> tuple[int, str, Hop] | None:
    """(status, To, where to) of the answer."""
    found = answer_unreadable(data, SOURCE, error, "ours")
    return found and (found[1].status, found[1].headers.get("To") or "", found[0])


def test_the_answer_goes_where_the_request_came_from_and_carries_our_tag() -> None:
    data = raw_request("INVITE", ("Via", "SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bKx;rport"))
    assert answered(data) == (400, "<sip:b@127.0.0.1>;tag=ours", SOURCE)
    found = answer_unreadable(data, SOURCE, WRONG, "ours")
    assert found
    via = parse_message(bytes(found[1])).via
    assert (via.branch, dict(via.parameters)["received"]) == ("z9hG4bKx", "192.0.2.9")


@pytest.mark.parametrize(
    "line, error, status",
    [
        ("INVITE sip:b SIP/2.0", WRONG, 400),
        ("INVITE sip:b SIP/2.0", TooLarge("whatever"), 413),
        ("INVITE sip:b SIP/3.0", WRONG, 505),
        ("INVITE sip:b sip/02.1", WRONG, 505),
        ("INVITE sip:b", WRONG, 400),
        ("INVITE", WRONG, 400),
    ],
)
def test_the_status_says_what_was_wrong(line: str, error: PeerError, status: int) -> None:
    data = raw_request("INVITE").replace(b"INVITE sip:b@127.0.0.1 SIP/2.0", line.encode())
    found = answered(data, error)
    assert found
    assert found[0] == status


@pytest.mark.parametrize("method", ["ACK", "SIP/2.0 200 OK"])
def test_acks_and_responses_are_never_answered(method: str) -> None:
    data = raw_request("INVITE").replace(b"INVITE sip:b@127.0.0.1 SIP/2.0", method.encode())
    assert answered(data) is None


@pytest.mark.parametrize("name", ["Via", "From", "To", "Call-ID", "CSeq"])
def test_without_what_an_answer_copies_there_is_none(name: str) -> None:
    lines = [line for line in raw_request("INVITE").split(b"\r\n") if not line.startswith(name.encode())]
    assert answered(b"\r\n".join(lines)) is None


def test_a_to_that_cannot_be_read_comes_back_as_it_was() -> None:
    found = answered(raw_request("INVITE", ("To", '"open <sip:b>')))
    assert found
    assert found[1] == '"open <sip:b>'


def test_what_stands_behind_the_limit_of_lines_is_not_looked_at() -> None:
    data = raw_request("INVITE").replace(b"From: ", b"X: y\r\n" * MAX_HEADERS + b"From: ")
    assert answered(data) is None


@given(st.binary(max_size=300), st.booleans())
def test_no_bytes_make_it_raise_and_no_answer_is_longer_than_its_request_by_much(data: bytes, whole: bool) -> None:
    request = raw_request("INVITE").replace(b"Call-ID", data + b"\r\nCall-ID") if whole else data
    found = answer_unreadable(request, SOURCE, WRONG, "ours")
    assert found is None or len(bytes(found[1])) < len(request) + 100
