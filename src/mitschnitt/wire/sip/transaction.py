"""The four transaction machines of RFC 3261, 17, with the accepted states of RFC 6026, as tables.

TABLES holds every legal move: (state, what happened) -> (next state, what to do). The picture in docs is
drawn from it. `Transaction` only looks up, keeps its timers and counts intervals; it sends nothing itself.
Deviations from the standards stand in DEVIATIONS beside their row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from mitschnitt.wire.sip.message import Request


class Machine(StrEnum):
    """Which of the four machines runs."""

    INVITE_CLIENT = "invite client"
    INVITE_SERVER = "invite server"
    CLIENT = "client"
    SERVER = "server"


class State(StrEnum):
    """Where a transaction stands (RFC 3261, 17; ACCEPTED: RFC 6026, 7)."""

    CALLING = "calling"
    TRYING = "trying"
    PROCEEDING = "proceeding"
    ACCEPTED = "accepted"
    COMPLETED = "completed"
    CONFIRMED = "confirmed"
    TERMINATED = "terminated"


class Input(StrEnum):
    """What happens to a transaction, apart from its timers. For a server, responses are those we send."""

    PROVISIONAL = "1xx"
    SUCCESS = "2xx"
    FAILURE = "3xx to 6xx"
    REQUEST = "request again"
    ACK = "ACK"
    LOST = "transport error"


class Timer(StrEnum):
    """The timers of RFC 3261, table 4, and RFC 6026; as input: it fired; as action: start it."""

    A = "A"  # INVITE resent
    B = "B"  # INVITE given up
    C = "C"  # an INVITE that only ever got provisional answers is given up
    D = "D"  # wait for copies of a failure
    E = "E"  # request resent
    F = "F"  # request given up
    G = "G"  # failure resent until ACK
    H = "H"  # wait for ACK given up
    I = "I"  # noqa: E741 - the standard's name: wait for copies of ACK
    J = "J"  # wait for copies of a request
    K = "K"  # wait for copies of a response
    L = "L"  # wait for copies of an accepted INVITE
    M = "M"  # wait for copies of a 2xx, also from other forks


class Action(StrEnum):
    """What the owner of the transaction does now."""

    SEND = "send"  # the message at hand, and remember it
    RESEND = "resend"  # the last message again
    SEND_ACK = "send ACK"  # for a failure (RFC 3261, 17.1.1.3)
    TELL = "tell"  # pass the message up
    TIME_OUT = "time out"  # tell that nothing came
    FAIL = "fail"  # tell that it cannot be delivered


Event = Input | Timer
Move = tuple[State, tuple[Action | Timer, ...]]
Table = Mapping[tuple[State, Event], Move]

_ST, _IN, _DO = State, Input, Action

INVITE_CLIENT: Table = {
    (_ST.CALLING, Timer.A): (_ST.CALLING, (_DO.RESEND, Timer.A)),
    (_ST.CALLING, Timer.B): (_ST.TERMINATED, (_DO.TIME_OUT,)),
    (_ST.CALLING, _IN.LOST): (_ST.TERMINATED, (_DO.FAIL,)),
    (_ST.CALLING, _IN.PROVISIONAL): (_ST.PROCEEDING, (_DO.TELL, Timer.C)),
    (_ST.CALLING, _IN.SUCCESS): (_ST.ACCEPTED, (_DO.TELL, Timer.M)),
    (_ST.CALLING, _IN.FAILURE): (_ST.COMPLETED, (_DO.SEND_ACK, _DO.TELL, Timer.D)),
    (_ST.PROCEEDING, _IN.PROVISIONAL): (_ST.PROCEEDING, (_DO.TELL, Timer.C)),
    (_ST.PROCEEDING, _IN.SUCCESS): (_ST.ACCEPTED, (_DO.TELL, Timer.M)),
    (_ST.PROCEEDING, _IN.FAILURE): (_ST.COMPLETED, (_DO.SEND_ACK, _DO.TELL, Timer.D)),
    (_ST.PROCEEDING, Timer.C): (_ST.TERMINATED, (_DO.TIME_OUT,)),
    (_ST.ACCEPTED, _IN.SUCCESS): (_ST.ACCEPTED, (_DO.TELL,)),
    (_ST.ACCEPTED, Timer.M): (_ST.TERMINATED, ()),
    (_ST.COMPLETED, _IN.FAILURE): (_ST.COMPLETED, (_DO.SEND_ACK,)),
    (_ST.COMPLETED, _IN.LOST): (_ST.TERMINATED, (_DO.FAIL,)),
    (_ST.COMPLETED, Timer.D): (_ST.TERMINATED, ()),
}

INVITE_SERVER: Table = {
    (_ST.PROCEEDING, _IN.REQUEST): (_ST.PROCEEDING, (_DO.RESEND,)),
    (_ST.PROCEEDING, _IN.PROVISIONAL): (_ST.PROCEEDING, (_DO.SEND,)),
    (_ST.PROCEEDING, _IN.SUCCESS): (_ST.ACCEPTED, (_DO.SEND, Timer.L)),
    (_ST.PROCEEDING, _IN.FAILURE): (_ST.COMPLETED, (_DO.SEND, Timer.G, Timer.H)),
    # RFC 6026: a transport error ends nothing here, or a copy of the INVITE would begin a second call.
    (_ST.PROCEEDING, _IN.LOST): (_ST.PROCEEDING, (_DO.FAIL,)),
    (_ST.ACCEPTED, _IN.REQUEST): (_ST.ACCEPTED, (_DO.RESEND,)),
    (_ST.ACCEPTED, _IN.ACK): (_ST.ACCEPTED, (_DO.TELL,)),
    (_ST.ACCEPTED, _IN.LOST): (_ST.ACCEPTED, (_DO.FAIL,)),
    (_ST.ACCEPTED, Timer.L): (_ST.TERMINATED, ()),
    (_ST.COMPLETED, _IN.REQUEST): (_ST.COMPLETED, (_DO.RESEND,)),
    (_ST.COMPLETED, Timer.G): (_ST.COMPLETED, (_DO.RESEND, Timer.G)),
    (_ST.COMPLETED, Timer.H): (_ST.TERMINATED, (_DO.TIME_OUT,)),
    (_ST.COMPLETED, _IN.LOST): (_ST.COMPLETED, (_DO.FAIL,)),
    (_ST.COMPLETED, _IN.ACK): (_ST.CONFIRMED, (Timer.I,)),
    (_ST.CONFIRMED, _IN.ACK): (_ST.CONFIRMED, ()),
    (_ST.CONFIRMED, Timer.I): (_ST.TERMINATED, ()),
}

CLIENT: Table = {
    (_ST.TRYING, Timer.E): (_ST.TRYING, (_DO.RESEND, Timer.E)),
    (_ST.TRYING, Timer.F): (_ST.TERMINATED, (_DO.TIME_OUT,)),
    (_ST.TRYING, _IN.LOST): (_ST.TERMINATED, (_DO.FAIL,)),
    (_ST.TRYING, _IN.PROVISIONAL): (_ST.PROCEEDING, (_DO.TELL,)),
    (_ST.TRYING, _IN.SUCCESS): (_ST.COMPLETED, (_DO.TELL, Timer.K)),
    (_ST.TRYING, _IN.FAILURE): (_ST.COMPLETED, (_DO.TELL, Timer.K)),
    (_ST.PROCEEDING, Timer.E): (_ST.PROCEEDING, (_DO.RESEND, Timer.E)),
    (_ST.PROCEEDING, Timer.F): (_ST.TERMINATED, (_DO.TIME_OUT,)),
    (_ST.PROCEEDING, _IN.LOST): (_ST.TERMINATED, (_DO.FAIL,)),
    (_ST.PROCEEDING, _IN.PROVISIONAL): (_ST.PROCEEDING, (_DO.TELL,)),
    (_ST.PROCEEDING, _IN.SUCCESS): (_ST.COMPLETED, (_DO.TELL, Timer.K)),
    (_ST.PROCEEDING, _IN.FAILURE): (_ST.COMPLETED, (_DO.TELL, Timer.K)),
    (_ST.COMPLETED, Timer.K): (_ST.TERMINATED, ()),
}

SERVER: Table = {
    (_ST.TRYING, _IN.PROVISIONAL): (_ST.PROCEEDING, (_DO.SEND,)),
    (_ST.TRYING, _IN.SUCCESS): (_ST.COMPLETED, (_DO.SEND, Timer.J)),
    (_ST.TRYING, _IN.FAILURE): (_ST.COMPLETED, (_DO.SEND, Timer.J)),
    (_ST.PROCEEDING, _IN.REQUEST): (_ST.PROCEEDING, (_DO.RESEND,)),
    (_ST.PROCEEDING, _IN.PROVISIONAL): (_ST.PROCEEDING, (_DO.SEND,)),
    (_ST.PROCEEDING, _IN.SUCCESS): (_ST.COMPLETED, (_DO.SEND, Timer.J)),
    (_ST.PROCEEDING, _IN.FAILURE): (_ST.COMPLETED, (_DO.SEND, Timer.J)),
    (_ST.PROCEEDING, _IN.LOST): (_ST.TERMINATED, (_DO.FAIL,)),
    (_ST.COMPLETED, _IN.REQUEST): (_ST.COMPLETED, (_DO.RESEND,)),
    (_ST.COMPLETED, _IN.LOST): (_ST.TERMINATED, (_DO.FAIL,)),
    (_ST.COMPLETED, Timer.J): (_ST.TERMINATED, ()),
}

TABLES: Mapping[Machine, Table] = {
    Machine.INVITE_CLIENT: INVITE_CLIENT,
    Machine.INVITE_SERVER: INVITE_SERVER,
    Machine.CLIENT: CLIENT,
    Machine.SERVER: SERVER,
}

# Where a row is not the standard's, and why; drawn beside the tables.
DEVIATIONS: Mapping[tuple[Machine, State, Event], str] = {
    (Machine.INVITE_CLIENT, _ST.PROCEEDING, Timer.C): (
        "RFC 3261 has timer C for proxies only; without it a peer that says 100 and falls silent blocks every later "
        "re-INVITE of its dialog for good. After a CANCEL it is cut to 64 * T1 (RFC 3261, 9.1)"
    ),
    (Machine.INVITE_SERVER, _ST.ACCEPTED, _IN.REQUEST): (
        "RFC 6026 absorbs the copy in silence; answering again costs nothing and saves a client that lost our 100 and "
        "our 200 the wait for our own resend"
    ),
    (Machine.INVITE_SERVER, _ST.COMPLETED, Timer.H): (
        "the failure stands although nobody acknowledged it: its dialog is gone already, and nothing is told"
    ),
}

STARTS: Mapping[Machine, Move] = {
    Machine.INVITE_CLIENT: (_ST.CALLING, (_DO.SEND, Timer.A, Timer.B)),
    Machine.INVITE_SERVER: (_ST.PROCEEDING, (_DO.TELL,)),
    Machine.CLIENT: (_ST.TRYING, (_DO.SEND, Timer.E, Timer.F)),
    Machine.SERVER: (_ST.TRYING, (_DO.TELL,)),
}


@dataclass(frozen=True, slots=True)
class Durations:
    """The base times of RFC 3261, 17.1.1.1, in seconds."""

    t1: float = 0.5  # estimate of the round trip; first resend
    t2: float = 4.0  # longest pause between resends
    t4: float = 5.0  # longest life of a message in the network
    proceeding: float = 180.0  # timer C: longest wait behind a provisional answer

    @property
    def patience(self) -> float:
        """64 * T1: how long anything unanswered is waited for."""
        return 64 * self.t1


@dataclass(slots=True)
class Transaction:
    """One running machine. `feed` moves it; deadlines are the owner's to watch."""

    id: str
    machine: Machine
    request: Request
    reliable: bool  # TCP, TLS: nothing is resent and there are no late copies
    durations: Durations
    dialog: str | None = None
    told: bool = False  # a 2xx to this INVITE of ours was told; what else comes is a copy, or from another fork
    state: State = State.TERMINATED
    deadlines: dict[Timer, float] = field(default_factory=dict)
    interval: float = 0.0  # seconds between the last two resends
    attempts: int = 1  # requests of ours sent under this id: a challenged one is sent again

    def start(self, now: float) -> tuple[Action, ...]:
        """Enters the first state; returns what to do."""
        return self._move(STARTS[self.machine], now)

    def feed(self, event: Event, now: float) -> tuple[Action, ...]:
        """What to do about it; () where the table has no such move: late, doubled or impossible."""
        if isinstance(event, Timer):
            self.deadlines.pop(event, None)
        move = TABLES[self.machine].get((self.state, event))
        return self._move(move, now) if move else ()

    def _move(self, move: Move, now: float) -> tuple[Action, ...]:
        self.state, doing = move
        table = TABLES[self.machine]
        for timer in [timer for timer in self.deadlines if (self.state, timer) not in table]:
            del self.deadlines[timer]
        actions = []
        for item in doing:
            if isinstance(item, Timer):
                wait = self._duration(item)
                if wait is not None:
                    self.deadlines[item] = now + wait
            else:
                actions.append(item)
        return tuple(actions)

    def _duration(self, timer: Timer) -> float | None:
        base = self.durations
        if timer in (Timer.A, Timer.E, Timer.G):
            return None if self.reliable else self._next_interval(timer)
        if timer is Timer.C:
            return base.proceeding
        if timer in (Timer.D, Timer.I, Timer.J, Timer.K):
            if self.reliable:
                return 0.0
            return base.t4 if timer in (Timer.I, Timer.K) else base.patience
        return base.patience

    def _next_interval(self, timer: Timer) -> float:
        if timer is Timer.A:
            self.interval = 2 * self.interval or self.durations.t1
        elif timer is Timer.E and self.state is State.PROCEEDING:
            self.interval = self.durations.t2
        else:
            self.interval = min(2 * self.interval or self.durations.t1, self.durations.t2)
        return self.interval


def status_input(status: int) -> Input:
    """Which input a response of this status is."""
    if status < 200:
        return Input.PROVISIONAL
    return Input.SUCCESS if status < 300 else Input.FAILURE
