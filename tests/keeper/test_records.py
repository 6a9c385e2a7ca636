"""What a role may learn, and hear: the rule first, the row second, the bytes last."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection, select, update

from keeper.fake_recorder import BINDING, Books, stamped
from keeper.site_on_disk import make_site, open_holdings
from mitschnitt.core.access import ROLES
from mitschnitt.core.call import encode_call_id
from mitschnitt.errors import NotAllowed
from mitschnitt.keeper.apply import Applier, Holdings
from mitschnitt.keeper.records import Records
from mitschnitt.store import queries
from mitschnitt.store.engine import open_reader
from mitschnitt.store.queries import AccessRow
from mitschnitt.store.tables import calls, ladders

KEPT, REFUSED, WITHDREW, LIVE, NEVER = (encode_call_id(bytes([number]) * 16) for number in range(1, 6))
LADDER = json.loads((Path(__file__).parents[1] / "vectors" / "ladder" / "kept.json").read_text(encoding="utf-8"))
DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
FIGURES_ONLY = ("analyst", "client")
COACH = {"purpose": "training", "role": "coach"}


@dataclass
class World:
    holdings: Holdings
    records: Records

    def ladder_rows(self) -> list[str]:
        def look(connection: Connection) -> list[str]:
            return list(connection.execute(select(ladders.c.call_id)).scalars())

        return self.holdings.writer.submit(look).result(10)

    def accesses(self) -> list[AccessRow]:
        return self.holdings.writer.submit(lambda connection: queries.accesses_of(connection, KEPT)).result(10)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with made(tmp_path) as world:
        yield world


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One for all who only look at it."""
    with made(tmp_path_factory.mktemp("seen")) as world:
        yield world


@contextmanager
def made(root: Path) -> Iterator[World]:
    config = make_site(root)
    with open_holdings(config) as holdings:
        block = holdings.leases.lease(1, "boot", 4)
        books = Books(config, 1, holdings.officer_key)
        for offset, call in enumerate((KEPT, REFUSED, WITHDREW, LIVE)):
            books.arrived(call, block.first + offset, block.number)
        for offset, call in ((0, KEPT), (2, WITHDREW)):
            books.track(call)
            books.media_slice(call, block.nodes[offset], 0, stamped("x", 10))
        books.sealed(KEPT, block.nodes[0], 0)
        books.shred(WITHDREW)
        for call in (KEPT, REFUSED, WITHDREW):
            books.closed(call, kept=call == KEPT, ladders=[LADDER])  # of the others no recorder would tell one
        Applier(1, config.journal(1), holdings).drain()
        reader = open_reader(config.database)
        yield World(holdings, Records(holdings, reader))
        reader.dispose()


def now() -> datetime:
    return datetime.now(UTC)


@pytest.mark.parametrize("role", [role for role in ROLES if role not in FIGURES_ONLY])
def test_every_role_that_may_ask_gets_the_same_word_for_what_is_not_kept(seen: World, role: str) -> None:
    assert seen.records.show(REFUSED, role) == {"call": REFUSED, "state": "not_kept"}
    assert seen.records.show(WITHDREW, role) == {"call": WITHDREW, "state": "not_kept"}
    if role in ("caller", "agent"):
        with pytest.raises(NotAllowed, match=r"access\.list\.role"):
            seen.records.list_calls(role)
        return
    words = {row["call"]: row["state"] for row in seen.records.list_calls(role)}
    assert words == {KEPT: "kept", REFUSED: "not_kept", WITHDREW: "not_kept", LIVE: "live"}


@pytest.mark.parametrize("role", FIGURES_ONLY)
@pytest.mark.parametrize("call", [KEPT, REFUSED, LIVE, NEVER])
def test_who_sees_figures_only_learns_nothing_of_any_call(seen: World, role: str, call: str) -> None:
    asks = [(seen.records.show, "access.call.role"), (seen.records.decision, "access.decision.role")]
    for ask, rule in [*asks, (seen.records.erase, "erase.role")]:
        with pytest.raises(NotAllowed) as refused:
            ask(call, role)
        assert refused.value.rule == rule
    with pytest.raises(NotAllowed, match=r"access\.list\.role"):
        seen.records.list_calls(role)


@pytest.mark.parametrize("role", ["caller", "agent"])
def test_of_a_kept_call_its_persons_see_the_word_alone_for_nobody_shows_here_to_be_one(seen: World, role: str) -> None:
    assert seen.records.show(KEPT, role) == {"call": KEPT, "state": "kept"}


def test_of_a_kept_call_it_is_told_what_each_voice_rests_on(seen: World) -> None:
    assert [party["binding"] for party in seen.records.show(KEPT, "operator")["parties"]] == [[BINDING]]


@pytest.mark.parametrize("role", [role for role in ROLES if role not in FIGURES_ONLY])
def test_the_ladder_of_a_kept_call_is_for_whoever_mends_signalling_or_answers_for_it(seen: World, role: str) -> None:
    shown = seen.records.show(KEPT, role)
    if role in ("operator", "officer"):
        (ladder,) = shown["ladders"]
        assert [rung["message"] for rung in ladder["rungs"]][:3] == ["INVITE", "100", "200"]
    else:
        assert "ladders" not in shown


@pytest.mark.parametrize("role", [role for role in ROLES if role not in FIGURES_ONLY])
def test_on_which_day_a_call_was_is_told_to_the_officer_alone(seen: World, role: str) -> None:
    told = json.dumps(seen.records.show(KEPT, role))
    if role not in ("caller", "agent"):
        told += json.dumps(seen.records.list_calls(role))
    if role == "officer":
        assert {"day", "due_at"} <= set(seen.records.show(KEPT, role))
        assert DAY.search(told)
    else:
        assert not DAY.search(told)
        assert not {"media_size", "timeline_size"} & set(re.findall(r'"([a-z_]+)":', told))


@pytest.mark.parametrize("role", ["coach", "council", "operator"])
def test_calls_of_different_days_of_a_month_stand_in_the_list_as_if_of_one(world: World, role: str) -> None:
    def spread(connection: Connection) -> None:
        for number, call in enumerate((LIVE, WITHDREW, REFUSED, KEPT), 2):
            connection.execute(
                update(calls).where(calls.c.call_id == call).values(arrived_day=f"2026-11-{number * 5:02d}")
            )

    world.holdings.writer.submit(spread).result(10)
    listed = world.records.list_calls(role)
    assert {row["month"] for row in listed} == {"2026-11"}
    assert [row["call"] for row in listed] == sorted((KEPT, REFUSED, WITHDREW, LIVE))
    assert [row["call"] for row in world.records.list_calls("officer")] == [LIVE, WITHDREW, REFUSED, KEPT]


def test_a_ladder_that_a_recorder_told_of_a_call_that_is_not_kept_is_nowhere(world: World) -> None:
    assert world.ladder_rows() == [KEPT]


def test_an_erased_call_loses_its_ladder_with_its_rows(world: World) -> None:
    assert world.records.show(KEPT, "operator")["ladders"]
    world.records.erase(KEPT, "officer")
    assert world.records.show(KEPT, "operator") == {"call": KEPT, "state": "not_kept"}
    assert world.ladder_rows() == []


def test_an_outsider_learns_nothing(seen: World) -> None:
    for ask in (lambda: seen.records.list_calls("outsider"), lambda: seen.records.show(KEPT, "outsider")):
        with pytest.raises(NotAllowed, match=r"access\.role\.unknown"):
            ask()
    with pytest.raises(NotAllowed, match=r"call\.unknown"):
        seen.records.show(NEVER, "operator")


@pytest.mark.parametrize(
    "call, asked, later, rule",
    [
        (KEPT, {"role": "operator"}, 0, "access.role.purpose"),
        (KEPT, {"role": "officer"}, 0, "access.role.purpose"),
        (KEPT, {"role": "outsider"}, 0, "access.role.unknown"),
        (KEPT, {"purpose": "dispute"}, 0, "access.role.purpose"),
        (REFUSED, {}, 0, "access.not_kept"),
        (WITHDREW, {}, 0, "access.not_kept"),
        (LIVE, {}, 0, "access.not_kept"),
        (KEPT, {}, 31, "access.retention.over"),
        (NEVER, {}, 0, "call.unknown"),
    ],
)
def test_a_refused_wish_to_hear_says_its_rule(
    seen: World, call: str, asked: dict[str, str], later: int, rule: str
) -> None:
    with pytest.raises(NotAllowed) as refused:
        seen.records.permitted(call, **{**COACH, **asked}, now=now() + timedelta(days=later))
    assert refused.value.rule == rule
    assert seen.accesses() == []


def test_decisions_are_the_officers_and_of_one_size(seen: World) -> None:
    sizes = {len(seen.records.decision(call, "officer")) for call in (KEPT, REFUSED, WITHDREW)}
    assert len(sizes) == 1
    with pytest.raises(NotAllowed, match=r"access\.decision\.role"):
        seen.records.decision(REFUSED, "operator")
    with pytest.raises(NotAllowed, match=r"access\.decision\.live"):
        seen.records.decision(LIVE, "officer")


def test_erasing_answers_alike_for_what_was_kept_and_what_never_was(world: World) -> None:
    told = [world.records.erase(call, "officer") for call in (KEPT, REFUSED, WITHDREW)]
    assert len({str(sorted(answer.items())).replace(answer["call"], "CALL") for answer in told}) == 1
    with pytest.raises(NotAllowed, match=r"erase\.live"):
        world.records.erase(LIVE, "officer")
    with pytest.raises(NotAllowed, match=r"erase\.role"):
        world.records.erase(KEPT, "coach")
