"""The gate of one live call: (state, verdict) -> (state, commands). The picture in docs/gate.md is drawn from here.

Facts come in as an immutable `CallFacts`; `judge` says what they amount to, the table says what to do about it.
What the table does not name changes nothing. No clock: `now` and the age of the view are arguments.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType

from mitschnitt.core.consent import (
    LATE_POST,
    Act,
    ActKind,
    Asked,
    Role,
    agent_consent,
    paused,
    spoken_consent,
    window_of,
    withdrawn,
)
from mitschnitt.core.decision import Decision, Verdict
from mitschnitt.core.view import View

VIEW_TOO_OLD_FOR_GRANTS = timedelta(seconds=30)  # a withdrawal may have passed us by since then
VIEW_TOO_OLD_FOR_KEEPING = timedelta(seconds=60)  # the same for calls that run


class State(StrEnum):
    """Where a live call stands. Default is not recorded."""

    ARRIVED = "arrived"
    NOT_ASKED = "not_asked"
    ASKING = "asking"
    REFUSED = "refused"
    KEEPING = "keeping"
    PAUSED = "paused"
    WITHDRAWN = "withdrawn"
    FAILED = "failed"
    ENDED = "ended"


class Happening(StrEnum):
    """What ends a call, whatever was agreed."""

    CALL_ENDED = "call_ended"


class Command(StrEnum):
    """What the session carries out, in this order and at once; each is local first, signalling after."""

    LISTEN = "listen"  # digits of the asked parties may pass the filter; audio may not
    KEEP = "keep"  # fresh lines without filter, into the parties' tracks
    SHUT = "shut"  # filter back first, undrained packets and the newest 1.5 s discarded
    OFFER = "offer"  # tell the client the form that the new state asks for
    SHRED = "shred"  # forget the keys here, puncture them at the keeper
    SEAL = "seal"  # write the parties' files
    FORGET = "forget"  # nothing was kept: the unused key is punctured, facts go
    HANG_UP = "hang_up"  # BYE, once the client has answered the offer before it


L, K, S, O, D, W, F, B = (  # noqa: E741 - a narrow table reads better than wide names
    Command.LISTEN,
    Command.KEEP,
    Command.SHUT,
    Command.OFFER,
    Command.SHRED,
    Command.SEAL,
    Command.FORGET,
    Command.HANG_UP,
)

Trigger = Verdict | Happening
TRANSITIONS: Mapping[tuple[State, Trigger], tuple[State, tuple[Command, ...]]] = MappingProxyType(
    {
        (State.ARRIVED, Verdict.OPEN): (State.KEEPING, (K, O)),
        (State.ARRIVED, Verdict.WAIT): (State.ASKING, (L, O)),
        (State.ARRIVED, Verdict.REFUSE): (State.REFUSED, (O,)),
        (State.ARRIVED, Verdict.EXCLUDE): (State.NOT_ASKED, (O,)),
        (State.ARRIVED, Verdict.PAUSE): (State.ASKING, (O,)),
        (State.ARRIVED, Verdict.WITHDRAW): (State.REFUSED, (O,)),
        (State.ARRIVED, Verdict.FAIL): (State.NOT_ASKED, (O,)),
        (State.ARRIVED, Happening.CALL_ENDED): (State.ENDED, (F,)),
        (State.NOT_ASKED, Happening.CALL_ENDED): (State.ENDED, (F,)),
        (State.ASKING, Verdict.OPEN): (State.KEEPING, (K, O)),
        (State.ASKING, Verdict.REFUSE): (State.REFUSED, (S, O)),
        (State.ASKING, Verdict.WITHDRAW): (State.REFUSED, (S, O)),
        (State.ASKING, Verdict.EXCLUDE): (State.NOT_ASKED, (S, O)),
        (State.ASKING, Verdict.FAIL): (State.NOT_ASKED, (S, O)),
        (State.ASKING, Happening.CALL_ENDED): (State.ENDED, (S, F)),
        (State.REFUSED, Happening.CALL_ENDED): (State.ENDED, (F,)),
        (State.KEEPING, Verdict.WAIT): (State.PAUSED, (S, L, O)),
        (State.KEEPING, Verdict.REFUSE): (State.PAUSED, (S, L, O)),
        (State.KEEPING, Verdict.EXCLUDE): (State.PAUSED, (S, L, O)),
        (State.KEEPING, Verdict.PAUSE): (State.PAUSED, (S, L, O)),
        (State.KEEPING, Verdict.WITHDRAW): (State.WITHDRAWN, (S, D, O, B)),
        (State.KEEPING, Verdict.FAIL): (State.FAILED, (S, W, O)),
        (State.KEEPING, Happening.CALL_ENDED): (State.ENDED, (W,)),
        (State.PAUSED, Verdict.OPEN): (State.KEEPING, (K, O)),
        (State.PAUSED, Verdict.WITHDRAW): (State.WITHDRAWN, (S, D, O, B)),
        (State.PAUSED, Verdict.FAIL): (State.FAILED, (S, W, O)),
        (State.PAUSED, Happening.CALL_ENDED): (State.ENDED, (W,)),
        (State.WITHDRAWN, Happening.CALL_ENDED): (State.ENDED, (F,)),
        (State.FAILED, Verdict.WITHDRAW): (State.WITHDRAWN, (D, O, B)),
        (State.FAILED, Happening.CALL_ENDED): (State.ENDED, ()),
    }
)


@dataclass(frozen=True, slots=True)
class Party:
    """Somebody whom signalling or the gateway reports on the line."""

    name: str  # caller, agent, third-1, ...
    role: Role
    number: int  # leaf of the key tree, by order of appearance
    agent: str | None = None
    present: bool = True


@dataclass(frozen=True, slots=True)
class CallFacts:
    """All that is known of one live call. A change is a new value."""

    undrawn: str = "draw.missing"  # rule by which the draw lets nobody be asked, "" when the call is drawn
    excluded: str = ""  # rule by which this call is not to be asked, "" if it may be
    unbound: str = "binding.missing"  # rule by which streams cannot be laid to parties, "" if they can
    parties: tuple[Party, ...] = ()
    asked: tuple[Asked, ...] = ()
    acts: tuple[Act, ...] = ()
    failed: str = ""  # rule by which we can no longer keep

    def with_act(self, act: Act) -> CallFacts:
        """The facts after this act; told twice it is one."""
        return self if act in self.acts else replace(self, acts=(*self.acts, act))

    def with_asked(self, asked: Asked) -> CallFacts:
        """The facts after this prompt; told twice it is one."""
        return self if asked in self.asked else replace(self, asked=(*self.asked, asked))


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What holds for all calls at this moment."""

    view: View | None
    view_age: timedelta
    clock_steady: bool = True
    hindrance: str = ""  # rule by which nothing new could be kept, "" if it could


def judge(facts: CallFacts, around: Surroundings, *, running: State, now: datetime) -> Decision:
    """What the facts amount to. Missing, late, unclear or contradictory facts never open (design section 4)."""
    taken_back = withdrawn(facts.acts)
    if taken_back is not None:
        return Decision(Verdict.WITHDRAW, "consent.withdrawn", taken_back.party)
    if facts.failed:
        return Decision(Verdict.FAIL, facts.failed)
    if facts.excluded:
        return Decision(Verdict.EXCLUDE, facts.excluded)
    if facts.undrawn:
        # What is being written down stops a call that runs, and does not end it.
        closed = _closed(running) if facts.undrawn == "draw.waiting" else Verdict.EXCLUDE
        return Decision(closed, facts.undrawn)
    outside = _surroundings(around, running)
    if outside is not None:
        return outside
    if facts.unbound:
        return Decision(Verdict.EXCLUDE, facts.unbound)
    return _parties(facts, around, now)


def _closed(running: State) -> Verdict:
    return Verdict.EXCLUDE if running is State.ARRIVED else Verdict.WAIT


def _surroundings(around: Surroundings, running: State) -> Decision | None:
    if around.view is None:
        return Decision(Verdict.EXCLUDE, "view.missing")
    if running is State.KEEPING:
        if around.view_age > VIEW_TOO_OLD_FOR_KEEPING:
            return Decision(Verdict.EXCLUDE, "view.stale")
        return None
    closed = _closed(running)
    if around.view_age > VIEW_TOO_OLD_FOR_GRANTS:
        return Decision(closed, "view.stale")
    if not around.clock_steady:
        return Decision(closed, "clock.unsteady")
    if around.hindrance:
        return Decision(closed, around.hindrance)
    return None


def _parties(facts: CallFacts, around: Surroundings, now: datetime) -> Decision:
    view = around.view
    present = [party for party in facts.parties if party.present]
    if view is None or not present:
        return Decision(Verdict.EXCLUDE, "parties.none")
    if len({party.name for party in present}) < len(present):
        return Decision(Verdict.EXCLUDE, "parties.ambiguous")
    if len(present) == 1:
        return Decision(Verdict.EXCLUDE, "parties.alone")
    if not any(party.role is Role.AGENT for party in present):
        return Decision(Verdict.EXCLUDE, "parties.no_agent")
    answers = []
    for party in present:
        if party.role is Role.AGENT:
            purpose = view.policy.purpose
            notice = view.policy.purposes[purpose].notice
            answers.append(agent_consent(party.name, party.agent, view.grants, purpose, now, notice=notice))
        else:
            answers.append(spoken_consent(party.name, facts.asked, facts.acts, view.policy, now))
    for verdict in (Verdict.WITHDRAW, Verdict.REFUSE, Verdict.WAIT):
        for answer in answers:
            if answer.verdict is verdict:
                return answer
    stopped = paused(facts.acts, now)
    if stopped is not None:
        return Decision(Verdict.PAUSE, "act.pause", stopped.party)
    return Decision(Verdict.OPEN, "consent.all")


@dataclass(frozen=True, slots=True)
class Step:
    """What one fact led to: the new state, what to do, and the rule."""

    state: State
    commands: tuple[Command, ...]
    decision: Decision


def step(state: State, facts: CallFacts, around: Surroundings, now: datetime) -> Step:
    """One move of the gate. A pair that the table does not name stays where it is and does nothing."""
    decision = judge(facts, around, running=state, now=now)
    after, commands = TRANSITIONS.get((state, decision.verdict), (state, ()))
    return Step(after, commands, decision)


def end(state: State, facts: CallFacts, around: Surroundings, now: datetime) -> Step:
    """The call is over: what was agreed is sealed, of the rest nothing exists. Who was asked and hung up was silent."""
    decision = judge(facts, around, running=state, now=now)
    if decision.rule.endswith(".waiting") and any(asked.party == decision.party for asked in facts.asked):
        decision = Decision(Verdict.REFUSE, decision.rule.replace(".waiting", ".silent"), decision.party)
    after, commands = TRANSITIONS.get((state, Happening.CALL_ENDED), (State.ENDED, ()))
    return Step(after, commands, decision)


def next_look(facts: CallFacts, view: View | None, now: datetime) -> datetime | None:
    """When, without a new fact, the judgement may change; None = never.

    That is the end of an answer's window, the time of an act that lies ahead, or the end of a standing grant.
    """
    if view is None:
        return None
    agents = {party.agent for party in facts.parties if party.agent is not None}
    ends = [window_of(asked, view.policy)[1] + LATE_POST for asked in facts.asked if asked.complete]
    ends += [act.at for act in facts.acts]
    ends += [grant.expires_at for grant in view.grants if grant.agent in agents]
    return min((at for at in ends if at > now), default=None)


def keeps_anything(state: State) -> bool:
    """Whether a call in this state has, or may have, a recording."""
    return state in (State.KEEPING, State.PAUSED, State.FAILED)


def may_hear_digits(state: State, facts: CallFacts) -> frozenset[ActKind]:
    """Which kinds of act a digit of a party can be now; empty = digits are dropped unread."""
    if state in (State.ARRIVED, State.ASKING):
        return frozenset({ActKind.DIGIT})
    if state is State.PAUSED:
        waiting = frozenset({ActKind.DIGIT}) if any(p.role is Role.THIRD for p in facts.parties) else frozenset()
        return waiting | {ActKind.WITHDRAW, ActKind.PAUSE, ActKind.RESUME}
    if state is State.KEEPING:
        return frozenset({ActKind.WITHDRAW, ActKind.PAUSE})
    return frozenset()
