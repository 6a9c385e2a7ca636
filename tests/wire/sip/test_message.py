"""Whole messages: the vectors of our own, round trips, and refusals by name (RFC 3261, 7)."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitschnitt import errors
from mitschnitt.errors import MalformedPacket, PeerError, TooLarge
from mitschnitt.wire.sip.message import (
    MAX_BODY_BYTES,
    MAX_HEAD_BYTES,
    Headers,
    Request,
    Response,
    canonical_name,
    parse_message,
)

VECTORS = Path(__file__).parents[2] / "vectors" / "sip"
GOOD = sorted(path.name for path in VECTORS.glob("*.sip") if not path.name.startswith("bad-"))
BAD: dict[str, tuple[str, str]] = json.loads((VECTORS / "bad.json").read_text())


@pytest.mark.parametrize("name", GOOD)
def test_a_vector_is_read_and_comes_back_the_same(name: str) -> None:
    message = parse_message((VECTORS / name).read_bytes())
    again = parse_message(bytes(message))
    assert again.body == message.body
    assert again.headers.without("Content-Length") == message.headers.without("Content-Length")
    assert type(again) is type(message)


@pytest.mark.parametrize("name", sorted(BAD))
def test_a_bad_vector_is_refused_by_its_sentence(name: str) -> None:
    kind, sentence = BAD[name]
    with pytest.raises(getattr(errors, kind), match=sentence):
        parse_message((VECTORS / name).read_bytes())


def test_every_bad_vector_is_listed() -> None:
    assert {path.name for path in VECTORS.glob("bad-*.sip")} == set(BAD)


def test_compact_names_folded_lines_and_lists_are_read() -> None:
    message = parse_message((VECTORS / "invite-compact-folded.sip").read_bytes())
    assert isinstance(message, Request)
    assert message.headers.listed("via") == (
        "SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bKa",
        "SIP/2.0/TCP [2001:db8::9]:5070;branch=z9hG4bKb",
    )
    assert (message.sender.display, message.sender.tag) == ("Zentrale, <Nord>", "1")
    assert message.call_id == "folded@192.0.2.10"
    assert (message.cseq.number, message.cseq.method) == (7, "INVITE")
    assert message.headers.tokens("Supported") == {"timer", "replaces"}
    assert message.contact is not None
    assert message.contact.uri == "sip:192.0.2.10:5060;transport=udp"


def test_a_malformed_contact_is_no_contact() -> None:
    message = parse_message((VECTORS / "ok-malformed-contact.sip").read_bytes())
    assert isinstance(message, Response)
    assert message.headers.get("Contact") == "<<sip:192.0.2.10:5060>;+sip.src>"
    assert message.contact is None


def test_bytes_behind_content_length_are_ignored_and_missing_length_takes_all() -> None:
    head = b"OPTIONS sip:a SIP/2.0\r\nVia: SIP/2.0/UDP a\r\n"
    assert parse_message(head + b"Content-Length: 2\r\n\r\nabcd").body == b"ab"
    assert parse_message(head + b"\r\nabcd").body == b"abcd"


def test_bytes_that_are_no_utf_8_survive() -> None:
    data = b"OPTIONS sip:a SIP/2.0\r\nSubject: J\xfcrgen\r\n\r\n"
    assert b"Subject: J\xfcrgen\r\n" in bytes(parse_message(data))


def test_names_have_one_spelling() -> None:
    assert [canonical_name(name) for name in ("i", "CALL-ID", "cseq", "l", "x-own", "v")] == [
        "Call-ID",
        "Call-ID",
        "CSeq",
        "Content-Length",
        "X-Own",
        "Via",
    ]


def test_headers_are_changed_by_copy() -> None:
    headers = Headers.of([("f", "a"), ("t", "b")])
    assert headers.without("from").plus(("k", "x, y")).items == (("To", "b"), ("Supported", "x, y"))
    assert headers.get("nothing") is None


def test_a_control_character_cannot_be_sent() -> None:
    with pytest.raises(MalformedPacket):
        bytes(Request(Headers.of([("Subject", "a\r\nInjected: b")]), b"", "OPTIONS", "sip:a"))


@pytest.mark.parametrize("name", ["via", "sender", "recipient", "call_id", "cseq"])
def test_a_missing_header_is_named(name: str) -> None:
    with pytest.raises(MalformedPacket, match="expected a"):
        getattr(Request(Headers(), b"", "OPTIONS", "sip:a"), name)


def test_limits_hold_for_the_whole_head_and_body() -> None:
    line = b"X: " + b"y" * 4000 + b"\r\n"
    with pytest.raises(TooLarge, match="start line and headers"):
        parse_message(b"OPTIONS sip:a SIP/2.0\r\n" + line * (MAX_HEAD_BYTES // len(line) + 1) + b"\r\n")
    with pytest.raises(TooLarge, match="a body has"):
        parse_message(b"OPTIONS sip:a SIP/2.0\r\nX: y\r\n\r\n" + b"b" * (MAX_BODY_BYTES + 1))
    with pytest.raises(TooLarge, match="a message has"):
        parse_message(b"b" * (MAX_BODY_BYTES + MAX_HEAD_BYTES + 1))


@given(st.binary(max_size=200))
def test_no_bytes_make_the_parser_raise_anything_undocumented(data: bytes) -> None:
    with contextlib.suppress(PeerError):
        assert parse_message(data).headers is not None


@given(st.sampled_from(GOOD), st.integers(0, 4000), st.binary(max_size=6), st.integers(0, 8))
def test_no_change_to_a_good_message_breaks_the_parser(name: str, position: int, inserted: bytes, removed: int) -> None:
    data = (VECTORS / name).read_bytes()
    position %= len(data)
    with contextlib.suppress(PeerError):
        message = parse_message(data[:position] + inserted + data[position + removed :])
        assert message.contact is None or message.contact.uri
