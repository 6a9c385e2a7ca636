"""The values inside SIP header fields: lists, parameters, addresses, Via, CSeq, URIs.

Text in, frozen values out, and back by `str()`. Tolerant of spelling, strict about structure: what cannot be
read for certain is a MalformedPacket, never a guess. No message, no transport, no I/O.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from mitschnitt.errors import MalformedPacket, TooLarge

MAX_LIST_ITEMS = 64  # values in one comma list; long Via and Route lists of real networks stay below 20
MAX_PARAMETERS = 64  # parameters of one value; real Contacts carry up to about 15

Parameters = tuple[tuple[str, str | None], ...]

_TOKEN = re.compile(r"[A-Za-z0-9\-.!%*_+`'~]+")
_URI_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:")


def split_outside_quotes(text: str, separator: str) -> list[str]:
    """Pieces between separators that stand outside quotes and angle brackets, stripped (RFC 3261, 7.3.1)."""
    if separator not in text:
        return [text.strip()]
    pieces: list[str] = []
    start = depth = 0
    quoted = escaped = False
    for position, char in enumerate(text):
        if escaped:
            escaped = False
        elif quoted:
            escaped, quoted = char == "\\", char != '"'
        elif char == '"':
            quoted = True
        elif char == "<":
            depth += 1
        elif char == ">":
            depth = max(0, depth - 1)
        elif char == separator and not depth:
            pieces.append(text[start:position].strip())
            start = position + 1
    pieces.append(text[start:].strip())
    if len(pieces) > MAX_LIST_ITEMS:
        raise TooLarge(f"at most {MAX_LIST_ITEMS} values in one list, got {len(pieces)}")
    return pieces


def unquote(text: str) -> str:
    """The content of a quoted string; other text comes back as it is."""
    if len(text) >= 2 and text[0] == text[-1] == '"':
        return re.sub(r"\\(.)", r"\1", text[1:-1])
    return text


def parse_parameters(text: str) -> Parameters:
    """`;a=b;c` as ((a, b), (c, None)); names in lower case, quotes removed, spaces around `=` allowed."""
    found: list[tuple[str, str | None]] = []
    for piece in split_outside_quotes(text, ";"):
        if not piece:
            continue
        name, equals, value = piece.partition("=")
        if re.search(r"[<>\"]", name):  # half an address or string: what it holds would move when it is written
            raise MalformedPacket("expected a parameter name, found quotes or brackets in it")
        found.append((name.strip().lower(), unquote(value.strip()) if equals else None))
    if len(found) > MAX_PARAMETERS:
        raise TooLarge(f"at most {MAX_PARAMETERS} parameters, got {len(found)}")
    return tuple(found)


def write_parameters(parameters: Parameters) -> str:
    """The inverse of parse_parameters; values that are no token, host or address are quoted."""
    written = []
    for name, value in parameters:
        if value is None:
            written.append(f";{name}")
        elif re.fullmatch(r"[A-Za-z0-9\-.!%*_+`'~:\[\]]+", value):
            written.append(f";{name}={value}")
        else:
            escaped = value.replace("\\", "\\\\").replace('"', '\\"')
            written.append(f';{name}="{escaped}"')
    return "".join(written)


def parameter(parameters: Parameters, name: str) -> str | None:
    """The first value of that name; "" when it stands without a value; None when it is absent."""
    for key, value in parameters:
        if key == name:
            return "" if value is None else value
    return None


def parse_host_port(text: str) -> tuple[str, int | None]:
    """`host`, `host:port`, `[2001:db8::1]:port` as (host without brackets, port or None)."""
    text = text.strip()
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise MalformedPacket("an IPv6 host stands in brackets, with :port or nothing behind them")
        port_text = rest[1:] if rest else None
    else:
        host, colon, behind = text.partition(":")
        port_text = behind if colon else None
    host = host.strip()
    if not host or re.search(r"[\s<>\"@,;/]", host):
        raise MalformedPacket("expected a host name or address")
    return host, None if port_text is None else parse_port(port_text)


def parse_port(text: str) -> int:
    """A port, 0 to 65,535 (MalformedPacket otherwise)."""
    text = text.strip()
    if not re.fullmatch(r"[0-9]{1,5}", text) or int(text) > 65_535:
        raise MalformedPacket("a port is a number up to 65535")
    return int(text)


def write_host(host: str) -> str:
    """The host as it stands in a URI or Via: IPv6 in brackets (RFC 3261, 25.1)."""
    return f"[{host}]" if ":" in host else host


@dataclass(frozen=True, slots=True)
class SipUri:
    """A `sip:` or `sips:` URI (RFC 3261, 19.1); headers behind `?` are dropped."""

    scheme: str
    user: str
    host: str
    port: int | None = None
    parameters: Parameters = ()

    @classmethod
    def parse(cls, text: str) -> SipUri:
        """Raises MalformedPacket for other schemes and for what has no host."""
        scheme, colon, rest = text.strip().partition(":")
        if not colon or scheme.lower() not in ("sip", "sips"):
            raise MalformedPacket("expected a sip: or sips: URI")
        before, _, headers = rest.partition("?")
        if "@" in before or "@" not in headers:
            rest = before  # otherwise the ? belongs to the user part (RFC 3261, 25.1), and the host is behind the @
        user, at, behind = rest.rpartition("@")
        host_port, _, parameters = (behind if at else rest).partition("?")[0].partition(";")
        host, port = parse_host_port(host_port)
        return cls(scheme.lower(), user, host, port, parse_parameters(parameters))

    def __str__(self) -> str:
        user = f"{self.user}@" if self.user else ""
        port = "" if self.port is None else f":{self.port}"
        return f"{self.scheme}:{user}{write_host(self.host)}{port}{write_parameters(self.parameters)}"

    @property
    def transport(self) -> str | None:
        """The `transport` parameter in upper case, None when it is absent."""
        value = parameter(self.parameters, "transport")
        return value.upper() if value else None


@dataclass(frozen=True, slots=True)
class Address:
    """A name-addr or addr-spec with its header parameters: From, To, Contact, Route (RFC 3261, 20.10)."""

    uri: str
    display: str = ""
    parameters: Parameters = ()

    @classmethod
    def parse(cls, text: str) -> Address:
        """Raises MalformedPacket for what is not one address, for example `<<sip:a@b>;x>`."""
        text = text.strip()
        display, rest = "", text
        if text.startswith('"'):
            closing = re.match(r'"(?:[^"\\]|\\.)*"', text)
            if not closing:
                raise MalformedPacket("a quoted display name does not end")
            display, rest = unquote(closing.group()), text[closing.end() :].lstrip()
            if not rest.startswith("<"):
                raise MalformedPacket("expected <address> behind the display name")
        if "<" in rest:
            before, _, behind = rest.partition("<")
            uri, bracket, parameters = behind.partition(">")
            parameters = parameters.strip()
            if not bracket or "<" in uri or (parameters and not parameters.startswith(";")):
                raise MalformedPacket("expected one address between < and >")
            display = display or before.strip()
        else:
            uri, _, parameters = rest.partition(";")
        uri = uri.strip()
        if not _URI_SCHEME.match(uri) or re.search(r"[\s<>\"]", uri):
            raise MalformedPacket("expected an address with a scheme, for example sip:")
        return cls(uri, display, parse_parameters(parameters))

    def __str__(self) -> str:
        escaped = self.display.replace("\\", "\\\\").replace('"', '\\"')
        display = f'"{escaped}" ' if self.display else ""
        return f"{display}<{self.uri}>{write_parameters(self.parameters)}"

    @property
    def tag(self) -> str | None:
        """The dialog tag, None when there is none."""
        return parameter(self.parameters, "tag")

    def with_tag(self, tag: str) -> Address:
        """The same address with this tag instead of any other."""
        others = tuple(pair for pair in self.parameters if pair[0] != "tag")
        return Address(self.uri, self.display, (*others, ("tag", tag)))


@dataclass(frozen=True, slots=True)
class Via:
    """One hop of the way back (RFC 3261, 20.42; rport: RFC 3581)."""

    transport: str
    host: str
    port: int | None = None
    parameters: Parameters = ()

    @classmethod
    def parse(cls, text: str) -> Via:
        """Raises MalformedPacket unless it reads `SIP/2.0/TRANSPORT host[:port][;parameters]`."""
        return _via(text)

    def __str__(self) -> str:
        port = "" if self.port is None else f":{self.port}"
        return f"SIP/2.0/{self.transport} {write_host(self.host)}{port}{write_parameters(self.parameters)}"

    @property
    def branch(self) -> str:
        """The transaction's name as the client chose it, "" when missing."""
        return parameter(self.parameters, "branch") or ""

    def replaced(self, **values: str) -> Via:
        """The same Via with these parameters set."""
        others = tuple(pair for pair in self.parameters if pair[0] not in values)
        return Via(self.transport, self.host, self.port, others + tuple(values.items()))


@lru_cache(maxsize=256)  # the same text is read several times while its message is dealt with; it names machines only
def _via(text: str) -> Via:
    match = re.match(r"\s*SIP\s*/\s*2\.0\s*/\s*([A-Za-z0-9\-]+)\s+([^;]+)(.*)$", text, re.IGNORECASE)
    if not match:
        raise MalformedPacket("expected Via: SIP/2.0/TRANSPORT host")
    host, port = parse_host_port(match.group(2))
    return Via(match.group(1).upper(), host, port, parse_parameters(match.group(3)))


@dataclass(frozen=True, slots=True)
class CSeq:
    """The number and method of a request within its dialog (RFC 3261, 20.16)."""

    number: int
    method: str

    @classmethod
    def parse(cls, text: str) -> CSeq:
        """Raises MalformedPacket unless it is a number below 2^31 and a method."""
        match = re.fullmatch(r"\s*([0-9]{1,10})\s+(\S+)\s*", text)
        if not match or int(match.group(1)) >= 2**31 or not _TOKEN.fullmatch(match.group(2)):
            raise MalformedPacket("expected CSeq: number below 2^31, method")
        return cls(int(match.group(1)), match.group(2))

    def __str__(self) -> str:
        return f"{self.number} {self.method}"


def is_token(text: str) -> bool:
    """Whether this is one token of RFC 3261, 25.1."""
    return bool(_TOKEN.fullmatch(text))
