"""SIP messages: bytes to frozen requests and responses, and back (RFC 3261, 7).

Reads what real equipment writes: compact names, folded lines, LF without CR, lists on one line or many.
Refuses by name what is malformed or above a limit. Knows nothing of transactions, dialogs or transports.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache

from mitschnitt.errors import MalformedPacket, PeerError, TooLarge
from mitschnitt.wire.sip.headers import Address, CSeq, Via, is_token, split_outside_quotes

MAX_DATAGRAM_BYTES = 65_507  # largest UDP payload over IPv4; a longer message must come by TCP
MAX_HEAD_BYTES = 32_768  # start line and headers; the largest seen from session border controllers is 6 kB
MAX_LINE_BYTES = 8_192  # one header after unfolding; identity headers with certificates reach 3 kB
MAX_HEADERS = 128  # header lines; proxies' traces stay below 60
MAX_BODY_BYTES = 262_144  # SDP of 8 lines and metadata of a large conference fit 20 times

_COMPACT = {
    "a": "Accept-Contact", "b": "Referred-By", "c": "Content-Type", "e": "Content-Encoding", "f": "From",
    "i": "Call-ID", "k": "Supported", "l": "Content-Length", "m": "Contact", "o": "Event", "r": "Refer-To",
    "s": "Subject", "t": "To", "u": "Allow-Events", "v": "Via", "x": "Session-Expires",
}  # fmt: skip
_ODD_CASE = {
    "call-id": "Call-ID",
    "cseq": "CSeq",
    "mime-version": "MIME-Version",
    "min-se": "Min-SE",
    "www-authenticate": "WWW-Authenticate",
}
_HEAD_END = re.compile(rb"\r?\n\r?\n")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")

REASONS = {
    100: "Trying", 180: "Ringing", 183: "Session Progress", 200: "OK", 400: "Bad Request", 401: "Unauthorized",
    403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed", 407: "Proxy Authentication Required",
    408: "Request Timeout", 413: "Request Entity Too Large", 415: "Unsupported Media Type", 420: "Bad Extension",
    422: "Session Interval Too Small", 469: "Bad Info Package", 481: "Call/Transaction Does Not Exist",
    482: "Loop Detected", 483: "Too Many Hops", 486: "Busy Here", 487: "Request Terminated",
    488: "Not Acceptable Here", 491: "Request Pending", 500: "Server Internal Error", 501: "Not Implemented",
    503: "Service Unavailable", 505: "Version Not Supported", 603: "Decline",
}  # fmt: skip


@lru_cache(maxsize=512)  # a few dozen names are all that comes, hundreds of times a second
def canonical_name(name: str) -> str:
    """The long spelling with usual capitals: `i` and `call-id` are both `Call-ID`."""
    lower = name.lower()
    if lower in _COMPACT:
        return _COMPACT[lower]
    return _ODD_CASE.get(lower) or "-".join(part.capitalize() for part in lower.split("-"))


@dataclass(frozen=True, slots=True)
class Headers:
    """Header fields in order, names canonical; looked up without regard to case or compact form."""

    items: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, items: Iterable[tuple[str, str]]) -> Headers:
        """Headers from (name, value) pairs with any spelling of the names."""
        return cls(tuple((canonical_name(name), value) for name, value in items))

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self.items)

    def get(self, name: str) -> str | None:
        """The first value of that name, None when absent."""
        wanted = canonical_name(name)
        return next((value for key, value in self.items if key == wanted), None)

    def all(self, name: str) -> tuple[str, ...]:
        """The values of every line of that name, as written."""
        wanted = canonical_name(name)
        return tuple(value for key, value in self.items if key == wanted)

    def listed(self, name: str) -> tuple[str, ...]:
        """Every value of that name, comma lists taken apart (RFC 3261, 7.3.1)."""
        return tuple(piece for line in self.all(name) for piece in split_outside_quotes(line, ",") if piece)

    def tokens(self, name: str) -> frozenset[str]:
        """The values of a list of tokens such as Require or Supported, lower case."""
        return frozenset(piece.lower() for piece in self.listed(name))

    def without(self, *names: str) -> Headers:
        """All but these."""
        unwanted = {canonical_name(name) for name in names}
        return Headers(tuple(pair for pair in self.items if pair[0] not in unwanted))

    def plus(self, *items: tuple[str, str]) -> Headers:
        """These added at the end."""
        return Headers(self.items + Headers.of(items).items)


@dataclass(frozen=True, slots=True)
class _Message:
    headers: Headers = field(default_factory=Headers)
    body: bytes = b""

    def _start_line(self) -> str:
        raise NotImplementedError

    def __bytes__(self) -> bytes:
        """The message on the wire; Content-Length is always the body's own length."""
        lines = [self._start_line()]
        lines += [f"{name}: {value}" for name, value in self.headers if name != "Content-Length"]
        lines.append(f"Content-Length: {len(self.body)}")
        if any(_CONTROL.search(line) for line in lines):
            raise MalformedPacket("a header line with a control character cannot be sent")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "surrogateescape") + self.body

    def _required(self, name: str) -> str:
        values = set(self.headers.all(name))
        if not all(values) or not values:
            raise MalformedPacket(f"expected a {name} header")
        if len(values) > 1:  # which of them is meant, peers could read differently
            raise MalformedPacket(f"expected one {name} header, found {len(values)} that differ")
        return values.pop()

    @property
    def call_id(self) -> str:
        """The Call-ID; raises MalformedPacket when missing."""
        return self._required("Call-ID").strip()

    @property
    def cseq(self) -> CSeq:
        """The CSeq; raises MalformedPacket when missing or wrong."""
        return CSeq.parse(self._required("CSeq"))

    @property
    def sender(self) -> Address:
        """The From header; raises MalformedPacket when missing or wrong."""
        return Address.parse(self._required("From"))

    @property
    def recipient(self) -> Address:
        """The To header; raises MalformedPacket when missing or wrong."""
        return Address.parse(self._required("To"))

    @property
    def via(self) -> Via:
        """The topmost Via; raises MalformedPacket when missing or wrong."""
        vias = self.headers.listed("Via")
        if not vias:
            raise MalformedPacket("expected a Via header")
        return Via.parse(vias[0])

    @property
    def contact(self) -> Address | None:
        """The first Contact, None when absent, malformed or one of too many: a target is never guessed."""
        try:
            values = self.headers.listed("Contact")
            return Address.parse(values[0]) if values else None
        except PeerError:
            return None

    @property
    def content_type(self) -> str:
        """The Content-Type as written, "" when absent."""
        return self.headers.get("Content-Type") or ""


@dataclass(frozen=True, slots=True)
class Request(_Message):
    """A request (RFC 3261, 7.1)."""

    method: str = ""
    uri: str = ""

    def _start_line(self) -> str:
        return f"{self.method} {self.uri} SIP/2.0"

    def with_headers(self, headers: Headers) -> Request:
        """The same request with other headers."""
        return replace(self, headers=headers)


@dataclass(frozen=True, slots=True)
class Response(_Message):
    """A response (RFC 3261, 7.2)."""

    status: int = 0
    reason: str = ""

    def _start_line(self) -> str:
        return f"SIP/2.0 {self.status} {self.reason or REASONS.get(self.status, 'Unknown')}"


def parse_message(data: bytes) -> Request | Response:
    """One message from one datagram or one frame of a stream.

    Raises MalformedPacket for what does not parse and TooLarge above a limit. Bytes behind Content-Length
    are ignored; without Content-Length the body goes to the end (RFC 3261, 18.3).
    """
    if len(data) > MAX_HEAD_BYTES + MAX_BODY_BYTES:
        raise TooLarge(f"a message has at most {MAX_HEAD_BYTES + MAX_BODY_BYTES} bytes, got {len(data)}")
    data = data.lstrip(b"\r\n")
    end = _HEAD_END.search(data)
    if not end:
        raise MalformedPacket("a SIP message has an empty line behind its headers; found none")
    if end.start() > MAX_HEAD_BYTES:
        raise TooLarge(f"start line and headers have at most {MAX_HEAD_BYTES} bytes, got {end.start()}")
    first, headers = parse_head(data[: end.start()])
    body = _cut_body(headers, data[end.end() :])
    if first[:4].upper() == "SIP/":
        return _response(first, headers, body)
    return _request(first, headers, body)


def parse_head(head: bytes) -> tuple[str, Headers]:
    """Start line and headers; `head` ends before the empty line."""
    lines = unfold(head)
    if not lines:
        raise MalformedPacket("expected a start line, found nothing")
    return lines[0], parse_header_lines(lines[1:])


def unfold(head: bytes) -> list[str]:
    """Lines with their continuations joined by one space (RFC 3261, 7.3.1)."""
    lines: list[str] = []
    for raw in re.split(rb"\r?\n", head):
        line = raw.decode("utf-8", "surrogateescape")
        if _CONTROL.search(line):
            raise MalformedPacket("a header line holds a control character")
        if line[:1] in (" ", "\t") and lines:
            lines[-1] = f"{lines[-1]} {line.strip()}"
        else:
            lines.append(line)
        if len(lines[-1]) > MAX_LINE_BYTES:
            raise TooLarge(f"a header line has at most {MAX_LINE_BYTES} bytes, got {len(lines[-1])}")
    return lines


def parse_header_lines(lines: list[str]) -> Headers:
    """`Name: value` lines as Headers; spaces before and behind the colon are allowed."""
    if len(lines) > MAX_HEADERS:
        raise TooLarge(f"a message has at most {MAX_HEADERS} headers, got {len(lines)}")
    items = []
    for line in lines:
        name, colon, value = line.partition(":")
        name = name.strip()
        if not colon or not is_token(name):
            raise MalformedPacket("expected 'Name: value' in every header line")
        items.append((canonical_name(name), value.strip()))
    return Headers(tuple(items))


def content_length(headers: Headers) -> int | None:
    """The announced body length in bytes, None when absent; two that differ are MalformedPacket."""
    values = set(headers.all("Content-Length"))
    if not values:
        return None
    text = values.pop()
    if values or not re.fullmatch(r"[0-9]{1,9}", text):
        raise MalformedPacket("expected one Content-Length, a number")
    if int(text) > MAX_BODY_BYTES:
        raise TooLarge(f"a body has at most {MAX_BODY_BYTES} bytes, announced {int(text)}")
    return int(text)


def _cut_body(headers: Headers, rest: bytes) -> bytes:
    length = content_length(headers)
    if length is None:
        length = len(rest)
    if length > MAX_BODY_BYTES:
        raise TooLarge(f"a body has at most {MAX_BODY_BYTES} bytes, got {length}")
    if length > len(rest):
        raise MalformedPacket(f"Content-Length says {length}, the message has {len(rest)}")
    return rest[:length]


def _request(first: str, headers: Headers, body: bytes) -> Request:
    words = first.split(" ")
    if len(words) != 3 or not is_token(words[0]) or not re.fullmatch(r"[^<>\"]+", words[1]):
        raise MalformedPacket("expected 'METHOD uri SIP/2.0'")
    if words[2].upper() != "SIP/2.0":
        raise MalformedPacket("expected SIP/2.0, found another version")
    return Request(headers, body, words[0], words[1])


def _response(first: str, headers: Headers, body: bytes) -> Response:
    match = re.fullmatch(r"SIP/2\.0 ([1-6][0-9]{2})(?: (.*))?", first, re.IGNORECASE)
    if not match:
        raise MalformedPacket("expected 'SIP/2.0 status reason'")
    return Response(headers, body, int(match.group(1)), match.group(2) or "")
