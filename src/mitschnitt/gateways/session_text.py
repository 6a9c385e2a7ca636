"""What the simulated client says in a recording session: offers, answers and metadata, as text; and what it
reads in the recorder's SDP. Pure: ids, ports and times are arguments.

It shares no code with the recorder's readers on purpose: a mistake would otherwise cancel itself out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from xml.sax.saxutils import escape, quoteattr

from mitschnitt.errors import MalformedPacket
from mitschnitt.gateways.cast import Speaker
from mitschnitt.wire import g711

NAMESPACE = "urn:ietf:params:xml:ns:recording:1"  # RFC 7865, section 12.1
UNSPECIFIED = "0.0.0.0"  # noqa: S104 - an address that we read, never one that we bind (RFC 3264, section 8.4)
EVENT_TYPE = 101  # payload type of telephone events, as most clients choose it
DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")
ASKS_FOR_MEDIA = ("recvonly", "sendrecv")  # what a recorder's description says when it wants packets
PAYLOAD_TYPES = {g711.Law.PCMA: 8, g711.Law.PCMU: 0}  # RFC 3551, table 4


@dataclass(frozen=True)
class Line:
    """One media line of ours: who speaks on it and where it is sent from."""

    label: str
    port: int
    speaker: Speaker
    participant_id: str  # RFC 7865, section 6.10: base64 of a UUID
    stream_id: str


@dataclass(frozen=True)
class Asked:
    """One media line of the recorder's description."""

    host: str
    port: int
    direction: str

    @property
    def wants_media(self) -> bool:
        """Whether a client that obeys sends to it (RFC 3264, sections 5.1 and 8.4)."""
        return self.port != 0 and self.host != UNSPECIFIED and self.direction in ASKS_FOR_MEDIA


@dataclass(frozen=True)
class SessionNames:
    """What stays the same for the whole recording session."""

    session_id: str  # base64 of a UUID
    sip_session_id: str  # RFC 7989
    sdp_id: int
    host: str  # the client's media address
    law: g711.Law


def offer(names: SessionNames, lines: Sequence[Line], *, version: int, directions: Sequence[str]) -> bytes:
    """Our session description: one labelled line per party (RFC 7866, section 7.1.1)."""
    payload_type = PAYLOAD_TYPES[names.law]
    text = [
        "v=0",
        f"o=centre {names.sdp_id} {version} IN IP4 {names.host}",
        "s=-",
        f"c=IN IP4 {names.host}",
        "t=0 0",
    ]
    for line, direction in zip(lines, directions, strict=True):
        text += [
            f"m=audio {line.port} RTP/AVP {payload_type} {EVENT_TYPE}",
            f"a=rtpmap:{payload_type} {names.law}/8000",
            f"a=rtpmap:{EVENT_TYPE} telephone-event/8000",
            f"a=fmtp:{EVENT_TYPE} 0-15",
            "a=ptime:20",
            f"a=label:{line.label}",
            f"a={direction}",
        ]
    return ("\r\n".join(text) + "\r\n").encode()


def answers_to(asked: Sequence[Asked]) -> list[str]:
    """Our direction for each line that the recorder offered: we only ever send (RFC 3264, section 6.1)."""
    return ["sendonly" if line.direction in ASKS_FOR_MEDIA else "inactive" for line in asked]


def read_description(sdp: bytes) -> list[Asked]:
    """The recorder's media lines in order; MalformedPacket when it is no session description."""
    lines = sdp.decode("utf-8", "replace").splitlines()
    if not lines or lines[0].strip() != "v=0":
        raise MalformedPacket(f"a session description begins with v=0, got {len(sdp)} bytes without it")
    session = {"host": UNSPECIFIED, "direction": "sendrecv"}
    found: list[Asked] = []
    current, port = session, 0

    def finish() -> None:
        if current is not session:
            found.append(Asked(current["host"], port, current["direction"]))

    for line in lines:
        kind, _, value = line.strip().partition("=")
        if kind == "m":
            finish()
            current, port = dict(session), _port(value)
        elif kind == "c":
            current["host"] = value.split()[-1].partition("/")[0] if value.split() else UNSPECIFIED
        elif kind == "a" and value in DIRECTIONS:
            current["direction"] = value
    finish()
    return found


def _port(value: str) -> int:
    words = value.split()
    number = words[1].partition("/")[0] if len(words) > 1 else ""
    if not number.isdigit() or int(number) > 65_535:
        raise MalformedPacket("expected 'm=audio PORT ...' with a port of at most 65535")
    return int(number)


def metadata(names: SessionNames, lines: Sequence[Line], *, now: datetime) -> bytes:
    """A complete snapshot of who is on the line and on which label (RFC 7865, section 5)."""
    at = now.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    session = quoteattr(names.session_id)
    known_as = f"<sipSessionID>{escape(names.sip_session_id)}</sipSessionID>"
    parts = [
        "<?xml version='1.0' encoding='UTF-8'?>",
        f"<recording xmlns={quoteattr(NAMESPACE)}>",
        "<datamode>complete</datamode>",
        f"<session session_id={session}>{known_as}</session>",
    ]
    for line in lines:
        name = f'<name xml:lang="de">{escape(line.speaker.name)}</name>'
        aor = f"<nameID aor={quoteattr(line.speaker.aor)}>{name}</nameID>"
        parts.append(f"<participant participant_id={quoteattr(line.participant_id)}>{aor}</participant>")
    for line in lines:
        label = f"<label>{escape(line.label)}</label>"
        parts.append(f"<stream stream_id={quoteattr(line.stream_id)} session_id={session}>{label}</stream>")
    associated = f"<associate-time>{at}</associate-time>"
    parts.append(f"<sessionrecordingassoc session_id={session}>{associated}</sessionrecordingassoc>")
    for line in lines:
        who = f"participant_id={quoteattr(line.participant_id)} session_id={session}"
        parts.append(f"<participantsessionassoc {who}>{associated}</participantsessionassoc>")
    for line in lines:
        heard = "".join(f"<recv>{escape(o.stream_id)}</recv>" for o in lines if o is not line)
        said = f"<send>{escape(line.stream_id)}</send>"
        who = f"participant_id={quoteattr(line.participant_id)}"
        parts.append(f"<participantstreamassoc {who}>{said}{heard}</participantstreamassoc>")
    return "\n".join([*parts, "</recording>", ""]).encode()
