"""Recording metadata: who takes part, which stream is whose (RFC 7865; dialects of its drafts).

`read_metadata` turns a document into an update, `Metadata.apply` keeps the view, `bind` says whose voice a
label carries or names why that is not certain. Only what a binding needs is read (RFC 7865, 10): extension
data is never looked at. What is doubtful is reported as doubtful; nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

MAX_VIEW_CHARS = 131_072  # of names and ids in a view that updates add to: two of the largest documents


@dataclass(frozen=True, slots=True)
class Participant:
    """A party of the call (RFC 7865, 6.5)."""

    id: str
    aor: str = ""  # first address of record as written, "" when there is none
    name: str = ""  # display name, "" when there is none


@dataclass(frozen=True, slots=True)
class Stream:
    """A media stream and the label of its m-line (RFC 7865, 6.7)."""

    id: str
    session: str = ""
    label: str | None = None
    mixed: bool = False  # the drafts' <mode>mixed</mode>


@dataclass(frozen=True, slots=True)
class Session:
    """A communication session: one call, or one leg of a transfer (RFC 7865, 6.3)."""

    id: str
    sip_session_ids: tuple[str, ...] = ()
    group: str = ""
    ended: bool = False


class Association(StrEnum):
    """By which element a participant is laid to a stream."""

    ELEMENT = "participantstreamassoc"  # RFC 7865, 6.8
    INLINE = "inline"  # its drafts: send and recv within the participant


@dataclass(frozen=True, slots=True)
class StreamRoles:
    """Which streams a participant sends and receives now (RFC 7865, 6.8)."""

    sends: frozenset[str] = frozenset()
    receives: frozenset[str] = frozenset()
    told_by: Association = Association.ELEMENT


class Doubt(StrEnum):
    """A spelling that was normalised, kept for the operator's page."""

    OLD_NAMESPACE = "namespace.old"
    OLD_WRAPPER = "wrapper.recording_metadata"
    MODE_MISSING = "datamode.missing"
    MODE_CAMEL = "datamode.camel_case"
    TIME_ODD = "time.odd"  # +0000, no zone, or unreadable
    NAMES_ESCAPED = "names.escaped_by_us"  # the document was ill-formed until its names were escaped


@dataclass(frozen=True, slots=True)
class Metadata:
    """A view of the recording session; an update has the same shape."""

    partial: bool = False
    participants: Mapping[str, Participant] = field(default_factory=dict)
    streams: Mapping[str, Stream] = field(default_factory=dict)
    sessions: Mapping[str, Session] = field(default_factory=dict)
    roles: Mapping[str, StreamRoles] = field(default_factory=dict)
    left: Mapping[tuple[str, str], bool] = field(default_factory=dict)  # (participant, session): has left
    doubts: frozenset[Doubt] = frozenset()

    def apply(self, update: Metadata) -> Metadata:
        """The view after an update: a complete one replaces it, a partial one merges (RFC 7865, 8.2).

        Nothing goes by omission: participants end by disassociation, roles by an association without them. So a
        view only grows under updates: whoever keeps one asks for it `bounded`.
        """
        if not update.partial:
            return update
        return replace(
            update,
            partial=self.partial,
            participants={**self.participants, **_merged(self.participants, update.participants)},
            streams={**self.streams, **_merged_streams(self.streams, update.streams)},
            sessions={**self.sessions, **_merged_sessions(self.sessions, update.sessions)},
            roles={**self.roles, **update.roles},
            left={**self.left, **update.left},
            doubts=self.doubts | update.doubts,
        )

    def bounded(self) -> Update:
        """The view itself; one that updates have made too large is broken, until all of it is told anew."""
        size = sum(1 + len(text) for text in self._texts())
        if size > MAX_VIEW_CHARS:
            return MetadataBroken(f"a view has at most {MAX_VIEW_CHARS} characters, updates made it {size}")
        return self

    def told_anew(self, update: Metadata) -> frozenset[str]:
        """Labels whose voice a partial update speaks of, this being the view after it: by stream, role or person."""
        streams = {*update.streams, *(stream for roles in update.roles.values() for stream in roles.sends)}
        for who in update.participants:
            streams |= self.roles.get(who, StreamRoles()).sends
        return frozenset(label for key in streams if (label := self.streams.get(key, Stream(key)).label) is not None)

    def told_differently(self, known: Metadata) -> frozenset[str]:
        """Labels whose voice this complete view says to be another's than `known` did: another stream, or person.

        What says the same once more says nothing anew.
        """
        before, now = known._voices(), self._voices()
        return frozenset(label for label in now if now[label] != before.get(label))

    def _voices(self) -> dict[str, set[tuple[str, str, str]]]:
        """By label: (stream, who sends it, their address)."""
        found: dict[str, set[tuple[str, str, str]]] = {}
        for stream in self.streams.values():
            if stream.label is not None:
                found.setdefault(stream.label, set()).add((stream.id, "", ""))
        for who, roles in self.roles.items():
            for key in roles.sends:
                label = self.streams.get(key, Stream(key)).label
                if label is not None:
                    found[label].add((key, who, self.participants.get(who, Participant(who)).aor))
        return found

    def _texts(self) -> Iterator[str]:
        """Every text of the view; ids as often as they are held."""
        for who in self.participants.values():
            yield from (who.id, who.aor, who.name)
        for stream in self.streams.values():
            yield from (stream.id, stream.session, stream.label or "")
        for session in self.sessions.values():
            yield from (session.id, session.group, *session.sip_session_ids)
        for key, roles in self.roles.items():
            yield from (key, *roles.sends, *roles.receives)
        for member in self.left:
            yield from member

    @property
    def sip_session_ids(self) -> tuple[str, ...]:
        """What names the call elsewhere, in order of appearance, without repetition."""
        return tuple(dict.fromkeys(name for s in self.sessions.values() for name in s.sip_session_ids))

    def is_present(self, participant: str) -> bool:
        """Whether the participant is on the line: in some running session, or in none that is reported."""
        known = [
            gone or self.sessions.get(session, Session("")).ended
            for (who, session), gone in self.left.items()
            if who == participant
        ]
        return not known or not all(known)


@dataclass(frozen=True, slots=True)
class MetadataBroken:
    """A document that could not be read; the call goes on, nothing is bound by it."""

    why: str


Update = Metadata | MetadataBroken


def _merged(before: Mapping[str, Participant], after: Mapping[str, Participant]) -> dict[str, Participant]:
    """A partial participant element without name or address keeps the known ones."""
    merged = {}
    for key, new in after.items():
        old = before.get(key, new)
        merged[key] = Participant(key, new.aor or old.aor, new.name or old.name)
    return merged


def _merged_streams(before: Mapping[str, Stream], after: Mapping[str, Stream]) -> dict[str, Stream]:
    merged = {}
    for key, new in after.items():
        old = before.get(key, new)
        label = old.label if new.label is None else new.label
        merged[key] = Stream(key, new.session or old.session, label, new.mixed)
    return merged


def _merged_sessions(before: Mapping[str, Session], after: Mapping[str, Session]) -> dict[str, Session]:
    merged = {}
    for key, new in after.items():
        old = before.get(key, new)
        names = new.sip_session_ids or old.sip_session_ids
        merged[key] = Session(key, names, new.group or old.group, new.ended or old.ended)
    return merged


# --- binding ------------------------------------------------------------------------------------------


class Unbound(StrEnum):
    """Why it is not certain whose voice a label carries. Each closes the gate."""

    MISSING = "binding.missing"  # no stream of that label, or nobody sends it
    MIXED = "binding.mixed"  # more than one participant in one stream
    AMBIGUOUS = "binding.ambiguous"  # contradictory: two streams of one label, an unknown sender


@dataclass(frozen=True, slots=True)
class Binding:
    """Whose voice each label carries, and who is on the line at all."""

    labels: Mapping[str, Participant | Unbound]
    participants: tuple[Participant, ...]  # everybody present, also who sends nothing
    sip_session_ids: tuple[str, ...]
    rests_on: Mapping[str, Association] = field(default_factory=dict)  # of labels that are bound

    @property
    def certain(self) -> bool:
        """Whether every label is bound to one participant; a session without labels is not certain."""
        return bool(self.labels) and all(isinstance(who, Participant) for who in self.labels.values())

    @property
    def reasons(self) -> frozenset[Unbound]:
        """Why it is not certain."""
        return frozenset(why for why in self.labels.values() if isinstance(why, Unbound))


def bind(metadata: Update | None, labels: Iterable[str | None]) -> Binding:
    """The binding of the labels of a session's m-lines, in their order (RFC 7866, 7.1.1).

    A line without a label is `binding.missing` under the name `#<index>`. Broken or missing metadata binds
    nothing.
    """
    named = [(f"#{index}" if label is None else label, label) for index, label in enumerate(labels)]
    if not isinstance(metadata, Metadata):
        return Binding({name: Unbound.MISSING for name, _ in named}, (), ())
    doubled = {label for _, label in named if [other for _, other in named].count(label) > 1}
    bound: dict[str, Participant | Unbound] = {}
    for name, label in named:
        if label is None:
            bound[name] = Unbound.MISSING
        else:
            bound[name] = Unbound.AMBIGUOUS if label in doubled else _bind_label(metadata, label)
    present = tuple(who for who in metadata.participants.values() if metadata.is_present(who.id))
    found = {name: metadata.roles[who.id].told_by for name, who in bound.items() if isinstance(who, Participant)}
    return Binding(bound, present, metadata.sip_session_ids, found)


def _bind_label(metadata: Metadata, label: str) -> Participant | Unbound:
    streams = [stream for stream in metadata.streams.values() if stream.label == label]
    streams = [s for s in streams if not metadata.sessions.get(s.session, Session("")).ended]
    if not streams:
        return Unbound.MISSING
    if len(streams) > 1:
        return Unbound.AMBIGUOUS
    senders = [
        who for who, roles in metadata.roles.items() if streams[0].id in roles.sends and metadata.is_present(who)
    ]
    if streams[0].mixed or len(senders) > 1:
        return Unbound.MIXED
    if not senders:
        return Unbound.MISSING
    return metadata.participants.get(senders[0], Unbound.AMBIGUOUS)
