"""The gate's table by itself, its small questions, and random facts held against an oracle of its own."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dialogue import (
    AGENT,
    CALLER,
    JENS,
    PROMPT_MS,
    PROMPT_SHA256,
    QUIET,
    THIRD,
    WINDOW_S,
    Scene,
    Told,
    asked,
    broke,
    clock,
    excluded,
    grant,
    hindered,
    joined,
    left,
    nothing,
    paused_it,
    pressed,
    resumed_it,
    sees,
    t,
    took_back,
    unbound,
    undrawn,
    view_with,
)
from examples import many
from mitschnitt.core.consent import LATE_POST, ActKind, Role
from mitschnitt.core.decision import Verdict
from mitschnitt.core.gate import (
    TRANSITIONS,
    CallFacts,
    Command,
    Happening,
    State,
    judge,
    keeps_anything,
    may_hear_digits,
    next_look,
    step,
)

SILENCE = 4 + WINDOW_S + LATE_POST.total_seconds()  # second at which no answer to a question from 0 to 4 can come


# -- the table itself ------------------------------------------------------------------------------


def test_every_state_that_can_be_reached_ends_when_the_call_ends() -> None:
    for state in State:
        if state is not State.ENDED:
            assert TRANSITIONS[state, Happening.CALL_ENDED][0] is State.ENDED


def test_nothing_leads_out_of_ended_and_only_the_end_out_of_a_no() -> None:
    closed = {State.NOT_ASKED, State.REFUSED, State.WITHDRAWN}
    assert not [pair for pair in TRANSITIONS if pair[0] is State.ENDED]
    assert {pair for pair in TRANSITIONS if pair[0] in closed} == {(s, Happening.CALL_ENDED) for s in closed}


def test_only_the_verdict_open_opens_and_it_is_the_only_way_to_keep() -> None:
    for (_, trigger), (after, commands) in TRANSITIONS.items():
        assert (after is State.KEEPING) == (trigger is Verdict.OPEN) == (Command.KEEP in commands)


def test_whatever_leaves_keeping_shuts_first_except_the_end_of_the_call() -> None:
    for (state, trigger), (_, commands) in TRANSITIONS.items():
        if state is State.KEEPING and trigger is not Happening.CALL_ENDED:
            assert commands[0] is Command.SHUT


def test_every_verdict_but_open_moves_a_call_that_is_kept() -> None:
    assert {trigger for state, trigger in TRANSITIONS if state is State.KEEPING} == (
        set(Verdict) - {Verdict.OPEN} | {Happening.CALL_ENDED}
    )


def test_whoever_pauses_can_still_be_heard() -> None:
    pausing = [commands for after, commands in TRANSITIONS.values() if after is State.PAUSED]
    assert pausing
    assert all(Command.LISTEN in commands for commands in pausing)


def test_what_was_kept_is_sealed_or_shredded_and_never_forgotten_from_keeping() -> None:
    for (state, _), (after, commands) in TRANSITIONS.items():
        if keeps_anything(state) and after in (State.ENDED, State.FAILED, State.WITHDRAWN):
            ended_before = state is State.FAILED and after is State.ENDED  # sealed when it failed
            assert ended_before or Command.SEAL in commands or Command.SHRED in commands
            assert Command.FORGET not in commands


# -- the small questions ---------------------------------------------------------------------------


def test_keeping_paused_and_failed_calls_have_a_recording() -> None:
    assert {state for state in State if keeps_anything(state)} == {State.KEEPING, State.PAUSED, State.FAILED}


@pytest.mark.parametrize(
    "state, kinds",
    [
        (State.ARRIVED, {ActKind.DIGIT}),
        (State.ASKING, {ActKind.DIGIT}),
        (State.KEEPING, {ActKind.WITHDRAW, ActKind.PAUSE}),
        (State.PAUSED, {ActKind.WITHDRAW, ActKind.PAUSE, ActKind.RESUME}),
        (State.NOT_ASKED, set()),
        (State.REFUSED, set()),
        (State.WITHDRAWN, set()),
        (State.FAILED, set()),
        (State.ENDED, set()),
    ],
)
def test_digits_are_read_only_where_they_can_mean_something(state: State, kinds: set[ActKind]) -> None:
    assert may_hear_digits(state, CallFacts(parties=(CALLER, AGENT))) == kinds


def test_a_third_party_may_answer_while_the_call_is_paused() -> None:
    assert ActKind.DIGIT in may_hear_digits(State.PAUSED, CallFacts(parties=(CALLER, AGENT, THIRD)))


def test_the_next_look_is_at_the_end_of_the_window() -> None:
    scene = asked()(joined(CALLER)(QUIET))
    assert next_look(scene.facts, scene.around.view, t(5)) == t(SILENCE)
    assert next_look(scene.facts, scene.around.view, t(SILENCE)) is None


def test_the_next_look_sees_acts_that_lie_ahead_and_grants_that_end() -> None:
    scene = pressed("1", at=9)(asked()(joined(CALLER, AGENT)(QUIET)))
    assert next_look(scene.facts, scene.around.view, t(5)) == t(9)
    assert next_look(scene.facts, view_with(grant(expires=7)), t(5)) == t(7)
    assert next_look(scene.facts, view_with(grant(agent="somebody.else", expires=7)), t(5)) == t(9)


def test_a_fact_told_twice_is_one() -> None:
    once = pressed("1", at=9)(asked()(QUIET))
    assert pressed("1", at=9)(asked()(once)).facts == once.facts


def test_without_view_or_facts_there_is_no_next_look() -> None:
    assert next_look(CallFacts(), QUIET.around.view, t(0)) is None
    assert next_look(asked()(QUIET).facts, None, t(0)) is None


def test_a_cut_prompt_opens_no_window_to_look_at() -> None:
    assert next_look(asked(played_ms=10)(QUIET).facts, QUIET.around.view, t(0)) is None


def test_a_decision_names_the_party_that_it_is_about() -> None:
    scene = pressed("2", at=6)(asked()(joined(CALLER, AGENT)(QUIET)))
    assert judge(scene.facts, scene.around, running=State.ASKING, now=t(6)).party == "caller"


# -- never keeping without a grant of everybody ----------------------------------------------------

PEOPLE = (CALLER, AGENT, THIRD, replace(AGENT, name="agent-2", number=3, agent="nora.feld"))
SPEAKERS = (CALLER, THIRD)
SECONDS = st.integers(min_value=-5, max_value=40).map(float)
VIEWS = st.builds(
    lambda grants, version: view_with(*grants, version=version),
    st.lists(
        st.builds(
            lambda agent, granted, length, back: grant(
                agent=agent, granted=granted, expires=granted + length, withdrawn=back
            ),
            st.sampled_from([JENS.id, "nora.feld"]),
            st.sampled_from([-100.0, -50.0, 10.0]),
            st.sampled_from([60.0, 1000.0]),
            st.sampled_from([None, None, None, -60.0, 15.0]),
        ),
        max_size=3,
    ),
    st.just(1),
)
TOLD: st.SearchStrategy[Told] = st.one_of(
    st.builds(joined, st.sampled_from(PEOPLE)),
    st.builds(left, st.sampled_from(PEOPLE)),
    st.builds(
        asked,
        st.sampled_from(SPEAKERS),
        start=SECONDS,
        played_ms=st.sampled_from([PROMPT_MS, PROMPT_MS, PROMPT_MS, 1000]),
        sha256=st.sampled_from([PROMPT_SHA256, PROMPT_SHA256, PROMPT_SHA256, "00" * 32]),
    ),
    st.builds(pressed, st.sampled_from(["1", "1", "1", "2", "3"]), at=SECONDS, by=st.sampled_from(SPEAKERS)),
    st.builds(paused_it, at=SECONDS, by=st.sampled_from(PEOPLE)),
    st.builds(resumed_it, at=SECONDS, by=st.sampled_from(PEOPLE)),
    st.builds(sees, st.one_of(VIEWS, VIEWS, st.none()), age=st.sampled_from([0.0, 20.0, 31.0, 61.0])),
    st.builds(clock, steady=st.booleans()),
    st.builds(hindered, st.sampled_from(["", "vault.no_space", "store.locked"])),
    st.builds(unbound, st.sampled_from(["", "", "binding.mixed"])),
    st.builds(undrawn, st.sampled_from(["", "", "draw.waiting", "draw.cap.agent_week"])),
    st.builds(excluded, st.sampled_from(["", "", "call.unmatched"])),
    st.builds(took_back, at=SECONDS, by=st.sampled_from(PEOPLE)),
    st.builds(broke, st.sampled_from(["", "vault.no_space"])),
    st.just(nothing),
)


def may_be_kept(scene: Scene, now: float) -> bool:
    """The oracle: everybody who is present agreed and still agrees, and we know it for sure. Written from the design.

    It shares no line with the gate: it walks the facts in seconds, party by party.
    """
    facts, view = scene.facts, scene.around.view
    if view is None or facts.failed or facts.excluded or facts.unbound or scene.around.view_age > timedelta(minutes=1):
        return False
    if facts.undrawn or any(item.kind is ActKind.WITHDRAW for item in facts.acts):
        return False
    present = [party for party in facts.parties if party.present]
    roles = {party.role for party in present}
    if Role.AGENT not in roles or len(present) < 2:
        return False
    return all(
        _agent_agreed(party.agent, scene, now) if party.role is Role.AGENT else _said_yes(party.name, scene, now)
        for party in present
    ) and not any(_wants_pause(party.name, scene, now) for party in facts.parties)


def _agent_agreed(agent: str | None, scene: Scene, now: float) -> bool:
    view = scene.around.view
    assert view is not None
    own = sorted((item for item in view.grants if item.agent == agent), key=lambda item: item.granted_at)
    for item in own:
        newest = item.granted_at == own[-1].granted_at
        if newest and not item.granted_at <= t(now) < item.expires_at:
            return False
        if item.withdrawn_at is not None and item.withdrawn_at >= own[-1].granted_at:
            return False
    return bool(own)


def _said_yes(name: str, scene: Scene, now: float) -> bool:
    answers = set()
    for question in scene.facts.asked:
        heard = question.sha256 == PROMPT_SHA256 and question.played_ms >= PROMPT_MS and question.party == name
        for item in scene.facts.acts:
            late = (item.at - question.ended_at).total_seconds()
            in_time = 0 <= late <= WINDOW_S and (item.at <= t(now) or item.value == "2")
            if heard and item.kind is ActKind.DIGIT and item.party == name and in_time:
                answers.add(item.value)
    return "1" in answers and "2" not in answers


def _wants_pause(name: str, scene: Scene, now: float) -> bool:
    own = [item for item in scene.facts.acts if item.party == name]
    for place, item in enumerate(own):
        later = [after for after in own[place + 1 :] if after.kind is ActKind.RESUME]
        if item.kind is ActKind.PAUSE and not any(item.at <= after.at <= t(now) for after in later):
            return True
    return False


def _walk(told: list[Told], begin: Scene = QUIET) -> int:
    """Plays these facts, one a second, holding the gate against the oracle; how many steps it kept."""
    scene, state, kept = begin, State.ARRIVED, 0
    for second, fact in enumerate(told):
        scene = fact(scene)
        before = state
        state = step(state, scene.facts, scene.around, t(second)).state
        if state is State.KEEPING:
            kept += 1
            assert may_be_kept(scene, second)
            if before is not State.KEEPING:
                assert scene.around.clock_steady
                assert not scene.around.hindrance
                assert scene.around.view_age <= timedelta(seconds=30)
    return kept


@settings(max_examples=many(400), deadline=None)
@given(st.lists(TOLD, max_size=30))
def test_the_gate_never_keeps_without_a_valid_grant_of_everybody_present(told: list[Told]) -> None:
    assert _walk(told) >= 0


@settings(max_examples=many(300), deadline=None)
@given(st.lists(TOLD, max_size=12))
def test_a_gate_that_was_open_never_keeps_without_a_valid_grant_of_everybody_present(told: list[Told]) -> None:
    opened = [joined(CALLER, AGENT), asked(start=-5), pressed("1", at=1)]
    begin = opened[1](opened[0](QUIET))
    assert _walk([nothing, opened[2], *told], begin) >= 1


@settings(max_examples=many(200), deadline=None)
@given(st.lists(TOLD, min_size=1, max_size=20), st.sampled_from(list(State)))
def test_a_withdrawal_shuts_from_any_state_whatever_else_is_told(told: list[Told], state: State) -> None:
    scene = took_back(at=1)(QUIET)
    for second, fact in enumerate(told):
        scene = fact(scene)
        state = step(state, scene.facts, scene.around, t(second)).state
        assert state not in (State.KEEPING, State.PAUSED, State.ASKING, State.ARRIVED, State.FAILED)
