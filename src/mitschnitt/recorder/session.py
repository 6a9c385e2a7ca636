"""One call with all its recording sessions: the ONE translator between wire, core and vault.

Turns SIP bodies, digits and posted facts into facts of the gate, and the gate's commands into filters, tracks,
offers and journal entries. Decides nothing itself; what it cannot understand becomes a fact that keeps shut.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any

from mitschnitt.core.call import CALL_ID_BYTES, encode_call_id
from mitschnitt.core.consent import ActKind
from mitschnitt.core.decision import Decision, Verdict
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
from mitschnitt.core.pseudonym import names_of
from mitschnitt.core.purposes import agreed_also, awaits_further
from mitschnitt.errors import KeyGone, MitschnittError
from mitschnitt.recorder.behaviour import behaviour_of
from mitschnitt.recorder.branch import Branch, Signalling
from mitschnitt.recorder.branches import Branches
from mitschnitt.recorder.call_draw import CallDraw
from mitschnitt.recorder.clock import SteadyClock, moment, nanoseconds
from mitschnitt.recorder.draws import Draws
from mitschnitt.recorder.keys import Keys
from mitschnitt.recorder.ledger import Ledger
from mitschnitt.recorder.legs import Leg
from mitschnitt.recorder.lineup import Lineup
from mitschnitt.recorder.link import KeeperLink
from mitschnitt.recorder.media import Line, Media, Track
from mitschnitt.recorder.pinned import Pinned
from mitschnitt.recorder.ports import NoPortLeft
from mitschnitt.recorder.posted import asserted, said_at, with_posted
from mitschnitt.recorder.recording import Recording, told_decision
from mitschnitt.wire.sdp import Description, Form
from mitschnitt.wire.session_findings import Behaviour
from mitschnitt.wire.siprec import Update

ALARM_SLACK_SECONDS = 0.05  # a timer that fires early must not look before the window is over
MAX_BRANCHES = 12  # recording sessions of one call: one for each party that it can have
# What a later snapshot or a further recording session may still tell: until then the call has just arrived.
NOT_TOLD_YET = ("binding.missing", "parties.none", "parties.alone", "draw.missing", "draw.waiting")
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
    draws: Draws
    owners: dict[Line, Session] = field(default_factory=dict)  # whose line it is
    running: dict[str, Session] = field(default_factory=dict)  # announced calls that run, by their id


class Session:
    """A call as its recording sessions show it. All methods run on the recorder's loop."""

    def __init__(self, services: Services, refs: Sequence[Mapping[str, str]]) -> None:
        self._services = services
        self._refs = list(refs)
        self._recording = Recording(services.media, services.ledger, services.clock)
        self._lineup = Lineup()
        self._keys = Keys()
        self._around = Pinned(services.surroundings)
        self.draw = CallDraw(services.draws, self._redraw)
        self._branches = Branches()
        self._heir: Session | None = None
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
        self._branches.attach(branch)
        return branch

    @property
    def heir(self) -> Session:
        """The session that this one's dialog belongs to: itself, or the running call that it turned out to be of."""
        return self._heir or self

    def _inherit(self, other: Session) -> None:
        """A further recording session of this call came: all that holds for the call holds for its lines."""
        (branch,), other._branches, other._heir = other._branches, Branches(), self
        branch.legs.belong_to(self)
        self._branches.attach(branch)
        self._fail(other.facts.failed)
        if self.form() is Form.LISTEN:
            branch.legs.listen()
        self._bind()
        if branch.answered and self.form() is not Form.CLOSED:
            branch.signalling.offer(partial(self._offer_body, branch))
        self.look()

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
            branch.signalling.offer(lambda: branch.offer_body(self.form(), again=True))

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
        return self._lineup.word

    def behaviour(self) -> Behaviour:
        """What can be counted while the lines stand: open and silent ones, leaks, telephone events."""
        awaits = self._in_band and bool(self.facts.asked)
        return behaviour_of(self._services.media, self.branches, self._track_of, awaits_digits=awaits)

    def _track_of(self, leg: Leg) -> Track | None:
        party = self._lineup.party(leg.party)
        return self._recording.tracks.get(party.number) if party is not None else None

    # -- who this call is ------------------------------------------------------------------------

    def join(self) -> None:
        """Ask the keeper which announced call this is; without an answer the call is not to be asked."""
        self._services.link.join(self._refs, self._joined)

    def _joined(self, joined: Mapping[str, Any] | None) -> None:
        """The keeper's answer, or None when none came in time."""
        told = joined or {}
        call, again = str(told.get("call") or ""), bool(told.get("again"))
        if self.state is not State.ARRIVED or self.call:
            if call and not again:
                self._services.link.send({"type": "ended", "call": call})
            return
        running = self._services.running.get(call)
        if running is not None and len(running.branches) < MAX_BRANCHES:
            running._inherit(self)
            return
        if running is not None or again:
            # Never a second call of that name: its journal knows one key.
            told = {"rule": "call.crowded" if running is not None else "call.over"}
        self._begin(told, rule="keeper.gone" if joined is None else str(told.get("rule") or "call.unmatched"))

    def _begin(self, told: Mapping[str, Any], *, rule: str) -> None:
        unruled = self._around.begin(told)
        around = self._around()
        view, matched = around.view, bool(told.get("call"))
        # Several announced calls fit: that is a contradiction, not a call that nobody announced.
        is_asserted = rule == "call.unmatched" and view is not None and view.policy.asking is Asking.ASSERTED
        self.call = str(told["call"]) if matched else encode_call_id(secrets.token_bytes(CALL_ID_BYTES))
        self._in_band = is_asserted if not matched else told.get("answer_by") == "digit"
        self._lineup.announced_agent = told.get("agent")
        self._recording.readers.joined(told)
        if matched:
            self.draw.announced(told.get("draw"), agent=told.get("agent"))
            self._services.running[self.call] = self
        elif not is_asserted:
            self._exclude(rule)
        if unruled:
            self._exclude(unruled)
        self._take_key(told.get("matched"))
        self._bind()
        if not matched and rule == "call.unmatched" and around.clock_steady:
            self.draw.unmatched(view, self._lineup.agents, self._services.clock.now())
            self._bind()
        if is_asserted and not matched and view is not None:
            self.facts = self.facts.with_asked(asserted(view.policy, self._services.clock.now()))
        for kind, plural in (("asked", "asked"), ("act", "acts"), ("party", "parties")):
            for data in told.get(plural) or ():
                try:
                    self._take_fact(kind, data)
                except (MitschnittError, AttributeError, TypeError, ValueError):
                    self._exclude("facts.broken")  # what it said may have been a no
        self.look()

    def _redraw(self) -> None:
        """The draw of this call says more than before: it is on disk."""
        self._bind()
        self.look()

    def _exclude(self, rule: str) -> None:
        self.facts = replace(self.facts, excluded=self.facts.excluded or rule)

    def _fail(self, rule: str) -> None:
        self.facts = replace(self.facts, failed=self.facts.failed or rule)

    def _take_key(self, matched: object) -> None:
        # What found the call is kept as evidence of it; of other references nothing is (RFC 7865, 10).
        refs = [ref for ref in self._refs if isinstance(matched, list) and ref in matched]
        self._refs.clear()
        if self._services.ledger.refuses:
            self._fail("vault.no_space")  # and takes no key: entries would gather in memory for as long as it lasts
            return
        try:
            key = self._services.link.take_key()
        except KeyGone:
            self._exclude("keys.none")
        else:
            self._recording.begin(self.call, key, refs, policy=self._around.policy_hash)

    def _bind(self) -> None:
        view = self._around().view
        if view is not None:
            unbound = self._lineup.bind(self.branches, view, at_ns=self._services.clock.now_ns())
            undrawn = self.draw.undrawn(view, self._lineup.agents)
            self.facts = replace(self.facts, unbound=unbound, parties=self._lineup.parties, undrawn=undrawn)

    # -- facts -----------------------------------------------------------------------------------

    def post(self, kind: str, data: Mapping[str, Any]) -> None:
        """A fact that the gateway posted; a broken one changes nothing (PeerError)."""
        self._take_fact(kind, data)
        self.look(since=said_at(data, self._services.clock.now()))

    def _take_fact(self, kind: str, data: Mapping[str, Any]) -> None:
        if kind == "party" and data.get("kind") != ActKind.WITHDRAW:
            self._take_party(str(data.get("party", "")), data)
        else:
            self.facts = with_posted(self.facts, kind, data, self._lineup.posted, now=self._services.clock.now())

    def _take_party(self, name: str, data: Mapping[str, Any]) -> None:
        view = self._around().view
        if view is None:
            self._exclude("view.missing")  # who it was cannot be known, and it is not told again
        else:
            self._lineup.take(name, data, view)
        self._bind()

    def digit(self, line: Line, digit: str, at_ns: int) -> None:
        """A key of the party whose stream arrives at this line; read only if it can mean something now."""
        found, view = self._branches.at(line), self._around().view
        if found is None or view is None:
            return
        branch, leg = found
        if not leg.party:
            return
        at, keys = moment(at_ns), self._keys
        hears = may_hear_digits(self.state, self.facts)
        if awaits_further(self.state, self.facts, view.policy, leg.party, at):
            hears |= {ActKind.DIGIT}
        if self._may_still_withdraw():
            hears = frozenset({ActKind.WITHDRAW})
        act = keys.press(digit, at, party=leg.party, source=branch.number, hears=hears, policy=view.policy)
        if act is not None:
            self.facts = self.facts.with_act(act)
            if keys.is_full:
                self._exclude("facts.broken")  # the next one, that is not read, may be a no
            self.look(since=at)

    def leak(self, line: Line, packets: int) -> bool:
        """Packets came that the gate had cut; whether that is now an alarm: more than a slow client's last second."""
        found = self._branches.at(line)
        if found is None:
            return False
        branch, leg = found
        if not branch.answered or self.form() is Form.LISTEN or leg.kept:
            return False  # we asked for them, for the digits among them
        return branch.leak(packets)

    def doubt(self, line: Line, rule: str, *, since_ns: int | None = None) -> None:
        """The stream on this line contradicts what signalling says of it: shut until it is told anew whose it is.

        `since_ns` is when the doubtful stream began, ns since 1970: what was kept since then is taken back.
        """
        found = self._branches.at(line)
        if found is not None and not found[1].doubt:
            leg = found[1]
            leg.doubt, leg.cname = rule, False
            self._bind()
            self.look(since=moment(since_ns) if since_ns is not None else None)

    def loses(self) -> bool:
        """Much of a line is lost on its way to us; whether that is news for this call."""
        before, self._loses = self._loses, True
        return not before

    def confirm(self, line: Line) -> None:
        """The CNAME of the stream on this line says the same as signalling; its binding rests on that too."""
        found = self._branches.at(line)
        if found is None:
            return
        branch, leg = found
        party = self._lineup.party(leg.party)
        if leg.cname or leg.doubt:
            return
        leg.cname = True
        if leg.kept and party is not None:
            self._recording.track(party.number, party.role.value, leg.codecs, branch.rests_on(leg))

    def refused(self, branch: Branch) -> None:
        """The client refused what we offered last. If that was to open, its media will not come: nothing is kept."""
        if self.state is State.KEEPING and branch.told_form is Form.OPEN:
            self.failed("client.refused")

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
            self._branches.release_all()

    def _look(self, since: datetime, now: datetime) -> None:
        if self._services.ledger.refuses:
            self._fail("vault.no_space")
        moved = step(self.state, self.facts, self._around(), now)
        if self.state is State.ARRIVED and moved.decision.rule in NOT_TOLD_YET:
            self.decision = moved.decision
            return
        self._do(moved, since)
        ready = self._ready_legs() if self.state is State.KEEPING else []
        if ready:
            self._keep(now)  # an m-line that the client added, or whose speaker changed to another who agreed
            self._send_form(now, only={branch for branch, _ in ready})
        self._set_alarm(now)

    def _may_still_withdraw(self) -> bool:
        """Whether the call is over and its files are not journalled yet."""
        return self.state is State.ENDED and bool(self._recording.tracks) and not self._recording.is_closed

    def _look_back(self, now: datetime) -> None:
        """A withdrawal while the files are being written: there will be none."""
        decision = judge(self.facts, self._around(), running=self.state, now=now)
        if self._may_still_withdraw() and decision.verdict is Verdict.WITHDRAW:
            self.decision = decision
            self._recording.shred()
            self._close("not_kept")

    def leave(self, branch: Branch, *, lost: bool = False) -> bool:
        """A recording session is over: BYE came, or its client is `lost`. Whether the call is, for it was the last."""
        if self.state is State.ENDED or self.branches == (branch,):
            self.ended()
            return True
        if lost and self.state is not State.KEEPING:
            # Whom it named may still be on the line, and not all had agreed: nobody said that they have left.
            self._exclude("session.lost")
        self._branches.leave(branch)
        self._bind()  # whom only this one had on the line has left
        self.look()
        return False

    def ended(self) -> None:
        """The call is over with all its recording sessions."""
        if self.state is State.ENDED:
            return
        if self._services.running.get(self.call) is self:
            del self._services.running[self.call]
        now = self._services.clock.now()
        before = self.state
        moved = end(self.state, self.facts, self._around(), now)
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
            self._branches.end()

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
        at = next_look(self.facts, self._around().view, now)
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
        return self._branches.to_open(lambda party: self._lineup.party(party) is not None)

    def _keep(self, _since: datetime) -> None:
        ready = self._ready_legs()
        for branch in self._branches:
            if branch.answered:
                branch.legs.renew([leg for its, leg in ready if its is branch])  # first, for it is what may fail
        self._recording.goes_on(self._services.clock.now())
        for branch, leg in ready:
            party = self._lineup.party(leg.party)
            if party is None:
                continue
            track = self._recording.track(party.number, party.role.value, leg.codecs, branch.rests_on(leg))
            if track is not None:
                branch.legs.keep(leg, track)

    def _shut(self, since: datetime) -> None:
        for branch in self._branches:
            branch.legs.shut(at_ns=nanoseconds(since))
        if self.state is State.PAUSED:
            self._recording.pauses(since)

    def _send_form(self, _since: datetime, *, only: Collection[Branch] | None = None) -> None:
        for branch in self._branches:
            if branch.answered and (only is None or branch in only):
                branch.signalling.offer(partial(self._offer_body, branch))

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
        kept = self._recording.has_media
        if not kept and self.decision.verdict is not Verdict.FAIL:
            self.decision = Decision(Verdict.EXCLUDE, "call.empty")  # all agreed, and not one packet came
        if await sealing:
            self._recording.sealed()
            self._close("kept" if kept else "not_kept")

    def _close(self, outcome: str) -> None:
        """The last word on this call; nothing is journalled of it afterwards."""
        if not self.call:
            return
        view = self._around().view
        told = told_decision(outcome, self.decision, self.facts.acts, policy=self._around.policy_hash)
        pages = self._recording.readers.at_end(outcome, self.decision, self.facts, view, self._services.clock.now())
        also = agreed_also(self.facts, view, self._services.clock.now()) if outcome == "kept" else ()
        names = names_of(view, self.call, self.facts.parties)
        if self._recording.close(
            told, view.officer_key if view else b"", self._branches.ladders, pages, also, names=names
        ):
            drawn = self.draw.outcome(self.decision.rule, kept=outcome == "kept")
            self._services.link.send({"type": "ended", "call": self.call, "draw": drawn})
