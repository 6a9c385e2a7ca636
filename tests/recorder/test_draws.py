"""A recorder's own draws: numbered without a gap, written before they count, and only from what it was lent."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from dialogue import JENS
from mitschnitt.core.criteria import UNMATCHED
from mitschnitt.core.draw import Told, agent_tag, draw_id
from mitschnitt.core.lent import Lent
from mitschnitt.core.policy import Caps, Exclusion
from mitschnitt.core.view import View
from mitschnitt.recorder.draws import Draws
from mitschnitt.recorder.ledger import NO_CALL
from recorder_stage import Stage, drawn_on, play, view

NOON = datetime(2026, 11, 23, 11, 0, tzinfo=UTC)  # 12:00 in Berlin, Monday of 2026-W48
DAY, WEEK, TAGS = "2026-11-23", "2026-W48", bytes(range(32))
TAG = agent_tag(TAGS, JENS.id).hex()
NEW: Mapping[str, Any] = {"numbers": {}, "agents": {}, "whole": {}}
NO_CAPS = Caps()
FROM_KEEPER = Told(DAY, "keeper", 9, drawn=True, rule="draw.drawn")


def world(
    mode: str = "asserted", caps: Caps = NO_CAPS, units: int = 0, whole: int = 0, rate: Fraction = Fraction(1)
) -> View:
    """A day on which everybody is drawn, and what this recorder was lent of it."""
    made = drawn_on(view(mode=mode))
    strata = tuple(replace(stratum, rate=rate) for stratum in made.policy.strata)
    lent = Lent("recorder-1", WEEK, TAGS, (units,), DAY, whole)
    return replace(made, policy=replace(made.policy, caps=caps, strata=strata), lent=lent)


class Books:
    """A recorder's draws with a journal, and what was heard of them."""

    def __init__(self, stage: Stage) -> None:
        self.stage, self.heard = stage, list[Told]()
        self.draws = stage.draws

    def session(self, around: View, agent: str | None = None, now: datetime = NOON) -> str:
        self.draws.see(around)
        return self.draws.unmatched(around, agent, now, self.heard.append)

    async def written(self, count: int) -> list[Mapping[str, Any]]:
        """The journal's draws once there are so many, and what was heard of them."""
        async with asyncio.timeout(60):
            while len(self.heard) < count:
                await asyncio.sleep(0.002)
        return [entry.data for entry in self.stage.entries() if entry.type == "draw"]


def test_where_calls_are_announced_a_stranger_is_counted_and_never_drawn(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        books = Books(stage)
        assert books.session(world("announced"), JENS.id) == "draw.waiting"
        assert books.heard == []  # nothing counts before it is on disk
        (entry,) = await books.written(1)
        assert entry == {
            "what": "draw", "day": DAY, "n": 1, "stratum": None, "exclusion": UNMATCHED,
            "verdict": "excluded", "tag": TAG, "paid": [],
        }  # fmt: skip
        assert books.heard == [Told(DAY, "recorder-1", 1, drawn=False, rule="draw.excluded")]

    play(tmp_path, scene)


def test_where_all_are_asked_everybody_is_drawn_for_real(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        books = Books(stage)
        for _ in range(3):
            books.session(world())
        entries = await books.written(3)
        assert [(entry["n"], entry["verdict"], entry["stratum"]) for entry in entries] == [
            (n, "drawn", 0) for n in (1, 2, 3)
        ]
        assert all(told.drawn and told.source == "recorder-1" for told in books.heard)
        books.session(world(rate=Fraction(0)))
        assert (await books.written(4))[-1]["verdict"] == "not_drawn"

    play(tmp_path, scene)


def test_an_entry_names_no_call_and_no_time_of_day(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        books = Books(stage)
        books.session(world(), JENS.id)
        await books.written(1)
        (entry,) = stage.entries()
        assert (entry.call, entry.at) == (NO_CALL, "2026-11-23T00:00:00.000000Z")
        assert draw_id(bytes(32), "recorder-1", 1).hex() not in str(entry)

    play(tmp_path, scene)


def test_a_day_that_is_missing_another_ones_or_without_beacon_draws_nobody(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        books, made = Books(stage), world()
        assert made.day is not None
        assert books.session(replace(made, day=None)) == "draw.day.missing"
        assert books.session(replace(made, day=replace(made.day, policy_hash="0" * 64))) == "draw.day.missing"
        assert books.session(replace(made, day=replace(made.day, beacon=None))) == "draw.beacon.missing"
        assert books.session(made, now=datetime(2026, 12, 23, 11, tzinfo=UTC)) == "draw.day.missing"  # 30 days ahead
        assert books.session(made, now=datetime(2026, 11, 22, 22, 59, tzinfo=UTC)) == "draw.day.missing"  # and back
        assert books.session(made, now=datetime(2026, 11, 22, 23, 1, tzinfo=UTC)) == "draw.waiting"  # Berlin's midnight
        assert (await books.written(1))[0]["n"] == 1

    play(tmp_path, scene)


def test_a_journal_that_takes_nothing_uses_up_no_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        books = Books(stage)
        with monkeypatch.context() as patch:
            patch.setattr(type(stage.ledger), "refuses", True)
            assert books.session(world()) == "vault.no_space"
        books.session(world())
        assert (await books.written(1))[0]["n"] == 1

    play(tmp_path, scene)


def test_numbers_and_units_go_on_where_a_former_life_left_them(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        books, caps = Books(stage), Caps(agent_week=5, share=Fraction(1, 20))
        told = {"numbers": {DAY: 41}, "agents": {WEEK: {JENS.id: 2}}, "whole": {DAY: 1}}
        books.draws.drawn_before(told)
        for _ in range(2):
            books.session(world(caps=caps, units=3, whole=9), JENS.id)
        books.draws.drawn_before(NEW)  # a keeper that forgot, or is behind
        books.session(world(caps=caps, units=3, whole=9), JENS.id)
        entries = await books.written(3)
        assert [entry["n"] for entry in entries] == [42, 43, 44]
        assert [entry["verdict"] for entry in entries] == ["drawn", "capped.agent_week", "capped.agent_week"]

    play(tmp_path, scene)


@pytest.mark.parametrize(
    "caps, units, whole, expected",
    [
        (Caps(agent_week=3), 1, 0, ["drawn", "capped.agent_week"]),
        (Caps(agent_share=Fraction(1, 20)), 1, 0, ["drawn", "capped.agent_share"]),
        (Caps(share=Fraction(1, 20)), 0, 1, ["drawn", "capped.share"]),
        (Caps(agent_week=3, share=Fraction(1, 20)), 1, 2, ["drawn", "capped.agent_week"]),
        (Caps(agent_week=3, share=Fraction(1, 20)), 2, 1, ["drawn", "capped.share"]),
        (Caps(), 0, 0, ["drawn", "drawn"]),
    ],
)
def test_what_was_lent_is_all_there_is(tmp_path: Path, caps: Caps, units: int, whole: int, expected: list[str]) -> None:
    async def scene(stage: Stage) -> None:
        books = Books(stage)
        for _ in expected:
            books.session(world(caps=caps, units=units, whole=whole), JENS.id)
        entries = await books.written(len(expected))
        assert [entry["verdict"] for entry in entries] == expected
        assert entries[1]["paid"] == []  # who is capped pays nothing, of no pot

    play(tmp_path, scene)


def test_an_agent_who_left_and_came_back_has_no_new_units(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        books, made = Books(stage), world(caps=Caps(agent_week=3), units=1)
        books.session(made, JENS.id)
        assert made.lent is not None
        books.draws.see(replace(made, agents=(), lent=replace(made.lent, agents=())))
        books.session(made, JENS.id)
        assert [entry["verdict"] for entry in await books.written(2)] == ["drawn", "capped.agent_week"]

    play(tmp_path, scene)


def test_what_was_lent_to_another_recorder_is_not_ours(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        books, made = Books(stage), world(caps=Caps(agent_week=3), units=3)
        assert made.lent is not None
        books.session(replace(made, lent=replace(made.lent, source="recorder-2")), JENS.id)
        assert (await books.written(1))[0]["verdict"] == "capped.agent_week"

    play(tmp_path, scene)


def test_an_agent_who_comes_later_takes_a_unit_of_the_draws_week(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        draws, made, heard = stage.draws, world("announced", Caps(agent_week=3), units=1), list[str]()
        draws.see(made)
        assert draws.unit(made, FROM_KEEPER, JENS.id, lambda: heard.append("written")) == "draw.waiting"
        assert heard == []
        await stage.synced.wait()
        assert heard == ["written"]
        assert draws.unit(made, FROM_KEEPER, JENS.id, lambda: None) == "draw.cap.agent_week"
        first, second = [entry.data for entry in await stage.journalled("draw", "draw")]
        told = {"what": "agent", "day": DAY, "source": "keeper", "n": 9, "tag": TAG}
        assert first == told | {"paid": ["agent_week"], "spent": None}
        assert second == told | {"paid": [], "spent": "agent_week"}

    play(tmp_path, scene)


def test_whose_call_was_not_drawn_is_told_and_takes_no_unit(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        draws, made = stage.draws, world("announced", Caps(agent_week=3), units=1)
        draws.see(made)
        told = replace(FROM_KEEPER, drawn=False, rule="draw.not_drawn")
        assert draws.unit(made, told, JENS.id, lambda: None) == ""
        (entry,) = await stage.journalled("draw")
        assert (entry.data["paid"], entry.data["spent"]) == ([], None)
        assert draws.unit(made, FROM_KEEPER, JENS.id, lambda: None) == "draw.waiting"

    play(tmp_path, scene)


def test_a_week_whose_tags_are_not_known_has_no_units(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        draws, made = stage.draws, world("announced", Caps(agent_week=3), units=1)
        draws.see(made)
        old = replace(FROM_KEEPER, day="2026-11-16")
        assert draws.unit(made, old, JENS.id, lambda: None) == "draw.cap.agent_week"
        assert draws.unit(world("announced"), old, JENS.id, lambda: None) == ""  # no cap, no unit

    play(tmp_path, scene)


def test_units_of_last_week_are_still_there_on_monday(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        draws, made = stage.draws, world("announced", Caps(agent_week=3), units=1)
        assert made.lent is not None
        draws.see(replace(made, lent=replace(made.lent, week="2026-W47")))
        draws.see(made)
        sunday = replace(FROM_KEEPER, day="2026-11-22")
        assert draws.unit(made, sunday, JENS.id, lambda: None) == "draw.waiting"
        draws.see(replace(made, lent=replace(made.lent, week="2026-W49")))
        assert draws.unit(made, sunday, JENS.id, lambda: None) == "draw.cap.agent_week"

    play(tmp_path, scene)


def test_nothing_is_drawn_before_there_is_a_journal() -> None:
    with pytest.raises(RuntimeError, match="was not called"):
        Draws("recorder-1").unmatched(world(), None, NOON, lambda _told: None)


@pytest.mark.parametrize(
    "spoil", [{"timezone": "Europe/Atlantis"}, {"exclusions": (Exclusion("broken", "tenure < 90"),)}]
)
def test_a_policy_that_this_recorder_cannot_carry_out_closes_and_raises_nothing(
    tmp_path: Path, spoil: dict[str, Any]
) -> None:
    async def scene(stage: Stage) -> None:
        books, made = Books(stage), world()
        assert books.session(replace(made, policy=replace(made.policy, hash="f" * 64, **spoil))) == "draw.missing"
        assert (books.heard, stage.entries()) == ([], [])
        assert books.session(made) == "draw.waiting"
        assert [entry["n"] for entry in await books.written(1)] == [1], "no number was taken"

    play(tmp_path, scene)
