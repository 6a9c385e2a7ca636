"""Caps and numbers under a thousand arrivals on a keeper and two recorders, and when processes are killed meanwhile."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from keeper.drawing_site import AGENTS, Drawer, announce, keeper_of, linked, make_capped_site, rows_of, today
from mitschnitt.core.draw import KEEPER
from mitschnitt.core.periods import week_of
from mitschnitt.keeper.apply import Holdings
from mitschnitt.keeper.keeper import Keeper
from mitschnitt.store.draw_queries import DrawRow, Lot, lots_of_week

AT_KEEPER, AT_EACH_RECORDER, BURST = 400, 300, 20
AGENT_WEEK, SHARE = 3, 20  # three draws per agent and week, and one of twenty calls


def dense(rows: Sequence[DrawRow]) -> dict[str, int]:
    """How many draws each source made; none of their numbers is missing, none is there twice."""
    by_source: dict[str, list[int]] = {}
    for row in rows:
        by_source.setdefault(row.source, []).append(row.n)
    for source, numbers in by_source.items():
        assert sorted(numbers) == list(range(1, len(numbers) + 1)), source
    return {source: len(numbers) for source, numbers in by_source.items()}


def within_caps(rows: Sequence[DrawRow]) -> Counter[str]:
    """What was decided; no cap is exceeded by it."""
    drawn = [row for row in rows if row.verdict == "drawn"]
    per_agent = Counter(row.agent_tag for row in drawn if row.agent_tag is not None)
    assert max(per_agent.values(), default=0) <= AGENT_WEEK
    assert len(drawn) <= max(1, len(rows) // SHARE)
    return Counter(row.verdict for row in rows)


def paid(holdings: Holdings, rows: Sequence[DrawRow]) -> None:
    """Each draw took its units and nobody else did: those of the pots are as many as those of the draws."""
    week = week_of(date.fromisoformat(today()))
    lots: list[Lot] = holdings.writer.submit(lambda connection: lots_of_week(connection, week)).result()
    drawn = [row for row in rows if row.verdict == "drawn"]
    assert sum(lot.taken for lot in lots if lot.cap == "share") == len(drawn)
    for tag, count in Counter(row.agent_tag for row in drawn).items():
        assert sum(lot.taken for lot in lots if lot.agent_tag == tag) == count
    for tag in {lot.agent_tag for lot in lots if lot.agent_tag is not None}:
        assert sum(lot.units for lot in lots if lot.agent_tag == tag) <= AGENT_WEEK
    assert sum(lot.units for lot in lots if lot.cap == "share") <= max(1, len(rows) // SHARE)


async def _at(keeper: Keeper, drawer: Drawer) -> None:
    for first in range(0, AT_EACH_RECORDER, BURST):
        for number in range(first, first + BURST):
            assert drawer.arrives(AGENTS[(number * 7 + drawer.number) % len(AGENTS)]) == "draw.waiting"
        await drawer.has_heard(first + BURST)
        keeper.poke(drawer.number)
        await keeper.renew_draw()


def test_caps_hold_under_a_thousand_arrivals_on_a_keeper_and_two_recorders(tmp_path: Path) -> None:
    config = make_capped_site(tmp_path)

    async def scene(keeper: Keeper) -> tuple[int, list[Drawer]]:
        await keeper.renew_draw()
        async with linked(keeper, config) as drawers:
            names = itertools.cycle(AGENTS)
            arrivals = [announce(keeper, number, next(names)) for number in range(AT_KEEPER)]
            *answers, _, _ = await asyncio.gather(*arrivals, *(_at(keeper, drawer) for drawer in drawers))
        return sum(1 for told in answers if told is not None and told["call"]), drawers

    with keeper_of(config) as (keeper, holdings):
        announced, drawers = asyncio.run(scene(keeper))
        rows = rows_of(holdings, today())
        assert announced == AT_KEEPER
        assert dense(rows) == {KEEPER: AT_KEEPER, "recorder-1": AT_EACH_RECORDER, "recorder-2": AT_EACH_RECORDER}
        verdicts = within_caps(rows)
        assert verdicts["drawn"] > 20  # units do get to where calls are
        assert set(verdicts) <= {"drawn", "capped.agent_week", "capped.share"}
        paid(holdings, rows)
        for drawer in drawers:
            told = {(item.n, item.drawn) for item in drawer.heard}
            source = f"recorder-{drawer.number}"
            assert told == {(row.n, row.verdict == "drawn") for row in rows if row.source == source}
