"""The gate and the draw: nobody is asked who was not drawn, and a unit that is being written down only stops a call."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from dialogue import AGENT, CALLER, Play, asked, joined, keeping, play, pressed, t, took_back, undrawn
from mitschnitt.core.gate import Command, State

KEEP, SHUT, LISTEN, OFFER, FORGET = (
    Command.KEEP, Command.SHUT, Command.LISTEN, Command.OFFER, Command.FORGET,
)  # fmt: skip
DIALOGUES: Mapping[str, Callable[[], Play]] = {
    "not drawn: nobody is asked, whoever would agree": lambda: (
        play()
        .hears(lambda scene: undrawn("draw.not_drawn")(joined(CALLER, AGENT)(scene)), t(0))
        .goes(State.NOT_ASKED, OFFER, because="draw.not_drawn")
        .hears(asked(start=1), t(5))
        .stays(because="draw.not_drawn")
        .hears(pressed("1", at=6), t(6))
        .stays(because="draw.not_drawn")
        .ends(t(9))
        .goes(State.ENDED, FORGET, because="draw.not_drawn")
    ),
    "the agent's unit is being written down while the caller is asked: the question goes on": lambda: (
        play()
        .hears(lambda scene: asked()(joined(CALLER, AGENT)(scene)), t(4))
        .goes(State.ASKING, LISTEN, OFFER, because="consent.caller.waiting")
        .hears(undrawn("draw.waiting"), t(5))
        .stays(because="draw.waiting")
        .hears(pressed("1", at=6), t(6))
        .stays(because="draw.waiting")
        .hears(undrawn(""), t(7))
        .goes(State.KEEPING, KEEP, OFFER, because="consent.all")
    ),
    "the agent has no unit of the cap: nobody is asked any more": lambda: (
        play()
        .hears(lambda scene: asked()(joined(CALLER, AGENT)(scene)), t(4))
        .goes(State.ASKING, LISTEN, OFFER, because="consent.caller.waiting")
        .hears(undrawn("draw.cap.agent_week"), t(5))
        .goes(State.NOT_ASKED, SHUT, OFFER, because="draw.cap.agent_week")
    ),
    "the call is handed to an agent without a unit, and comes back": lambda: (
        keeping()
        .hears(undrawn("draw.cap.agent_week"), t(20))
        .goes(State.PAUSED, SHUT, LISTEN, OFFER, because="draw.cap.agent_week")
        .hears(undrawn("draw.waiting"), t(29))
        .stays(because="draw.waiting")
        .hears(undrawn(""), t(30))
        .goes(State.KEEPING, KEEP, OFFER, because="consent.all")
    ),
    "who takes consent back is heard whether drawn or not": lambda: (
        play()
        .hears(lambda scene: undrawn("draw.not_drawn")(took_back(at=1)(scene)), t(1))
        .goes(State.REFUSED, OFFER, because="consent.withdrawn")
    ),
}


@pytest.mark.parametrize("phrase", DIALOGUES)
def test_the_gate_keeps_up_its_end_of_the_dialogue(phrase: str) -> None:
    assert DIALOGUES[phrase]().lines
