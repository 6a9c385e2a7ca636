"""One recording session: the ONE translator between wire, core and vault.

Turns SIP bodies, digits and posted facts into facts of the gate, and the gate's commands into filters, tracks,
offers and journal entries. Decides nothing itself; what it cannot understand becomes a fact that keeps shut.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Protocol

from mitschnitt.core.call import CALL_ID_BYTES, decode_call_id, encode_call_id
from mitschnitt.core.consent import Act, ActKind, Asked, act_from_json, asked_from_json
from mitschnitt.core.decision import Decision, Verdict
from mitschnitt.core.digits import NOTHING_PRESSED, Pressed, press
from mitschnitt.core.gate import (
    CallFacts,
    Command,
    State,
    Step,
    Surroundings,
    end,
    judge,
    may_hear_digits,
    next_look,
    step,
)
from mitschnitt.core.policy import Asking
from mitschnitt.errors import KeyGone, MitschnittError, PeerError
from mitschnitt.recorder.clock import SteadyClock, moment, nanoseconds, rfc3339
from mitschnitt.recorder.ledger import Ledger
from mitschnitt.recorder.legs import Leg, Legs
from mitschnitt.recorder.link import KeeperLink, LeasedKey
from mitschnitt.recorder.media import Line, Media, Track
from mitschnitt.recorder.parties import Participant, Roll, posted_joined, signalled
from mitschnitt.recorder.ports import NoPortLeft
from mitschnitt.recorder.sealing import Sealing, drop
from mitschnitt.vault.finish import SealedParty
from mitschnitt.vault.keytree import leaf_key
from mitschnitt.wire.sdp import Description, Form, answer, reoffer
from mitschnitt.wire.siprec import Metadata, MetadataBroken, Unbound, Update, bind

ALARM_SLACK_SECONDS = 0.05  # a timer that fires early must not look before the window is over
LEAK_ALARM_PACKETS = 100  # two seconds of one stream: a client needs less to read a closed answer and obey
MAX_TOLD_ACTS = 8  # in a decision, so that it stays below its fixed size
LATE_SECONDS = 1.0  # how long after the end a line still has its session: keys come with the next drains
LIVE_STATES = (State.ARRIVED, State.ASKING, State.KEEPING, State.PAUSED)  # in which who is on the line matters

log = logging.getLogger("mitschnitt.recorder")


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


class Session:
    """A call as its recording session shows it. All methods run on the recorder's loop."""

    def __init__(self, services: Services, signalling: Signalling, refs: Sequence[Mapping[str, str]]) -> None:
        self._services = services
        self._signalling = signalling
        self._refs = list(refs)
        self._key: LeasedKey | None = None
        self._tracks: dict[int, Track] = {}
        self._roll = Roll()
        self._posted: dict[str, str] = {}  # who the gateway says is on the line: its name, and ours
        self._pressed: dict[str, Pressed] = {}
        self._announced_agent: str | None = None
        self._metadata: Update | None = None
        self._legs = Legs(services.media, services.owners, self)
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
        self._closed = False
        self.answered = False
        self.call = ""
        self.state = State.ARRIVED
        self.facts = CallFacts()
        self.decision = Decision(Verdict.EXCLUDE, "call.unmatched")
        self.leaked_packets = 0
        self.needs_snapshot = False  # what the client tells of the line cannot be used without the whole of it

    # -- what signalling brings ------------------------------------------------------------------

    def take_offer(self, offer: Description, *, at: datetime) -> bool:
        """The client's newest offer; False when the ports did not suffice: then this call is not kept any further.

        MalformedPacket, and nothing is changed, for an offer that drops m-lines.
        """
        complete = self._legs.follow(offer, at_ns=nanoseconds(at))
        self._offer = offer
        if not complete:
            self._fail("ports.none")
        if self.form() is Form.LISTEN:
            self._legs.listen()
        self._bind()
        return complete

    def take_metadata(self, update: Update) -> None:
        """The client's newest word on who is on the line; what does not parse unbinds everybody."""
        known = self._metadata
        if isinstance(update, Metadata) and isinstance(known, Metadata):
            self._metadata = known.apply(update)
        elif isinstance(update, Metadata) and update.partial:
            self._metadata = MetadataBroken("a partial update before any snapshot (RFC 7866, 9.2)")
        else:
            self._metadata = update
        self.needs_snapshot = not isinstance(self._metadata, Metadata) and self.state in LIVE_STATES
        self._bind()

    def body(self) -> bytes:
        """The SDP answer that the gate's state asks for at this moment, whatever the offer was."""
        if self._offer is None:
            raise PeerError("there is no offer to answer")
        self._told = answer(
            self._offer,
            self._legs.local_lines(len(self._offer.lines)),
            self.form(),
            address=self._services.address,
            session=self._sdp_session,
            previous=self._told,
        )
        return bytes(self._told)

    def _offer_body(self) -> bytes:
        if self._told is None:
            raise PeerError("nothing was answered yet, so nothing can be offered anew")
        lines = self._legs.local_lines(len(self._told.lines))
        self._told = reoffer(self._told, lines, self.form(), address=self._services.address)
        return bytes(self._told)

    def form(self) -> Form:
        """Closed, listening behind the filter, or open: a function of the state alone."""
        if self.state is State.KEEPING:
            return Form.OPEN
        waiting = self.state in (State.ASKING, State.PAUSED) and self._in_band
        return Form.LISTEN if waiting else Form.CLOSED

    def moved(self) -> None:
        """The client has answered what we told it: the lines that it was told to leave are released."""
        self._legs.moved()

    # -- who this call is ------------------------------------------------------------------------

    def join(self) -> None:
        """Ask the keeper which announced call this is; without an answer the call is not to be asked."""
        self._services.link.join(self._refs, self._joined)

    def _joined(self, joined: Mapping[str, Any] | None) -> None:
        """The keeper's answer, or None when none came in time."""
        told = joined or {}
        if self.state is not State.ARRIVED or self.call:
            if told.get("call"):
                self._services.link.send({"type": "ended", "call": told["call"]})
            return
        view = self._services.surroundings().view
        matched = bool(told.get("call"))
        rule = "keeper.gone" if joined is None else str(told.get("rule") or "call.unmatched")
        # Several announced calls fit: that is a contradiction, not a call that nobody announced.
        asserted = rule == "call.unmatched" and view is not None and view.policy.asking is Asking.ASSERTED
        self.call = str(told["call"]) if matched else encode_call_id(secrets.token_bytes(CALL_ID_BYTES))
        self._in_band = asserted if not matched else told.get("answer_by") == "digit"
        self._announced_agent = told.get("agent")
        if not matched and not asserted:
            self._exclude(rule)
        self._take_key()
        self._bind()
        if asserted and not matched:
            self._assert_asked()
        for kind, plural in (("asked", "asked"), ("act", "acts"), ("party", "parties")):
            for data in told.get(plural) or ():
                try:
                    self._take_fact(kind, data)
                except (MitschnittError, AttributeError, TypeError, ValueError):
                    self._exclude("facts.broken")  # what it said may have been a no
        self.look()

    def _exclude(self, rule: str) -> None:
        self.facts = replace(self.facts, excluded=self.facts.excluded or rule)

    def _fail(self, rule: str) -> None:
        self.facts = replace(self.facts, failed=self.facts.failed or rule)

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
            self._exclude("keys.none")
            return
        services.ledger.arrived(self.call, self._key, {"refs": self._refs}, at=services.clock.now())
        self._journalled = True

    def _bind(self) -> None:
        view = self._services.surroundings().view
        if view is None:
            return
        recorded = [leg.label for leg in self._legs if leg.line is not None]
        binding = bind(self._metadata, recorded)
        participants = [Participant(item.id, item.aor) for item in binding.participants]
        self._roll = signalled(self._roll, participants, view, posted=frozenset(self._posted.values()))
        problem = "" if binding.certain else min(binding.reasons, default=Unbound.MISSING).value
        names = {
            label: self._roll.by_participant.get(Participant(who.id, who.aor), "")
            for label, who in binding.labels.items()
            if not isinstance(who, Unbound)
        }
        parties = [names.get(label, "") if label is not None else "" for label in self._legs.labels]
        self._legs.bind(parties, at_ns=self._services.clock.now_ns())
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
        name = str(data.get("party", ""))
        if ActKind.WITHDRAW in (kind, data.get("kind")):
            self.facts = self.facts.with_act(self._withdrawal(data))
        elif kind == "asked":
            asked = asked_from_json(data)
            self.facts = self.facts.with_asked(replace(asked, party=self._posted.get(name, name)))
        elif kind == "act":
            act = act_from_json(data)
            self.facts = self.facts.with_act(replace(act, party=self._posted.get(name, name)))
        elif kind == "party":
            self._take_party(name, data)

    def _withdrawal(self, data: Mapping[str, Any]) -> Act:
        """However badly it is told, a withdrawal is one."""
        try:
            return act_from_json({**data, "kind": ActKind.WITHDRAW.value})
        except MitschnittError:
            return Act("", ActKind.WITHDRAW, "", self._services.clock.now())

    def _take_party(self, name: str, data: Mapping[str, Any]) -> None:
        view = self._services.surroundings().view
        if view is None:
            self._exclude("view.missing")  # who it was cannot be known, and it is not told again
        elif data.get("kind") == "left":
            self._posted.pop(name, None)
        else:
            self._roll, self._posted[name] = posted_joined(self._roll, name, str(data.get("value", "")), view)
        self._bind()

    def digit(self, line: Line, digit: str, at_ns: int) -> None:
        """A key of the party whose stream arrives at this line; read only if it can mean something now."""
        leg = self._legs.leg_of(line)
        view = self._services.surroundings().view
        if leg is None or not leg.party or view is None:
            return
        hears = may_hear_digits(self.state, self.facts)
        if self._may_still_withdraw():
            hears = frozenset({ActKind.WITHDRAW})
        pressed = self._pressed.get(leg.party, NOTHING_PRESSED)
        pressed, act = press(pressed, digit, moment(at_ns), party=leg.party, hears=hears, policy=view.policy)
        self._pressed[leg.party] = pressed
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
        self._fail(rule)
        self.look()

    # -- the gate --------------------------------------------------------------------------------

    def look(self, *, since: datetime | None = None) -> None:
        """Judge all facts again and do what the gate says. `since` is when the newest fact was true.

        Never raises: when a command fails, the lines are shut first and the call is kept no further.
        """
        if not self.call:
            return
        now = self._services.clock.now()
        if self.state is State.ENDED:
            self._look_back(now)
            return
        before = self.state
        try:
            self._look(since or now, now)
        except Exception as error:  # noqa: BLE001 - whatever it was, the gate shuts
            log.exception("a command of the gate failed; the call is shut")
            self._legs.shut(at_ns=nanoseconds(since or now))
            self.state = before
            self._fail("ports.none" if isinstance(error, NoPortLeft) else "recorder.failed")
            self._look_again(since or now, now)

    def _look_again(self, since: datetime, now: datetime) -> None:
        try:
            self._look(since, now)
        except Exception:  # noqa: BLE001 - without lines nothing is heard, whatever state this is
            log.exception("a failed call could not be shut in order; its lines are closed")
            self._legs.release_all()

    def _look(self, since: datetime, now: datetime) -> None:
        if self._services.ledger.refuses:
            self._fail("vault.no_space")
        self._do(step(self.state, self.facts, self._services.surroundings(), now), since)
        if self.state is State.KEEPING and self._ready_legs():
            self._keep(now)  # an m-line that the client added, or whose speaker changed to another who agreed
            self._send_form(now)
        self._set_alarm(now)

    def _may_still_withdraw(self) -> bool:
        """Whether the call is over and its files are not journalled yet."""
        return self.state is State.ENDED and bool(self._tracks) and not self._closed

    def _look_back(self, now: datetime) -> None:
        """A withdrawal while the files are being written: there will be none."""
        decision = judge(self.facts, self._services.surroundings(), running=self.state, now=now)
        if self._may_still_withdraw() and decision.verdict is Verdict.WITHDRAW:
            self.decision = decision
            self._shred(now)
            self._close("not_kept")

    def ended(self) -> None:
        """The call is over: BYE came, or the client is gone."""
        if self.state is State.ENDED:
            return
        now = self._services.clock.now()
        before = self.state
        moved = end(self.state, self.facts, self._services.surroundings(), now)
        if before not in (State.ARRIVED, State.ASKING):
            moved = replace(moved, decision=self.decision)  # what decided was earlier; the end decides nothing
        if self._alarm is not None:
            self._alarm.cancel()
        try:
            self._do(moved, now)
        except Exception:  # noqa: BLE001 - what cannot be sealed now is sealed from the journal by recovery
            log.exception("a call could not be ended in order")
        finally:
            self.state = State.ENDED
            self._legs.release_all()
            asyncio.get_running_loop().call_later(LATE_SECONDS, self._legs.forget)

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
        if at is not None and self.state in LIVE_STATES:
            wait = max((at - now).total_seconds(), 0.0) + ALARM_SLACK_SECONDS
            self._alarm = asyncio.get_running_loop().call_later(wait, self.look)

    # -- the gate's commands ---------------------------------------------------------------------

    def _listen(self, _since: datetime) -> None:
        if self._in_band:
            self._legs.listen()

    def _ready_legs(self) -> list[Leg]:
        """M-lines that are shut although their party is known and there is a key to keep it under."""
        known = [leg for leg in self._legs.shut_ones() if self._roll.party(leg.party) is not None]
        return known if self._key is not None else []

    def _keep(self, _since: datetime) -> None:
        ready = self._ready_legs()
        if self.answered:
            self._legs.renew(ready)  # first, for it is what may fail
        now = rfc3339(self._services.clock.now())
        self._started_at = self._started_at or now
        if self._paused_at:
            self._pauses.append((self._paused_at, now))
            self._paused_at = ""
        for leg in ready:
            track = self._track(leg)
            if track is not None:
                self._legs.keep(leg, track)

    def _track(self, leg: Leg) -> Track | None:
        """Where this leg's party is kept; a new track is journalled first, for recovery needs it."""
        services, party = self._services, self._roll.party(leg.party)
        if party is None or self._key is None:
            return None
        track = self._tracks.get(party.number)
        if track is None:
            services.ledger.track(self.call, party.number, party.role.value, leg.codecs, at=services.clock.now())
            leaf = leaf_key(self._key.node, party.number)
            track = services.media.track(
                call_id=decode_call_id(self.call), party=party.number, leaf_key=leaf, codecs=leg.codecs
            )
            self._tracks[party.number] = track
        return track

    def _shut(self, since: datetime) -> None:
        self._legs.shut(at_ns=nanoseconds(since))
        if self.state is State.PAUSED:
            self._paused_at = rfc3339(since)

    def _send_form(self, _since: datetime) -> None:
        if self.answered:
            self._signalling.offer(self._offer_body)

    def _hang_up(self, _since: datetime) -> None:
        self._signalling.hang_up()

    def _shred(self, _since: datetime) -> None:
        services = self._services
        if self._journalled and not self._closed:
            services.ledger.shred(self.call, at=services.clock.now())
        self._forget_keys()

    def _forget_keys(self) -> None:
        tracks, self._key = list(self._tracks.values()), None
        self._tracks.clear()
        for track in tracks:
            drop(self._services.media, track)

    def _forget(self, _since: datetime) -> None:
        self._forget_keys()
        self._close("not_kept")

    def _seal(self, _since: datetime) -> None:
        services = self._services
        reason = "failed" if self.state is State.FAILED else "ended"
        sealing = Sealing(
            services.media,
            services.ledger,
            services.clock,
            self.call,
            self._tracks,
            lambda track: self._finish(track, reason),
        )
        self._sealing = asyncio.get_running_loop().create_task(self._close_sealed(sealing.start()))

    async def _close_sealed(self, sealing: asyncio.Task[bool]) -> None:
        kept = bool(self._tracks)
        if await sealing:
            self._tracks.clear()
            self._key = None
            self._close("kept" if kept else "not_kept")

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

    def _close(self, outcome: str) -> None:
        """The last word on this call; nothing is journalled of it afterwards."""
        if self._closed or not self.call:
            return
        self._closed = True
        services, view = self._services, self._services.surroundings().view
        if self._journalled:
            decision = {
                "call": self.call,
                "outcome": outcome,
                "rule": self.decision.rule,
                "party": self.decision.party,
                "policy": view.policy.hash if view is not None else "",
                "acts": [
                    {"party": act.party, "kind": act.kind.value, "value": act.value, "at": rfc3339(act.at)}
                    for act in self.facts.acts[-MAX_TOLD_ACTS:]
                ],
            }
            officer_key = view.officer_key if view is not None else b""
            services.ledger.closed(self.call, decision, officer_key, kept=outcome, at=services.clock.now())
        services.link.send({"type": "ended", "call": self.call})


def _said_at(data: Mapping[str, Any], now: datetime) -> datetime:
    """When a posted fact was true: its own time if it has one that is not in the future, else now."""
    try:
        at = datetime.fromisoformat(str(data.get("at")))
    except ValueError:
        return now
    return min(at, now) if at.tzinfo is not None else now
