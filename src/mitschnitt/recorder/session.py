"""One call with all its recording sessions: the ONE translator between wire, core and vault.

Turns SIP bodies, digits and posted facts into facts of the gate, and the gate's commands into filters, tracks,
offers and journal entries. Decides nothing itself; what it cannot understand becomes a fact that keeps shut.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from mitschnitt.core.call import CALL_ID_BYTES, encode_call_id
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
from mitschnitt.errors import KeyGone, MitschnittError
from mitschnitt.recorder.branch import Branch, Signalling
from mitschnitt.recorder.clock import SteadyClock, moment, nanoseconds, rfc3339
from mitschnitt.recorder.ledger import Ledger
from mitschnitt.recorder.legs import Leg
from mitschnitt.recorder.link import KeeperLink
from mitschnitt.recorder.media import Line, Media, Track
from mitschnitt.recorder.parties import Participant, Roll, posted_joined, signalled
from mitschnitt.recorder.ports import NoPortLeft
from mitschnitt.recorder.recording import Recording
from mitschnitt.vault.decision import MAX_LADDERS
from mitschnitt.wire.sdp import Description, Form
from mitschnitt.wire.session_findings import Behaviour
from mitschnitt.wire.sip.ladder import Ladder
from mitschnitt.wire.siprec import Binding, Unbound, Update

ALARM_SLACK_SECONDS = 0.05  # a timer that fires early must not look before the window is over
MAX_TOLD_ACTS = 8  # in a decision, so that it stays below its fixed size
LATE_SECONDS = 1.0  # how long after the end a line still has its session: keys come with the next drains
LIVE_STATES = (State.ARRIVED, State.ASKING, State.KEEPING, State.PAUSED)  # in which who is on the line matters

log = logging.getLogger("mitschnitt.recorder")


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
    """A call as its recording sessions show it. All methods run on the recorder's loop."""

    def __init__(self, services: Services, refs: Sequence[Mapping[str, str]]) -> None:
        self._services = services
        self._refs = list(refs)
        self._recording = Recording(services.media, services.ledger, services.clock)
        self._roll = Roll()
        self._posted: dict[str, str] = {}  # who the gateway says is on the line: its name, and ours
        self._pressed: dict[str, Pressed] = {}
        self._announced_agent: str | None = None
        self._branches: list[Branch] = []
        self._ladders: list[Ladder] = []  # of all recording sessions, also of those that ended
        self._in_band = False
        self._loses = False
        self._alarm: asyncio.TimerHandle | None = None
        self._sealing: asyncio.Task[None] | None = None
        self.call = ""
        self.state = State.ARRIVED
        self.facts = CallFacts()
        self.decision = Decision(Verdict.EXCLUDE, "call.unmatched")

    @property
    def branches(self) -> Sequence[Branch]:
        """The recording sessions of this call, in order of their INVITEs."""
        return tuple(self._branches)

    def add(self, signalling: Signalling) -> Branch:
        """A recording session of this call, over this dialog."""
        services = self._services
        branch = Branch(services.media, services.owners, self, signalling, address=services.address)
        self._branches.append(branch)
        if len(self._ladders) < MAX_LADDERS:
            self._ladders.append(signalling.ladder)
        return branch

    def _legs(self) -> Iterator[Leg]:
        return (leg for branch in self._branches for leg in branch.legs)

    # -- what signalling brings ------------------------------------------------------------------

    def take_offer(self, branch: Branch, offer: Description, *, at: datetime) -> bool:
        """The client's newest offer; False when the ports did not suffice: then this call is not kept any further.

        MalformedPacket, and nothing is changed, for an offer that drops m-lines.
        """
        complete = branch.take_offer(offer, at=at)
        if not complete:
            self._fail("ports.none")
        if self.form() is Form.LISTEN:
            branch.legs.listen()
        self._bind()
        return complete

    def take_metadata(self, branch: Branch, update: Update) -> None:
        """The client's newest word on who is on the line; what does not parse unbinds everybody."""
        branch.take_metadata(update)
        self._bind()

    def needs_snapshot(self, branch: Branch) -> bool:
        """Whether this branch's client should be asked for all of its metadata."""
        return branch.is_lost and self.state in LIVE_STATES

    def body(self, branch: Branch) -> bytes:
        """The SDP answer that the gate's state asks for at this moment, whatever the offer was."""
        return branch.body(self.form())

    def _offer_body(self, branch: Branch) -> bytes:
        return branch.offer_body(self.form())

    def refresh(self, branch: Branch) -> None:
        """Offer anew what holds now; an unchanged description keeps its version (RFC 4028, 7.4)."""
        if branch.answered:
            branch.signalling.offer(partial(self._offer_body, branch))

    def form(self) -> Form:
        """Closed, listening behind the filter, or open: a function of the state alone."""
        if self.state is State.KEEPING:
            return Form.OPEN
        waiting = self.state in (State.ASKING, State.PAUSED) and self._in_band
        return Form.LISTEN if waiting else Form.CLOSED

    # -- what a test call is told of -------------------------------------------------------------

    @property
    def agents(self) -> str:
        """What the directory makes of the line: known, none or ambiguous, "" while nobody is reported."""
        if self._roll.problem == "agent.ambiguous":
            return "ambiguous"
        known = any(party.agent is not None for party in self._roll.parties)
        return "known" if known else "none" if self._roll.parties else ""

    def behaviour(self) -> Behaviour:
        """What can be counted while the lines stand: open and silent ones, leaks, telephone events."""
        media, legs = self._services.media, list(self._legs())
        tracks = {leg.party: self._track_of(leg) for leg in legs if leg.kept}
        kept = [track for track in tracks.values() if track is not None]
        return Behaviour(
            open_lines=len(kept),
            silent_lines=sum(not media.has_media(track) for track in kept),
            leaked=sum(branch.leaked_packets for branch in self._branches),
            awaited_digits=self._in_band and bool(self.facts.asked),
            has_events=any(media.has_keys(leg.line) for leg in legs if leg.line is not None),
        )

    def _track_of(self, leg: Leg) -> Track | None:
        party = self._roll.party(leg.party)
        return self._recording.tracks.get(party.number) if party is not None else None

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
        try:
            key = self._services.link.take_key()
        except KeyGone:
            self._exclude("keys.none")
        else:
            self._recording.begin(self.call, key, self._refs)

    def _bind(self) -> None:
        view = self._services.surroundings().view
        if view is None:
            return
        bindings = {branch: branch.binding() for branch in self._branches}
        participants = [Participant(who.id, who.aor) for told in bindings.values() for who in told.participants]
        self._roll = signalled(self._roll, participants, view, posted=frozenset(self._posted.values()))
        for branch, told in bindings.items():
            branch.legs.bind(self._parties(branch, told), at_ns=self._services.clock.now_ns())
        self.facts = replace(
            self.facts,
            unbound=_problem(bindings.values()) or self._roll.problem or self._contradiction() or self._doubted(),
            parties=self._roll.parties,
        )

    def _parties(self, branch: Branch, told: Binding) -> list[str]:
        """Whose voice each m-line of the branch carries, "" for nobody's."""
        names = {
            label: self._roll.by_participant.get(Participant(who.id, who.aor), "")
            for label, who in told.labels.items()
            if not isinstance(who, Unbound)
        }
        return [names.get(label, "") if label is not None else "" for label in branch.legs.labels]

    def _doubted(self) -> str:
        return next((leg.doubt for leg in self._legs() if leg.doubt and leg.line is not None), "")

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
        leg = self._leg_of(line)
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

    def leak(self, line: Line, packets: int) -> bool:
        """Packets came that the gate had cut; whether that is now an alarm: more than a slow client's last second."""
        branch = self._branch_of(line)
        if branch is None or not branch.answered or self.form() is not Form.CLOSED:
            return False  # we asked for them, for the digits among them
        return branch.leak(packets)

    def doubt(self, line: Line, rule: str, *, since_ns: int | None = None) -> None:
        """The stream on this line contradicts what signalling says of it: shut until it is told anew whose it is.

        `since_ns` is when the doubtful stream began, ns since 1970: what was kept since then is taken back.
        """
        leg = self._leg_of(line)
        if leg is not None and not leg.doubt:
            leg.doubt, leg.cname = rule, False
            self._bind()
            self.look(since=moment(since_ns) if since_ns is not None else None)

    def confirm(self, line: Line) -> None:
        """The source on this line told a CNAME since signalling said whose voice it is."""
        leg = self._leg_of(line)
        if leg is not None and not leg.doubt:
            leg.cname = True

    def loses(self) -> bool:
        """Much of a line is lost on its way to us; whether that is news for this call."""
        before, self._loses = self._loses, True
        return not before

    def _branch_of(self, line: Line) -> Branch | None:
        return next((branch for branch in self._branches if branch.legs.leg_of(line) is not None), None)

    def _leg_of(self, line: Line) -> Leg | None:
        branch = self._branch_of(line)
        return branch.legs.leg_of(line) if branch is not None else None

    def has(self, track: Track) -> bool:
        """Whether this is a track of ours."""
        return track in self._recording.tracks.values()

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
            for branch in self._branches:
                branch.legs.shut(at_ns=nanoseconds(since or now))
            self.state = before
            self._fail("ports.none" if isinstance(error, NoPortLeft) else "recorder.failed")
            self._look_again(since or now, now)

    def _look_again(self, since: datetime, now: datetime) -> None:
        try:
            self._look(since, now)
        except Exception:  # noqa: BLE001 - without lines nothing is heard, whatever state this is
            log.exception("a failed call could not be shut in order; its lines are closed")
            self._release_all()

    def _release_all(self) -> None:
        for branch in self._branches:
            branch.legs.release_all()

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
        return self.state is State.ENDED and bool(self._recording.tracks) and not self._recording.is_closed

    def _look_back(self, now: datetime) -> None:
        """A withdrawal while the files are being written: there will be none."""
        decision = judge(self.facts, self._services.surroundings(), running=self.state, now=now)
        if self._may_still_withdraw() and decision.verdict is Verdict.WITHDRAW:
            self.decision = decision
            self._recording.shred()
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
            self._release_all()
            for branch in self._branches:
                asyncio.get_running_loop().call_later(LATE_SECONDS, branch.legs.forget)

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
            for branch in self._branches:
                branch.legs.listen()

    def _ready_legs(self) -> list[tuple[Branch, Leg]]:
        """M-lines that are shut although their party is known and there is a key to keep it under."""
        if self._recording.key is None:
            return []
        shut = ((branch, leg) for branch in self._branches for leg in branch.legs.shut_ones())
        return [(branch, leg) for branch, leg in shut if self._roll.party(leg.party) is not None]

    def _keep(self, _since: datetime) -> None:
        ready = self._ready_legs()
        for branch in self._branches:
            if branch.answered:
                branch.legs.renew([leg for its, leg in ready if its is branch])  # first, for it is what may fail
        self._recording.goes_on(self._services.clock.now())
        for branch, leg in ready:
            party = self._roll.party(leg.party)
            track = self._recording.track(party.number, party.role.value, leg.codecs) if party is not None else None
            if track is not None:
                branch.legs.keep(leg, track)

    def _shut(self, since: datetime) -> None:
        for branch in self._branches:
            branch.legs.shut(at_ns=nanoseconds(since))
        if self.state is State.PAUSED:
            self._recording.pauses(since)

    def _send_form(self, _since: datetime) -> None:
        for branch in self._branches:
            self.refresh(branch)

    def _hang_up(self, _since: datetime) -> None:
        for branch in self._branches:
            branch.signalling.hang_up()

    def _shred(self, _since: datetime) -> None:
        self._recording.shred()

    def _forget(self, _since: datetime) -> None:
        self._recording.forget_keys()
        self._close("not_kept")

    def _seal(self, _since: datetime) -> None:
        sealing = self._recording.seal("failed" if self.state is State.FAILED else "ended")
        self._sealing = asyncio.get_running_loop().create_task(self._close_sealed(sealing))

    async def _close_sealed(self, sealing: asyncio.Task[bool]) -> None:
        kept = bool(self._recording.tracks)
        if await sealing:
            self._recording.sealed()
            self._close("kept" if kept else "not_kept")

    def _close(self, outcome: str) -> None:
        """The last word on this call; nothing is journalled of it afterwards."""
        if not self.call:
            return
        view = self._services.surroundings().view
        decision = {
            "outcome": outcome,
            "rule": self.decision.rule,
            "party": self.decision.party,
            "policy": view.policy.hash if view is not None else "",
            "acts": [
                {"party": act.party, "kind": act.kind.value, "value": act.value, "at": rfc3339(act.at)}
                for act in self.facts.acts[-MAX_TOLD_ACTS:]
            ],
        }
        if self._recording.close(decision, view.officer_key if view is not None else b"", self._ladders):
            self._services.link.send({"type": "ended", "call": self.call})


def _problem(bindings: Iterable[Binding]) -> str:
    """The rule by which some branch's streams cannot be laid to parties, "" when all can."""
    unsure = [told for told in bindings if not told.certain]
    return min((why for told in unsure for why in told.reasons), default=Unbound.MISSING).value if unsure else ""


def _said_at(data: Mapping[str, Any], now: datetime) -> datetime:
    """When a posted fact was true: its own time if it has one that is not in the future, else now."""
    try:
        at = datetime.fromisoformat(str(data.get("at")))
    except ValueError:
        return now
    return min(at, now) if at.tzinfo is not None else now
