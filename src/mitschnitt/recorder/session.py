"""One recording session: the ONE translator between wire, core and vault.

Turns SIP bodies, digits and posted facts into facts of the gate, and the gate's commands into filters, tracks,
offers and journal entries. Decides nothing itself; what it cannot understand becomes a fact that keeps shut.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Protocol

from mitschnitt.core.call import decode_call_id, encode_call_id
from mitschnitt.core.consent import act_from_json, asked_from_json
from mitschnitt.core.decision import Decision, Verdict
from mitschnitt.core.digits import NOTHING_PRESSED, Pressed, press
from mitschnitt.core.gate import (
    CallFacts,
    Command,
    State,
    Step,
    Surroundings,
    end,
    may_hear_digits,
    next_look,
    step,
)
from mitschnitt.core.policy import Asking
from mitschnitt.errors import KeyGone, NoSpace, PeerError
from mitschnitt.recorder.clock import SteadyClock, moment, nanoseconds, rfc3339
from mitschnitt.recorder.ledger import Ledger
from mitschnitt.recorder.link import KeeperLink, LeasedKey
from mitschnitt.recorder.media import Line, Media, Track
from mitschnitt.recorder.parties import Participant, Roll, posted_joined, posted_left, signalled
from mitschnitt.vault.keytree import leaf_key
from mitschnitt.wire.sdp import Form, Offer, answer
from mitschnitt.wire.siprec import Metadata, bind

SEAL_AGAIN_SECONDS = 5.0  # after the disk refused a finished file: until then the journal keeps it


class Signalling(Protocol):
    """What a session asks of its SIP dialog."""

    def offer(self, make_body: Callable[[], bytes]) -> None:
        """Send a re-INVITE as soon as the dialog is free; the body is made at that moment."""

    def hang_up(self) -> None:
        """BYE, after the offers that are under way."""


@dataclass(frozen=True, slots=True)
class Services:
    """What all sessions of a recorder share."""

    media: Media
    ledger: Ledger
    link: KeeperLink
    clock: SteadyClock
    surroundings: Callable[[], Surroundings]
    recorder: int


@dataclass(slots=True)
class Leg:
    """One m-line of the session: whose voice it should carry, and where we receive it."""

    label: str
    usable: bool  # audio that we accept
    codecs: Mapping[int, tuple[str, int]]  # payload type: name, RTP clock in Hz
    event_types: Mapping[int, int]  # payload type: clock in Hz
    line: Line | None = None
    former: list[Line] = field(default_factory=list)  # released once the client has moved
    party: str = ""
    pressed: Pressed = NOTHING_PRESSED


class Session:
    """A call as its recording session shows it. All methods run on the recorder's loop."""

    def __init__(self, services: Services, signalling: Signalling, refs: Sequence[Mapping[str, str]]) -> None:
        self._services = services
        self._signalling = signalling
        self._refs = list(refs)
        self._key: LeasedKey | None = None
        self._tracks: dict[int, Track] = {}
        self._roll = Roll()
        self._posted: frozenset[str] = frozenset()
        self._announced_agent: str | None = None
        self._metadata: Metadata | None = None
        self._legs: list[Leg] = []
        self._offer: Offer | None = None
        self._version = 0
        self._in_band = False
        self._pauses: list[list[str]] = []
        self._alarm: asyncio.TimerHandle | None = None
        self._sealing: asyncio.Task[None] | None = None
        self._kept_once = False
        self.answered = False
        self.call = ""
        self.state = State.ARRIVED
        self.facts = CallFacts()
        self.decision = Decision(Verdict.EXCLUDE, "call.unmatched")
        self.leaked_packets = 0

    # -- what signalling brings ------------------------------------------------------------------

    def take_offer(self, offer: Offer, *, at: datetime) -> None:
        """The client's newest offer: new m-lines get a gated line, refused ones lose theirs.

        Raises NoPort when the port range is used up; the INVITE is then answered 503.
        """
        self._offer = offer
        for number, media in enumerate(offer.media):
            if number == len(self._legs):
                self._legs.append(Leg(media.label, media.usable, media.codecs, media.event_types))
            leg = self._legs[number]
            leg.label, leg.usable = media.label, media.usable
            leg.codecs, leg.event_types = media.codecs, media.event_types
            if leg.usable and leg.line is None:
                leg.line = self._services.media.line()
            elif not leg.usable and leg.line is not None:
                self._services.media.shut(leg.line, since_ns=nanoseconds(at))
                self._services.media.release(leg.line)
                leg.line = None
        self._bind()

    def take_metadata(self, metadata: Metadata | None) -> None:
        """The client's newest view of who is on the line; None is metadata that does not parse."""
        self._metadata = metadata
        self._bind()

    def body(self) -> bytes:
        """The SDP answer that the gate's state asks for at this moment, whatever the offer was."""
        if self._offer is None:
            raise PeerError("there is no offer to answer")
        return answer(self._offer, self._ours(), self.form(), address=self._address, version=self._next_version())

    def form(self) -> Form:
        """Closed, listening behind the filter, or open: a function of the state alone."""
        if self.state is State.KEEPING:
            return Form.OPEN
        waiting = self.state in (State.ASKING, State.PAUSED) and self._in_band
        return Form.LISTEN if waiting else Form.CLOSED

    def moved(self) -> None:
        """The client has answered our offer: the lines that it left are released."""
        for leg in self._legs:
            for line in leg.former:
                self._services.media.release(line)
            leg.former.clear()

    # -- who this call is ------------------------------------------------------------------------

    async def join(self) -> None:
        """Ask the keeper which announced call this is; without an answer the call is not to be asked."""
        joined = await self._services.link.join(self._refs)
        if self.state is not State.ARRIVED:
            return
        view = self._services.surroundings().view
        asserted = view is not None and view.policy.asking is Asking.ASSERTED
        matched = joined is not None and joined.get("call")
        self.call = str(joined["call"]) if joined is not None and matched else encode_call_id(secrets.token_bytes(16))
        if joined is None or not matched:
            rule = "keeper.gone" if joined is None else str(joined.get("rule") or "call.unmatched")
            self.facts = replace(self.facts, excluded="" if asserted and joined is not None else rule)
            self._in_band = asserted
        else:
            self._in_band = joined.get("answer_by") == "digit"
            self._announced_agent = joined.get("agent")
        self._take_key()
        self._bind()
        if joined is not None:
            for kind, plural in (("asked", "asked"), ("act", "acts"), ("party", "parties")):
                for data in joined.get(plural) or ():
                    self._take_fact(kind, data)
        self.look()

    def _take_key(self) -> None:
        services = self._services
        try:
            self._key = services.link.take_key()
        except KeyGone:
            self.facts = replace(self.facts, excluded=self.facts.excluded or "keys.none")
            return
        services.ledger.arrived(self.call, self._key, {"refs": self._refs}, at=services.clock.now())

    def _bind(self) -> None:
        view = self._services.surroundings().view
        if view is None:
            return
        labels = [leg.label for leg in self._legs if leg.usable]
        if self._metadata is None:
            self.facts = replace(self.facts, unbound="binding.missing")
            return
        binding = bind(self._metadata, labels)
        participants = [Participant(item.id, item.aor) for item in binding.participants]
        self._roll = signalled(self._roll, participants, view, posted=self._posted)
        problem = binding.problem or self._roll.problem or self._contradiction()
        for leg in self._legs:
            speaker = binding.senders.get(leg.label, "")
            leg.party = self._roll.by_participant.get(speaker, "") if leg.usable else ""
            if leg.usable and not leg.party:
                problem = problem or "binding.missing"
        self.facts = replace(self.facts, unbound=problem if labels else "binding.missing", parties=self._roll.parties)

    def _contradiction(self) -> str:
        named = {party.agent for party in self._roll.parties if party.agent is not None and party.present}
        if self._announced_agent is not None and named and self._announced_agent not in named:
            return "binding.contradiction"
        return ""

    # -- facts -----------------------------------------------------------------------------------

    def post(self, kind: str, data: Mapping[str, Any]) -> None:
        """A fact that the gateway posted; a broken one changes nothing (PeerError)."""
        self._take_fact(kind, data)
        self.look(since=self._services.clock.now())

    def _take_fact(self, kind: str, data: Mapping[str, Any]) -> None:
        view = self._services.surroundings().view
        if kind == "asked":
            self.facts = self.facts.with_asked(asked_from_json(data))
        elif kind in ("act", "withdraw"):
            self.facts = self.facts.with_act(act_from_json({"kind": "withdraw", **data}))
        elif kind == "party" and view is not None:
            name, aor = str(data.get("party", "")), str(data.get("value", ""))
            if data.get("kind") == "left":
                self._roll = posted_left(self._roll, name)
                self._posted -= {name}
            else:
                self._roll, known = posted_joined(self._roll, name, aor, view)
                self._posted |= {known}
            self.facts = replace(self.facts, parties=self._roll.parties)

    def digit(self, line: Line, digit: str, at_ns: int) -> None:
        """A key of the party whose stream arrives at this line; read only if it can mean something now."""
        leg = next((leg for leg in self._legs if leg.line == line or line in leg.former), None)
        view = self._services.surroundings().view
        if leg is None or not leg.party or view is None:
            return
        hears = may_hear_digits(self.state, self.facts)
        leg.pressed, act = press(leg.pressed, digit, moment(at_ns), party=leg.party, hears=hears, policy=view.policy)
        if act is not None:
            self.facts = self.facts.with_act(act)
            self.look(since=act.at)

    def failed(self, rule: str) -> None:
        """We can no longer keep this call: what is sealed stays, the gate shuts."""
        self.facts = replace(self.facts, failed=rule)
        self.look()

    # -- the gate --------------------------------------------------------------------------------

    def look(self, *, since: datetime | None = None) -> None:
        """Judge all facts again and do what the gate says. `since` is when the newest fact was true."""
        if not self.call or self.state is State.ENDED:
            return
        now = self._services.clock.now()
        self._do(step(self.state, self.facts, self._services.surroundings(), now), since or now)
        self._set_alarm(now)

    def ended(self) -> None:
        """The call is over: BYE came, or the client is gone."""
        if self.state is State.ENDED:
            return
        now = self._services.clock.now()
        before = self.state
        moved = end(self.state, self.facts, self._services.surroundings(), now)
        if before not in (State.ARRIVED, State.ASKING):
            moved = replace(moved, decision=self.decision)  # what decided was earlier; the end decides nothing
        self._do(moved, now)
        if self._alarm is not None:
            self._alarm.cancel()
        self.moved()
        for leg in self._legs:
            if leg.line is not None:
                self._services.media.shut(leg.line, since_ns=None)
                self._services.media.release(leg.line)
                leg.line = None

    def _do(self, moved: Step, since: datetime) -> None:
        if moved.state is not self.state or moved.decision.verdict is not self.decision.verdict:
            self.decision = moved.decision
        self.state = moved.state
        handlers: Mapping[Command, Callable[[datetime], None]] = {
            Command.LISTEN: self._listen,
            Command.KEEP: self._keep,
            Command.SHUT: self._shut,
            Command.OFFER: self._send_form,
            Command.SHRED: self._shred,
            Command.SEAL: self._seal,
            Command.FORGET: self._forget,
            Command.HANG_UP: self._hang_up,
        }
        for command in moved.commands:
            handlers[command](since)

    def _set_alarm(self, now: datetime) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        at = next_look(self.facts, self._services.surroundings().view, now)
        if at is not None and self.state in (State.ARRIVED, State.ASKING, State.PAUSED):
            wait = max((at - now).total_seconds(), 0.0) + ALARM_SLACK_SECONDS
            self._alarm = asyncio.get_running_loop().call_later(wait, self.look)

    # -- the gate's commands ---------------------------------------------------------------------

    def _listen(self, _since: datetime) -> None:
        if self._in_band:
            for leg in self._legs:
                if leg.line is not None:
                    self._services.media.listen(leg.line, leg.event_types)

    def _keep(self, since: datetime) -> None:
        services = self._services
        if self._pauses and len(self._pauses[-1]) == 1:
            self._pauses[-1].append(rfc3339(since))
        for leg in self._legs:
            party = self._roll.party(leg.party)
            if leg.line is None or party is None or self._key is None:
                continue
            track = self._tracks.get(party.number)
            if track is None:
                # Before its first slice can be synced (1.5 s from now) the track's entry is: recovery needs it.
                services.ledger.track(self.call, party.number, party.role.value, leg.codecs, at=services.clock.now())
                leaf = leaf_key(self._key.node, party.number)
                track = services.media.track(
                    call_id=decode_call_id(self.call), party=party.number, leaf_key=leaf, codecs=leg.codecs
                )
                self._tracks[party.number] = track
            if self.answered:
                # A fresh port: what the client still sends to the old one stays behind the filter.
                leg.former.append(leg.line)
                leg.line = services.media.line(event_types=leg.event_types)
            services.media.keep(leg.line, track, event_types=leg.event_types)
        self._kept_once = True

    def _shut(self, since: datetime) -> None:
        for leg in self._legs:
            for line in (*leg.former, *((leg.line,) if leg.line is not None else ())):
                self._services.media.shut(line, since_ns=nanoseconds(since))
        if self.state is State.PAUSED:
            self._pauses.append([rfc3339(since)])

    def _send_form(self, _since: datetime) -> None:
        if self.answered:
            self._signalling.offer(self._offer_body)

    def _hang_up(self, _since: datetime) -> None:
        self._signalling.hang_up()

    def _shred(self, _since: datetime) -> None:
        services = self._services
        for track in self._tracks.values():
            services.media.drop(track)
        self._tracks.clear()
        self._key = None
        services.ledger.shred(self.call, at=services.clock.now())

    def _forget(self, _since: datetime) -> None:
        self._close("not_kept")

    def _seal(self, _since: datetime) -> None:
        reason = "failed" if self.state is State.FAILED else "ended"
        self._sealing = asyncio.get_running_loop().create_task(self._seal_all(reason))

    async def _seal_all(self, reason: str) -> None:
        services = self._services
        for number, track in list(self._tracks.items()):
            while True:
                try:
                    sealed = await services.media.finish(
                        track, reason=reason, ended_at=rfc3339(services.clock.now()), pauses=self._pauses
                    )
                except NoSpace:
                    await asyncio.sleep(SEAL_AGAIN_SECONDS)
                else:
                    break
            if not self._tracks:  # withdrawn while we sealed: the key is gone, the keeper removes the files
                return
            services.ledger.sealed(self.call, sealed.to_json(number), at=services.clock.now())
        self._close("kept")

    def _close(self, kept: str) -> None:
        services, view = self._services, self._services.surroundings().view
        if view is None or not self.call:
            return
        decision = {
            "call": self.call,
            "outcome": kept,
            "rule": self.decision.rule,
            "party": self.decision.party,
            "policy": view.policy.hash,
            "acts": [
                {"party": act.party, "kind": act.kind.value, "value": act.value, "at": rfc3339(act.at)}
                for act in self.facts.acts[-MAX_TOLD_ACTS:]
            ],
        }
        services.ledger.closed(self.call, decision, view.officer_key, kept=kept, at=services.clock.now())
        services.link.send({"type": "ended", "call": self.call})
