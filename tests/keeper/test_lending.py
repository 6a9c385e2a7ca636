"""What recorders are lent: in equal parts, never more than there is, and told anew to a new life of theirs."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from sqlalchemy import Connection

from keeper.drawing_site import AGENTS, announce, keeper_of, make_capped_site, today
from mitschnitt.core.draw import agent_tag
from mitschnitt.core.periods import week_of
from mitschnitt.keeper.apply import Holdings
from mitschnitt.keeper.draw_entries import draw_change
from mitschnitt.keeper.keeper import Keeper
from mitschnitt.keeper.lending import source_of
from mitschnitt.store import draw_queries
from mitschnitt.store.draw_queries import Pot


def lent(keeper: Keeper, recorder: int) -> tuple[tuple[int, ...], int]:
    found = keeper._drawing.lending.lent(recorder, keeper.view.agents)
    assert found is not None
    assert found.source == source_of(recorder)
    return found.agents, found.whole


def take(holdings: Holdings, keeper: Keeper, recorder: int, agent: str, n: int) -> None:
    found = keeper._drawing.lending.lent(recorder, keeper.view.agents)
    assert found is not None
    tag = agent_tag(found.tag_key, agent).hex()
    data = {
        "what": "draw", "day": today(), "n": n, "stratum": 0, "exclusion": None,
        "verdict": "drawn", "tag": tag, "paid": ["agent_week"],
    }  # fmt: skip
    holdings.writer.submit(draw_change(recorder, data)).result()


def test_before_the_first_renewal_nothing_is_lent(tmp_path: Path) -> None:
    with keeper_of(make_capped_site(tmp_path)) as (keeper, _):
        assert keeper._drawing.lending.lent(1, keeper.view.agents) is None


def test_three_units_of_an_agents_week_are_one_for_each_recorder_and_one_for_the_keeper(tmp_path: Path) -> None:
    with keeper_of(make_capped_site(tmp_path, caps="[caps]\nagent_week = 3\n")) as (keeper, _):
        for _ in range(3):
            asyncio.run(keeper.renew_draw())
        assert lent(keeper, 1) == lent(keeper, 2) == ((1,) * len(AGENTS), 0)


def test_an_only_unit_lies_with_one_source_and_not_with_the_same_for_all_agents(tmp_path: Path) -> None:
    with keeper_of(make_capped_site(tmp_path, caps="[caps]\nagent_week = 1\n")) as (keeper, _):
        asyncio.run(keeper.renew_draw())
        both = list(zip(lent(keeper, 1)[0], lent(keeper, 2)[0], strict=True))
        assert set(both) == {(0, 0), (1, 0), (0, 1)}


def test_what_was_taken_is_lent_anew_while_there_is_any(tmp_path: Path) -> None:
    with keeper_of(make_capped_site(tmp_path, caps="[caps]\nagent_week = 9\n")) as (keeper, holdings):
        asyncio.run(keeper.renew_draw())
        assert lent(keeper, 1)[0][0] == 3
        for n in (1, 2, 3):
            take(holdings, keeper, 1, AGENTS[0], n)
        asyncio.run(keeper.renew_draw())
        assert 4 <= lent(keeper, 1)[0][0] <= 5
        assert lent(keeper, 1)[0][1] == 3


def test_where_calls_are_announced_the_whole_stays_with_the_keeper(tmp_path: Path) -> None:
    with keeper_of(make_capped_site(tmp_path, caps="[caps]\nshare = 1\n", mode="announced")) as (keeper, _):
        asyncio.run(keeper.renew_draw())
        for number in range(9):
            assert asyncio.run(announce(keeper, number, None))["ask"] is not None
        asyncio.run(keeper.renew_draw())
        assert lent(keeper, 1) == ((), 0)


def test_a_new_life_hears_its_numbers_and_what_was_taken(tmp_path: Path) -> None:
    with keeper_of(make_capped_site(tmp_path, caps="[caps]\nagent_week = 3\n")) as (keeper, holdings):
        asyncio.run(keeper.renew_draw())
        take(holdings, keeper, 1, AGENTS[5], 1)
        lending = keeper._drawing.lending
        now = datetime.now(UTC)
        told = holdings.writer.submit(lambda connection: lending.spent(connection, 1, keeper.view.agents, now)).result()
        week = week_of(date.fromisoformat(today()))
        assert told["numbers"] == {today(): 1}
        assert told["whole"] == {}
        agents = told["agents"]
        assert isinstance(agents, dict)
        assert agents[week] == dict.fromkeys(AGENTS, 0) | {AGENTS[5]: 1}
        assert holdings.writer.submit(lambda c: lending.spent(c, 2, keeper.view.agents, now)).result()["numbers"] == {}


def test_a_keeper_that_was_started_anew_knows_what_was_taken_before_it_lends(tmp_path: Path) -> None:
    config = make_capped_site(tmp_path, caps="[caps]\nagent_week = 3\n")
    with keeper_of(config) as (keeper, holdings):
        asyncio.run(keeper.renew_draw())
        take(holdings, keeper, 1, AGENTS[5], 1)
    with keeper_of(config) as (keeper, _):
        agents = asyncio.run(keeper.drawn_before(1))["agents"]
        assert isinstance(agents, dict)
        assert agents[week_of(date.fromisoformat(today()))][AGENTS[5]] == 1


@pytest.mark.parametrize(
    "lent_on, now",
    [
        ("2026-11-30", datetime(2026, 11, 29, 23, 30, tzinfo=UTC)),  # Monday in Berlin, Sunday in UTC
        ("2026-11-29", datetime(2026, 11, 30, 3, 0, tzinfo=UTC)),  # Sunday in New York, Monday in UTC
        ("2026-11-29", datetime(2026, 11, 30, 12, 0, tzinfo=UTC)),  # a call of Sunday that still runs on Monday
    ],
)
def test_a_new_life_hears_of_every_week_that_may_still_count(tmp_path: Path, lent_on: str, now: datetime) -> None:
    with keeper_of(make_capped_site(tmp_path, caps="[caps]\nagent_week = 3\n")) as (keeper, holdings):
        lending, agents = keeper._drawing.lending, keeper.view.agents
        week = week_of(date.fromisoformat(lent_on))
        (tag,) = (tag for tag, agent in lending._reckoned(week, AGENTS).items() if agent == AGENTS[5])

        def lend_and_take(connection: Connection) -> dict[str, object]:
            pot = Pot(week, lent_on, tag)
            draw_queries.lend(connection, pot, cap="agent_week", source=source_of(1), from_n=1, units=1)
            assert draw_queries.take_lent(connection, pot, source_of(1))
            return lending.spent(connection, 1, agents, now)

        assert holdings.writer.submit(lend_and_take).result()["agents"] == {week: {AGENTS[5]: 1}}
