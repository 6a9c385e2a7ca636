"""What recorders are lent: in equal parts, never more than there is, and told anew to a new life of theirs."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime
from pathlib import Path

from keeper.drawing_site import AGENTS, announce, keeper_of, make_capped_site, today
from mitschnitt.core.draw import agent_tag
from mitschnitt.core.periods import week_of
from mitschnitt.keeper.apply import Holdings
from mitschnitt.keeper.draw_entries import draw_change
from mitschnitt.keeper.keeper import Keeper
from mitschnitt.keeper.lending import source_of


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
        told = holdings.writer.submit(lambda connection: lending.spent(connection, 1, now)).result()
        week = week_of(date.fromisoformat(today()))
        assert told["numbers"] == {today(): 1}
        assert told["whole"] == {}
        agents = told["agents"]
        assert isinstance(agents, dict)
        assert agents[week] == dict.fromkeys(AGENTS, 0) | {AGENTS[5]: 1}
        assert holdings.writer.submit(lambda c: lending.spent(c, 2, now)).result()["numbers"] == {}
