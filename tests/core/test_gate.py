"""The gate as dialogues: what it is told, what it does, by which rule. Every row of the table is walked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from dialogue import (
    AGENT,
    CALLER,
    PROMPT_MS,
    QUIET,
    THIRD,
    WINDOW_S,
    Play,
    Scene,
    aged,
    asked,
    broke,
    clock,
    excluded,
    grant,
    hindered,
    joined,
    keeping,
    left,
    nothing,
    paused_it,
    play,
    pressed,
    resumed_it,
    sees,
    t,
    took_back,
    unbound,
    view_with,
)
from mitschnitt.core.consent import LATE_POST
from mitschnitt.core.gate import (
    TRANSITIONS,
    CallFacts,
    Command,
    State,
    Surroundings,
)

KEEP, LISTEN, SHUT, OFFER = Command.KEEP, Command.LISTEN, Command.SHUT, Command.OFFER
SHRED, SEAL, FORGET, HANG_UP = Command.SHRED, Command.SEAL, Command.FORGET, Command.HANG_UP
SILENCE = 4 + WINDOW_S + LATE_POST.total_seconds()  # second at which no answer to a question from 0 to 4 can come


def asking() -> Play:
    return (
        play()
        .hears(joined(CALLER, AGENT), t(0))
        .goes(State.ASKING, LISTEN, OFFER, because="consent.caller.waiting")
        .hears(asked(), t(4))
        .stays(because="consent.caller.waiting")
    )


def paused() -> Play:
    return keeping().hears(paused_it(at=10), t(10)).goes(State.PAUSED, SHUT, LISTEN, OFFER, because="act.pause")


def failed() -> Play:
    return keeping().hears(broke(), t(20)).goes(State.FAILED, SHUT, SEAL, OFFER, because="vault.no_space")


def third_waits() -> Play:
    return (
        keeping()
        .hears(joined(THIRD), t(20))
        .goes(State.PAUSED, SHUT, LISTEN, OFFER, because="consent.third.waiting")
        .hears(asked(THIRD, start=21), t(25))
        .stays(because="consent.third.waiting")
    )


# Each phrase is what happens; each dialogue checks every step of it.
DIALOGUES: dict[str, Callable[[], Play]] = {
    # -- the plain roads ---------------------------------------------------------------------------
    "asked, agrees by digit, call ends: kept": lambda: (
        asking()
        .hears(pressed("1", at=6), t(6))
        .goes(State.KEEPING, KEEP, OFFER, because="consent.all")
        .hears(nothing, t(60))
        .stays(because="consent.all")
        .ends(t(90))
        .goes(State.ENDED, SEAL, because="consent.all")
    ),
    "asked and agreed before the session came: open at once": lambda: (
        play()
        .hears(lambda scene: pressed("1", at=-10)(asked(start=-20)(joined(CALLER, AGENT)(scene))), t(0))
        .goes(State.KEEPING, KEEP, OFFER, because="consent.all")
    ),
    "asked, says no: shut until the end": lambda: (
        asking()
        .hears(pressed("2", at=6), t(6))
        .goes(State.REFUSED, SHUT, OFFER, because="consent.caller.refused")
        .hears(pressed("1", at=7), t(7))
        .stays(because="consent.caller.refused")
        .ends(t(90))
        .goes(State.ENDED, FORGET, because="consent.caller.refused")
    ),
    "asked and refused before the session came": lambda: (
        play()
        .hears(lambda scene: pressed("2", at=-10)(asked(start=-20)(joined(CALLER, AGENT)(scene))), t(0))
        .goes(State.REFUSED, OFFER, because="consent.caller.refused")
    ),
    "asked, says nothing: a no": lambda: (
        asking()
        .hears(nothing, t(SILENCE - 0.1))
        .stays(because="consent.caller.waiting")
        .hears(nothing, t(SILENCE))
        .goes(State.REFUSED, SHUT, OFFER, because="consent.caller.silent")
        .hears(nothing, t(SILENCE + 60))
        .stays(because="consent.caller.silent")
    ),
    "hangs up while being asked: nothing was kept": lambda: (
        asking().ends(t(5)).goes(State.ENDED, SHUT, FORGET, because="consent.caller.silent")
    ),
    "hangs up before the question came: was not asked, and so not silent": lambda: (
        play()
        .hears(joined(CALLER, AGENT), t(0))
        .ends(t(5))
        .goes(State.ENDED, SHUT, FORGET, because="consent.caller.waiting")
    ),
    "hangs up before anything": lambda: play().ends(t(0)).goes(State.ENDED, FORGET, because="parties.none"),
    # -- what is no answer -------------------------------------------------------------------------
    "pressed before the prompt's end: never pressed": lambda: (
        asking()
        .hears(pressed("1", at=3.9), t(4.5))
        .stays(because="consent.caller.waiting")
        .hears(nothing, t(SILENCE))
        .goes(State.REFUSED, SHUT, OFFER, because="consent.caller.silent")
    ),
    "pressed after the window: never pressed": lambda: (
        asking()
        .hears(pressed("1", at=4 + WINDOW_S + 0.1), t(4 + WINDOW_S + 0.2))
        .stays(because="consent.caller.waiting")
        .hears(nothing, t(SILENCE))
        .goes(State.REFUSED, SHUT, OFFER, because="consent.caller.silent")
    ),
    "pressed on the last moment of the window and told late: a yes": lambda: (
        asking()
        .hears(pressed("1", at=4 + WINDOW_S), t(SILENCE - 0.1))
        .goes(State.KEEPING, KEEP, OFFER, because="consent.all")
    ),
    "pressed in time and told too late: a no": lambda: (
        asking()
        .hears(nothing, t(SILENCE))
        .goes(State.REFUSED, SHUT, OFFER, because="consent.caller.silent")
        .hears(pressed("1", at=6), t(SILENCE + 1))
        .stays(because="consent.all")
    ),
    "pressed in a time that has not come yet: waited for": lambda: (
        asking()
        .hears(pressed("1", at=9), t(5))
        .stays(because="consent.caller.waiting")
        .hears(nothing, t(9))
        .goes(State.KEEPING, KEEP, OFFER, because="consent.all")
    ),
    "the agent pressed the caller's yes": lambda: (
        asking().hears(pressed("1", at=6, by=AGENT), t(6)).stays(because="consent.caller.waiting")
    ),
    "another digit": lambda: asking().hears(pressed("3", at=6), t(6)).stays(because="consent.caller.waiting"),
    "no and yes, in this order: no": lambda: (
        asking()
        .hears(lambda scene: pressed("1", at=7)(pressed("2", at=6)(scene)), t(7))
        .goes(State.REFUSED, SHUT, OFFER, because="consent.caller.refused")
    ),
    "yes and then no inside the window: shut and stays shut": lambda: (
        asking()
        .hears(pressed("1", at=6), t(6))
        .goes(State.KEEPING, KEEP, OFFER, because="consent.all")
        .hears(pressed("2", at=7), t(7))
        .goes(State.PAUSED, SHUT, LISTEN, OFFER, because="consent.caller.refused")
        .hears(pressed("1", at=8), t(8))
        .stays(because="consent.caller.refused")
    ),
    "the prompt was cut": lambda: (
        play()
        .hears(joined(CALLER, AGENT), t(0))
        .hears(asked(played_ms=PROMPT_MS - 1), t(4))
        .stays(because="consent.caller.prompt.cut")
        .hears(pressed("1", at=6), t(6))
        .stays(because="consent.caller.prompt.cut")
    ),
    "the prompt is another one by its hash": lambda: (
        play()
        .hears(joined(CALLER, AGENT), t(0))
        .hears(asked(sha256="00" * 32), t(4))
        .hears(pressed("1", at=6), t(6))
        .goes(State.ASKING, because="consent.caller.prompt.unknown")
    ),
    "the prompt is another one by its name": lambda: (
        play()
        .hears(joined(CALLER, AGENT), t(0))
        .hears(asked(prompt="terms-and-conditions"), t(4))
        .hears(pressed("1", at=6), t(6))
        .goes(State.ASKING, because="consent.caller.prompt.unknown")
    ),
    "a shorter stand-in for the prompt": lambda: (
        play()
        .hears(joined(CALLER, AGENT), t(0))
        .hears(asked(played_ms=500, length_ms=500), t(1))
        .hears(pressed("1", at=2), t(2))
        .goes(State.ASKING, because="consent.caller.prompt.unknown")
    ),
    "a prompt of four seconds that took one": lambda: (
        play()
        .hears(joined(CALLER, AGENT), t(0))
        .hears(asked(took=1), t(1))
        .hears(pressed("1", at=2), t(2))
        .goes(State.ASKING, because="consent.caller.prompt.cut")
    ),
    "asked again after a cut prompt: the second question counts": lambda: (
        play()
        .hears(joined(CALLER, AGENT), t(0))
        .hears(asked(played_ms=900), t(1))
        .hears(asked(start=2), t(6))
        .stays(because="consent.caller.waiting")
        .hears(pressed("1", at=7), t(7))
        .goes(State.KEEPING, KEEP, OFFER, because="consent.all")
    ),
    "nobody was asked and somebody presses 1": lambda: (
        play()
        .hears(joined(CALLER, AGENT), t(0))
        .hears(pressed("1", at=3), t(3))
        .goes(State.ASKING, because="consent.caller.waiting")
    ),
    # -- what is missing, unclear or contradictory -------------------------------------------------
    "no facts at all": lambda: (
        play(replace(QUIET, facts=CallFacts()))
        .hears(nothing, t(0))
        .goes(State.NOT_ASKED, OFFER, because="draw.missing")
        .ends(t(9))
        .goes(State.ENDED, FORGET, because="draw.missing")
    ),
    "drawn, and nothing else is known": lambda: (
        play(replace(QUIET, facts=CallFacts(undrawn="")))
        .hears(nothing, t(0))
        .goes(State.NOT_ASKED, OFFER, because="binding.missing")
        .ends(t(9))
        .goes(State.ENDED, FORGET, because="binding.missing")
    ),
    "no view at all": lambda: (
        play(Scene(CallFacts(undrawn=""), Surroundings(None, timedelta(0))))
        .hears(nothing, t(0))
        .goes(State.NOT_ASKED, OFFER, because="view.missing")
    ),
    "nobody is on the line": lambda: play().hears(nothing, t(0)).goes(State.NOT_ASKED, OFFER, because="parties.none"),
    "everybody has left": lambda: (
        play()
        .hears(lambda scene: left(AGENT)(left(CALLER)(scene)), t(0))
        .goes(State.NOT_ASKED, OFFER, because="parties.none")
    ),
    "no agent on the line": lambda: (
        play().hears(joined(CALLER, THIRD), t(0)).goes(State.NOT_ASKED, OFFER, because="parties.no_agent")
    ),
    "only an agent who agreed: there must be somebody whom nobody reported": lambda: (
        play().hears(joined(AGENT), t(0)).goes(State.NOT_ASKED, OFFER, because="parties.alone")
    ),
    "two parties of one name: one yes is not two": lambda: (
        play()
        .hears(
            lambda scene: replace(
                scene, facts=replace(scene.facts, parties=(CALLER, replace(CALLER, number=5), AGENT))
            ),
            t(0),
        )
        .goes(State.NOT_ASKED, OFFER, because="parties.ambiguous")
    ),
    "an agent whom no pattern names": lambda: (
        play()
        .hears(joined(CALLER, replace(AGENT, agent=None)), t(0))
        .goes(State.REFUSED, OFFER, because="consent.agent.unknown")
        .ends(t(9))
        .goes(State.ENDED, FORGET, because="consent.agent.unknown")
    ),
    "streams cannot be laid to parties": lambda: (
        play()
        .hears(lambda scene: unbound("binding.mixed")(joined(CALLER, AGENT)(scene)), t(0))
        .goes(State.NOT_ASKED, OFFER, because="binding.mixed")
    ),
    "binding is lost while keeping": lambda: (
        keeping()
        .hears(unbound("binding.contradiction"), t(20))
        .goes(State.PAUSED, SHUT, LISTEN, OFFER, because="binding.contradiction")
        .hears(nothing, t(21))
        .stays(because="binding.contradiction")
        .hears(unbound(""), t(22))
        .goes(State.KEEPING, KEEP, OFFER, because="consent.all")
    ),
    "binding is lost while asking: never asked again": lambda: (
        asking()
        .hears(unbound("binding.missing"), t(5))
        .goes(State.NOT_ASKED, SHUT, OFFER, because="binding.missing")
        .hears(lambda scene: pressed("1", at=6)(unbound("")(scene)), t(6))
        .stays(because="consent.all")
    ),
    "not announced": lambda: (
        play()
        .hears(lambda scene: excluded("call.unmatched")(joined(CALLER, AGENT)(scene)), t(0))
        .goes(State.NOT_ASKED, OFFER, because="call.unmatched")
    ),
    # -- the agent's standing grant ----------------------------------------------------------------
    "agent without a grant": lambda: (
        play()
        .hears(lambda scene: sees(view_with())(joined(CALLER, AGENT)(scene)), t(0))
        .goes(State.REFUSED, OFFER, because="consent.agent.none")
    ),
    "agent whose grant has expired": lambda: (
        play()
        .hears(lambda scene: sees(view_with(grant(expires=-1)))(joined(CALLER, AGENT)(scene)), t(0))
        .goes(State.REFUSED, OFFER, because="consent.agent.expired")
    ),
    "agent whose grant begins tomorrow": lambda: (
        play()
        .hears(lambda scene: sees(view_with(grant(granted=86_400)))(joined(CALLER, AGENT)(scene)), t(0))
        .goes(State.REFUSED, OFFER, because="consent.agent.expired")
    ),
    "agent who withdrew yesterday": lambda: (
        play()
        .hears(lambda scene: sees(view_with(grant(withdrawn=-9)))(joined(CALLER, AGENT)(scene)), t(0))
        .goes(State.REFUSED, OFFER, because="consent.agent.withdrawn")
    ),
    "agent's grant expires in mid-call": lambda: (
        keeping()
        .hears(sees(view_with(grant(expires=30)), age=1), t(29))
        .stays(because="consent.all")
        .hears(nothing, t(30))
        .goes(State.PAUSED, SHUT, LISTEN, OFFER, because="consent.agent.expired")
        .ends(t(40))
        .goes(State.ENDED, SEAL, because="consent.agent.expired")
    ),
    "agent withdraws the standing grant in mid-call": lambda: (
        keeping()
        .hears(sees(view_with(grant(withdrawn=29)), age=0), t(29.5))
        .goes(State.WITHDRAWN, SHUT, SHRED, OFFER, HANG_UP, because="consent.agent.withdrawn")
    ),
    "agent withdraws while the caller is being asked": lambda: (
        asking()
        .hears(sees(view_with(grant(withdrawn=5)), age=0), t(5))
        .goes(State.REFUSED, SHUT, OFFER, because="consent.agent.withdrawn")
    ),
    # -- withdrawal, from every state --------------------------------------------------------------
    "withdrawn before the session came": lambda: (
        play()
        .hears(lambda scene: took_back(at=-1)(joined(CALLER, AGENT)(scene)), t(0))
        .goes(State.REFUSED, OFFER, because="consent.withdrawn")
    ),
    "withdrawn while asking": lambda: (
        asking().hears(took_back(at=5), t(5)).goes(State.REFUSED, SHUT, OFFER, because="consent.withdrawn")
    ),
    "withdrawn while keeping": lambda: (
        keeping()
        .hears(took_back(at=20), t(20))
        .goes(State.WITHDRAWN, SHUT, SHRED, OFFER, HANG_UP, because="consent.withdrawn")
        .hears(pressed("1", at=21), t(21))
        .stays(because="consent.withdrawn")
        .ends(t(30))
        .goes(State.ENDED, FORGET, because="consent.withdrawn")
    ),
    "the agent withdraws while keeping: the recording of all ends": lambda: (
        keeping()
        .hears(took_back(at=20, by=AGENT), t(20))
        .goes(State.WITHDRAWN, SHUT, SHRED, OFFER, HANG_UP, because="consent.withdrawn")
    ),
    "withdrawn while paused": lambda: (
        paused()
        .hears(took_back(at=20), t(20))
        .goes(State.WITHDRAWN, SHUT, SHRED, OFFER, HANG_UP, because="consent.withdrawn")
    ),
    "withdrawn after we failed": lambda: (
        failed()
        .hears(took_back(at=21), t(21))
        .goes(State.WITHDRAWN, SHRED, OFFER, HANG_UP, because="consent.withdrawn")
    ),
    "withdrawn while refused: nothing is left to do": lambda: (
        asking().hears(pressed("2", at=6), t(6)).hears(took_back(at=7), t(7)).stays(because="consent.withdrawn")
    ),
    "withdrawn while not asked: nothing is left to do": lambda: (
        play().hears(nothing, t(0)).hears(took_back(at=7), t(7)).stays(because="consent.withdrawn")
    ),
    "withdrawn twice: once is enough": lambda: (
        keeping().hears(took_back(at=20), t(20)).hears(took_back(at=21), t(21)).stays(because="consent.withdrawn")
    ),
    "withdrawn after the end: the gate has no say any more": lambda: (
        keeping().ends(t(30)).hears(took_back(at=31), t(31)).stays(because="consent.withdrawn")
    ),
    "withdrawn by somebody who has left": lambda: (
        keeping()
        .hears(joined(THIRD), t(20))
        .hears(left(THIRD), t(21))
        .hears(took_back(at=22, by=THIRD), t(22))
        .goes(State.WITHDRAWN, SHUT, SHRED, OFFER, HANG_UP, because="consent.withdrawn")
    ),
    # -- pause and resume --------------------------------------------------------------------------
    "pause and resume": lambda: (
        paused()
        .hears(nothing, t(60))
        .stays(because="act.pause")
        .hears(resumed_it(at=61), t(61))
        .goes(State.KEEPING, KEEP, OFFER, because="consent.all")
    ),
    "paused by the caller, the agent's resume does not count": lambda: (
        paused().hears(resumed_it(at=20, by=AGENT), t(20)).stays(because="act.pause")
    ),
    "paused by both, resumed by one": lambda: (
        paused()
        .hears(paused_it(at=11, by=AGENT), t(11))
        .hears(resumed_it(at=12), t(12))
        .stays(because="act.pause")
        .hears(resumed_it(at=13, by=AGENT), t(13))
        .goes(State.KEEPING, KEEP, OFFER, because="consent.all")
    ),
    "a resume that comes from the future lifts no pause": lambda: (
        keeping()
        .hears(resumed_it(at=500), t(9))
        .stays(because="consent.all")
        .hears(paused_it(at=10), t(10))
        .goes(State.PAUSED, SHUT, LISTEN, OFFER, because="act.pause")
        .hears(nothing, t(500))
        .stays(because="act.pause")
    ),
    "paused before anything was kept": lambda: (
        play()
        .hears(
            lambda scene: paused_it(at=-5)(pressed("1", at=-10)(asked(start=-20)(joined(CALLER, AGENT)(scene)))),
            t(0),
        )
        .goes(State.ASKING, OFFER, because="act.pause")
        .hears(resumed_it(at=3), t(3))
        .goes(State.KEEPING, KEEP, OFFER, because="consent.all")
    ),
    "hangs up while paused: what was agreed is sealed": lambda: (
        paused().ends(t(30)).goes(State.ENDED, SEAL, because="act.pause")
    ),
    # -- a third party -----------------------------------------------------------------------------
    "third joins, agrees, leaves": lambda: (
        third_waits()
        .hears(pressed("1", at=26), t(26))
        .stays(because="consent.third.waiting")  # the caller's key is not the third's
        .hears(pressed("1", at=26, by=THIRD), t(26))
        .goes(State.KEEPING, KEEP, OFFER, because="consent.all")
        .hears(left(THIRD), t(40))
        .stays(because="consent.all")
    ),
    "third joins and refuses: stays paused until they leave": lambda: (
        third_waits()
        .hears(pressed("2", at=26, by=THIRD), t(26))
        .stays(because="consent.third.refused")
        .hears(nothing, t(120))
        .stays(because="consent.third.refused")
        .hears(left(THIRD), t(121))
        .goes(State.KEEPING, KEEP, OFFER, because="consent.all")
    ),
    "third joins and is silent: stays paused": lambda: (
        third_waits().hears(nothing, t(21 + SILENCE)).stays(because="consent.third.silent")
    ),
    "third joins, is never asked, leaves": lambda: (
        keeping()
        .hears(joined(THIRD), t(20))
        .goes(State.PAUSED, SHUT, LISTEN, OFFER, because="consent.third.waiting")
        .hears(left(THIRD), t(30))
        .goes(State.KEEPING, KEEP, OFFER, because="consent.all")
    ),
    "the call is handed to an agent without a grant": lambda: (
        keeping()
        .hears(
            lambda scene: joined(replace(AGENT, name="agent-2", number=2, agent="nora.feld"))(left(AGENT)(scene)),
            t(20),
        )
        .goes(State.PAUSED, SHUT, LISTEN, OFFER, because="consent.agent.none")
    ),
    "caller leaves, the agent stays: nobody is left whose call it was": lambda: (
        keeping().hears(left(CALLER), t(20)).goes(State.PAUSED, SHUT, LISTEN, OFFER, because="parties.alone")
    ),
    # -- view and clock ----------------------------------------------------------------------------
    "view 30 s old: still good for a grant; older: not": lambda: (
        asking()
        .hears(lambda scene: pressed("1", at=6)(aged(30.001)(scene)), t(6))
        .stays(because="view.stale")
        .hears(aged(30), t(7))
        .goes(State.KEEPING, KEEP, OFFER, because="consent.all")
    ),
    "view stale on arrival: not asked": lambda: (
        play()
        .hears(lambda scene: aged(31)(joined(CALLER, AGENT)(scene)), t(0))
        .goes(State.NOT_ASKED, OFFER, because="view.stale")
    ),
    "view 60 s old: still good for keeping; older: paused until a fresh one": lambda: (
        keeping()
        .hears(aged(60), t(60))
        .stays(because="consent.all")
        .hears(aged(60.001), t(61))
        .goes(State.PAUSED, SHUT, LISTEN, OFFER, because="view.stale")
        .hears(aged(31), t(62))
        .stays(because="view.stale")
        .hears(aged(0), t(63))
        .goes(State.KEEPING, KEEP, OFFER, because="consent.all")
    ),
    "view lost while keeping": lambda: (
        keeping().hears(sees(None), t(20)).goes(State.PAUSED, SHUT, LISTEN, OFFER, because="view.missing")
    ),
    "withdrawal counts with a stale view, too": lambda: (
        keeping()
        .hears(lambda scene: took_back(at=70)(aged(90)(scene)), t(70))
        .goes(State.WITHDRAWN, SHUT, SHRED, OFFER, HANG_UP, because="consent.withdrawn")
    ),
    "clock unsteady: no new grant, running calls go on": lambda: (
        asking()
        .hears(lambda scene: pressed("1", at=6)(clock(steady=False)(scene)), t(6))
        .stays(because="clock.unsteady")
        .hears(clock(steady=True), t(8))
        .goes(State.KEEPING, KEEP, OFFER, because="consent.all")
        .hears(clock(steady=False), t(20))
        .stays(because="consent.all")
    ),
    "clock unsteady on arrival: not asked": lambda: (
        play()
        .hears(lambda scene: clock(steady=False)(joined(CALLER, AGENT)(scene)), t(0))
        .goes(State.NOT_ASKED, OFFER, because="clock.unsteady")
    ),
    "clock unsteady while paused: stays paused": lambda: (
        paused()
        .hears(lambda scene: resumed_it(at=12)(clock(steady=False)(scene)), t(12))
        .stays(because="clock.unsteady")
    ),
    "nothing could be kept: no new grant, running calls go on": lambda: (
        asking()
        .hears(lambda scene: pressed("1", at=6)(hindered("vault.no_space")(scene)), t(6))
        .stays(because="vault.no_space")
        .hears(hindered(""), t(8))
        .goes(State.KEEPING, KEEP, OFFER, because="consent.all")
        .hears(hindered("store.locked"), t(20))
        .stays(because="consent.all")
    ),
    "nothing could be kept on arrival: not asked": lambda: (
        play()
        .hears(lambda scene: hindered("vault.no_space")(joined(CALLER, AGENT)(scene)), t(0))
        .goes(State.NOT_ASKED, OFFER, because="vault.no_space")
    ),
    "nothing could be kept while paused: stays paused": lambda: (
        paused()
        .hears(lambda scene: resumed_it(at=12)(hindered("store.locked")(scene)), t(12))
        .stays(because="store.locked")
    ),
    "a withdrawal counts whatever could be kept": lambda: (
        keeping()
        .hears(lambda scene: took_back(at=70)(hindered("vault.no_space")(scene)), t(70))
        .goes(State.WITHDRAWN, SHUT, SHRED, OFFER, HANG_UP, because="consent.withdrawn")
    ),
    # -- we fail -----------------------------------------------------------------------------------
    "failed on arrival": lambda: (
        play()
        .hears(lambda scene: broke()(joined(CALLER, AGENT)(scene)), t(0))
        .goes(State.NOT_ASKED, OFFER, because="vault.no_space")
    ),
    "failed while asking": lambda: (
        asking().hears(broke(), t(5)).goes(State.NOT_ASKED, SHUT, OFFER, because="vault.no_space")
    ),
    "failed while keeping: sealed up to there, for good": lambda: (
        failed()
        .hears(broke(""), t(25))
        .stays(because="consent.all")
        .ends(t(30))
        .goes(State.ENDED, because="consent.all")
    ),
    "failed while paused": lambda: (
        paused().hears(broke(), t(20)).goes(State.FAILED, SHUT, SEAL, OFFER, because="vault.no_space")
    ),
    "a withdrawal beats a failure": lambda: (
        keeping()
        .hears(lambda scene: broke()(took_back(at=20)(scene)), t(20))
        .goes(State.WITHDRAWN, SHUT, SHRED, OFFER, HANG_UP, because="consent.withdrawn")
    ),
}


@pytest.mark.parametrize("phrase", DIALOGUES)
def test_the_gate_keeps_up_its_end_of_the_dialogue(phrase: str) -> None:
    assert DIALOGUES[phrase]().lines, "a dialogue that says nothing shows nothing"


def test_every_row_of_the_table_is_walked_by_a_dialogue() -> None:
    walked = set[object]().union(*(dialogue().walked for dialogue in DIALOGUES.values()))
    assert set(TRANSITIONS) - walked == set()


def test_a_failing_dialogue_is_printed_whole() -> None:
    with pytest.raises(AssertionError, match=r"(?s)0\.0 s  asking .* expected|the dialogue so far") as failure:
        asking().hears(pressed("2", at=6), t(6)).goes(State.KEEPING, KEEP, OFFER, because="consent.all")
    assert "6.0 s  refused [consent.caller.refused] shut offer" in str(failure.value)
    assert "expected keeping [consent.all] keep offer" in str(failure.value)
