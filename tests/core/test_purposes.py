"""What a call may be used for beside the first purpose: only what every party agreed to, each purpose by a question."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import pytest

from dialogue import AGENT, CALLER, JENS, POLICY_TEXT, PROMPT_MS, PROMPT_SHA256, START, THIRD, grant, t
from mitschnitt.core.consent import Act, ActKind, Asked, StandingGrant, spoken_consent
from mitschnitt.core.gate import CallFacts, Party, State
from mitschnitt.core.policy_text import parse_policy
from mitschnitt.core.purpose import DISPUTE, OBLIGATION, TRAINING, Purpose
from mitschnitt.core.purposes import agreed_also, awaits_further, further_questions
from mitschnitt.core.view import View

DISPUTE_SHA256 = "d1" * 32
FURTHER = f"""
[[purpose]]
id = "dispute"
retention = "P10D"
roles = ["officer"]

[[prompt]]
name = "ask-dispute"
language = "de"
purpose = "dispute"
sha256 = "{DISPUTE_SHA256}"
length_ms = {PROMPT_MS}
"""
TEXT = POLICY_TEXT + FURTHER.encode()
POLICY = parse_policy(TEXT)
NOW = t(60)


def asked(purpose: Purpose, at: float, *, party: str = "caller", played_ms: int = PROMPT_MS) -> Asked:
    """The question for a purpose, begun at this second and four seconds long."""
    name, sha256 = {TRAINING: ("ask-training", PROMPT_SHA256), DISPUTE: ("ask-dispute", DISPUTE_SHA256)}[purpose]
    return Asked(party, name, sha256, "de", t(at), t(at + 4), played_ms, PROMPT_MS)


def pressed(value: str, at: float, *, party: str = "caller") -> Act:
    return Act(party, ActKind.DIGIT, value, t(at))


def said(*acts: Act, questions: tuple[Asked, ...] = (asked(TRAINING, 0), asked(DISPUTE, 8))) -> Mapping[Purpose, str]:
    """By purpose: the rule of what the caller answered."""
    answers = {one: spoken_consent("caller", questions, acts, POLICY, NOW, purpose=one) for one in (TRAINING, DISPUTE)}
    return {one: answer.rule.removeprefix("consent.").removeprefix("caller.") for one, answer in answers.items()}


@pytest.mark.parametrize(
    "acts, training, dispute",
    [
        ((("1", 6), ("1", 14)), "given", "given"),
        ((("1", 6), ("2", 14)), "given", "refused"),
        ((("2", 6), ("1", 14)), "refused", "given"),
        ((("1", 14),), "silent", "given"),  # within twelve seconds of both questions: it answers the second
        ((("2", 14),), "silent", "refused"),
        ((("1", 6),), "given", "silent"),
        ((("1", 9),), "silent", "silent"),  # while the second is asked: whichever was meant is not certain
        ((("1", 6), ("2", 9)), "refused", "silent"),  # and a no counts where it may have been meant
        ((("2", 9), ("1", 14)), "refused", "given"),  # the no was for the first: the second was not at its end
        ((("1", 6), ("1", 8)), "given", "silent"),
        ((("1", 8),), "silent", "silent"),
        ((("1", 12), ("1", 12)), "silent", "given"),
        ((), "silent", "silent"),
    ],
)
def test_an_answer_belongs_to_the_question_before_it(
    acts: tuple[tuple[str, float], ...], training: str, dispute: str
) -> None:
    assert said(*(pressed(value, at) for value, at in acts)) == {TRAINING: training, DISPUTE: dispute}


def test_a_question_that_was_cut_asks_for_nothing_and_takes_no_yes_from_the_one_before_away_once_it_was_given() -> None:
    questions = (asked(TRAINING, 0), asked(DISPUTE, 8, played_ms=1_000))
    assert said(pressed("1", 6), questions=questions) == {TRAINING: "given", DISPUTE: "prompt.cut"}
    assert said(pressed("1", 14), questions=questions) == {TRAINING: "silent", DISPUTE: "prompt.cut"}


def test_two_questions_at_one_time_get_no_yes() -> None:
    questions = (asked(TRAINING, 0), asked(DISPUTE, 0))
    assert said(pressed("1", 6), questions=questions) == {TRAINING: "silent", DISPUTE: "silent"}
    assert said(pressed("2", 6), questions=questions) == {TRAINING: "refused", DISPUTE: "refused"}


def test_what_another_party_is_asked_and_answers_changes_nothing() -> None:
    questions = (asked(TRAINING, 0), asked(DISPUTE, 4, party="third-1"))
    assert said(pressed("1", 10), pressed("2", 10, party="third-1"), questions=questions)[TRAINING] == "given"


def test_a_question_of_somebody_else_asks_for_nothing() -> None:
    strange = replace(asked(DISPUTE, 8), sha256="ee" * 32)
    assert said(pressed("1", 14), questions=(asked(TRAINING, 0), strange)) == {
        TRAINING: "given",
        DISPUTE: "prompt.unknown",
    }


# --- what is asked, and when a key can answer it -------------------------------------------------------

EXAM = b"""
[[purpose]]
id = "exam"
retention = "P10D"

[[prompt]]
name = "ask-exam"
language = "en"
purpose = "exam"
sha256 = "e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1"
length_ms = 3000
"""


def to_ask(text: bytes, language: str = "") -> list[str]:
    return [f"{prompt.name}.{prompt.language}" for prompt in further_questions(parse_policy(text), language)]


def test_each_further_purpose_is_one_question_in_the_order_of_the_policy() -> None:
    assert to_ask(POLICY_TEXT) == []
    assert to_ask(TEXT) == ["ask-dispute.de"]
    assert to_ask(TEXT + EXAM) == ["ask-dispute.de", "ask-exam.en"]


def test_it_is_put_in_the_callers_language_else_in_the_policys_own() -> None:
    english = FURTHER.split("[[prompt]]")[1].replace('"de"', '"en"').replace(DISPUTE_SHA256, "d2" * 32)
    both = TEXT + f"[[prompt]]{english}".encode()
    assert (to_ask(both, "en"), to_ask(both, "fr")) == (["ask-dispute.en"], ["ask-dispute.de"])


@pytest.mark.parametrize(
    "more, purpose",
    [
        ('caller = "legitimate_interest"', "dispute"),
        ('agent = "legitimate_interest"', "dispute"),
        ("", "obligation"),
    ],
)
def test_nobody_is_asked_for_what_no_yes_could_allow(more: str, purpose: str) -> None:
    text = FURTHER.replace('retention = "P10D"', f'retention = "P10D"\n{more}').replace('= "dispute"', f'= "{purpose}"')
    assert to_ask(POLICY_TEXT + text.encode()) == []


def test_a_recording_that_a_law_demands_has_no_further_question() -> None:
    demanded = TEXT.replace(b'"training"', b'"obligation"')
    assert parse_policy(demanded).purpose == OBLIGATION
    assert to_ask(demanded) == []


FACTS = CallFacts(parties=(CALLER, AGENT), asked=(asked(TRAINING, 0), asked(DISPUTE, 8)))


@pytest.mark.parametrize(
    "at, awaited",
    [(6, False), (11.9, False), (12, True), (24, True), (24.1, False)],  # asked for from 8 to 12, then twelve seconds
)
def test_a_key_answers_a_further_question_in_its_window_only(at: float, awaited: bool) -> None:
    assert awaits_further(State.KEEPING, FACTS, POLICY, "caller", t(at)) is awaited


def test_a_key_answers_nothing_where_nothing_further_was_asked_of_this_party() -> None:
    def awaits(facts: CallFacts, *, state: State = State.KEEPING, party: str = "caller") -> bool:
        return awaits_further(state, facts, POLICY, party, t(14))

    assert awaits(FACTS)
    assert not awaits(FACTS, party="agent")
    assert not any(awaits(FACTS, state=state) for state in State if state is not State.KEEPING)
    for question in (
        asked(TRAINING, 8),
        asked(DISPUTE, 8, played_ms=1_000),
        replace(asked(DISPUTE, 8), sha256="0" * 64),
    ):
        assert not awaits(CallFacts(parties=(CALLER, AGENT), asked=(asked(TRAINING, 0), question)))


# --- at the end of a call -----------------------------------------------------------------------------

DISPUTE_TOO = replace(grant(), purpose=DISPUTE)
ASKED = (asked(TRAINING, 0), asked(DISPUTE, 8))
BOTH = (pressed("1", 6), pressed("1", 14))


def agreed(
    *parties: Party,
    acts: tuple[Act, ...] = BOTH,
    questions: tuple[Asked, ...] = ASKED,
    grants: tuple[StandingGrant, ...] = (grant(), DISPUTE_TOO),
    policy: bytes = TEXT,
) -> tuple[Purpose, ...]:
    view = View(1, parse_policy(policy), policy, (JENS,), grants, bytes(range(32)))
    return agreed_also(CallFacts(unbound="", parties=parties, asked=questions, acts=acts), view, NOW)


def test_what_caller_and_agent_agreed_to_is_agreed() -> None:
    assert agreed(CALLER, AGENT) == (DISPUTE,)


@pytest.mark.parametrize(
    "what",
    [
        {"grants": (grant(),)},
        {"grants": (grant(), replace(DISPUTE_TOO, withdrawn_at=START))},
        {"grants": (grant(), replace(DISPUTE_TOO, expires_at=NOW))},
        {"acts": BOTH[:1]},
        {"acts": (BOTH[0], pressed("2", 14))},
        {"acts": (*BOTH, Act("agent", ActKind.WITHDRAW, "", t(30)))},
        {"questions": ASKED[:1]},
        {"policy": POLICY_TEXT},
    ],
)
def test_whatever_is_missing_of_any_party_is_missing_of_all(what: Mapping[str, object]) -> None:
    assert agreed(CALLER, AGENT, **what) == ()  # type: ignore[arg-type]  # one mapping of several kinds


def test_whoever_was_on_the_line_at_any_time_must_have_agreed() -> None:
    gone = replace(THIRD, present=False)
    assert agreed(CALLER, AGENT, gone) == ()
    answered = (asked(DISPUTE, 20, party=THIRD.name), pressed("1", 26, party=THIRD.name))
    assert agreed(CALLER, AGENT, gone, questions=(*ASKED, answered[0]), acts=(*BOTH, answered[1])) == (DISPUTE,)


def test_nobody_and_nothing_agreed_to_nothing() -> None:
    assert agreed() == ()
    assert agreed_also(CallFacts(parties=(CALLER, AGENT), asked=ASKED, acts=BOTH), None, NOW) == ()


@pytest.mark.parametrize("law", [OBLIGATION])
def test_what_a_law_demands_is_nothing_that_anybody_agrees_to(law: Purpose) -> None:
    demanded = TEXT.replace(b'id = "dispute"', f'id = "{law}"'.encode()).replace(
        b'purpose = "dispute"', f'purpose = "{law}"'.encode()
    )
    grants = (grant(), replace(DISPUTE_TOO, purpose=law))
    assert spoken_consent("caller", ASKED, BOTH, parse_policy(demanded), NOW, purpose=law).rule == "consent.given"
    assert agreed(CALLER, AGENT, grants=grants, policy=demanded) == ()


def test_a_grant_to_a_notice_of_former_times_is_none() -> None:
    noticed = TEXT.replace(b'retention = "P10D"', b'retention = "P10D"\nnotice = "dispute-2"')
    assert agreed(CALLER, AGENT, policy=noticed) == ()
    renewed = replace(DISPUTE_TOO, notice="dispute-2", granted_at=START - timedelta(minutes=1))
    assert agreed(CALLER, AGENT, policy=noticed, grants=(grant(), renewed)) == (DISPUTE,)
