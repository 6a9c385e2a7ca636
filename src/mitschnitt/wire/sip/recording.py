"""What a message carries for recording: its description, its metadata, and whether it asks to be recorded.

Classifies (RFC 7866, 6 and 9; real clients, reference table 3.4); what to do about it is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from mitschnitt.errors import PeerError
from mitschnitt.wire.multipart import Part, build_parts, charset_of, media_type, split_parts
from mitschnitt.wire.sdp import Direction, parse_sdp
from mitschnitt.wire.sip.config import SRC_FEATURE
from mitschnitt.wire.sip.message import Headers, Request, Response
from mitschnitt.wire.siprec_xml import DISPOSITION, METADATA_TYPE, METADATA_TYPES

SDP_TYPE = "application/sdp"


class InviteKind(StrEnum):
    """What an INVITE asks for."""

    RECORDING = "recording"  # Require: siprec and +sip.src: by the book
    RECORDING_LAX = "recording, lax"  # one of them missing, but metadata, labels or the other there
    ORDINARY = "ordinary"  # a telephone call: answered in the closed form until its BYE


@dataclass(frozen=True, slots=True)
class RecordingBody:
    """The parts of a body that matter to a recorder; None where there is none."""

    sdp: bytes | None = None
    metadata: bytes | None = None
    charset: str | None = None  # of the metadata


def read_body(message: Request | Response) -> RecordingBody:
    """Description and metadata, found by type or disposition, with or without multipart (RFC 7866, 9.1).

    Raises MalformedPacket or TooLarge for a multipart body that cannot be split.
    """
    if not message.body:
        return RecordingBody()
    kind = media_type(message.content_type)
    if kind.startswith("multipart/"):
        return _from_parts(split_parts(message.body, message.content_type))
    part = Part(Headers(), message.body)
    if kind in METADATA_TYPES or media_type(message.headers.get("Content-Disposition") or "") == DISPOSITION:
        return RecordingBody(metadata=part.body, charset=charset_of(message.content_type))
    return RecordingBody(sdp=part.body) if kind in ("", SDP_TYPE) else RecordingBody()


def _from_parts(parts: Sequence[Part]) -> RecordingBody:
    sdp = metadata = charset = None
    for part in parts:
        if part.content_type == SDP_TYPE and sdp is None:
            sdp = part.body
        elif metadata is None and (part.content_type in METADATA_TYPES or part.disposition == DISPOSITION):
            metadata, charset = part.body, part.charset
    return RecordingBody(sdp, metadata, charset)


def classify_invite(request: Request) -> InviteKind:
    """Whether this INVITE opens a recording session (RFC 7866, 6.1 and 6.2). Never raises."""
    required = any("siprec" in value.lower() for value in request.headers.all("Require"))
    announced = any(SRC_FEATURE in value.lower() for value in request.headers.all("Contact"))
    if required and announced:
        return InviteKind.RECORDING
    lax = required or announced or _looks_recorded(request)
    return InviteKind.RECORDING_LAX if lax else InviteKind.ORDINARY


def _looks_recorded(request: Request) -> bool:
    """Metadata, or labelled lines that only send: labels alone are no sign, telephones write them too."""
    try:
        body = read_body(request)
        if body.metadata is not None:
            return True
        lines = parse_sdp(body.sdp).lines if body.sdp else ()
    except PeerError:
        return False
    one_way = all(line.direction in (Direction.SENDONLY, Direction.INACTIVE) for line in lines)
    return one_way and any(line.label is not None for line in lines)


def is_recording_invite(request: Request) -> bool:
    """Whether the INVITE asks for recording, by the book or not."""
    return classify_invite(request) is not InviteKind.ORDINARY


def build_body(sdp: bytes, metadata: bytes, *, boundary: str) -> tuple[str, bytes]:
    """(Content-Type, body) of both, as a recording client sends them."""
    parts = (
        Part(Headers.of([("Content-Type", SDP_TYPE)]), sdp),
        Part(Headers.of([("Content-Type", METADATA_TYPE), ("Content-Disposition", DISPOSITION)]), metadata),
    )
    return build_parts(parts, boundary)
