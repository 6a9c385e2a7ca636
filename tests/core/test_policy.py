"""What a policy answers once it is read: prompts, languages, ends of retention."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from dialogue import POLICY, POLICY_TEXT, PROMPT_MS, PROMPT_SHA256
from mitschnitt.core.durations import Duration
from mitschnitt.core.policy import SLACK_MS
from mitschnitt.core.policy_text import parse_policy
from mitschnitt.core.purpose import TRAINING, Purpose

DISPUTE = b"""
[[purpose]]
id = "dispute"
retention = "P90D"
[[prompt]]
name = "ask-dispute"
language = "de"
sha256 = "dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"
length_ms = 5000
purpose = "dispute"
"""


def test_only_exactly_our_prompt_is_known() -> None:
    assert POLICY.knows_prompt("ask-training", PROMPT_SHA256, PROMPT_MS)
    assert not POLICY.knows_prompt("ask", PROMPT_SHA256, PROMPT_MS)
    assert not POLICY.knows_prompt("ask-training", "00" * 32, PROMPT_MS)


def test_a_length_may_differ_by_two_packets_and_no_more() -> None:
    assert POLICY.knows_prompt("ask-training", PROMPT_SHA256, PROMPT_MS - SLACK_MS)
    assert not POLICY.knows_prompt("ask-training", PROMPT_SHA256, PROMPT_MS - SLACK_MS - 1)


def test_a_question_after_something_else_is_no_question_after_the_recording() -> None:
    policy, dispute = parse_policy(POLICY_TEXT + DISPUTE), Purpose("dispute")
    assert policy.knows_prompt("ask-dispute", "d" * 64, 5_000, purpose=dispute)
    assert not policy.knows_prompt("ask-dispute", "d" * 64, 5_000)
    assert not policy.knows_prompt("ask-training", PROMPT_SHA256, PROMPT_MS, purpose=dispute)


def test_the_prompt_is_in_the_callers_language_or_in_the_policys() -> None:
    english = f'\n[[prompt]]\nname = "ask-en"\nlanguage = "en"\nsha256 = "{"ab" * 32}"\nlength_ms = 3000\n'
    policy = parse_policy(POLICY_TEXT + english.encode())
    assert policy.prompt_for("en").name == "ask-en"
    assert policy.prompt_for("fr").name == "ask-training"


def test_nobody_is_asked_with_the_question_of_another_purpose() -> None:
    english = DISPUTE.replace(b'language = "de"', b'language = "en"')
    policy = parse_policy(POLICY_TEXT + english)
    assert policy.prompt_for("en").purpose == TRAINING


def test_what_is_kept_is_due_after_the_retention_of_the_purpose_that_records() -> None:
    kept_at = datetime(2026, 1, 31, 9, tzinfo=UTC)
    assert POLICY.due_at(kept_at) == datetime(2026, 3, 2, 9, tzinfo=UTC)
    rule = replace(POLICY.purposes[TRAINING], retention=Duration(months=1))
    other = replace(POLICY, purposes={TRAINING: rule})
    assert other.due_at(kept_at) == datetime(2026, 2, 28, 9, tzinfo=UTC)
