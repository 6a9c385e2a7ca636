"""What is odd or wrong with one recording session, from facts of its signalling and counts of its media.

Pure: facts in, findings out. `announced` judges what the client said of itself; `behaved` what it did when we
asked for something, which shows whether we did ask: only for a call whose parties know that they are watched.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from mitschnitt.errors import PeerError
from mitschnitt.wire.findings import MAX_WORDS, Finding
from mitschnitt.wire.sdp import Description, MediaLine, parse_sdp, refusal
from mitschnitt.wire.sip.message import Request
from mitschnitt.wire.sip.recording import InviteKind, classify_invite, read_body
from mitschnitt.wire.siprec import Doubt, Metadata, MetadataBroken, Unbound, Update, bind
from mitschnitt.wire.siprec_xml import read_metadata

CLOCK_SECONDS = 2.0  # what two clocks may differ by before acts and prompts can no longer be laid side by side
MAX_TIMES = 64  # of one document that are looked at
DIALECTS: Mapping[Doubt, str] = {
    Doubt.OLD_NAMESPACE: "dialect.namespace",
    Doubt.OLD_WRAPPER: "dialect.wrapper",
    Doubt.MODE_MISSING: "dialect.datamode",
    Doubt.MODE_CAMEL: "dialect.datamode",
    Doubt.TIME_ODD: "dialect.times",
    Doubt.NAMES_ESCAPED: "dialect.names",
}
_ASSOCIATED = re.compile(rb"<(?:[A-Za-z][\w.-]{0,32}:)?associate-time\s{0,8}>\s{0,8}([0-9T:.+Zz-]{10,40})\s{0,8}<")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DATE = re.compile(r"(?:[A-Za-z]{3},\s+)?(\d{1,2}) ([A-Za-z]{3}) (\d{4}) (\d\d):(\d\d):(\d\d) GMT")


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What a client did in one session."""

    acknowledged: bool = True
    refused: tuple[tuple[str, int], ...] = ()  # (method of ours, status)
    unanswered: tuple[str, ...] = ()  # methods of ours
    open_lines: int = 0
    silent_lines: int = 0  # open, and no packet came
    leaked: int = 0  # packets while the stream was closed
    has_rtcp: bool | None = None  # None: nobody looked
    awaited_digits: bool = False
    has_events: bool = False  # any telephone-event packet came
    same_version: int = 0  # changed descriptions whose version did not rise
    broken_contact: bool = False  # in an answer to us


def announced(request: Request, *, arrived: datetime, agents: str) -> list[Finding]:
    """What the INVITE of a session shows, `arrived` by our clock.

    `agents` says what the directory makes of its participants: `known`, `none`, `ambiguous`, or "" for not judged.
    """
    try:
        body = read_body(request)
    except PeerError as error:
        return [*_identity(request), Finding("metadata.broken", {"why": _words(error)})]
    found = _identity(request)
    if Finding("session.ordinary") in found:
        return found  # nobody asked it to say more
    metadata = None if body.metadata is None else read_metadata(body.metadata, charset=body.charset)
    description, broken = _description(body.sdp)
    found += broken
    found += _metadata(metadata)
    if description is not None:
        found += _offer(description)
        found += _binding(metadata, description)
    if isinstance(metadata, Metadata) and agents in ("none", "ambiguous"):
        found.append(Finding(f"agents.{agents}"))
    return found + _clock(request, body.metadata or b"", arrived)


def behaved(behaviour: Behaviour, offered_events: int) -> list[Finding]:
    """What a session shows at its end; `offered_events` is how many lines offered telephone-event."""
    found = [] if behaviour.acknowledged else [Finding("ack.missing")]
    found += [Finding("refused", {"method": method, "status": status}) for method, status in behaviour.refused]
    found += [Finding("unanswered", {"method": method}) for method in behaviour.unanswered]
    found += [Finding("contact.malformed")] if behaviour.broken_contact else []
    found += [Finding("sdp.version", {"count": behaviour.same_version})] if behaviour.same_version else []
    found += [Finding("rtp.missing", {"count": behaviour.silent_lines})] if behaviour.silent_lines else []
    found += [Finding("rtp.leak", {"count": behaviour.leaked})] if behaviour.leaked else []
    if behaviour.open_lines > behaviour.silent_lines and behaviour.has_rtcp is False:
        found.append(Finding("rtcp.missing"))
    if behaviour.awaited_digits and offered_events and not behaviour.has_events:
        found.append(Finding("events.silent"))
    return found


def offered_events(request: Request) -> int:
    """How many audio lines of an INVITE offer telephone-event."""
    try:
        description, _ = _description(read_body(request).sdp)
    except PeerError:
        return 0
    return sum(1 for line in description.lines if line.event_types) if description else 0


def _identity(request: Request) -> list[Finding]:
    kind = classify_invite(request)
    if kind is InviteKind.ORDINARY:
        return [Finding("session.ordinary")]
    contacts = request.headers.all("Contact")
    found = [] if any("siprec" in value.lower() for value in request.headers.all("Require")) else ["require.missing"]
    found += [] if any("+sip.src" in value.lower() for value in contacts) else ["contact.feature.missing"]
    found += ["contact.malformed"] if contacts and request.contact is None else []
    return [Finding(code) for code in found]


def _description(sdp: bytes | None) -> tuple[Description | None, list[Finding]]:
    if sdp is None:
        return None, [Finding("sdp.missing")]
    try:
        return parse_sdp(sdp), []
    except PeerError:
        return None, [Finding("sdp.broken")]


def _metadata(metadata: Update | None) -> list[Finding]:
    if metadata is None:
        return [Finding("metadata.missing")]
    if isinstance(metadata, MetadataBroken):
        return [Finding("metadata.broken", {"why": _words(metadata.why)})]
    codes = dict.fromkeys(DIALECTS[doubt] for doubt in sorted(metadata.doubts) if doubt in DIALECTS)
    others = sum(1 for doubt in metadata.doubts if doubt not in DIALECTS)
    found = [Finding("metadata.partial")] if metadata.partial else []
    found += [Finding(code) for code in codes]
    return found + ([Finding("dialect.other", {"count": others})] if others else [])


def _words(why: object) -> str:
    """A reason of ours as a finding may carry it; anything that is no plain word is left out."""
    return re.sub(r"[^A-Za-z0-9 ,.;:()<>/+_'-]", "", str(why))[:MAX_WORDS]


def _offer(description: Description) -> list[Finding]:
    audio = [line for line in description.lines if line.kind == "audio" and line.port]
    secure = sum(1 for line in audio if "SAVP" in line.protocol)
    deaf = sum(1 for line in audio if not line.event_types)
    found = [Finding("srtp.offered", {"count": secure})] if secure else []
    return found + ([Finding("events.missing", {"count": deaf})] if deaf else [])


def _recorded(description: Description) -> list[MediaLine]:
    return [line for number, line in enumerate(description.lines) if refusal(description, number) is None]


def _binding(metadata: Update | None, description: Description) -> list[Finding]:
    labels = [line.label for line in _recorded(description)]
    named = Counter(label for label in labels if label is not None)
    doubled = sum(times for times in named.values() if times > 1)
    found = [Finding("labels.missing", {"count": labels.count(None)})] if None in labels else []
    found += [Finding("labels.doubled", {"count": doubled})] if doubled else []
    if not isinstance(metadata, Metadata):
        return found
    single = [label for label, times in named.items() if times == 1]
    bound = Counter(who for who in bind(metadata, single).labels.values() if isinstance(who, Unbound))
    codes = {Unbound.MISSING: "labels.unknown", Unbound.MIXED: "stream.mixed"}
    return found + [
        Finding(codes.get(why, "labels.contradict"), {"count": count}) for why, count in sorted(bound.items())
    ]


def _clock(request: Request, metadata: bytes, arrived: datetime) -> list[Finding]:
    """The Date header tells for certain; the newest time of the metadata only when it lies ahead of us."""
    date = _date(request.headers.get("Date") or "")
    if date is not None:
        return _difference(date, arrived, sure=True)
    newest = max(_times(_ASSOCIATED.findall(metadata)), default=None)
    return [] if newest is None else _difference(newest, arrived, sure=False)


def _difference(theirs: datetime, arrived: datetime, *, sure: bool) -> list[Finding]:
    seconds = (theirs - arrived).total_seconds()
    if abs(seconds) <= CLOCK_SECONDS:
        return []
    code = "time.ahead" if seconds > 0 else "time.behind" if sure else "time.unclear"
    return [Finding(code, {"seconds": min(round(abs(seconds)), 2**31 - 1)})]


def _times(found: Sequence[bytes]) -> list[datetime]:
    """Those that name a zone: of others nobody knows what they mean."""
    times = []
    for raw in found[:MAX_TIMES]:
        try:
            at = datetime.fromisoformat(raw.decode("ascii"))
        except ValueError:
            continue
        if at.tzinfo is not None:
            times.append(at)
    return times


def _date(value: str) -> datetime | None:
    """A Date header (RFC 3261, 20.17), None when there is none that can be read."""
    found = _DATE.fullmatch(value.strip())
    if found is None or found[2].lower() not in _MONTHS:
        return None
    day, year, hour, minute, second = (int(found[group]) for group in (1, 3, 4, 5, 6))
    try:
        return datetime(year, _MONTHS.index(found[2].lower()) + 1, day, hour, minute, min(second, 59), tzinfo=UTC)
    except ValueError:
        return None
