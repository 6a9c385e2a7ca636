"""Posted facts: what can be read becomes a fact, what cannot changes nothing, and a withdrawal always counts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dialogue import POLICY, PROMPT_MS
from mitschnitt.core.consent import ActKind
from mitschnitt.core.gate import CallFacts
from mitschnitt.errors import PeerError
from mitschnitt.recorder.posted import asserted, said_at, with_posted
from recorder_stage import act, asked

NOW = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)


def test_questions_and_acts_are_laid_to_our_name_of_the_party() -> None:
    facts = with_posted(CallFacts(), "asked", asked("guest"), {"guest": "third-1"}, now=NOW)
    facts = with_posted(facts, "act", act("1", 5, party="guest"), {"guest": "third-1"}, now=NOW)
    assert [item.party for item in facts.asked] == [item.party for item in facts.acts] == ["third-1"]


def test_what_is_no_fact_of_ours_changes_nothing() -> None:
    assert with_posted(CallFacts(), "weather", {"party": "caller"}, {}, now=NOW) == CallFacts()


@pytest.mark.parametrize("kind", ["asked", "act"])
def test_a_broken_fact_is_an_error(kind: str) -> None:
    with pytest.raises(PeerError):
        with_posted(CallFacts(), kind, {"party": "caller"}, {}, now=NOW)


@pytest.mark.parametrize("data", [{}, {"kind": "withdraw"}, {"kind": "withdraw", "at": 7}])
def test_a_withdrawal_counts_however_badly_it_is_told(data: dict[str, Any]) -> None:
    facts = with_posted(CallFacts(), "withdraw", data, {}, now=NOW)
    assert [(item.kind, item.at) for item in facts.acts] == [(ActKind.WITHDRAW, NOW)]


def test_an_asserted_question_was_whole_and_ended_now() -> None:
    told = asserted(POLICY, NOW)
    assert (told.party, told.ended_at, told.complete) == ("caller", NOW, True)
    assert told.ended_at - told.started_at == timedelta(milliseconds=PROMPT_MS)


@pytest.mark.parametrize(
    "at, said",
    [
        ("2026-11-23T09:59:00Z", NOW - timedelta(minutes=1)),
        ("2026-11-23T10:01:00Z", NOW),
        ("2026-11-23T09:59:00", NOW),
        (None, NOW),
    ],
)
def test_a_fact_was_true_when_it_says_unless_that_lies_ahead_or_is_unclear(at: str | None, said: datetime) -> None:
    assert said_at({"at": at}, NOW) == said
