"""What tests of the draw share: a site with caps and forty agents, its keeper here, recorders on its link."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from datetime import time as dt_time
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from keeper.site_on_disk import POLICY, make_site, open_holdings, rules_of
from mitschnitt.config import Config
from mitschnitt.core.draw import Told
from mitschnitt.core.view import View, view_from_json
from mitschnitt.keeper.announced import Ref
from mitschnitt.keeper.apply import Applier, Holdings
from mitschnitt.keeper.drawing import open_drawing
from mitschnitt.keeper.keeper import Keeper
from mitschnitt.keeper.link import Link, bind_private
from mitschnitt.keeper.site import load_site
from mitschnitt.recorder.draws import Draws
from mitschnitt.recorder.ledger import Ledger
from mitschnitt.recorder.link import KeeperLink
from mitschnitt.store import draw_queries
from mitschnitt.store.draw_queries import DrawRow
from mitschnitt.vault.blobs import LocalBlobs
from mitschnitt.vault.journal_files import JournalWriter

WHOLE_SECONDS = 60.0  # no test that asks for the day takes so long
AGENTS = tuple(f"agent-{number:02d}" for number in range(40))
CAPS = "[caps]\nagent_week = 3\nshare = 0.05\n"


def capped_policy(caps: str = CAPS, *, mode: str = "asserted") -> str:
    """Everybody would be drawn, and the caps say who is."""
    return POLICY.replace("[asking]\n", f"{caps}[asking]\n").replace('"announced"', f'"{mode}"')


def make_capped_site(root: Path, *, caps: str = CAPS, mode: str = "asserted", agents: Sequence[str] = AGENTS) -> Config:
    """A site whose policy has these caps, and these agents; of one day, which does not end meanwhile."""
    one_day()
    config = make_site(root, policy=capped_policy(caps, mode=mode))
    (config.directory / "agents.toml").write_text(
        "".join(f'[[agent]]\nid = "{name}"\npatterns = ["sip:{name}@pbx.example.org"]\n' for name in agents)
    )
    return config


@contextmanager
def keeper_of(config: Config) -> Iterator[tuple[Keeper, Holdings]]:
    """The site's keeper in this process; what runs on the loop is the test's."""
    with open_holdings(config) as holdings:
        rules = rules_of(config)
        keeper = Keeper(
            load_site(config, rules.current.policy),
            holdings,
            LocalBlobs(config.audio),
            [Applier(number, config.journal(number), holdings) for number in (1, 2)],
            rules=rules,
            drawing=open_drawing(config, rules, holdings.writer),
            announced_limit=5_000,
        )
        yield keeper, holdings


async def announce(keeper: Keeper, number: int, agent: str | None) -> dict[str, Any]:
    """A call comes and the IVR says so."""
    refs = [Ref("header", f"leg-{number}")]
    return await keeper.announce(refs, queue="q", direction="inbound", agent=agent, language="", answer_by="post")


def rows_of(holdings: Holdings, day: str) -> list[DrawRow]:
    """All draws of a day."""
    return holdings.writer.submit(lambda connection: draw_queries.draws_of_day(connection, day)).result()


def today() -> str:
    """The day of the policy's zone."""
    return datetime.now(ZoneInfo("Europe/Berlin")).date().isoformat()


def one_day() -> None:
    """A test that begins in the last moments of a day would ask for two days and expect one: it waits for the next."""
    while (rest := _rest_of_day()) < WHOLE_SECONDS:
        time.sleep(rest)


def _rest_of_day() -> float:
    now = datetime.now(ZoneInfo("Europe/Berlin"))
    midnight = datetime.combine(now.date() + timedelta(days=1), dt_time(), now.tzinfo)
    return (midnight.astimezone(UTC) - now.astimezone(UTC)).total_seconds()


@dataclass
class Drawer:
    """A recorder as far as it draws: real link, real journal, no SIP."""

    number: int
    config: Config
    view: View | None = None

    def __post_init__(self) -> None:
        self.draws = Draws(f"recorder-{self.number}")
        self.heard: list[Told] = []

    def drawn_before(self, data: Mapping[str, Any]) -> None:
        self.draws.drawn_before(data)

    def live_draws(self) -> Mapping[str, Mapping[str, Any]]:
        return {}

    def live_calls(self) -> Sequence[str]:
        return []

    def view_changed(self, data: Mapping[str, Any]) -> None:
        self.view = view_from_json(data)
        self.draws.see(self.view)

    def fact_posted(self, kind: str, data: Mapping[str, Any]) -> None:
        raise AssertionError(f"{kind} of a call that nobody has")

    def trial_wanted(self, data: Mapping[str, Any]) -> None:
        raise AssertionError("no test call is awaited")

    def drain_wanted(self, within_s: float) -> None:
        raise AssertionError("nobody drains")

    def arrives(self, agent: str | None) -> str:
        """A session that nobody announced."""
        assert self.view is not None
        return self.draws.unmatched(self.view, agent, datetime.now(UTC), self.heard.append)

    async def has_heard(self, count: int) -> None:
        async with asyncio.timeout(60):
            while len(self.heard) < count:
                await asyncio.sleep(0.002)


@asynccontextmanager
async def linked(keeper: Keeper, config: Config, *, boot: str = "boot-1") -> AsyncIterator[list[Drawer]]:
    """Two recorders on the keeper's own link, ready to draw; at the end all of their journals are applied."""
    loop = asyncio.get_running_loop()
    serving = asyncio.create_task(Link(keeper, bind_private(config.run / "keeper.sock")).run())
    drawers, links, ledgers = [Drawer(number, config) for number in (1, 2)], [], []
    for drawer in drawers:
        link = KeeperLink(
            config.run / "keeper.sock", drawer, recorder=drawer.number, boot=boot, lease_block=1, on_bad=_bad
        )
        links.append(asyncio.create_task(link.run()))
        next_seq = await asyncio.wait_for(asyncio.shield(link.ready), 60)
        journal = config.journal(drawer.number)

        def synced(then: list[Any], link: KeeperLink = link) -> None:
            loop.call_soon_threadsafe(lambda: [action() for action in then])
            loop.call_soon_threadsafe(link.poke)

        ledger = Ledger(
            lambda journal=journal, seq=next_seq: JournalWriter(journal, next_seq=seq),  # type: ignore[misc]  # bound early
            recorder=drawer.number,
            on_synced=synced,
            on_full=lambda: None,
        )
        drawer.draws.start(ledger)
        ledgers.append(ledger)
    try:
        yield drawers
    finally:
        for ledger in ledgers:
            await loop.run_in_executor(None, ledger.close)
        for task in (*links, serving):
            task.cancel()
        await asyncio.gather(*links, serving, return_exceptions=True)
        with contextlib.suppress(FileNotFoundError):
            (config.run / "keeper.sock").unlink()
        await keeper.close()


def _bad() -> None:
    raise AssertionError("a frame was bad")
