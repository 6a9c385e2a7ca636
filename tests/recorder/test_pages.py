"""Who may read what of a call at its end: the caller always, agents of kept calls, and nobody else."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import pytest

from dialogue import JENS, START, view_with
from mitschnitt.core.consent import Role
from mitschnitt.core.decision import Decision, Verdict
from mitschnitt.core.gate import CallFacts, Party
from mitschnitt.core.view import View
from mitschnitt.recorder.pages import Readers

KEY, OTHER = bytes([1]) * 32, bytes([2]) * 32
ALL, NONE = Decision(Verdict.OPEN, "consent.all"), Decision(Verdict.REFUSE, "consent.agent.none", "agent")
LINE = (Party("caller", Role.CALLER, 0), Party("agent", Role.AGENT, 1, JENS.id), Party("agent-2", Role.AGENT, 2, "two"))


def base(key: bytes) -> str:
    return base64.b64encode(key).decode()


def view(*keys: str) -> View:
    names = (JENS.id, "two")
    agents = tuple(replace(JENS, id=name, page_key=key) for name, key in zip(names, keys, strict=False))
    return replace(view_with(), agents=agents)


def readers(**told: Any) -> Readers:
    found = Readers()
    found.joined(told)
    return found


def by_person(found: Readers, outcome: str, decision: Decision, around: View | None) -> dict[str, tuple[bytes, ...]]:
    pages = found.at_end(outcome, decision, CallFacts(parties=LINE), around, START)
    return {page.person: page.readers for page in pages}


def test_the_caller_reads_whatever_became_of_the_call_and_agents_only_of_kept_ones() -> None:
    found = readers(page_key=base(KEY))
    assert by_person(found, "kept", ALL, view(base(OTHER))) == {"caller": (KEY,), "agent": (OTHER,)}
    assert by_person(found, "not_kept", NONE, view(base(OTHER))) == {"caller": (KEY,), "agent": ()}
    assert by_person(found, "kept", ALL, None) == {"caller": (KEY,), "agent": ()}


def test_every_agent_who_was_on_the_line_reads_once() -> None:
    found = readers()
    assert by_person(found, "kept", ALL, view(base(KEY), base(OTHER)))["agent"] == (KEY, OTHER)
    assert by_person(found, "kept", ALL, view(base(KEY), base(KEY)))["agent"] == (KEY,)
    assert by_person(found, "kept", ALL, view("", "?"))["agent"] == ()


@pytest.mark.parametrize("told", [{}, {"page_key": ""}, {"page_key": "?"}, {"page_key": 7}, {"draw": "x"}])
def test_of_a_call_that_nobody_announced_nobody_has_a_receipt(told: dict[str, Any]) -> None:
    assert by_person(readers(**told), "not_kept", NONE, view()) == {"caller": (), "agent": ()}


def test_at_arrival_the_caller_is_told_what_stays_if_nothing_more_comes() -> None:
    (page,) = readers(page_key=base(KEY)).at_arrival()
    assert (page.person, page.readers, page.told["rule"]) == ("caller", (KEY,), "recorder.lost")


def test_the_page_of_the_caller_has_the_draw_without_its_place_in_the_day() -> None:
    draw = {"day": "2026-11-26", "source": "keeper", "n": 7, "id": "ab" * 16, "drawn": True, "rule": "draw.drawn"}
    caller, _ = readers(draw=draw).at_end("kept", ALL, CallFacts(), view(), START)
    assert caller.told["draw"] == {"day": "2026-11-26", "id": "ab" * 16, "drawn": True}
