"""What a caller is told: the draw and own acts; whoever else said no, and whatever failed, is one and the same rule."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from dialogue import POLICY, PROMPT_MS, PROMPT_SHA256, START
from mitschnitt.core.consent import Act, ActKind, Asked
from mitschnitt.core.decision import Decision, Verdict
from mitschnitt.core.gate import CallFacts
from mitschnitt.core.silence import (
    MAX_TOLD_ACTS,
    MAX_TOLD_QUESTIONS,
    lost_page,
    rule_for_caller,
    told_to_agents,
    told_to_caller,
)

ASKED = Asked(
    "caller",
    "ask-training",
    PROMPT_SHA256,
    "de",
    START,
    START + timedelta(milliseconds=PROMPT_MS),
    PROMPT_MS,
    PROMPT_MS,
)
LATER = START + timedelta(milliseconds=PROMPT_MS + 1_000)
YES, NO = (Act("caller", ActKind.DIGIT, value, LATER) for value in (POLICY.yes, POLICY.no))
BACK = Act("caller", ActKind.WITHDRAW, "", LATER)
OF_OTHERS = (
    Decision(Verdict.REFUSE, "consent.agent.none", "agent"),
    Decision(Verdict.REFUSE, "consent.agent.unknown", "agent"),
    Decision(Verdict.WITHDRAW, "consent.agent.withdrawn", "agent"),
    Decision(Verdict.REFUSE, "consent.third.refused", "third-1"),
    Decision(Verdict.WITHDRAW, "consent.withdrawn", "agent"),
    Decision(Verdict.EXCLUDE, "binding.missing"),
    Decision(Verdict.EXCLUDE, "call.empty"),
    Decision(Verdict.FAIL, "vault.no_space"),
    Decision(Verdict.EXCLUDE, "keys.none"),
)
UNDRAWN = Decision(Verdict.EXCLUDE, "draw.not_drawn")


def facts(*acts: Act, asked: tuple[Asked, ...] = (ASKED,)) -> CallFacts:
    return CallFacts(asked=asked, acts=acts)


@pytest.mark.parametrize("decision", OF_OTHERS, ids=lambda decision: decision.rule)
def test_whoever_else_is_the_reason_a_caller_reads_one_page(decision: Decision) -> None:
    told = told_to_caller("not_kept", decision, facts(YES), POLICY, {}, now=START)
    assert told == told_to_caller("not_kept", OF_OTHERS[0], facts(YES), POLICY, {}, now=START)
    assert told["rule"] == "consent.others"


@pytest.mark.parametrize("decision", [*OF_OTHERS, Decision(Verdict.REFUSE, "consent.caller.refused", "caller")])
@pytest.mark.parametrize(
    "known, rule",
    [
        (facts(NO), "consent.caller.refused"),
        (facts(YES, NO), "consent.caller.refused"),
        (facts(), "consent.caller.silent"),
        (facts(BACK), "consent.withdrawn"),
        (facts(asked=()), "consent.caller.waiting"),
    ],
)
def test_the_own_answer_goes_before_what_others_said(decision: Decision, known: CallFacts, rule: str) -> None:
    assert rule_for_caller("not_kept", decision, known, POLICY) == rule


def test_a_question_that_was_cut_is_the_callers_to_know() -> None:
    cut = facts(asked=(Asked("caller", "ask-training", PROMPT_SHA256, "de", START, LATER, 1, PROMPT_MS),))
    assert rule_for_caller("not_kept", OF_OTHERS[0], cut, POLICY) == "consent.caller.prompt.cut"


@pytest.mark.parametrize(
    "rule, told",
    [
        ("draw.not_drawn", "draw.not_drawn"),
        ("draw.excluded", "draw.excluded"),
        ("draw.beacon.missing", "draw.beacon.missing"),
        ("draw.cap.agent_week", "draw.cap"),
        ("draw.cap.agent_share", "draw.cap"),
        ("draw.cap.share", "draw.cap"),
    ],
)
def test_of_the_draw_a_caller_knows_all_but_which_cap_was_reached(rule: str, told: str) -> None:
    assert rule_for_caller("not_kept", Decision(Verdict.EXCLUDE, rule), facts(asked=()), POLICY) == told


@pytest.mark.parametrize("decision", [Decision(Verdict.OPEN, "consent.all"), *OF_OTHERS])
def test_a_kept_call_is_kept_whatever_decided_last(decision: Decision) -> None:
    assert rule_for_caller("kept", decision, facts(YES), POLICY) == "consent.all"


def test_a_caller_reads_own_answers_only_and_the_newest_of_many() -> None:
    others = [Act("agent", ActKind.PAUSE, "", LATER), Act("third-1", ActKind.DIGIT, POLICY.no, LATER)]
    stray = Act("caller", ActKind.DIGIT, "7", LATER)
    many = [Act("caller", ActKind.PAUSE, "", LATER)] * MAX_TOLD_ACTS
    told = told_to_caller("not_kept", OF_OTHERS[0], facts(*others, stray, YES, *many, BACK), POLICY, {}, now=START)
    assert [act["what"] for act in told["acts"]] == ["pause"] * (MAX_TOLD_ACTS - 1) + ["withdraw"]
    told = told_to_caller("not_kept", OF_OTHERS[0], facts(*others, stray, YES), POLICY, {}, now=START)
    assert told["acts"] == [{"what": "yes", "at": "2026-11-23T09:30:05Z"}]
    asked = told_to_caller("kept", OF_OTHERS[0], facts(asked=(ASKED,) * 5), POLICY, {}, now=START)["asked"]
    assert asked == [{"at": "2026-11-23T09:30:04Z", "whole": True}] * MAX_TOLD_QUESTIONS


def test_without_a_policy_nothing_is_guessed() -> None:
    told = told_to_caller("not_kept", OF_OTHERS[0], facts(YES), None, {}, now=START)
    assert (told["rule"], told["policy"], told["acts"]) == ("consent.caller.waiting", "", [])
    assert told_to_agents("kept", None, now=START)["policy"] == ""
    assert lost_page()["outcome"] == ""


def test_of_an_undrawn_call_nothing_that_others_did_shows() -> None:
    others = facts(Act("agent", ActKind.WITHDRAW, "", LATER), Act("agent", ActKind.DIGIT, POLICY.no, LATER), asked=())
    assert told_to_caller("not_kept", UNDRAWN, others, POLICY, {}, now=START) == told_to_caller(
        "not_kept", UNDRAWN, facts(asked=()), POLICY, {}, now=START
    )


def test_an_agent_reads_that_a_call_is_kept_and_under_which_policy() -> None:
    assert told_to_agents("kept", POLICY, now=START) == {
        "v": 1,
        "outcome": "kept",
        "rule": "consent.all",
        "policy": POLICY.hash,
        "purpose": POLICY.purpose,
        "due_at": "2026-12-23T09:30:00Z",
    }
    assert told_to_agents("not_kept", POLICY, now=START)["due_at"] == ""


def test_the_longest_page_fits() -> None:
    acts = [Act("caller", ActKind.WITHDRAW, "", LATER)] * 9
    draw = {"day": "2026-11-26", "id": "ab" * 16, "drawn": False}
    told = told_to_caller("not_kept", OF_OTHERS[0], facts(*acts, asked=(ASKED,) * 9), POLICY, draw, now=START)
    longest = {**told, "purpose": "p" * 64, "rule": "consent.caller.prompt.unknown"}
    assert len(json.dumps(longest)) < 1_024
