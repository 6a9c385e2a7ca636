"""multipart/mixed bodies: split and build (RFC 2046, 5.1; RFC 5621 for SIP).

Order of parts, preamble, LF without CR, folded part headers and odd boundaries are all taken; what announces
no boundary or holds no part is MalformedPacket. Parts are not interpreted here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from mitschnitt.errors import MalformedPacket, TooLarge
from mitschnitt.wire.sip.headers import parameter, parse_parameters
from mitschnitt.wire.sip.message import Headers, parse_header_lines, unfold

MAX_PARTS = 16  # SIPREC uses two; a preamble of ISUP, location and the like adds a few
MAX_BOUNDARY = 70  # characters (RFC 2046, 5.1.1)
MAX_PART_HEAD_BYTES = 8_192  # headers of one part; real ones have two or three lines

_HEAD_END = re.compile(rb"\r?\n\r?\n")


@dataclass(frozen=True, slots=True)
class Part:
    """One part: its headers and its bytes."""

    headers: Headers = field(default_factory=Headers)
    body: bytes = b""

    @property
    def content_type(self) -> str:
        """Media type in lower case without parameters; text/plain when none is given (RFC 2046, 5.1)."""
        return media_type(self.headers.get("Content-Type") or "text/plain")

    @property
    def disposition(self) -> str:
        """Content-Disposition in lower case without parameters, "" when absent."""
        return media_type(self.headers.get("Content-Disposition") or "")

    @property
    def charset(self) -> str | None:
        """The charset parameter of the Content-Type, None when absent."""
        return charset_of(self.headers.get("Content-Type") or "")


def media_type(value: str) -> str:
    """`Application/SDP; x=y` as `application/sdp`."""
    return value.partition(";")[0].strip().lower()


def charset_of(content_type: str) -> str | None:
    """The charset parameter, None when absent."""
    return parameter(parse_parameters(content_type.partition(";")[2]), "charset")


def split_parts(body: bytes, content_type: str) -> tuple[Part, ...]:
    """The parts of a multipart body in order.

    Raises MalformedPacket without a boundary or a part, TooLarge above MAX_PARTS. A missing closing
    delimiter is tolerated: the last part then goes to the end.
    """
    boundary = parameter(parse_parameters(content_type.partition(";")[2]), "boundary")
    if not media_type(content_type).startswith("multipart/") or not boundary:
        raise MalformedPacket("expected a multipart type with a boundary")
    if len(boundary) > MAX_BOUNDARY:
        raise TooLarge(f"a boundary has at most {MAX_BOUNDARY} characters, got {len(boundary)}")
    quoted = re.escape(boundary.encode("utf-8", "surrogateescape"))
    delimiter = re.compile(rb"(?:\A|\r?\n)--" + quoted + rb"(--)?[ \t]*(?=\r?\n|\Z)")
    parts: list[Part] = []
    start: int | None = None
    for match in delimiter.finditer(body):
        if start is not None:
            parts.append(_part(body[start : match.start()]))
        if len(parts) > MAX_PARTS:
            raise TooLarge(f"a body has at most {MAX_PARTS} parts")
        start = None if match.group(1) else match.end()
        if match.group(1):
            break
    if start is not None:
        parts.append(_part(body[start:]))
    if not parts:
        raise MalformedPacket("a multipart body holds no part between its boundaries")
    return tuple(parts)


def _part(data: bytes) -> Part:
    """`data` begins with the line end behind its delimiter."""
    data = re.sub(rb"\A\r?\n", b"", data, count=1)
    if re.match(rb"\r?\n", data):  # no headers at all
        return Part(Headers(), re.sub(rb"\A\r?\n", b"", data, count=1))
    end = _HEAD_END.search(data)
    head, body = (data[: end.start()], data[end.end() :]) if end else (data, b"")
    if len(head) > MAX_PART_HEAD_BYTES:
        raise TooLarge(f"headers of a part have at most {MAX_PART_HEAD_BYTES} bytes, got {len(head)}")
    return Part(parse_header_lines([line for line in unfold(head) if line]), body)


def build_parts(parts: Sequence[Part], boundary: str) -> tuple[str, bytes]:
    """(Content-Type, body) of these parts; raises MalformedPacket when a part contains the boundary."""
    mark = f"--{boundary}".encode()
    if any(mark in part.body for part in parts):
        raise MalformedPacket("a part contains the boundary that is to separate it")
    pieces = []
    for part in parts:
        head = "".join(f"{name}: {value}\r\n" for name, value in part.headers)
        pieces += [mark, b"\r\n", head.encode("utf-8", "surrogateescape"), b"\r\n", part.body, b"\r\n"]
    return f'multipart/mixed;boundary="{boundary}"', b"".join([*pieces, mark, b"--\r\n"])
