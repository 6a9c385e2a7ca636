"""Decisions carry the rule that made them and cannot be changed afterwards."""

from __future__ import annotations

import dataclasses

import pytest

from mitschnitt.core.decision import Decision, Verdict


def test_a_decision_is_about_the_call_unless_it_names_a_party() -> None:
    assert Decision(Verdict.OPEN, "consent.all").party == ""
    assert Decision(Verdict.REFUSE, "consent.caller.refused", "caller").party == "caller"


def test_a_decision_cannot_be_changed() -> None:
    decision = Decision(Verdict.REFUSE, "consent.caller.refused")
    with pytest.raises(dataclasses.FrozenInstanceError):
        decision.verdict = Verdict.OPEN  # type: ignore[misc]  # that is what must fail


def test_there_is_no_decision_without_a_rule() -> None:
    with pytest.raises(TypeError, match="rule"):
        Decision(Verdict.OPEN)  # type: ignore[call-arg]  # that is what must fail


def test_one_verdict_opens_and_six_do_not() -> None:
    assert [verdict.value for verdict in Verdict] == [
        "open",
        "wait",
        "refuse",
        "exclude",
        "pause",
        "withdraw",
        "fail",
    ]
