"""One recording session: the ONE translator between wire, core and vault.

Turns SIP bodies, digits and posted facts into facts of the gate, and the gate's commands into filters, tracks,
offers and journal entries. Decides nothing itself; what it cannot understand becomes a fact that keeps shut.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Protocol

from mitschnitt.core.call import CALL_ID_BYTES, decode_call_id, encode_call_id
from mitschnitt.core.consent import Asked, act_from_json, asked_from_json
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
from mitschnitt.errors import KeyGone, NoSpace, PeerError, VaultError
from mitschnitt.recorder.clock import SteadyClock, moment, nanoseconds, rfc3339
from mitschnitt.recorder.ledger import Ledger
from mitschnitt.recorder.link import KeeperLink, LeasedKey
from mitschnitt.recorder.media import Line, Media, Track
from mitschnitt.recorder.parties import Participant, Roll, posted_joined, posted_left, signalled
from mitschnitt.vault.finish import SealedParty
from mitschnitt.vault.keytree import leaf_key
from mitschnitt.wire.sdp import REFUSED, Description, Form, LocalLine, answer, refusal, reoffer
from mitschnitt.wire.siprec import Metadata, Unbound, Update, bind

SEAL_AGAIN_SECONDS = 5.0  # after the disk refused a finished file: until then the journal keeps it
ALARM_SLACK_SECONDS = 0.05  # a timer that fires early must not look before the window is over
LEAK_ALARM_PACKETS = 100  # two seconds of one stream: a client needs less to read a closed answer and obey
MAX_TOLD_ACTS = 8  # in a decision, so that it stays below its fixed size


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
    address: str  # where media is received, as the client must see it
    owners: dict[Line, Session] = field(default_factory=dict)  # whose line it is


@dataclass(slots=True)
class Leg:
    """One m-line of the session: whose voice it should carry, and where we receive it."""

    label: str = ""
    codecs: Mapping[int, tuple[str, int]] = field(default_factory=dict)  # payload type: name, RTP clock in Hz
    event_types: Mapping[int, int] = field(default_factory=dict)  # payload type: clock in Hz
    line: Line | None = None  # none for an m-line that is refused
    former: list[Line] = field(default_factory=list)  # released once the client has moved
    party: str = ""
    pressed: Pressed = NOTHING_PRESSED
    kept: bool = False  # packets go into the party's track


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
        self._metadata: Update | None = None
        self._legs: list[Leg] = []
        self._offer: Description | None = None
        self._told: Description | None = None
        self._sdp_session = secrets.randbits(31)
        self._in_band = False
        self._pauses: list[tuple[str, str]] = []
        self._paused_at = ""
        self._started_at = ""
        self._alarm: asyncio.TimerHandle | None = None
        self._sealing: asyncio.Task[None] | None = None
        self._journalled = False
        self.answered = False
        self.call = ""
        self.state = State.ARRIVED
        self.facts = CallFacts()
        self.decision = Decision(Verdict.EXCLUDE, "call.unmatched")
        self.leaked_packets = 0

    # -- what signalling brings ------------------------------------------------------------------

    def take_offer(self, offer: Description, *, at: datetime) -> None:
        """The client's newest offer: new m-lines get a gated line, refused ones lose theirs.

        Raises NoPortLeft when the port range is used up; the INVITE is then answered 503.
        """
        self._offer = offer
        for number, media in enumerate(offer.lines):
            if number == len(self._legs):
                self._legs.append(Leg())
            leg = self._legs[number]
            leg.label = media.label or ""
            leg.event_types = media.event_types
            leg.codecs = {
                codec.payload_type: (codec.name, codec.clock)
                for codec in media.codecs
                if codec.name and not codec.is_events
            }
            usable = refusal(offer, number) is None
            if usable and leg.line is None:
                leg.line = self._new_line()
            elif not usable and leg.line is not None:
                self._shut_leg(leg, nanoseconds(at))
                self._release(leg.line)
                leg.line = None
        self._bind()

    def take_metadata(self, update: Update) -> None:
        """The client's newest word on who is on the line; what does not parse unbinds everybody."""
        known = self._metadata
        if isinstance(update, Metadata) and isinstance(known, Metadata):
            self._metadata = known.apply(update)
        else:
            self._metadata = update
        self._bind()

    def body(self) -> bytes:
        """The SDP answer that the gate's state asks for at this moment, whatever the offer was."""
        if self._offer is None:
            raise PeerError("there is no offer to answer")
        self._told = answer(
            self._offer,
            self._local_lines(),
            self.form(),
            address=self._services.address,
            session=self._sdp_session,
            previous=self._told,
        )
        return bytes(self._told)

    def _offer_body(self) -> bytes:
        if self._told is None:
            raise PeerError("nothing was answered yet, so nothing can be offered anew")
        self._told = reoffer(self._told, self._local_lines(), self.form(), address=self._services.address)
        return bytes(self._told)

    def _local_lines(self) -> list[LocalLine]:
        return [LocalLine(leg.line.port) if leg.line is not None else REFUSED for leg in self._legs]

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
                self._release(line)
            leg.former.clear()

    def _new_line(self) -> Line:
        line = self._services.media.line()
        self._services.owners[line] = self
        return line

    def _release(self, line: Line) -> None:
        self._services.media.release(line)
        self._services.owners.pop(line, None)

    # -- who this call is ------------------------------------------------------------------------

    def join(self) -> None:
        """Ask the keeper which announced call this is; without an answer the call is not to be asked."""
        self._services.link.join(self._refs, self._joined)

    def _joined(self, joined: Mapping[str, Any] | None) -> None:
        """The keeper's answer, or None when none came in time."""
        if self.state is not State.ARRIVED or self.call:
            return
        told = joined or {}
        view = self._services.surroundings().view
        asserted = joined is not None and view is not None and view.policy.asking is Asking.ASSERTED
        matched = bool(told.get("call"))
        self.call = str(told["call"]) if matched else encode_call_id(secrets.token_bytes(CALL_ID_BYTES))
        self._in_band = asserted if not matched else told.get("answer_by") == "digit"
        self._announced_agent = told.get("agent")
        if not matched and not asserted:
            rule = "keeper.gone" if joined is None else str(told.get("rule") or "call.unmatched")
            self.facts = replace(self.facts, excluded=rule)
        self._take_key()
        self._bind()
        if asserted and not matched:
            self._assert_asked()
        for kind, plural in (("asked", "asked"), ("act", "acts"), ("party", "parties")):
            for data in told.get(plural) or ():
                self._take_fact(kind, data)
        self.look()

    def _assert_asked(self) -> None:
        """The policy says that whoever reaches us has heard the whole prompt; the decision names its rule."""
        view = self._services.surroundings().view
        if view is None:
            return
        prompt, now = view.policy.prompt_for(view.policy.language), self._services.clock.now()
        length = timedelta(milliseconds=prompt.length_ms)
        asked = Asked(
            "caller", prompt.name, prompt.sha256, prompt.language, now - length, now, prompt.length_ms, prompt.length_ms
        )
        self.facts = self.facts.with_asked(asked)

    def _take_key(self) -> None:
        services = self._services
        try:
            self._key = services.link.take_key()
        except KeyGone:
            self.facts = replace(self.facts, excluded=self.facts.excluded or "keys.none")
            return
        services.ledger.arrived(self.call, self._key, {"refs": self._refs}, at=services.clock.now())
        self._journalled = True

    def _bind(self) -> None:
        view = self._services.surroundings().view
        if view is None:
            return
        labels = [leg.label if leg.line is not None else None for leg in self._legs]
        recorded = [label for leg, label in zip(self._legs, labels, strict=True) if leg.line is not None]
        binding = bind(self._metadata, recorded)
        participants = [Participant(item.id, item.aor) for item in binding.participants]
        self._roll = signalled(self._roll, participants, view, posted=self._posted)
        problem = "" if binding.certain else min(binding.reasons, default=Unbound.MISSING).value
        for leg, label in zip(self._legs, labels, strict=True):
            speaker = binding.labels.get(label) if label is not None else None
            party = ""
            if speaker is not None and not isinstance(speaker, Unbound):
                party = self._roll.by_participant.get(speaker.id, "")
            if leg.kept and party != leg.party:
                self._shut_leg(leg, self._services.clock.now_ns())  # another voice must not end in this track
            leg.party = party
        self.facts = replace(
            self.facts,
            unbound=problem or self._roll.problem or self._contradiction(),
            parties=self._roll.parties,
        )

    def _contradiction(self) -> str:
        named = {party.agent for party in self._roll.parties if party.agent is not None and party.present}
        if self._announced_agent is not None and named and self._announced_agent not in named:
            return "binding.contradiction"
        return ""

    # -- facts -----------------------------------------------------------------------------------

    def post(self, kind: str, data: Mapping[str, Any]) -> None:
        """A fact that the gateway posted; a broken one changes nothing (PeerError)."""
        self._take_fact(kind, data)
        self.look(since=_said_at(data, self._services.clock.now()))

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

    def leak(self, packets: int) -> bool:
        """Packets came that the gate had cut; whether that is now an alarm: more than a slow client's last second."""
        if not self.answered or self.form() is not Form.CLOSED:
            return False  # we asked for them, for the digits among them
        before, self.leaked_packets = self.leaked_packets, self.leaked_packets + packets
        return before < LEAK_ALARM_PACKETS <= self.leaked_packets

    def has(self, track: Track) -> bool:
        """Whether this is a track of ours."""
        return track in self._tracks.values()

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
        if self.state is State.KEEPING and any(leg.line is not None and not leg.kept for leg in self._legs):
            self._keep(now)  # an m-line that the client added, or whose speaker changed to another who agreed
            self._send_form(now)
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
                self._release(leg.line)
                leg.line = None

    async def sealed(self) -> None:
        """Until the files of this call are written, if it keeps any."""
        if self._sealing is not None:
            await self._sealing

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

    def _keep(self, _since: datetime) -> None:
        services = self._services
        now = rfc3339(services.clock.now())
        self._started_at = self._started_at or now
        if self._paused_at:
            self._pauses.append((self._paused_at, now))
            self._paused_at = ""
        for leg in self._legs:
            party = self._roll.party(leg.party)
            if leg.line is None or leg.kept or party is None or self._key is None:
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
                leg.line = self._new_line()
            services.media.listen(leg.line, leg.event_types)
            services.media.keep(leg.line, track)
            leg.kept = True

    def _shut(self, since: datetime) -> None:
        for leg in self._legs:
            self._shut_leg(leg, nanoseconds(since))
        if self.state is State.PAUSED:
            self._paused_at = rfc3339(since)

    def _shut_leg(self, leg: Leg, since_ns: int) -> None:
        leg.kept = False
        for line in (*leg.former, *((leg.line,) if leg.line is not None else ())):
            self._services.media.shut(line, since_ns=since_ns)
            self._services.media.listen(line, {})

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
        # The hold of all parties is sealed now; what follows only moves sealed bytes.
        first = {number: self._finish(track, reason) for number, track in self._tracks.items()}
        self._sealing = asyncio.get_running_loop().create_task(self._seal_all(first, reason))

    def _finish(self, track: Track, reason: str) -> asyncio.Future[SealedParty]:
        return self._services.media.finish(
            track,
            reason=reason,
            started_at=self._started_at,
            ended_at=rfc3339(self._services.clock.now()),
            pauses=self._pauses_told(),
        )

    def _pauses_told(self) -> list[tuple[str, str]]:
        open_pause = [(self._paused_at, rfc3339(self._services.clock.now()))] if self._paused_at else []
        return [*self._pauses, *open_pause]

    async def _seal_all(self, first: Mapping[int, asyncio.Future[SealedParty]], reason: str) -> None:
        services = self._services
        for number, attempt in first.items():
            track = self._tracks.get(number)
            while track is not None:
                try:
                    sealed = await attempt
                    break
                except NoSpace:
                    await asyncio.sleep(SEAL_AGAIN_SECONDS)  # the journal keeps the slices until it works
                except VaultError:
                    if self._tracks:  # not because of a withdrawal meanwhile: recovery will try from the journal
                        raise
                    return
                track = self._tracks.get(number)
                if track is not None:
                    attempt = self._finish(track, reason)
            if track is None or number not in self._tracks:
                return  # withdrawn while we sealed: the key is gone, the keeper removes the files
            settled = partial(services.media.settled, track)
            services.ledger.sealed(self.call, _told(sealed), at=services.clock.now(), then=settled)
        self._tracks.clear()
        self._close("kept")

    def _close(self, kept: str) -> None:
        services, view = self._services, self._services.surroundings().view
        if view is None or not self._journalled:
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


def _told(sealed: SealedParty) -> dict[str, Any]:
    """A finished party as the journal tells it (design section 11)."""
    return {
        "party": sealed.party,
        "media": {"name": sealed.media_name, "size": sealed.media_size, "sha256": sealed.media_sha256},
        "timeline": {"name": sealed.timeline_name, "size": sealed.timeline_size, "sha256": sealed.timeline_sha256},
        "reason": sealed.reason,
        "started_at": sealed.started_at,
        "ended_at": sealed.ended_at,
    }


def _said_at(data: Mapping[str, Any], now: datetime) -> datetime:
    """When a posted fact was true: its own time if it has one that is not in the future, else now."""
    try:
        at = datetime.fromisoformat(str(data.get("at")))
    except ValueError:
        return now
    return min(at, now) if at.tzinfo is not None else now
