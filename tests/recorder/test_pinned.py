"""A call keeps the policy that it began with, whatever comes into force meanwhile."""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from dialogue import POLICY, POLICY_TEXT, grant, view_with
from mitschnitt.core.gate import State, Surroundings
from mitschnitt.core.policy_text import parse_policy
from mitschnitt.core.view import View
from mitschnitt.recorder.pinned import UNKNOWN, Pinned
from recorder_stage import Stage, act, asked, joined, over, play, state_of

LATER_TEXT = POLICY_TEXT.replace(b'yes = "1"', b'yes = "3"')
LATER = parse_policy(LATER_TEXT)


def later(view: View) -> View:
    """The same world under the policy that comes next."""
    return replace(view, version=view.version + 1, policy=LATER, policy_text=LATER_TEXT)


class Around:
    """The recorder's surroundings, which change."""

    def __init__(self, view: View | None) -> None:
        self.view = view

    def __call__(self) -> Surroundings:
        return Surroundings(self.view, timedelta(seconds=1), hindrance="store.locked")


def policy_of(pinned: Pinned) -> str:
    view = pinned().view
    assert view is not None
    return view.policy.hash


def test_before_the_call_begins_the_newest_policy_holds() -> None:
    around = Around(view_with(grant()))
    pinned = Pinned(around)
    assert pinned.policy is None
    assert policy_of(pinned) == POLICY.hash
    around.view = later(view_with())
    assert policy_of(pinned) == LATER.hash


@pytest.mark.parametrize("told", [{}, {"policy": POLICY.hash}])
def test_from_then_on_its_own_holds_and_all_else_is_the_newest(told: dict[str, str]) -> None:
    around = Around(view_with())
    pinned = Pinned(around)
    assert pinned.begin(told) == ""
    around.view = later(view_with(grant()))
    assert pinned.policy == POLICY
    found = pinned()
    assert found.view is not None
    assert (found.view.policy, found.view.policy_text) == (POLICY, POLICY_TEXT)
    assert (found.view.grants, found.hindrance) == ((grant(),), "store.locked")
    assert pinned().view is found.view
    around.view = view_with(version=3)
    assert pinned().view is around.view
    around.view = None
    assert pinned().view is None


def test_a_call_that_was_asked_by_a_policy_that_is_over_has_its_text_told() -> None:
    around = Around(later(view_with()))
    pinned = Pinned(around)
    text = base64.b64encode(POLICY_TEXT).decode()
    assert pinned.begin({"policy": POLICY.hash, "policy_text": text}) == ""
    assert policy_of(pinned) == POLICY.hash


@pytest.mark.parametrize("text", [None, 7, "?", "eA==", base64.b64encode(LATER_TEXT).decode()])
def test_a_policy_that_is_not_known_is_not_guessed(text: object) -> None:
    pinned = Pinned(Around(view_with()))
    assert pinned.begin({"policy": "0" * 64, "policy_text": text}) == UNKNOWN
    assert policy_of(pinned) == POLICY.hash


def test_without_a_view_the_first_that_comes_is_the_calls() -> None:
    around = Around(None)
    pinned = Pinned(around)
    assert pinned.begin({"policy": POLICY.hash}) == ""
    assert pinned().view is None
    around.view = later(view_with())
    assert policy_of(pinned) == LATER.hash
    around.view = view_with()
    assert policy_of(pinned) == LATER.hash


def test_a_call_over_midnight_is_judged_kept_and_told_by_the_policy_it_began_with(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        session = stage.session()
        stage.link.answer({**joined(asked=[asked()]), "policy": POLICY.hash})
        assert stage.view is not None
        stage.view = later(stage.view)
        stage.seconds = 6.0
        session.post("act", act("1", 5.5))  # yes is 3 by now, for calls that begin now
        assert state_of(session) is State.KEEPING
        told = await over(stage, session, "arrived", "track", "track", "sealed", "sealed", "closed")
        assert told["policy"] == POLICY.hash
        assert stage.entries()[0].data["policy"] == POLICY.hash

    play(tmp_path, scene)


def test_a_call_that_begins_after_midnight_has_the_new_policy(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        assert stage.view is not None
        stage.view = later(stage.view)
        session = stage.session()
        stage.link.answer({**joined(asked=[asked()]), "policy": LATER.hash})
        stage.seconds = 6.0
        session.post("act", act("1", 5.5))
        assert state_of(session) is not State.KEEPING
        told = await over(stage, session, "arrived", "closed")
        assert told["policy"] == LATER.hash
        assert stage.entries()[0].data["policy"] == LATER.hash

    play(tmp_path, scene)


def test_a_call_of_a_policy_that_nobody_knows_is_not_asked(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        session = stage.session()
        stage.link.answer({**joined(asked=[asked()]), "policy": "0" * 64})
        assert state_of(session) is State.NOT_ASKED
        assert session.decision.rule == UNKNOWN
        await over(stage, session, "arrived", "closed")

    play(tmp_path, scene)
