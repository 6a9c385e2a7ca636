"""Scenarios and the course of a call are tables; these tests walk every row."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitschnitt.errors import ConfigError
from mitschnitt.gateways import scenarios
from mitschnitt.gateways.scenarios import PLANS, TRANSITIONS, Action, Do, Event, Scenario, State


def test_every_scenario_has_a_plan_and_the_shares_make_fifty() -> None:
    assert set(PLANS) == set(Scenario)
    assert sum(plan.of_fifty for plan in PLANS.values()) == 50
    assert min(plan.of_fifty for plan in PLANS.values()) >= 2


def test_steps_come_in_order_of_time() -> None:
    for plan in PLANS.values():
        assert [step.after for step in plan.steps] == sorted(step.after for step in plan.steps)


def test_only_who_says_yes_to_the_recording_answers_further_questions() -> None:
    agreeing = {scenario for scenario, plan in PLANS.items() if plan.agrees}
    assert agreeing == set(Scenario) - {Scenario.REFUSED_BY_ACT, Scenario.REFUSED_BY_DIGIT, Scenario.SILENT}
    assert {scenario for scenario, plan in PLANS.items() if plan.further[0] is not Do.NOTHING} <= agreeing


def test_a_further_question_is_played_as_the_first_one_was() -> None:
    assert TRANSITIONS[State.ANSWERING, Event.FURTHER_QUESTION] == (State.ASKING, (Action.PLAY_QUESTION,))


def test_nothing_is_pressed_while_paused_for_it_could_not_be_heard() -> None:
    pause, resume = PLANS[Scenario.PAUSED].steps
    assert (pause.do, pause.value) == (Do.PRESS, "*0")
    assert resume.do is Do.POST


def course(*events: Event) -> list[Action]:
    state = State.ARRIVED
    done: list[Action] = []
    for event in events:
        state, actions = TRANSITIONS[(state, event)]
        done += actions
    assert state is State.ENDED
    return done


def test_a_call_that_is_asked_hears_the_question_before_it_may_answer() -> None:
    actions = course(
        Event.CALL_CAME,
        Event.ASK_GIVEN,
        Event.QUESTION_ENDED,
        Event.CALLER_ANSWERED,
        Event.AGENT_ANSWERED,
        Event.STEP_DUE,
        Event.TALK_ENDED,
    )
    assert actions == list(Action)


def test_a_call_that_is_not_to_be_asked_is_connected_all_the_same() -> None:
    actions = course(Event.CALL_CAME, Event.NOT_TO_BE_ASKED, Event.AGENT_ANSWERED, Event.TALK_ENDED)
    assert actions == [Action.ANNOUNCE, Action.DIAL, Action.CONNECT, Action.TALK, Action.HANG_UP]


def test_every_state_is_reached_and_stopping_ends_it() -> None:
    assert {target for target, _ in TRANSITIONS.values()} == set(State) - {State.ARRIVED}
    for state in set(State) - {State.ENDED}:
        assert TRANSITIONS[(state, Event.STOPPED)] == (State.ENDED, (Action.HANG_UP,))


def test_the_default_mix_deals_fifty_calls_by_the_table() -> None:
    dealt = Counter(scenarios.deal(scenarios.parse_mix("default"), 50))
    assert dealt == {scenario: plan.of_fifty for scenario, plan in PLANS.items()}


@given(st.integers(1, 300))
def test_any_number_of_calls_is_dealt_within_one_of_its_share(calls: int) -> None:
    shares = scenarios.parse_mix("default")
    dealt = scenarios.deal(shares, calls)
    assert len(dealt) == calls
    assert all(abs(dealt.count(name) - calls * share / 50) < 1 for name, share in shares.items())


def test_kinds_are_spread_over_the_whole_run() -> None:
    dealt = scenarios.deal({Scenario.SILENT: 1, Scenario.PAUSED: 1}, 10)
    assert dealt[:5].count(Scenario.SILENT) in (2, 3)


def test_a_mix_names_scenarios_and_shares() -> None:
    assert scenarios.parse_mix("silent") == {Scenario.SILENT: 1}
    assert scenarios.parse_mix("silent=2, withdrew=3") == {Scenario.SILENT: 2, Scenario.WITHDREW: 3}


@pytest.mark.parametrize("text", ["", "happy", "silent=x", "silent=0", "silent=-1,withdrew=2"])
def test_a_mix_that_says_nothing_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="mix "):
        scenarios.parse_mix(text)
