"""What happens in each kind of simulated call: scenarios as a table, a call's course as a table. Pure.

The picture of a call in the documentation is drawn from TRANSITIONS.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from mitschnitt.errors import ConfigError

REACT_SECONDS = 0.5  # from the end of the question to the caller's answer
NEXT_QUESTION_SECONDS = 0.6  # from an answer to the further question: a key that comes while it is put answers neither
CONNECT_SECONDS = 0.6  # from the answer to the agent's first word
WITHDRAW_SECONDS = 3.0  # into the talk
JOIN_SECONDS = 3.0
PAUSE_SECONDS = 2.0
RESUME_SECONDS = 4.5


class Scenario(StrEnum):
    """The kinds of calls that the centre plays."""

    AGREED_BY_ACT = "agreed_by_act"
    AGREED_BY_DIGIT = "agreed_by_digit"
    REFUSED_BY_ACT = "refused_by_act"
    REFUSED_BY_DIGIT = "refused_by_digit"
    SILENT = "silent"
    WITHDREW = "withdrew"
    WITHDREW_BY_ACT = "withdrew_by_act"
    THIRD_JOINED = "third_joined"
    NO_AGENT_CONSENT = "no_agent_consent"
    PAUSED = "paused"


class Do(StrEnum):
    """Something that a party or the gateway does."""

    NOTHING = "nothing"
    PRESS = "press"  # keys, heard in the caller's own stream; "yes" and "no" are the question's digits
    POST = "post"  # an act through the control API, KIND:VALUE: "digit:yes", "withdraw:", "resume:"
    JOIN = "join"  # the third party comes onto the line


@dataclass(frozen=True)
class Step:
    """`do` with `value`, so many seconds into the talk."""

    after: float
    do: Do
    value: str = ""


@dataclass(frozen=True)
class Plan:
    """One scenario: how the caller reacts to the question, what follows, and how many of 50 calls are so.

    `further` is how a caller who agreed reacts to each further question, where a policy has some.
    """

    answer: Do
    value: str
    steps: tuple[Step, ...]
    of_fifty: int
    agent_agrees: bool = True
    further: tuple[Do, str] = (Do.NOTHING, "")

    @property
    def agrees(self) -> bool:
        """Whether the caller says yes to the recording; nobody else is asked anything further."""
        return self.value.rpartition(":")[2] == "yes"


PLANS: Mapping[Scenario, Plan] = {
    Scenario.AGREED_BY_ACT: Plan(Do.POST, "digit:yes", (), 12, further=(Do.POST, "digit:yes")),
    Scenario.AGREED_BY_DIGIT: Plan(Do.PRESS, "yes", (), 10, further=(Do.PRESS, "yes")),
    Scenario.REFUSED_BY_ACT: Plan(Do.POST, "digit:no", (), 5),
    Scenario.REFUSED_BY_DIGIT: Plan(Do.PRESS, "no", (), 4),
    Scenario.SILENT: Plan(Do.NOTHING, "", (), 6),
    Scenario.WITHDREW: Plan(
        Do.POST, "digit:yes", (Step(WITHDRAW_SECONDS, Do.PRESS, "*9"),), 3, further=(Do.POST, "digit:yes")
    ),
    Scenario.WITHDREW_BY_ACT: Plan(Do.PRESS, "yes", (Step(WITHDRAW_SECONDS, Do.POST, "withdraw:"),), 2),
    Scenario.THIRD_JOINED: Plan(Do.POST, "digit:yes", (Step(JOIN_SECONDS, Do.JOIN),), 4),
    Scenario.NO_AGENT_CONSENT: Plan(Do.POST, "digit:yes", (), 2, agent_agrees=False),
    # While paused the recorder asks for nothing, so a key could not be heard: resuming is posted.
    Scenario.PAUSED: Plan(
        Do.POST,
        "digit:yes",
        (Step(PAUSE_SECONDS, Do.PRESS, "*0"), Step(RESUME_SECONDS, Do.POST, "resume:")),
        2,
        further=(Do.PRESS, "no"),
    ),
}


class State(StrEnum):
    """Where a simulated call is, as the caller lives through it."""

    ARRIVED = "arrived"
    ANNOUNCED = "announced"
    ASKING = "asking"
    ANSWERING = "answering"
    CONNECTING = "connecting"
    TALKING = "talking"
    ENDED = "ended"


class Event(StrEnum):
    """What happened in a simulated call."""

    CALL_CAME = "call came"
    ASK_GIVEN = "question given"
    NOT_TO_BE_ASKED = "not to be asked"
    QUESTION_ENDED = "question ended"
    FURTHER_QUESTION = "further question"
    CALLER_ANSWERED = "caller answered"
    AGENT_ANSWERED = "agent answered"
    STEP_DUE = "step due"
    TALK_ENDED = "talk ended"
    STOPPED = "stopped"


class Action(StrEnum):
    """What the centre does then."""

    ANNOUNCE = "announce to the control API"
    DIAL = "start the recording session"
    PLAY_QUESTION = "play the question"
    POST_ASKED = "post what was asked"
    LET_CALLER_ANSWER = "let the caller answer"
    CONNECT = "connect the agent"
    TALK = "talk"
    STEP = "do the next step"
    HANG_UP = "hang up"


TRANSITIONS: Mapping[tuple[State, Event], tuple[State, tuple[Action, ...]]] = {
    (State.ARRIVED, Event.CALL_CAME): (State.ANNOUNCED, (Action.ANNOUNCE, Action.DIAL)),
    (State.ANNOUNCED, Event.ASK_GIVEN): (State.ASKING, (Action.PLAY_QUESTION,)),
    (State.ANNOUNCED, Event.NOT_TO_BE_ASKED): (State.CONNECTING, (Action.CONNECT,)),
    (State.ASKING, Event.QUESTION_ENDED): (
        State.ANSWERING,
        (Action.POST_ASKED, Action.LET_CALLER_ANSWER),
    ),
    # Only for a caller who has just said yes: what is not kept has no further purpose.
    (State.ANSWERING, Event.FURTHER_QUESTION): (State.ASKING, (Action.PLAY_QUESTION,)),
    (State.ANSWERING, Event.CALLER_ANSWERED): (State.CONNECTING, (Action.CONNECT,)),
    (State.CONNECTING, Event.AGENT_ANSWERED): (State.TALKING, (Action.TALK,)),
    (State.TALKING, Event.STEP_DUE): (State.TALKING, (Action.STEP,)),
    (State.TALKING, Event.TALK_ENDED): (State.ENDED, (Action.HANG_UP,)),
    # Whoever stops the centre ends every call as a caller would who hangs up.
    **{(state, Event.STOPPED): (State.ENDED, (Action.HANG_UP,)) for state in State if state is not State.ENDED},
}


def parse_mix(text: str) -> dict[Scenario, int]:
    """Shares by scenario from `default`, one name, or `name=share,name=share`; ConfigError otherwise."""
    if text == "default":
        return {scenario: plan.of_fifty for scenario, plan in PLANS.items()}
    shares: dict[Scenario, int] = {}
    for piece in text.split(","):
        name, _, share = piece.strip().partition("=")
        try:
            shares[Scenario(name)] = int(share or 1)
        except ValueError as error:
            known = ", ".join(Scenario)
            raise ConfigError(f"mix {piece.strip()!r}: expected NAME=SHARE with a name of {known}") from error
    if min(shares.values()) < 0 or not sum(shares.values()):
        raise ConfigError(f"mix {text!r}: expected shares of at least 0 that are not all 0")
    return shares


def deal(shares: Mapping[Scenario, int], calls: int) -> list[Scenario]:
    """So many calls in exactly these shares, largest remainders first; each kind spread over the whole."""
    total = sum(shares.values())
    quota = {scenario: calls * share // total for scenario, share in shares.items()}
    by_remainder = sorted(shares, key=lambda scenario: -(calls * shares[scenario] % total))
    for scenario in by_remainder[: calls - sum(quota.values())]:
        quota[scenario] += 1
    places = [((number + 0.5) / count, scenario) for scenario, count in quota.items() for number in range(count)]
    return [scenario for _, scenario in sorted(places)]
