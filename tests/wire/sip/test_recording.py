"""What an INVITE asks for and what its body holds (RFC 7866, 6 and 9)."""

from __future__ import annotations

from pathlib import Path

import pytest

from mitschnitt.errors import MalformedPacket
from mitschnitt.wire.sip.message import Headers, Request, parse_message
from mitschnitt.wire.sip.recording import (
    InviteKind,
    RecordingBody,
    build_body,
    classify_invite,
    is_recording_invite,
    read_body,
)

VECTORS = Path(__file__).parents[2] / "vectors" / "sip"


def vector(name: str) -> Request:
    message = parse_message((VECTORS / f"invite-{name}.sip").read_bytes())
    assert isinstance(message, Request)
    return message


@pytest.mark.parametrize(
    "name, kind",
    [
        ("two-lines", InviteKind.RECORDING),
        ("lf-only", InviteKind.RECORDING),
        ("odd-boundary", InviteKind.RECORDING),
        ("compact-folded", InviteKind.RECORDING),
        ("one-mixed-line", InviteKind.RECORDING),
        ("without-siprec", InviteKind.RECORDING_LAX),
        ("without-metadata", InviteKind.RECORDING),
        ("ordinary", InviteKind.ORDINARY),
    ],
)
def test_row_01_an_invite_is_classified(name: str, kind: InviteKind) -> None:
    assert classify_invite(vector(name)) is kind
    assert is_recording_invite(vector(name)) is (kind is not InviteKind.ORDINARY)


@pytest.mark.parametrize(
    "require, contact, kind",
    [
        ("siprec", "<sip:a>;+sip.src", InviteKind.RECORDING),
        ("siprec", "<sip:a>", InviteKind.RECORDING_LAX),
        ("timer", "<sip:a>;+sip.src", InviteKind.RECORDING_LAX),
        ("timer", "<sip:a>", InviteKind.ORDINARY),
        ("siprec", "<<sip:a>;+sip.src>", InviteKind.RECORDING),
    ],
)
def test_row_01_recording_by_the_book_needs_both_marks(require: str, contact: str, kind: InviteKind) -> None:
    headers = Headers.of([("Require", require), ("Contact", contact)])
    assert classify_invite(Request(headers, b"", "INVITE", "sip:r")) is kind


@pytest.mark.parametrize("name", ["two-lines", "lf-only", "odd-boundary"])
def test_row_04_both_parts_are_found_in_any_order_and_spelling(name: str) -> None:
    body = read_body(vector(name))
    assert body.sdp is not None
    assert body.sdp.startswith(b"v=0")
    assert body.metadata is not None
    assert body.metadata.rstrip().endswith(b"</recording>")


def test_row_06_a_description_alone_is_found_without_multipart() -> None:
    body = read_body(vector("without-metadata"))
    assert body.sdp is not None
    assert body.metadata is None


@pytest.mark.parametrize(
    "content_type, disposition, body",
    [
        ("application/sdp", "", RecordingBody(sdp=b"x")),
        ("", "", RecordingBody(sdp=b"x")),
        ("application/rs-metadata+xml", "", RecordingBody(metadata=b"x")),
        ("application/rs-metadata;charset=latin-1", "", RecordingBody(metadata=b"x", charset="latin-1")),
        ("application/xml", "recording-session", RecordingBody(metadata=b"x")),
        ("application/isup", "", RecordingBody()),
    ],
)
def test_row_06_a_body_without_multipart_is_taken_by_type_or_disposition(
    content_type: str, disposition: str, body: RecordingBody
) -> None:
    headers = [("Content-Type", content_type)] if content_type else []
    headers += [("Content-Disposition", disposition)] if disposition else []
    assert read_body(Request(Headers.of(headers), b"x", "UPDATE", "sip:r")) == body


@pytest.mark.parametrize(
    "kind, disposition",
    [
        ("application/rs-metadata", ""),
        ("application/rs-metadata+xml", ""),
        ("application/xml", "Content-Disposition: recording-session\r\n"),
        ("application/rs-metadata+xml", "Content-Disposition: recording-session;handling=required\r\n"),
    ],
)
def test_row_05_metadata_in_multipart_is_found_by_type_or_disposition(kind: str, disposition: str) -> None:
    body = f"--b\r\nContent-Type: {kind}\r\n{disposition}\r\nx\r\n--b--".encode()
    headers = Headers.of([("Content-Type", "multipart/mixed;boundary=b")])
    assert read_body(Request(headers, body, "UPDATE", "sip:r")).metadata == b"x"


def test_no_body_holds_nothing_and_a_broken_one_is_refused() -> None:
    assert read_body(Request()) == RecordingBody()
    headers = Headers.of([("Content-Type", "multipart/mixed")])
    with pytest.raises(MalformedPacket):
        read_body(Request(headers, b"x", "INVITE", "sip:r"))
    assert classify_invite(Request(headers, b"x", "INVITE", "sip:r")) is InviteKind.ORDINARY


def test_what_a_client_builds_is_read_back() -> None:
    content_type, body = build_body(b"v=0\r\n", b"<recording/>", boundary="b")
    message = Request(Headers.of([("Content-Type", content_type)]), body, "INVITE", "sip:r")
    assert read_body(message) == RecordingBody(b"v=0\r\n", b"<recording/>")


@pytest.mark.parametrize(
    "attributes, kind",
    [
        ("a=label:1\r\na=sendonly\r\n", InviteKind.RECORDING_LAX),
        ("a=label:1\r\na=inactive\r\n", InviteKind.RECORDING_LAX),
        ("a=label:1\r\na=sendrecv\r\n", InviteKind.ORDINARY),
        ("a=sendonly\r\n", InviteKind.ORDINARY),
    ],
)
def test_labels_are_a_sign_only_on_lines_that_only_send(attributes: str, kind: InviteKind) -> None:
    sdp = f"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8\r\n{attributes}"
    headers = Headers.of([("Content-Type", "application/sdp")])
    assert classify_invite(Request(headers, sdp.encode(), "INVITE", "sip:r")) is kind
