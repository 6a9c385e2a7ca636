"""What is told to ask is what the policy says: one question after the recording, one for each further purpose."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from keeper.drawing_site import announce, keeper_of, one_day
from keeper.site_on_disk import ANNAS_KEY, POLICY, PROMPT_SHA256, make_site
from mitschnitt.core.consent import StandingGrant
from mitschnitt.core.draw import Told
from mitschnitt.core.policy_text import parse_policy
from mitschnitt.core.purpose import Purpose
from mitschnitt.core.view import View
from mitschnitt.keeper.grants import sign_grant
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


def test_only_who_is_asked_at_all_is_asked_further_and_no_agents_answer_shows_in_it(tmp_path: Path) -> None:
    async def scene() -> None:
        await keeper.renew_draw()
        asked = await announce(keeper, 1, "anna")
        assert asked["ask"]["prompt"] == "ask-training"
        assert [one["purpose"] for one in asked["further"]] == ["onboarding"]
        assert (await announce(keeper, 2, None))["further"] == asked["further"]
        none = await announce(keeper, 3, "ben")
        assert (none["ask"], none["further"]) == (None, [])
        at = datetime.now(UTC)
        given = StandingGrant("anna", Purpose("onboarding"), at, at + timedelta(days=9), "")
        await keeper.import_grant(sign_grant(given, ANNAS_KEY))
        assert (await announce(keeper, 4, "anna"))["further"] == asked["further"]

    with keeper_of(make_site(tmp_path, policy=POLICY + FURTHER)) as (keeper, _):
        asyncio.run(scene())


def test_a_call_is_asked_by_the_policy_that_drew_it_also_when_another_begins_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Midnight may pass while the database writes the draw down; what the next policy asks, this call does not know."""

    async def scene() -> None:
        await keeper.renew_draw()
        announced = keeper.drawing.draws.announced
        later = parse_policy((POLICY.replace("ask-training", "ask-later") + FURTHER).encode())

        async def at_midnight(view: View, **call: Any) -> Told:
            told = await announced(view, **call)
            keeper.view = replace(keeper.view, policy=later)
            return told

        monkeypatch.setattr(keeper.drawing.draws, "announced", at_midnight)
        asked = await announce(keeper, 1, "anna")
        assert (asked["ask"]["prompt"], asked["further"]) == ("ask-training", [])
        assert keeper.view.policy == later

    one_day()
    with keeper_of(make_site(tmp_path)) as (keeper, _):
        asyncio.run(scene())
