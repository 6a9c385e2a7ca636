"""Multipart bodies in every spelling that was met (RFC 2046, 5.1)."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitschnitt.errors import MalformedPacket, PeerError, TooLarge
from mitschnitt.wire.multipart import MAX_PARTS, Part, build_parts, split_parts
from mitschnitt.wire.sip.message import Headers

SDP = Part(Headers.of([("Content-Type", "application/sdp")]), b"v=0\r\n")
XML = Part(
    Headers.of([("Content-Type", "application/rs-metadata+xml"), ("Content-Disposition", "recording-session")]),
    b"<recording/>",
)


@pytest.mark.parametrize("parts", [(SDP, XML), (XML, SDP), (SDP,)])
def test_what_is_built_is_split_again(parts: tuple[Part, ...]) -> None:
    content_type, body = build_parts(parts, "b-1")
    assert split_parts(body, content_type) == parts


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/mixed;boundary=b-1",
        'multipart/mixed; boundary="b-1"',
        "Multipart/Mixed ; charset=utf-8 ; Boundary = b-1",
        'multipart/related; type="application/sdp"; boundary="b-1"',
    ],
)
def test_row_04_the_boundary_is_read_in_every_spelling(content_type: str) -> None:
    _, body = build_parts((SDP, XML), "b-1")
    assert split_parts(body, content_type) == (SDP, XML)


def test_row_04_lf_only_preamble_epilogue_padding_and_folded_headers_are_taken() -> None:
    body = (
        b"preamble\n--b-1 \t\nContent-Type:\n application/sdp;\n\tcharset=utf-8\n\nv=0\n\n"
        b"--b-1\nContent-Disposition : recording-session ;handling=required\nContent-Type: text/plain\n\nx\n"
        b"--b-1--\nepilogue\n--b-1\n\nnot a part"
    )
    first, second = split_parts(body, "multipart/mixed;boundary=b-1")
    assert (first.content_type, first.charset, first.body) == ("application/sdp", "utf-8", b"v=0\n")
    assert (second.disposition, second.body) == ("recording-session", b"x")


def test_a_part_without_headers_is_text() -> None:
    (part,) = split_parts(b"--b\r\n\r\nhello\r\n--b--", "multipart/mixed;boundary=b")
    assert (part.content_type, part.disposition, part.body) == ("text/plain", "", b"hello")


def test_a_missing_closing_delimiter_leaves_the_last_part_to_the_end() -> None:
    assert split_parts(b"--b\r\nX: y\r\n\r\nrest", "multipart/mixed;boundary=b")[0].body == b"rest"


def test_a_boundary_that_begins_like_another_is_not_taken_for_it() -> None:
    body = b"--b\r\nX: y\r\n\r\n--bb\r\n--b--"
    assert split_parts(body, "multipart/mixed;boundary=b")[0].body == b"--bb"


@pytest.mark.parametrize("content_type", ["application/sdp", "multipart/mixed", "multipart/mixed;boundary="])
def test_without_a_boundary_nothing_is_split(content_type: str) -> None:
    with pytest.raises(MalformedPacket, match="boundary"):
        split_parts(b"--b\r\n\r\nx\r\n--b--", content_type)


def test_an_empty_multipart_and_too_many_or_too_large_parts_are_refused() -> None:
    with pytest.raises(MalformedPacket, match="no part"):
        split_parts(b"--b--", "multipart/mixed;boundary=b")
    with pytest.raises(TooLarge, match="parts"):
        split_parts(b"--b\r\n\r\nx\r\n" * (MAX_PARTS + 3), "multipart/mixed;boundary=b")
    with pytest.raises(TooLarge, match="boundary"):
        split_parts(b"", "multipart/mixed;boundary=" + "b" * 71)
    with pytest.raises(TooLarge, match="headers"):
        split_parts(b"--b\r\n" + b"X: y\r\n" * 2000 + b"\r\n\r\n--b--", "multipart/mixed;boundary=b")


def test_a_boundary_inside_a_part_cannot_be_built() -> None:
    with pytest.raises(MalformedPacket, match="boundary"):
        build_parts((Part(Headers(), b"x--b-1"),), "b-1")


@given(st.binary(max_size=120), st.sampled_from(["b", "b;x", '"b b"', ""]))
def test_no_bytes_make_the_splitter_raise_anything_undocumented(body: bytes, boundary: str) -> None:
    with contextlib.suppress(PeerError):
        assert split_parts(body.replace(b"\x01", b"\r\n--b"), f"multipart/mixed;boundary={boundary}")


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=5))
def test_any_bytes_survive_in_parts(bodies: list[bytes]) -> None:
    parts = tuple(Part(Headers.of([("Content-Type", "x/y")]), body) for body in bodies)
    content_type, body = build_parts(parts, "a-long-boundary")
    assert split_parts(body, content_type) == parts


def test_part_headers_that_are_no_utf_8_are_written_as_they_came() -> None:
    part = Part(Headers.of([("X-Own", b"J\xfcrgen".decode("utf-8", "surrogateescape"))]), b"x")
    _, built = build_parts([part], "b")
    assert b"X-Own: J\xfcrgen\r\n" in built
