"""Calls that somebody announced before, or while, a recording session runs: references, questions, acts, parties.

In memory only: a call that the keeper forgot is not joined, and a call that is not joined is not kept. Opens
nothing, sends nothing; `now` is an argument.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from mitschnitt.core.consent import Act, ActKind, Asked, act_to_json, asked_to_json
from mitschnitt.core.draw import UNTOLD, Told
from mitschnitt.errors import NotAllowed, TooLarge

ACTS_BEFORE_INVITE = timedelta(seconds=120)  # an older act is no act for the call that comes (design section 11)
MAX_REFS = 8  # of one call; a call has a session id, one or two Call-IDs and a header
MAX_QUESTIONS = 16  # of one call
MAX_ACTS = 64  # of one call; more is somebody leaning on a key
MAX_PARTY_POSTS = 64  # of one call: joins and leaves
REF_KINDS = ("sip_session_id", "sip_call_id", "header")
SESSION_UUID = re.compile(r"([0-9a-f]{32})(?:;remote=([0-9a-f]{32}))?", re.IGNORECASE)  # RFC 7989 section 5
NIL_UUID = "0" * 32


@dataclass(frozen=True, slots=True)
class Ref:
    """By what an INVITE may name the call."""

    kind: str  # one of REF_KINDS
    value: str


@dataclass(frozen=True, slots=True)
class PartyPost:
    """The gateway reports that somebody joined or left."""

    party: str
    kind: str  # joined | left
    role: str  # caller | agent | third
    value: str  # agent id or address, "" when it is not told
    at: datetime


@dataclass(slots=True)
class AnnouncedCall:
    """What is known of a call before its own journal says anything."""

    call_id: str
    refs: tuple[Ref, ...]
    queue: str
    direction: str
    agent: str | None
    answer_by: str  # post | digit: whether the gateway posts the answer or the recorder hears it
    heard_at: datetime  # the announcement, or the first act if there is one
    draw: Told = UNTOLD  # until it is told nobody is asked
    recorder: int | None = None  # who joined it; from then on its references find it for further recording sessions
    asked: list[Asked] = field(default_factory=list)
    acts: list[Act] = field(default_factory=list)
    parties: list[PartyPost] = field(default_factory=list)
    acted: bool = False
    page_key: bytes = b""  # X25519, public: what the caller may read at the end is sealed to it
    policy: str = ""  # hash of the one that it was announced under, and keeps; "" for a call of an earlier keeper

    def fresh(self, now: datetime) -> bool:
        """Whether an INVITE may still join it, or has."""
        return self.recorder is not None or now - self.heard_at <= ACTS_BEFORE_INVITE

    def facts(self) -> list[dict[str, Any]]:
        """Messages that tell a recorder everything posted so far, in order; telling twice changes nothing."""
        told: list[dict[str, Any]] = [self.party_message(post) for post in self.parties]
        told += [self.asked_message(asked) for asked in self.asked]
        return told + [self.act_message(act) for act in self.acts]

    def asked_message(self, asked: Asked) -> dict[str, Any]:
        """The `asked` frame."""
        return {"type": "asked", "call": self.call_id, **asked_to_json(asked)}

    def act_message(self, act: Act) -> dict[str, Any]:
        """The `act` frame, or `withdraw` for a withdrawal."""
        kind = "withdraw" if act.kind is ActKind.WITHDRAW else "act"
        return {"type": kind, "call": self.call_id, **act_to_json(act)}

    def party_message(self, post: PartyPost) -> dict[str, Any]:
        """The `party` frame."""
        return {"type": "party", "call": self.call_id, **party_to_json(post)}


@dataclass(frozen=True, slots=True)
class Joined:
    """What a recording session belongs to, and by which of its references that was found."""

    call: AnnouncedCall
    matched: tuple[Ref, ...]
    again: bool  # the call runs on this recorder already: this is a further recording session of it


def party_to_json(post: PartyPost) -> dict[str, Any]:
    """A reported join or leave as frames carry it."""
    return {
        "party": post.party,
        "kind": post.kind,
        "role": post.role,
        "value": post.value,
        "at": post.at.isoformat(),
    }


def _index_keys(ref: Ref) -> list[Ref]:
    """A session id counts by each of its two UUIDs: the two ends of a leg see them swapped (RFC 7989)."""
    value = ref.value.strip()
    if ref.kind == "sip_session_id" and (uuids := SESSION_UUID.fullmatch(value)):
        return [Ref(ref.kind, uuid.lower()) for uuid in uuids.groups() if uuid and uuid != NIL_UUID]
    return [Ref(ref.kind, value)] if value else []


class Announced:
    """All announced calls. Raises NotAllowed(`call.unknown`) for what it does not know or no longer knows."""

    def __init__(self, *, limit: int) -> None:
        self._limit = limit
        self._calls: dict[str, AnnouncedCall] = {}
        self._by_ref: dict[Ref, set[str]] = {}

    def __len__(self) -> int:
        return len(self._calls)

    def announce(
        self,
        call_id: str,
        refs: Sequence[Ref],
        *,
        queue: str,
        direction: str,
        agent: str | None,
        now: datetime,
        answer_by: str = "post",
        draw: Told = UNTOLD,
        page_key: bytes = b"",
        policy: str = "",
    ) -> AnnouncedCall:
        """A call will come. TooLarge when there are too many, or too many references."""
        self.expect(refs, now)
        # Whoever speaks to the caller may hand on the call's id itself in the header.
        known = (*refs, Ref("header", call_id))
        call = AnnouncedCall(
            call_id, known, queue, direction, agent, answer_by, now, page_key=page_key, policy=policy, draw=draw
        )
        self._calls[call_id] = call
        for key in self._keys(call):
            self._by_ref.setdefault(key, set()).add(call_id)
        return call

    def expect(self, refs: Sequence[Ref], now: datetime) -> None:
        """Whether a call of these references could be announced; TooLarge says why not."""
        self.expire(now)
        if len(self._calls) >= self._limit:
            raise TooLarge(f"{len(self._calls)} calls are announced; at most {self._limit} are")
        if not 1 <= len(refs) <= MAX_REFS:
            raise TooLarge(f"a call has 1 to {MAX_REFS} references, found {len(refs)}")

    def get(self, call_id: str, now: datetime) -> AnnouncedCall:
        """The call; NotAllowed when it is unknown, over, or was announced too long ago."""
        call = self._calls.get(call_id)
        if call is None or not call.fresh(now):
            raise NotAllowed("call.unknown")
        return call

    def add_asked(self, call_id: str, asked: Asked, now: datetime) -> AnnouncedCall:
        """A prompt was played."""
        call = self.get(call_id, now)
        _room(call.asked, MAX_QUESTIONS, "questions")
        if asked not in call.asked:
            call.asked.append(asked)
        return call

    def add_act(self, call_id: str, act: Act, now: datetime) -> AnnouncedCall:
        """A party acted. A withdrawal always finds room."""
        call = self.get(call_id, now)
        if act.kind is not ActKind.WITHDRAW:
            _room(call.acts, MAX_ACTS, "acts")
        if act not in call.acts:
            call.acts.append(act)
        if not call.acted:
            # From the first act on the time until the INVITE is counted from that act.
            call.acted, call.heard_at = True, now
        return call

    def add_party(self, call_id: str, post: PartyPost, now: datetime) -> AnnouncedCall:
        """Somebody joined or left."""
        call = self.get(call_id, now)
        _room(call.parties, MAX_PARTY_POSTS, "joins and leaves")
        if post not in call.parties:
            call.parties.append(post)
        return call

    def join(self, refs: Iterable[Ref], recorder: int, now: datetime) -> Joined | str:
        """The one call that these references mean, now the recorder's; else the rule that says why there is none.

        Session id, Call-ID and header must not contradict each other: two different calls are none. A call that
        waits for its INVITE goes before one that runs, for which this is a further recording session; one that runs
        elsewhere is none (`call.elsewhere`), for only its own recorder can ask and shut all of it.
        """
        self.expire(now)
        named = {ref: self._named_by(ref) for ref in refs}
        found: set[str] = set().union(*named.values())
        waiting = {name for name in found if self._calls[name].recorder is None}
        meant = waiting or found
        if not meant:
            return "call.unmatched"
        if len(meant) > 1:
            return "call.ambiguous"
        call = self._calls[meant.pop()]
        again = call.recorder is not None
        if again and call.recorder != recorder:
            return "call.elsewhere"
        call.recorder = recorder
        return Joined(call, tuple(ref for ref, names in named.items() if call.call_id in names), again)

    def _named_by(self, ref: Ref) -> set[str]:
        return set().union(*(self._by_ref.get(key, set()) for key in _index_keys(ref)))

    def adopt(self, call_id: str, recorder: int, now: datetime, *, draw: Told = UNTOLD) -> AnnouncedCall:
        """A recorder says, after a restart of ours, that this call is running: posts reach it again."""
        call = self._calls.get(call_id)
        if call is None:
            call = AnnouncedCall(call_id, (), "", "", None, "post", now, draw)
            self._calls[call_id] = call
        self._forget_refs(call)
        call.recorder = recorder
        return call

    def end(self, call_id: str) -> None:
        """The call is over; nothing of it stays here."""
        call = self._calls.pop(call_id, None)
        if call is not None:
            self._forget_refs(call)

    def end_all_but(self, recorder: int, live: Iterable[str]) -> None:
        """Of this recorder's calls only these are running."""
        running = set(live)
        for call in [call for call in self._calls.values() if call.recorder == recorder]:
            if call.call_id not in running:
                self.end(call.call_id)

    def expire(self, now: datetime) -> None:
        """Forget what nobody joined in time."""
        for call in [call for call in self._calls.values() if not call.fresh(now)]:
            self.end(call.call_id)

    def _keys(self, call: AnnouncedCall) -> list[Ref]:
        return [key for ref in call.refs for key in _index_keys(ref)]

    def _forget_refs(self, call: AnnouncedCall) -> None:
        for key in self._keys(call):
            named = self._by_ref.get(key, set())
            named.discard(call.call_id)
            if not named:
                self._by_ref.pop(key, None)
        call.refs = ()


def _room(items: Sequence[object], limit: int, what: str) -> None:
    if len(items) >= limit:
        raise TooLarge(f"this call has {len(items)} {what}; at most {limit} are taken")


def refs_from_json(data: object) -> list[Ref]:
    """References in a frame; what is none is left out, for it can match nothing."""
    if not isinstance(data, list):
        return []
    return [
        Ref(item["kind"], item["value"])
        for item in data[: 4 * MAX_REFS]
        if isinstance(item, Mapping) and item.get("kind") in REF_KINDS and isinstance(item.get("value"), str)
    ]
