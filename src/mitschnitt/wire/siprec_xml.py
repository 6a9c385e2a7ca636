"""The XML of recording metadata: documents to updates, and views to documents (RFC 7865; RFC 7866, 9).

No DTD, no entities, limits on size and depth. Takes both namespaces, the drafts' wrapper and attribute names,
and names that a client forgot to escape; what contradicts itself is MetadataBroken.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from xml.etree.ElementTree import Element, ParseError  # types only: parsing is defusedxml's
from xml.sax.saxutils import escape, quoteattr

from defusedxml.common import DefusedXmlException  # type: ignore[import-untyped]  # ships no types
from defusedxml.ElementTree import DefusedXMLParser  # type: ignore[import-untyped]

from mitschnitt.wire.siprec import (
    Association,
    Doubt,
    Metadata,
    MetadataBroken,
    Participant,
    Session,
    Stream,
    StreamRoles,
    Update,
)

MAX_METADATA_BYTES = 65_536  # a conference of 64 parties takes 58 kB; two parties take 2 kB
MAX_ELEMENTS = 4_096  # elements in one document
MAX_DEPTH = 16  # nesting; RFC 7865 needs four
MAX_TEXT = 1_024  # characters of one name, address or id
MAX_PARTICIPANTS = 64  # parties of one session, and streams

NAMESPACE = "urn:ietf:params:xml:ns:recording:1"
OLD_NAMESPACE = "urn:ietf:params:xml:ns:recording"
METADATA_TYPE = "application/rs-metadata+xml"  # RFC 9806
METADATA_TYPES = (METADATA_TYPE, "application/rs-metadata")
DISPOSITION = "recording-session"

_ODD_ZONE = re.compile(r"[+-][0-9]{4}$")
# Bounded repeats: the text is a stranger's, and an unbounded search for an end would be quadratic.
_NAME = re.compile(
    rb"(<(?:[A-Za-z][\w.-]{0,32}:)?name(?:\s[^<>]{0,256})?>)(.{0,512}?)(</(?:[A-Za-z][\w.-]{0,32}:)?name\s{0,16}>)",
    re.DOTALL,
)
_AOR = re.compile(rb"(<(?:[A-Za-z][\w.-]{0,32}:)?nameID\s{1,16}aor=)\"([^\r\n]{0,512}?)\"(\s{0,16}/?>[ \t]{0,16}\r?\n)")
_BARE_AMPERSAND = re.compile(rb"&(?!(?:amp|lt|gt|quot|apos|#[0-9]{1,7}|#x[0-9A-Fa-f]{1,6});)")
# A name that holds pieces of our own vocabulary is no forgotten escape but an attempt at a forged document.
_VOCABULARY = re.compile(
    rb"</?(?:[\w.-]+:)?(?:recording|session|participant|stream|name|nameID|group|send|recv|label|associate|disassociate)",
    re.IGNORECASE,
)


def read_metadata(data: bytes, *, charset: str | None = None) -> Update:
    """The update that a document holds, or why it holds none.

    `charset` of the MIME type beats the XML declaration (RFC 7303, 3). Never raises for what a peer sends.
    """
    if len(data) > MAX_METADATA_BYTES:
        return MetadataBroken(f"metadata has at most {MAX_METADATA_BYTES} bytes, got {len(data)}")
    if data.count(b"<") > 2 * MAX_ELEMENTS + MAX_PARTICIPANTS:  # before the parser builds what we throw away
        return MetadataBroken(f"metadata has at most {MAX_ELEMENTS} elements")
    root = _parse(data, charset)
    doubts: set[Doubt] = set()
    if root is None:
        root = _parse(escape_names(data), charset)
        doubts.add(Doubt.NAMES_ESCAPED)
    if root is None:
        return MetadataBroken("metadata is not well-formed XML, or holds a DTD or entities")
    try:
        return _Reader(root, doubts).metadata()
    except _Contradiction as contradiction:
        return MetadataBroken(str(contradiction))


class _Contradiction(Exception):  # noqa: N818 - never leaves this module
    """The document says two things, or too many."""


def escape_names(data: bytes) -> bytes:
    """The document with display names and addresses escaped that a client wrote raw (OpenSIPS 3.6).

    A name may be a stranger's forgery. It cannot open the gate: whatever elements it adds, a label only
    gains senders (mixed), streams (ambiguous) or equal ids (a contradiction), the line more parties to ask.
    """
    if data.lower().count(b"name") > 16 * MAX_PARTICIPANTS:
        return data

    def text(match: re.Match[bytes]) -> bytes:
        if _VOCABULARY.search(match.group(2)):
            return match.group()
        return match.group(1) + _escaped(match.group(2)) + match.group(3)

    def attribute(match: re.Match[bytes]) -> bytes:
        if _VOCABULARY.search(match.group(2)):
            return match.group()
        return match.group(1) + b'"' + _escaped(match.group(2)).replace(b'"', b"&quot;") + b'"' + match.group(3)

    return _AOR.sub(attribute, _NAME.sub(text, data))


def _escaped(raw: bytes) -> bytes:
    return _BARE_AMPERSAND.sub(b"&amp;", raw).replace(b"<", b"&lt;").replace(b">", b"&gt;")


def _parse(data: bytes, charset: str | None) -> Element | None:
    try:
        parser = DefusedXMLParser(encoding=charset, forbid_dtd=True)
        parser.feed(data.strip())
        root: Element = parser.close()
    except (ParseError, DefusedXmlException, LookupError, ValueError):
        return None
    return root


def _local(element: Element) -> str:
    return str(element.tag).rpartition("}")[2]


def _text(element: Element | None) -> str:
    text = (element.text or "").strip() if element is not None else ""
    if len(text) > MAX_TEXT:
        raise _Contradiction(f"a name or id has at most {MAX_TEXT} characters, got {len(text)}")
    return text


def _children(element: Element, name: str) -> list[Element]:
    return [child for child in element if _local(child) == name]


def _first(element: Element, name: str) -> Element | None:
    return next(iter(_children(element, name)), None)


def _id(element: Element, name: str) -> str:
    """The id in the RFC's attribute, the drafts' `id`, or a bare `name` reference."""
    found = element.get(f"{name}_id") or element.get(f"{name}-id") or element.get("id") or ""
    if not found:
        raise _Contradiction(f"expected an id on <{_local(element)}>, found none")
    if len(found) > MAX_TEXT:
        raise _Contradiction(f"an id has at most {MAX_TEXT} characters, got {len(found)}")
    return found


def _reference(element: Element, name: str) -> str:
    return element.get(f"{name}_id") or element.get(f"{name}-id") or element.get(name) or ""


class _Reader:
    """One pass over one document."""

    def __init__(self, root: Element, doubts: set[Doubt]) -> None:
        self._root = root
        self._doubts = doubts
        self._participants: dict[str, Participant] = {}
        self._streams: dict[str, Stream] = {}
        self._sessions: dict[str, Session] = {}
        self._roles: dict[str, StreamRoles] = {}
        self._left: dict[tuple[str, str], bool] = {}
        self._members: list[tuple[str, str]] = []  # told within the participant; an association says more

    def metadata(self) -> Metadata:
        self._check_shape()
        partial = self._is_partial()
        readers = {
            "session": self._session,
            "participant": self._participant,
            "stream": self._stream,
            "participantstreamassoc": self._stream_roles,
            "participantsessionassoc": self._presence,
            "sessionrecordingassoc": self._recording,
        }
        for element in self._root:
            reader = readers.get(_local(element))
            if reader:
                reader(element)
        if len(self._participants) > MAX_PARTICIPANTS or len(self._streams) > MAX_PARTICIPANTS:
            raise _Contradiction(f"at most {MAX_PARTICIPANTS} participants and streams")
        for member in self._members:
            self._left.setdefault(member, False)
        return Metadata(
            partial,
            self._participants,
            self._streams,
            self._sessions,
            self._roles,
            self._left,
            frozenset(self._doubts),
        )

    def _check_shape(self) -> None:
        for count, (_, depth) in enumerate(_walk(self._root)):
            if count >= MAX_ELEMENTS or depth > MAX_DEPTH:
                raise _Contradiction(f"at most {MAX_ELEMENTS} elements, nested {MAX_DEPTH} deep")
        name = _local(self._root)
        if name == "recording_metadata":
            self._doubts.add(Doubt.OLD_WRAPPER)
        elif name != "recording":
            raise _Contradiction("expected <recording>, found another root")
        if str(self._root.tag).startswith(f"{{{OLD_NAMESPACE}}}"):
            self._doubts.add(Doubt.OLD_NAMESPACE)

    def _is_partial(self) -> bool:
        modes = [child for child in self._root if _local(child).lower() == "datamode"]
        if not modes:
            self._doubts.add(Doubt.MODE_MISSING)
            return False
        if _local(modes[0]) != "datamode":
            self._doubts.add(Doubt.MODE_CAMEL)
        mode = _text(modes[0]).lower()
        if mode not in ("complete", "partial") or len(modes) > 1:
            raise _Contradiction("expected one datamode, complete or partial")
        return mode == "partial"

    def _once(self, known: object, what: str) -> None:
        if known is not None:  # RFC 7865, 6.10: the same id twice is an error
            raise _Contradiction(f"two <{what}> elements have the same id")

    def _session(self, element: Element) -> None:
        key = _id(element, "session")
        self._once(self._sessions.get(key), "session")
        names = tuple(name for child in _children(element, "sipSessionID") if (name := _text(child)))
        group = _text(_first(element, "group-ref")) or _reference(element, "group")
        self._sessions[key] = Session(key, names, group, self._time(element, "end-time", "stop-time"))

    def _participant(self, element: Element) -> None:
        key = _id(element, "participant")
        self._once(self._participants.get(key), "participant")
        name_id = _first(element, "nameID")
        holder = element if name_id is None else name_id
        names = [*_children(element, "name"), *(_children(name_id, "name") if name_id is not None else [])]
        aor = holder.get("aor") or _text(_first(element, "aor"))
        self._participants[key] = Participant(key, aor.strip()[:MAX_TEXT], _text(names[0]) if names else "")
        sends, receives = _references(element)
        if sends or receives:  # the drafts put the roles here
            self._roles[key] = StreamRoles(sends, receives, Association.INLINE)
        session = _reference(element, "session")
        if session:  # Oracle's drafts: membership stands here too
            self._members.append((key, session))

    def _stream(self, element: Element) -> None:
        key = _id(element, "stream")
        self._once(self._streams.get(key), "stream")
        label = _first(element, "label")
        mixed = _text(_first(element, "mode")).lower() == "mixed"
        self._streams[key] = Stream(
            key, _reference(element, "session"), _text(label) or None if label is not None else None, mixed
        )

    def _stream_roles(self, element: Element) -> None:
        key = _id(element, "participant")
        sends, receives = _references(element)
        if self._time(element, "disassociate-time"):
            sends = receives = frozenset()
        before = self._roles.get(key)
        if before:  # one association per stream is how some clients write it
            sends, receives = sends | before.sends, receives | before.receives
        self._roles[key] = StreamRoles(sends, receives)

    def _presence(self, element: Element) -> None:
        participant, session = _id(element, "participant"), _reference(element, "session")
        gone = self._time(element, "disassociate-time")
        again = self._left.get((participant, session))
        # Several intervals of one participant: present if any of them is open.
        self._left[participant, session] = gone if again is None else gone and again

    def _recording(self, element: Element) -> None:
        session = _reference(element, "session")
        known = self._sessions.get(session, Session(session))
        if self._time(element, "disassociate-time") and session:
            self._sessions[session] = Session(session, known.sip_session_ids, known.group, ended=True)

    def _time(self, element: Element, *names: str) -> bool:
        """Whether one of these times is given; odd spellings are noted."""
        given = False
        for child in element:
            name = _local(child)
            if name.endswith(("-time", "_time")):
                self._note_time(_text(child))
                given = given or name.replace("_", "-") in names
        return given

    def _note_time(self, text: str) -> None:
        try:
            odd = datetime.fromisoformat(text).tzinfo is None or bool(_ODD_ZONE.search(text))
        except ValueError:
            odd = True
        if odd:
            self._doubts.add(Doubt.TIME_ODD)


def _references(element: Element) -> tuple[frozenset[str], frozenset[str]]:
    sends = frozenset(_text(child) for child in _children(element, "send"))
    receives = frozenset(_text(child) for child in _children(element, "recv"))
    return sends - {""}, receives - {""}


def _walk(root: Element) -> Iterator[tuple[Element, int]]:
    waiting = [(root, 1)]
    while waiting:
        element, depth = waiting.pop()
        yield element, depth
        waiting += [(child, depth + 1) for child in element]


# --- writing ------------------------------------------------------------------------------------------


def build_metadata(metadata: Metadata, *, at: datetime) -> bytes:
    """The document of a view or update, times RFC 3339 (what a recording client sends; RFC 7865, 9)."""
    time = escape(at.isoformat(timespec="seconds").replace("+00:00", "Z"))
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', f"<recording xmlns={quoteattr(NAMESPACE)}>"]
    lines.append(f"<datamode>{'partial' if metadata.partial else 'complete'}</datamode>")
    for session in metadata.sessions.values():
        names = "".join(f"<sipSessionID>{escape(name)}</sipSessionID>" for name in session.sip_session_ids)
        end = f"<end-time>{time}</end-time>" if session.ended else ""
        lines.append(f"<session session_id={quoteattr(session.id)}>{names}{end}</session>")
    for who in metadata.participants.values():
        name = f"<name>{escape(who.name)}</name>" if who.name else ""
        lines.append(
            f"<participant participant_id={quoteattr(who.id)}>"
            f"<nameID aor={quoteattr(who.aor)}>{name}</nameID></participant>"
        )
    for stream in metadata.streams.values():
        label = f"<label>{escape(stream.label)}</label>" if stream.label is not None else ""
        reference = f"session_id={quoteattr(stream.session)}"
        lines.append(f"<stream stream_id={quoteattr(stream.id)} {reference}>{label}</stream>")
    for (who_id, session_id), gone in metadata.left.items():
        kind = "disassociate-time" if gone else "associate-time"
        reference = f"participant_id={quoteattr(who_id)} session_id={quoteattr(session_id)}"
        body = f"<{kind}>{time}</{kind}>"
        lines.append(f"<participantsessionassoc {reference}>{body}</participantsessionassoc>")
    for who_id, roles in metadata.roles.items():
        sends = "".join(f"<send>{escape(stream_id)}</send>" for stream_id in sorted(roles.sends))
        receives = "".join(f"<recv>{escape(stream_id)}</recv>" for stream_id in sorted(roles.receives))
        reference = f"participant_id={quoteattr(who_id)}"
        lines.append(f"<participantstreamassoc {reference}>{sends}{receives}</participantstreamassoc>")
    return "\n".join([*lines, "</recording>", ""]).encode()


SNAPSHOT_REQUEST = (
    b'<?xml version="1.0" encoding="UTF-8"?>\n'
    b'<requestsnapshot xmlns="urn:ietf:params:xml:ns:recording:1">'
    b"<requestreason>the recorder has no snapshot</requestreason></requestsnapshot>\n"
)  # body of an UPDATE with METADATA_TYPE and DISPOSITION, without SDP (RFC 7866, 9.2)
