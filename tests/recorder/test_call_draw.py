"""The draw of one call: closed until it is told, closed without a unit, and its outcome without the call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from dialogue import JENS, view_with
from mitschnitt.core.draw import Told
from mitschnitt.core.view import View
from mitschnitt.recorder.call_draw import CallDraw
from mitschnitt.recorder.draws import Draws
from recorder_stage import DRAWN

VIEW = view_with()
NORA = "nora.feld"
NOW = datetime(2026, 11, 23, 11, tzinfo=UTC)


class PlayedDraws:
    """Says what the test lets it say; `write` makes what waits durable."""

    def __init__(self, **says: str) -> None:
        self.says = says
        self.asked: list[str] = []
        self._then: list[Callable[[], None]] = []

    def unit(self, _view: View, _told: Told, agent: str, then: Callable[[], None]) -> str:
        self.asked.append(agent)
        self._then.append(then)
        return self.says.get(agent.replace(".", "_"), "")

    def unmatched(self, _view: View, _agent: str | None, _now: datetime, then: Callable[[Told], None]) -> str:
        self._then.append(lambda: then(replace(DRAWN, source="recorder-1")))
        return "draw.waiting"

    def write(self) -> None:
        for then in self._then:
            then()
        self._then.clear()


def made(draws: PlayedDraws, told: Told | None = DRAWN) -> tuple[CallDraw, list[int]]:
    changes: list[int] = []
    draw = CallDraw(cast(Draws, draws), lambda: changes.append(1))
    if told is not None:
        draw.announced(told.to_json(), agent=None)
    return draw, changes


def test_until_anything_is_told_nobody_is_asked() -> None:
    draw, _ = made(PlayedDraws(), told=None)
    assert draw.undrawn(VIEW, [JENS.id]) == "draw.missing"
    assert draw.outcome("consent.all", kept=False) is None


@pytest.mark.parametrize("data", [None, {}, "x", {"drawn": True}, {**DRAWN.to_json(), "n": 0}])
def test_what_cannot_be_read_draws_nobody(data: object) -> None:
    draw, _ = made(PlayedDraws(), told=None)
    draw.announced(data, agent=JENS.id)
    assert draw.undrawn(VIEW, []) == "draw.missing"


def test_a_call_that_was_not_drawn_stays_closed_and_has_no_outcome() -> None:
    draws = PlayedDraws()
    draw, _ = made(draws, replace(DRAWN, drawn=False, rule="draw.not_drawn"))
    assert draw.undrawn(VIEW, [JENS.id]) == "draw.not_drawn"
    assert draws.asked == [JENS.id]  # whose call it was counts in that agent's share
    assert draw.outcome("draw.not_drawn", kept=False) is None


def test_a_rule_without_a_number_is_told_as_it_is() -> None:
    draw, _ = made(PlayedDraws(), Told("", "", 0, drawn=False, rule="draw.day.missing"))
    assert draw.undrawn(VIEW, [JENS.id]) == "draw.day.missing"


def test_a_drawn_call_waits_until_the_agents_unit_is_on_disk_and_asks_once() -> None:
    draws = PlayedDraws(jens_albers="draw.waiting")
    draw, changes = made(draws)
    assert draw.undrawn(VIEW, []) == ""  # who it will be may be open while the caller is asked
    assert [draw.undrawn(VIEW, [JENS.id]) for _ in range(3)] == ["draw.waiting"] * 3
    assert (draws.asked, changes) == ([JENS.id], [])
    draws.write()
    assert (draw.undrawn(VIEW, [JENS.id]), changes) == ("", [1])


def test_without_a_unit_the_call_is_closed_and_counts_as_capped() -> None:
    draws = PlayedDraws(jens_albers="draw.cap.agent_week")
    draw, _ = made(draws)
    assert draw.undrawn(VIEW, [JENS.id]) == "draw.cap.agent_week"
    draws.write()
    assert draw.undrawn(VIEW, [JENS.id]) == "draw.cap.agent_week"
    assert draw.outcome("draw.cap.agent_week", kept=False) is None


def test_an_agent_who_was_announced_has_the_draws_own_unit_and_takes_no_second_one() -> None:
    draws = PlayedDraws(jens_albers="draw.cap.agent_week", nora_feld="draw.cap.agent_week")
    draw, _ = made(draws, told=None)
    draw.announced(replace(DRAWN, has_agent=True).to_json(), agent=JENS.id)
    assert draw.undrawn(VIEW, [JENS.id]) == ""
    assert draws.asked == []
    assert draw.undrawn(VIEW, [JENS.id, NORA]) == "draw.cap.agent_week"  # who is somebody else has none
    assert draw.outcome("consent.all", kept=True) is not None  # and the draw stays what it was


def test_an_agent_whom_the_draw_did_not_know_needs_a_unit_although_announced() -> None:
    draws = PlayedDraws(jens_albers="draw.cap.agent_week")
    draw, _ = made(draws, told=None)
    draw.announced(DRAWN.to_json(), agent=JENS.id)
    assert draw.undrawn(VIEW, [JENS.id]) == "draw.cap.agent_week"


def test_a_later_agent_without_a_unit_stops_the_call_while_on_the_line_and_it_stays_drawn() -> None:
    draw, _ = made(PlayedDraws(nora_feld="draw.cap.agent_week"))
    assert draw.undrawn(VIEW, [JENS.id]) == ""
    assert draw.undrawn(VIEW, [JENS.id, NORA]) == "draw.cap.agent_week"
    assert draw.undrawn(VIEW, [JENS.id]) == ""
    told = {"day": DRAWN.day, "source": "keeper", "n": 7}
    assert draw.outcome("consent.all", kept=True) == told | {"outcome": "kept"}


@pytest.mark.parametrize(
    "rule, outcome",
    [("consent.caller.refused", "not_agreed"), ("consent.agent.none", "not_agreed"), ("ports.none", "failed")],
)
def test_of_a_drawn_call_that_was_not_kept_one_of_two_words_is_told(rule: str, outcome: str) -> None:
    draw, _ = made(PlayedDraws())
    told: dict[str, Any] | None = draw.outcome(rule, kept=False)
    assert told is not None
    assert told["outcome"] == outcome


def test_a_session_that_nobody_announced_waits_for_its_own_draw() -> None:
    draws = PlayedDraws()
    draw, changes = made(draws, told=None)
    draw.unmatched(VIEW, [JENS.id], NOW)
    assert draw.undrawn(VIEW, [JENS.id]) == "draw.waiting"
    draws.write()
    assert (draw.undrawn(VIEW, [JENS.id]), changes) == ("", [1])
    assert draws.asked == []  # the draw itself paid for this agent
    assert draw.told.source == "recorder-1"


def test_without_a_view_nothing_is_drawn() -> None:
    draw, _ = made(PlayedDraws(), told=None)
    draw.unmatched(None, [], NOW)
    assert draw.undrawn(VIEW, []) == "draw.missing"
