"""What is told to ask is what the policy says: one question after the recording, one for each further purpose."""

from __future__ import annotations

from keeper.site_on_disk import POLICY, PROMPT_SHA256
from mitschnitt.core.policy_text import parse_policy
from mitschnitt.keeper.questions import further, question

FURTHER = """
[[purpose]]
id = "onboarding"
retention = "P10D"
roles = ["coach"]
[[prompt]]
name = "ask-onboarding"
language = "de"
purpose = "onboarding"
sha256 = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
length_ms = 5000
"""
DIGITS = {"yes": "1", "no": "2", "window_s": 12}


def test_the_question_after_the_recording_and_how_it_is_answered() -> None:
    asked = {"prompt": "ask-training", "language": "de", "sha256": PROMPT_SHA256, "length_ms": 4_000, **DIGITS}
    assert question(parse_policy(POLICY.encode()), "de") == asked


def test_a_further_question_names_its_purpose() -> None:
    assert further(parse_policy(POLICY.encode()), "de") == []
    asked = {"prompt": "ask-onboarding", "language": "de", "sha256": "b" * 64, "length_ms": 5_000, **DIGITS}
    assert further(parse_policy((POLICY + FURTHER).encode()), "en") == [{"purpose": "onboarding", **asked}]
