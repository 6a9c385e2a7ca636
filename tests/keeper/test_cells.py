"""Figures of a month: counted by tag, told once when it is over, and never with a reason that tells of somebody."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine, insert, select

from keeper.site_on_disk import POLICY
from mitschnitt.core.draw import agent_tag, tag_key
from mitschnitt.core.periods import parse_period, week_of
from mitschnitt.core.policy import Cells, Group, Policy, Stratum
from mitschnitt.core.policy_text import parse_policy
from mitschnitt.core.view import Agent
from mitschnitt.errors import ConfigError, NotAllowed
from mitschnitt.keeper import cells as cells_module
from mitschnitt.keeper.cells import Directory, Months
from mitschnitt.store.engine import open_engine, open_reader
from mitschnitt.store.tables import cell_months, cell_people, cells, days, draws
from mitschnitt.store.upgrade import upgrade
from mitschnitt.store.writer import Writer

SECRET = bytes(range(32))
BERLIN = ZoneInfo("Europe/Berlin")
GROUPS = tuple(Group(name, (name,)) for name in ("north", "south", "night"))
RULES = replace(
    parse_policy(POLICY.encode()),
    cells=Cells(5, 20, GROUPS),
    strata=(Stratum("all", "true", Fraction(1)), Stratum("picked", "false", Fraction(1), hand_picked=True)),
)
TEAMS = {"north": 9, "south": 7, "night": 4}


def staff(team: str, count: int) -> list[Agent]:
    return [Agent(f"{team}{number}", team, "2020-01-01", (f"sip:{team}{number}@x",)) for number in range(count)]


@dataclass
class World:
    writer: Writer
    reader: Engine
    now: datetime = datetime(2026, 12, 2, 12, tzinfo=UTC)
    agents: list[Agent] = field(default_factory=lambda: [agent for t, n in TEAMS.items() for agent in staff(t, n)])
    policies: dict[str, Policy] = field(default_factory=lambda: {RULES.hash: RULES})
    n: int = 0
    doubt: str = ""

    def months(self) -> Months:
        def policy_of(digest: str) -> Policy:
            if digest not in self.policies:
                raise ConfigError("policy: cannot read it")
            return self.policies[digest]

        return Months(
            self.writer,
            self.reader,
            SECRET,
            directory=lambda: Directory(tuple(self.agents), RULES, BERLIN),
            policy_of=policy_of,
            now=lambda: self.now,
            doubt=lambda _: self.doubt,
        )

    def opens(self, month: str, *, policy_hash: str = RULES.hash) -> None:
        more = {
            "policy_hash": policy_hash,
            "key_sha256": "b" * 64,
            "beacon_kind": "none",
            "opened_at": "x",
            "record": b"{}",
        }
        rows = [{"day": day.isoformat(), **more} for day in parse_period(month).days()]
        self.writer.submit(lambda connection: connection.execute(insert(days), rows)).result(10)

    def drew(self, name: str, day: date, *outcomes: str, stratum: int = 0) -> None:
        """Calls of an agent on a day; "" is a call that was not drawn."""
        tag, rows = agent_tag(tag_key(SECRET, week_of(day)), name), []
        for outcome in outcomes:
            self.n += 1
            verdict, became = ("drawn", outcome) if outcome else ("not_drawn", None)
            row = {"day": day.isoformat(), "source": "keeper", "n": self.n, "verdict": verdict, "outcome": became}
            rows.append({**row, "stratum": stratum, "exclusion": None, "agent_tag": tag})
        self.writer.submit(lambda connection: connection.execute(insert(draws), rows)).result(10)

    def works(self, month: str) -> None:
        """Everybody takes six drawn calls; the first two of each team keep none."""
        first = parse_period(month).first
        for agent in self.agents:
            word = "not_agreed" if agent.id[-1] in "01" else "kept"
            self.drew(agent.id, first + timedelta(days=2), word, "not_agreed", "failed", "")
            self.drew(agent.id, first + timedelta(days=20), word, word, "not_agreed")

    def stored(self, table: Any) -> list[Any]:
        with self.reader.connect() as connection:
            return list(connection.execute(select(table)))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    engine = open_engine(tmp_path / "d.sqlite")
    upgrade(engine)
    made = World(Writer(engine), open_reader(tmp_path / "d.sqlite"))
    yield made
    made.writer.close()
    made.reader.dispose()


def test_a_month_is_told_when_it_is_over_and_never_again(world: World) -> None:
    world.opens("2026-11")
    world.works("2026-11")
    months = world.months()
    assert months.tell() == ["2026-11"]
    found = months.show("2026-11", "council")
    assert [(cell["group"], cell["calls"], cell["share"]) for cell in found["cells"]] == [
        ("", 120, 0.35),
        ("north", 54, 0.39),
    ]
    assert (found["cells"][0]["low"], found["cells"][0]["high"]) == (0.27, 0.44)
    assert found["not_alone"] == [{"group": "night", "with": ""}, {"group": "south", "with": ""}]
    before = world.stored(cells)
    world.drew("north5", date(2026, 11, 30), *["kept"] * 50)
    world.agents.pop()
    assert months.tell() == world.months().tell() == []
    assert world.stored(cells) == before


@pytest.mark.parametrize("rule", ["clock.ahead", "clock.back"])
def test_by_a_clock_that_is_not_trusted_no_month_is_told(world: World, rule: str) -> None:
    world.opens("2026-11")
    world.works("2026-11")
    world.doubt = rule
    assert world.months().tell() == []
    world.doubt = ""
    assert world.months().tell() == ["2026-11"]


def test_a_month_is_not_told_before_it_is_over_in_the_policys_zone_and_settled(world: World) -> None:
    world.opens("2026-11")
    world.works("2026-11")
    months = world.months()
    world.now = datetime(2026, 12, 1, 22, 59, tzinfo=UTC)  # 23:59 in Berlin
    assert months.tell() == []
    with pytest.raises(NotAllowed, match=r"figures\.not_told"):
        months.show("2026-11", "operator")
    world.now = datetime(2026, 12, 1, 23, 0, tzinfo=UTC)
    assert months.tell() == ["2026-11"]


def test_months_that_went_by_while_nothing_ran_are_told_in_their_order(world: World) -> None:
    for month in ("2026-08", "2026-11"):
        world.opens(month)
        world.works(month)
    assert world.months().tell() == ["2026-08", "2026-09", "2026-10", "2026-11"]
    assert len({row.month for row in world.stored(cell_people)}) == 2
    assert [row.month for row in world.stored(cell_months)] == ["2026-08", "2026-09", "2026-10", "2026-11"]


def test_of_a_month_without_figures_nothing_is_shown_and_it_is_told_all_the_same(world: World) -> None:
    world.opens("2026-11")
    world.drew("north0", date(2026, 11, 3), "kept")
    months = world.months()
    assert months.tell() == ["2026-11"]
    found = months.show("2026-11", "operator")
    assert found["cells"] == []
    assert {group["with"] for group in found["not_alone"]} == {None}


def test_without_draws_no_month_is_ever_told(world: World) -> None:
    assert world.months().tell() == []
    assert world.stored(cell_months) == []


def leaves_in_the_middle(world: World) -> None:
    world.drew("north0", date(2026, 11, 3), *["kept"] * 6)


def starts_on_the_first(world: World) -> None:
    world.agents[0] = replace(world.agents[0], started="2026-11-01")
    world.works("2026-11")


def never_says_when_it_began(world: World) -> None:
    world.agents[0] = replace(world.agents[0], started="")
    world.works("2026-11")


def left_the_file(world: World) -> None:
    world.works("2026-11")
    world.agents.pop(0)


@pytest.mark.parametrize(
    "absent", [starts_on_the_first, never_says_when_it_began, left_the_file], ids=lambda absent: absent.__name__
)
def test_who_was_not_there_throughout_is_not_counted(world: World, absent: Callable[[World], None]) -> None:
    world.opens("2026-11")
    absent(world)
    months = world.months()
    months.tell()
    assert months.show("2026-11", "operator")["cells"][0]["calls"] == 114


def test_who_was_seen_in_one_half_of_the_month_only_is_not_counted(world: World) -> None:
    world.opens("2026-11")
    gone, world.agents = world.agents[0], world.agents[1:]
    world.works("2026-11")
    world.agents.insert(0, gone)
    leaves_in_the_middle(world)
    months = world.months()
    months.tell()
    assert months.show("2026-11", "operator")["cells"][0]["calls"] == 114


def test_hand_picked_calls_are_in_no_figure(world: World) -> None:
    world.opens("2026-11")
    world.works("2026-11")
    for agent in world.agents:
        world.drew(agent.id, date(2026, 11, 4), *["kept"] * 9, stratum=1)
    months = world.months()
    months.tell()
    assert months.show("2026-11", "operator")["cells"][0]["calls"] == 120


def test_a_day_that_was_never_opened_is_in_no_figure(world: World) -> None:
    world.opens("2026-10")
    world.works("2026-10")
    world.works("2026-11")
    months = world.months()
    assert months.tell() == ["2026-10", "2026-11"]
    assert months.show("2026-11", "operator")["cells"] == []


def test_without_the_policy_of_its_days_a_month_is_told_later(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.opens("2026-11", policy_hash="c" * 64)
    world.works("2026-11")
    months = world.months()
    with pytest.raises(ConfigError):
        months.tell()
    assert world.stored(cell_months) == []

    async def twice() -> None:
        running = asyncio.create_task(months.run())
        while not caplog.records:
            await asyncio.sleep(0.01)
        world.policies["c" * 64] = RULES
        while not world.stored(cell_months):
            await asyncio.sleep(0.01)
        running.cancel()

    with pytest.MonkeyPatch.context() as patched, caplog.at_level(logging.INFO):
        patched.setattr(cells_module, "LOOK_SECONDS", 0.01)
        asyncio.run(twice())
    assert sum("could not be computed" in record.getMessage() for record in caplog.records) == 1


def test_what_cannot_be_subtracted_from_a_month_is_remembered_for_twelve(world: World) -> None:
    world.opens("2026-10")
    world.opens("2026-11")
    world.works("2026-10")
    world.works("2026-11")
    leaver = world.agents[0]
    world.now = datetime(2026, 11, 2, 12, tzinfo=UTC)
    world.months().tell()
    world.agents.remove(leaver)
    world.now = datetime(2026, 12, 2, 12, tzinfo=UTC)
    months = world.months()
    months.tell()
    calls = [cell["calls"] for cell in months.show("2026-11", "operator")["cells"]]
    # Nine of `north` were told of in October; without the leaver eight are left, and five must go with them.
    assert calls == [66]
    people = [row.person for row in world.stored(cell_people)]
    assert not [name for name in people if "north" in name]


def test_who_was_counted_is_forgotten_after_twelve_months(world: World) -> None:
    world.opens("2025-11")
    world.works("2025-11")
    world.now = datetime(2025, 12, 2, 12, tzinfo=UTC)
    world.months().tell()
    assert world.stored(cell_people)
    world.now = datetime(2026, 12, 2, 12, tzinfo=UTC)
    world.months().tell()
    assert world.stored(cell_people) == []
    assert world.stored(cells)


@pytest.mark.parametrize("name", ["2026-11-26", "2026-W48", "2026-13", "November", ""])
def test_what_is_no_month_is_refused(world: World, name: str) -> None:
    with pytest.raises(ConfigError, match=r"figures: they are told of months|period: expected"):
        world.months().show(name, "operator")


def test_a_role_that_may_not_see_figures_learns_nothing(world: World) -> None:
    for role in ("caller", "nobody"):
        with pytest.raises(NotAllowed, match=r"access\."):
            world.months().show("2026-11", role)
