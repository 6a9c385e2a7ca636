"""Caps and numbers under a thousand arrivals on a keeper and two recorders, and when processes are killed meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import httpx
import pytest

from keeper.drawing_site import AGENTS, Drawer, announce, keeper_of, linked, make_capped_site, rows_of, today
from keeper.site_on_disk import running_keeper
from mitschnitt.config import Config
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


@pytest.mark.thorough
def test_caps_hold_under_a_thousand_arrivals_on_a_keeper_and_two_recorders(
    tmp_path: Path,
) -> None:
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


KILLED_RECORDER = """
import asyncio, os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from keeper.drawing_site import AGENTS, Drawer
from mitschnitt.config import load_config
from mitschnitt.core.view import view_from_json
from mitschnitt.recorder.ledger import Ledger
from mitschnitt.vault.journal_files import JournalWriter
import json

async def main():
    config, loop = load_config(Path(sys.argv[1])), asyncio.get_running_loop()
    drawer = Drawer(1, config)
    drawer.view_changed(json.loads(sys.stdin.read()))
    synced = lambda then: loop.call_soon_threadsafe(lambda: [action() for action in then])
    drawer.draws.start(Ledger(lambda: JournalWriter(config.journal(1), next_seq=1), recorder=1, on_synced=synced,
                              on_full=lambda: None))
    for number in range(500):
        drawer.arrives(AGENTS[number % len(AGENTS)])
        if number == 250:
            await drawer.has_heard(200)
            print(max(told.n for told in drawer.heard), sum(told.drawn for told in drawer.heard), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


@pytest.mark.thorough
def test_numbers_are_dense_after_keeper_and_recorder_were_killed_in_the_middle(tmp_path: Path) -> None:
    config = make_capped_site(tmp_path)
    with keeper_of(config) as (keeper, _):
        asyncio.run(keeper.renew_draw())
        view = json.dumps(keeper._view_message(1))
    killed = subprocess.run(
        [sys.executable, "-c", KILLED_RECORDER, str(config.directory), str(Path(__file__).parent.parent)],
        input=view.encode(),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    heard, drawn_before = (int(word) for word in killed.stdout.split())
    answered = _announced_until_killed(config)

    async def scene(keeper: Keeper) -> list[Drawer]:
        await keeper.renew_draw()
        async with linked(keeper, config, boot="boot-2") as drawers:
            await asyncio.gather(*(announce(keeper, number, AGENTS[number % 40]) for number in range(100)))
            for drawer in drawers:
                for number in range(50):
                    assert drawer.arrives(AGENTS[number % 40]) == "draw.waiting"
                await drawer.has_heard(50)
        return drawers

    with keeper_of(config) as (keeper, holdings):
        drawers = asyncio.run(scene(keeper))
        rows = rows_of(holdings, today())
        counts = dense(rows)
        assert counts["recorder-1"] >= heard + 50  # whatever was told of is in the table
        assert counts[KEEPER] >= answered + 100
        assert counts["recorder-2"] == 50
        assert min(told.n for told in drawers[0].heard) == counts["recorder-1"] - 49  # and no number came twice
        assert within_caps(rows)["drawn"] >= drawn_before
        paid(holdings, rows)


def _announced_until_killed(config: Config) -> int:
    """How many calls a keeper of its own answered before it was killed, with others under way."""
    answered, numbers = [], itertools.count(1)
    with running_keeper(config) as keeper, ThreadPoolExecutor(16) as threads:

        def one(number: int) -> None:
            body = {"refs": [{"kind": "header", "value": f"before-{number}"}], "agent": AGENTS[number % 40]}
            with contextlib.suppress(httpx.HTTPError):
                answered.append(keeper.control("/v1/calls", body).status_code)
                if next(numbers) == 60:  # seen by one thread, whatever the others do meanwhile
                    keeper.kill()

        list(threads.map(one, range(200)))
    assert set(answered) == {201}
    assert len(answered) < 200
    return len(answered)
