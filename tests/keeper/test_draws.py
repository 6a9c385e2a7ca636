"""The keeper's draws: one for each announced call, in the table before anybody hears of it; they raise nothing."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from keeper.drawing_site import AGENTS, announce, keeper_of, make_capped_site, rows_of, today
from mitschnitt.core.draw import Day, Told, draw_id
from mitschnitt.core.periods import week_of
from mitschnitt.core.policy import Exclusion
from mitschnitt.errors import MalformedPacket, NoSpace
from mitschnitt.keeper import draws as draws_module
from mitschnitt.keeper.announced import Ref
from mitschnitt.keeper.apply import Holdings
from mitschnitt.keeper.draws import Draws
from mitschnitt.keeper.keeper import Keeper
from mitschnitt.recorder.call_draw import CallDraw
from mitschnitt.recorder.draws import Draws as OwnDraws
from mitschnitt.store import draw_queries
from mitschnitt.store.draw_queries import Pot

SECRET = bytes(range(32))


def fixed(keeper: Keeper, holdings: Holdings, **changes: Any) -> Draws:
    """Draws of a day that the test makes."""
    day = Day(today(), keeper.view.policy.hash, bytes(32), bytes(32))
    return Draws(holdings.writer, SECRET, lambda _now: replace(day, **changes))


def drawn(draws: Draws, keeper: Keeper, agent: str | None = None, now: datetime | None = None) -> Told:
    at = now or datetime.now(UTC)
    return asyncio.run(draws.announced(keeper.view, queue="q", direction="inbound", agent=agent, now=at))


def test_calls_are_numbered_from_one_and_are_in_the_table_when_they_are_told(tmp_path: Path) -> None:
    with keeper_of(make_capped_site(tmp_path, caps="")) as (keeper, holdings):
        draws = fixed(keeper, holdings)
        for n in (1, 2):
            assert drawn(draws, keeper) == Told(today(), "keeper", n, drawn=True, rule="draw.drawn")
            assert [row.n for row in rows_of(holdings, today())] == list(range(1, n + 1))


def test_the_caller_is_told_the_number_by_which_the_public_list_names_the_call(tmp_path: Path) -> None:
    with keeper_of(make_capped_site(tmp_path, caps="")) as (keeper, holdings):
        told = drawn(fixed(keeper, holdings), keeper)
        assert told.to_json()["id"] == draw_id(bytes(32), told.source, told.n).hex()
        assert "id" not in Told("", "", 0, drawn=False, rule="draw.missing").to_json()


def test_caps_close_the_draw_by_their_names_and_are_paid_once(tmp_path: Path) -> None:
    with keeper_of(make_capped_site(tmp_path, caps="[caps]\nagent_week = 2\nshare = 0.5\n")) as (keeper, holdings):
        draws = fixed(keeper, holdings)
        names = [AGENTS[0], AGENTS[0], AGENTS[0], AGENTS[0], AGENTS[0], AGENTS[1]]
        rules = [drawn(draws, keeper, agent).rule for agent in names]
        capped = ["draw.cap.share", "draw.cap.agent_week", "draw.cap.agent_week"]
        assert rules == ["draw.drawn", capped[0], capped[0], "draw.drawn", capped[1], "draw.drawn"]
        week = week_of(date.fromisoformat(today()))
        given = holdings.writer.submit(lambda c: draw_queries.given(c, Pot(week, today()))).result()
        assert given == 3


def test_the_recorder_hears_that_the_announced_agent_has_the_only_unit_already(tmp_path: Path) -> None:
    config = make_capped_site(tmp_path, caps="[caps]\nagent_week = 1\n", mode="announced")
    with keeper_of(config) as (keeper, _):
        asyncio.run(keeper.renew_draw())
        lent = keeper._drawing.lending.lent(1, keeper.view.agents), keeper._drawing.lending.lent(2, keeper.view.agents)
        assert lent[0] is not None
        assert lent[1] is not None
        units = zip(AGENTS, lent[0].agents, lent[1].agents, strict=True)
        mine = next(agent for agent, *held in units if not any(held))  # whose unit lies with the keeper
        asyncio.run(announce(keeper, 1, mine))
        joined = keeper.join(1, [Ref("header", "leg-1")])
        draws = OwnDraws("recorder-1")
        call = CallDraw(draws, lambda: None)
        draws.see(replace(keeper.view, lent=lent[0]))
        call.announced(joined["draw"], agent=joined["agent"])
        assert call.undrawn(keeper.view, [mine]) == ""
        assert (joined["draw"]["drawn"], joined["draw"]["agent"]) == (True, True)


def test_an_agent_whom_the_directory_does_not_know_has_no_tag(tmp_path: Path) -> None:
    with keeper_of(make_capped_site(tmp_path)) as (keeper, holdings):
        told = drawn(fixed(keeper, holdings), keeper, "sip:nobody@pbx.example.org")
        assert (told.drawn, told.has_agent) == (True, False)
        assert [row.agent_tag for row in rows_of(holdings, today())] == [None]


@pytest.mark.parametrize(
    "changes, rule",
    [
        ({"beacon": None}, "draw.beacon.missing"),
        ({"policy_hash": "0" * 64}, "draw.day.missing"),
        ({"day": "2020-01-01"}, "draw.day.missing"),
    ],
)
def test_without_day_policy_or_beacon_nobody_is_drawn_and_nothing_is_numbered(
    tmp_path: Path, changes: dict[str, Any], rule: str
) -> None:
    with keeper_of(make_capped_site(tmp_path)) as (keeper, holdings):
        assert drawn(fixed(keeper, holdings, **changes), keeper) == Told("", "", 0, drawn=False, rule=rule)
        assert rows_of(holdings, today()) == []


@pytest.mark.parametrize("jump", [timedelta(hours=-1), timedelta(days=30)])
def test_a_clock_an_hour_back_or_thirty_days_ahead_asks_nobody(tmp_path: Path, jump: timedelta) -> None:
    with keeper_of(make_capped_site(tmp_path, caps="")) as (keeper, holdings):
        asyncio.run(keeper.renew_draw())
        assert drawn(keeper._drawing.draws, keeper).drawn
        told = drawn(keeper._drawing.draws, keeper, now=datetime.now(UTC) + jump)
        assert (told.drawn, told.rule) == (False, "draw.day.missing")
        assert [row.n for row in rows_of(holdings, today())] == [1]
        assert drawn(keeper._drawing.draws, keeper).n == 2  # the clock is right again


def test_a_draw_that_is_undone_leaves_no_gap_and_takes_no_unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_connection: Connection, _asked: object, _n: int) -> None:
        raise NoSpace("full")

    with keeper_of(make_capped_site(tmp_path)) as (keeper, holdings):
        draws = fixed(keeper, holdings)
        with monkeypatch.context() as patch:
            patch.setattr(draws_module, "_pay", fails)
            assert drawn(draws, keeper, AGENTS[0]) == Told("", "", 0, drawn=False, rule="draw.missing")
        assert rows_of(holdings, today()) == []
        assert drawn(draws, keeper, AGENTS[0]).n == 1


def test_a_database_that_is_held_by_others_asks_nobody_and_raises_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(draws_module, "ANSWER_SECONDS", 0.05)
    with keeper_of(make_capped_site(tmp_path)) as (keeper, holdings):
        draws, held = fixed(keeper, holdings), holdings.writer
        release = threading.Event()
        blocked = held.submit(lambda _connection: release.wait(20))
        try:
            assert drawn(draws, keeper).rule == "draw.missing"
        finally:
            release.set()
        assert blocked.result()
        assert len(rows_of(holdings, today())) <= 1  # whoever was drawn after all is counted, and was not asked


def test_consent_is_no_exclusion_and_null_is_one_word_for_all(tmp_path: Path) -> None:
    with keeper_of(make_capped_site(tmp_path, caps="")) as (keeper, holdings):
        asyncio.run(keeper.renew_draw())
        no_consent = asyncio.run(announce(keeper, 1, AGENTS[0]))
        assert [row.verdict for row in rows_of(holdings, today())] == ["drawn"]  # drawn first, asked after
        assert asyncio.run(announce(keeper, 2, None))["ask"] is not None
    assert no_consent["ask"] is None


def test_outcomes_stand_beside_draws(tmp_path: Path) -> None:
    with keeper_of(make_capped_site(tmp_path, caps="")) as (keeper, holdings):
        draws = fixed(keeper, holdings)
        told = drawn(draws, keeper)
        data = {"day": told.day, "source": told.source, "n": told.n, "outcome": "not_agreed"}
        draws.note_outcome(data)
        assert [row.outcome for row in rows_of(holdings, today())] == ["not_agreed"]
        for wrong in (None, {}, {**data, "outcome": "refused"}, {**data, "n": "1"}, {**data, "day": ""}):
            with pytest.raises(MalformedPacket):
                draws.note_outcome(wrong)


@pytest.mark.parametrize(
    "spoil", [{"timezone": "Europe/Atlantis"}, {"exclusions": (Exclusion("broken", "tenure < 90"),)}]
)
def test_a_policy_that_cannot_be_carried_out_draws_nobody_and_raises_nothing(
    tmp_path: Path, spoil: dict[str, Any]
) -> None:
    with keeper_of(make_capped_site(tmp_path, caps="")) as (keeper, holdings):
        view = replace(keeper.view, policy=replace(keeper.view.policy, **spoil))
        told = asyncio.run(
            fixed(keeper, holdings).announced(view, queue="q", direction="inbound", agent=None, now=datetime.now(UTC))
        )
        assert (told.drawn, told.rule) == (False, "draw.missing")
        assert rows_of(holdings, today()) == []
