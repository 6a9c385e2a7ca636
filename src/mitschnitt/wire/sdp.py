"""Session descriptions: read offers, write our answers and our own offers (RFC 8866, RFC 3264, RFC 7866 7).

A recorder only listens: what it writes is `recvonly` or the closed form (`inactive`, 0.0.0.0, real ports).
Which form is the caller's decision. No sockets, no ports are chosen here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from ipaddress import ip_address

from mitschnitt.errors import MalformedPacket, TooLarge
from mitschnitt.wire.sip.headers import parse_port

MAX_SDP_BYTES = 65_536  # eight lines with every codec known take 8 kB
MAX_SDP_LINES = 2_048  # text lines
MAX_MEDIA_LINES = 32  # m-lines that are read at all; each must be answered, even if with port 0
MAX_RECORDED_LINES = 8  # m-lines that are taken; more parties than that in one session are unheard of
MAX_FORMATS = 64  # payload types in one m-line
MAX_LABEL = 256  # characters (RFC 4574 names no limit)

CLOSED_ADDRESS = "0.0.0.0"  # noqa: S104 - written into an answer, never bound: "send me nothing" of old
CLOSED_ADDRESS_6 = "::"

TELEPHONE_EVENT = "telephone-event"

# Name, clock and channels of the payload types that need no rtpmap: all audio of RFC 3551, table 4. G722's clock of
# 8000 is the RFC's own mistake.
STATIC = {
    0: ("PCMU", 8_000, 1), 3: ("GSM", 8_000, 1), 4: ("G723", 8_000, 1), 5: ("DVI4", 8_000, 1), 6: ("DVI4", 16_000, 1),
    7: ("LPC", 8_000, 1), 8: ("PCMA", 8_000, 1), 9: ("G722", 8_000, 1), 10: ("L16", 44_100, 2), 11: ("L16", 44_100, 1),
    12: ("QCELP", 8_000, 1), 13: ("CN", 8_000, 1), 14: ("MPA", 90_000, 1), 15: ("G728", 8_000, 1),
    16: ("DVI4", 11_025, 1), 17: ("DVI4", 22_050, 1), 18: ("G729", 8_000, 1),
}  # fmt: skip


class Direction(StrEnum):
    """Which way media flows, as seen by who wrote it (RFC 8866, 6.7)."""

    SENDRECV = "sendrecv"
    SENDONLY = "sendonly"
    RECVONLY = "recvonly"
    INACTIVE = "inactive"


DIRECTIONS = {direction.value: direction for direction in Direction}


class Form(StrEnum):
    """How a recorder answers or offers (design, "The gate")."""

    CLOSED = "closed"  # a=inactive and c=0.0.0.0, real ports: real clients send nothing
    LISTEN = "listen"  # recvonly, to a port behind the filter: digits come, audio is cut
    OPEN = "open"  # recvonly, to a fresh port: kept from the first packet


@dataclass(frozen=True, slots=True)
class Codec:
    """One payload type of an m-line."""

    payload_type: int
    name: str  # as written, "" when there is neither rtpmap nor a static meaning
    clock: int  # Hz
    channels: int = 1
    fmtp: str = ""

    @property
    def is_events(self) -> bool:
        """Whether these are telephone events (RFC 4733)."""
        return self.name.lower() == TELEPHONE_EVENT


@dataclass(frozen=True, slots=True)
class MediaLine:
    """One m-line with what belongs to it; `address` and `direction` have the session's where it has none."""

    kind: str
    port: int
    protocol: str
    formats: tuple[str, ...]
    address: str | None = None
    direction: Direction = Direction.SENDRECV
    label: str | None = None
    codecs: tuple[Codec, ...] = ()
    ptime: str | None = None
    rtcp_port: int | None = None
    rtcp_mux: bool = False
    rtcp_address: str | None = None  # where a=rtcp names one of its own (RFC 3605)

    @property
    def event_types(self) -> dict[int, int]:
        """Payload types of telephone events with their clocks in Hz."""
        return {codec.payload_type: codec.clock for codec in self.codecs if codec.is_events}


@dataclass(frozen=True, slots=True)
class Origin:
    """Who wrote a description, and which version of it (RFC 8866, 5.2)."""

    user: str = "-"
    session: int = 0
    version: int = 0
    address: str = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Description:
    """A whole session description."""

    origin: Origin = field(default_factory=Origin)
    lines: tuple[MediaLine, ...] = ()
    name: str = "-"

    def __bytes__(self) -> bytes:
        """The description on the wire, each m-line with its own c= line."""
        origin = self.origin
        text = [
            "v=0",
            f"o={origin.user} {origin.session} {origin.version} IN {_family(origin.address)}",
            f"s={self.name}",
            "t=0 0",
        ]
        for line in self.lines:
            text += _write_line(line, origin.address)
        return ("\r\n".join(text) + "\r\n").encode("utf-8", "surrogateescape")


@dataclass(frozen=True, slots=True)
class LocalLine:
    """Our side of one m-line. Port 0 refuses it; `rtcp_port` equal to the port means rtcp-mux."""

    port: int
    rtcp_port: int | None = None
    is_shut: bool = False  # closed whatever the form of the description


REFUSED = LocalLine(0)


# --- reading ------------------------------------------------------------------------------------------


def parse_sdp(data: bytes) -> Description:
    """One description. Raises MalformedPacket for what cannot be read, TooLarge above a limit."""
    if len(data) > MAX_SDP_BYTES:
        raise TooLarge(f"a session description has at most {MAX_SDP_BYTES} bytes, got {len(data)}")
    rows = _rows(data)
    if not rows or rows[0][0] != "v":
        raise MalformedPacket("a session description begins with v=0")
    starts = [index for index, (kind, _) in enumerate(rows) if kind == "m"]
    if len(starts) > MAX_MEDIA_LINES:
        raise TooLarge(f"at most {MAX_MEDIA_LINES} m-lines, got {len(starts)}")
    head = rows[: starts[0]] if starts else rows
    origins = [value for kind, value in head if kind == "o"]
    if not origins:
        raise MalformedPacket("a session description has an o= line; found none")
    names = [value for kind, value in head if kind == "s"]
    address, direction = _address(head), _direction(head)
    lines = [
        _media_line(rows[start:stop], address, direction)
        for start, stop in zip(starts, [*starts[1:], len(rows)], strict=False)
    ]
    return Description(_origin(origins[0]), tuple(lines), names[0] if names else "-")


def _rows(data: bytes) -> list[tuple[str, str]]:
    text = data.decode("utf-8", "surrogateescape").strip("\r\n\0 ")
    raw = re.split(r"\r?\n|\r", text)
    if len(raw) > MAX_SDP_LINES:
        raise TooLarge(f"a session description has at most {MAX_SDP_LINES} lines, got {len(raw)}")
    rows = []
    for line in raw:
        if not line.strip():
            continue
        kind, equals, value = line.partition("=")
        if not equals or len(kind.strip()) != 1 or re.search(r"[\x00-\x08\x0a-\x1f\x7f]", value):
            raise MalformedPacket("expected lines of one letter, '=' and text")
        rows.append((kind.strip().lower(), value.strip()))
    return rows


def _origin(value: str) -> Origin:
    words = value.split()
    if len(words) != 6 or not all(re.fullmatch(r"[0-9]{1,20}", word) for word in words[1:3]):
        raise MalformedPacket("expected o=user session version IN IP4|IP6 address")
    return Origin(words[0], int(words[1]), int(words[2]), words[5])


def _address(rows: Sequence[tuple[str, str]]) -> str | None:
    for kind, value in rows:
        if kind == "c":
            words = value.split()
            if len(words) != 3 or words[0].upper() != "IN" or words[1].upper() not in ("IP4", "IP6"):
                raise MalformedPacket("expected c=IN IP4|IP6 address")
            return words[2].partition("/")[0]
    return None


def _direction(rows: Sequence[tuple[str, str]]) -> Direction | None:
    found = [value.lower() for kind, value in rows if kind == "a"]
    return next((DIRECTIONS[value] for value in found if value in DIRECTIONS), None)


def _media_line(rows: Sequence[tuple[str, str]], address: str | None, direction: Direction | None) -> MediaLine:
    words = rows[0][1].split()
    if len(words) < 4 or len(words) - 3 > MAX_FORMATS:
        raise MalformedPacket(f"expected m=kind port protocol and 1 to {MAX_FORMATS} formats")
    attributes: dict[str, list[str]] = {}
    for kind, value in rows[1:]:
        if kind == "a":
            name, _, content = value.partition(":")
            attributes.setdefault(name.strip().lower(), []).append(content.strip())
    label = attributes.get("label", [None])[0]
    if label and len(label) > MAX_LABEL:
        raise TooLarge(f"a label has at most {MAX_LABEL} characters, got {len(label)}")
    rtcp = attributes.get("rtcp", [""])[0].split()  # port, and maybe: IN IP4|IP6 address
    return MediaLine(
        kind=words[0].lower(),
        port=parse_port(words[1].partition("/")[0]),
        protocol=words[2].upper(),
        formats=tuple(words[3:]),
        address=_address(rows) or address,
        direction=_direction(rows) or direction or Direction.SENDRECV,
        label=label,
        codecs=_codecs(words[3:], attributes),
        ptime=attributes.get("ptime", [None])[0],
        rtcp_port=parse_port(rtcp[0]) if rtcp else None,
        rtcp_mux="rtcp-mux" in attributes,
        rtcp_address=rtcp[3] if len(rtcp) == 4 else None,
    )


def _codecs(formats: Sequence[str], attributes: dict[str, list[str]]) -> tuple[Codec, ...]:
    maps: dict[str, str] = {}
    for value in attributes.get("rtpmap", []):
        number, _, encoding = value.partition(" ")
        maps.setdefault(number, encoding.strip())
    fmtps = dict(value.partition(" ")[::2] for value in attributes.get("fmtp", []))
    codecs = []
    for number in formats:
        if not re.fullmatch(r"[0-9]{1,3}", number) or int(number) > 127:
            continue  # not RTP, or nonsense: the format is echoed, never decoded
        name, clock, channels = _rtpmap(maps.get(number, ""))
        if not name:
            name, clock, channels = STATIC.get(int(number), ("", 0, 1))
        codecs.append(Codec(int(number), name, clock, channels, fmtps.get(number, "").strip()))
    return tuple(codecs)


def _rtpmap(encoding: str) -> tuple[str, int, int]:
    match = re.fullmatch(r"([A-Za-z0-9.\-_]{1,40})\s*/\s*([0-9]{1,9})(?:\s*/\s*([0-9]{1,2}))?", encoding)
    if not match:
        return "", 0, 1
    return match.group(1), int(match.group(2)), int(match.group(3) or 1)


# --- writing ------------------------------------------------------------------------------------------


def _family(address: str) -> str:
    return f"{'IP6' if ':' in address else 'IP4'} {address}"


def _write_line(line: MediaLine, otherwise: str) -> list[str]:
    text = [
        f"m={line.kind} {line.port} {line.protocol} {' '.join(line.formats)}",
        f"c=IN {_family(line.address or otherwise)}",
    ]
    if line.label is not None:
        text.append(f"a=label:{line.label}")
    for codec in line.codecs:
        if codec.name:
            channels = f"/{codec.channels}" if codec.channels > 1 else ""
            text.append(f"a=rtpmap:{codec.payload_type} {codec.name}/{codec.clock}{channels}")
        if codec.fmtp:
            text.append(f"a=fmtp:{codec.payload_type} {codec.fmtp}")
    text.append(f"a={line.direction}")
    if line.rtcp_port:
        text.append(f"a=rtcp:{line.rtcp_port}")
    if line.rtcp_mux:
        text.append("a=rtcp-mux")
    if line.ptime:
        text.append(f"a=ptime:{line.ptime}")
    return text


def refusal(offer: Description, index: int) -> str | None:
    """Why m-line `index` of an offer is answered with port 0; None when it can be taken.

    `media.kind`, `media.protocol`, `media.codec`, `media.disabled`, `media.count`.
    """
    unfit = _unfit(offer.lines[index])
    if unfit:
        return unfit
    taken = sum(1 for line in offer.lines[:index] if not _unfit(line))
    return "media.count" if taken >= MAX_RECORDED_LINES else None


def _unfit(line: MediaLine) -> str | None:
    if line.port == 0:
        return "media.disabled"
    if line.kind != "audio":
        return "media.kind"
    if line.protocol not in ("RTP/AVP", "RTP/AVPF"):
        return "media.protocol"
    return None if any(codec.name and not codec.is_events for codec in line.codecs) else "media.codec"


def answer(
    offer: Description,
    lines: Sequence[LocalLine],
    form: Form,
    *,
    address: str,
    session: int,
    previous: Description | None = None,
) -> Description:
    """Our answer: every m-line in order, every payload type of those that are taken (RFC 3264, 6).

    `lines` has one entry for each m-line; those with a `refusal` get port 0 whatever it says. `address` and
    `session` (o= session id) are ours; `previous` is what we sent last, so that the version rises exactly
    when something changes. Raises MalformedPacket when the number of lines differs.
    """
    if len(lines) != len(offer.lines):
        raise MalformedPacket(f"the offer has {len(offer.lines)} m-lines, {len(lines)} were given")
    answered = []
    for index, (theirs, ours) in enumerate(zip(offer.lines, lines, strict=True)):
        if refusal(offer, index) or ours.port == 0:
            ours = REFUSED
        flows = theirs.direction in (Direction.SENDRECV, Direction.SENDONLY)
        answered.append(_our_line(theirs, ours, form, address, flows=flows))
    return _versioned(tuple(answered), address, session, previous)


def reoffer(previous: Description, lines: Sequence[LocalLine], form: Form, *, address: str) -> Description:
    """Our own offer in a re-INVITE or UPDATE: the m-lines of `previous`, never more (RFC 7866, 7.2).

    Lines that `previous` has at port 0 stay there. The version rises when anything changes. Raises
    MalformedPacket when the number of lines differs.
    """
    if len(lines) != len(previous.lines):
        raise MalformedPacket(f"the session has {len(previous.lines)} m-lines, {len(lines)} were given")
    offered = []
    for before, ours in zip(previous.lines, lines, strict=True):
        ours = ours if before.port else REFUSED
        offered.append(_our_line(before, ours, form, address, flows=True))
    return _versioned(tuple(offered), address, previous.origin.session, previous)


def _our_line(theirs: MediaLine, ours: LocalLine, form: Form, address: str, *, flows: bool) -> MediaLine:
    closed = form is Form.CLOSED or ours.is_shut
    return replace(
        theirs,
        port=ours.port,
        address=(CLOSED_ADDRESS_6 if ":" in address else CLOSED_ADDRESS) if closed else address,
        direction=Direction.INACTIVE if closed or not flows or not ours.port else Direction.RECVONLY,
        rtcp_port=ours.rtcp_port if ours.rtcp_port not in (None, ours.port, ours.port + 1) else None,
        rtcp_mux=theirs.rtcp_mux and ours.rtcp_port == ours.port != 0,
        rtcp_address=None,
    )


def _versioned(lines: tuple[MediaLine, ...], address: str, session: int, previous: Description | None) -> Description:
    """The version stays when nothing changes and rises by one otherwise (RFC 3264, 8)."""
    if previous is None:
        return Description(Origin("-", session, 1, address), lines)
    if previous.lines == lines:
        return previous
    raised = replace(previous.origin, version=previous.origin.version + 1)
    return Description(raised, lines, previous.name)


def destination(address: str | None, ours: str) -> str | None:
    """Where a datagram from our address may go by an address of an offer, as the system spells it.

    None when that is not literal, not of one host, or not of our family.
    """
    if not is_usable(address):
        return None
    theirs = ip_address(str(address))
    is_one = not theirs.is_multicast and str(theirs) != "255.255.255.255"
    return str(theirs) if is_one and theirs.version == ip_address(ours).version else None


def is_usable(address: str | None) -> bool:
    """Whether an address of an offer can be a source of media: literal, and neither 0.0.0.0 nor ::."""
    try:
        return address is not None and not ip_address(address).is_unspecified
    except ValueError:
        return False
