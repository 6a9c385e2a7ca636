"""Calls that were not kept for different reasons: whoever asks, and however, gets the same bytes for all of them.

Keeper, database and door are real; what recorders journalled is as `tests/recorder/test_ladders_of_calls.py` finds it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from sqlalchemy import Connection, Engine, text

from keeper.fake_recorder import Books, stamped
from keeper.site_on_disk import make_site, open_holdings
from mitschnitt.core.access import ROLES
from mitschnitt.core.call import encode_call_id
from mitschnitt.hardening import Hardening
from mitschnitt.keeper.apply import Applier, Holdings
from mitschnitt.keeper.cells import Months
from mitschnitt.keeper.door import door_app
from mitschnitt.keeper.keeper import Keeper
from mitschnitt.keeper.pages import Pages
from mitschnitt.keeper.playbacks import Playbacks
from mitschnitt.keeper.records import Records
from mitschnitt.store.engine import open_reader

OUTCOMES = ("not asked", "refused by the caller", "refused by the agent", "withdrawn", "erased")
CALLS = {outcome: encode_call_id(bytes([number]) * 16) for number, outcome in enumerate(OUTCOMES, 1)}
KEPT = encode_call_id(bytes([9]) * 16)
HARDENING = Hardening(no_core=True, not_dumpable=True, memory_locked=False, swap_off=True)


class World:
    """A keeper's books after calls of every outcome, and its door."""

    def __init__(self, holdings: Holdings, records: Records, reader: Engine) -> None:
        self.holdings = holdings
        self._app = door_app(
            cast(Keeper, None),
            records,
            Playbacks(holdings, records),
            Pages(reader),
            HARDENING,
            months=cast(Months, None),
        )

    def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(app=self._app)
            async with httpx.AsyncClient(transport=transport, base_url="http://keeper") as client:
                return await client.request(method, path, **more)

        return asyncio.run(send())

    def rows(self, table: str) -> list[Mapping[str, Any]]:
        """Every row of one table."""

        def look(connection: Connection) -> list[Mapping[str, Any]]:
            return [dict(row) for row in connection.execute(text(f"SELECT * FROM {table}")).mappings()]  # noqa: S608 - a name of this file

        return self.holdings.writer.submit(look).result(10)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    config = make_site(tmp_path)
    with open_holdings(config) as holdings:
        block = holdings.leases.lease(1, "boot", 8)
        books = Books(config, 1, holdings.officer_key)
        for offset, call in enumerate([*CALLS.values(), KEPT]):
            books.arrived(call, block.first + offset, block.number)
            if call in (CALLS["withdrawn"], CALLS["erased"], KEPT):
                books.track(call)
                books.media_slice(call, block.nodes[offset], 0, stamped("x", 10))
            if call in (CALLS["erased"], KEPT):
                books.sealed(call, block.nodes[offset], 0)
        books.shred(CALLS["withdrawn"])
        for call in (*CALLS.values(), KEPT):
            books.closed(call, kept=call in (CALLS["erased"], KEPT))
        Applier(1, config.journal(1), holdings).drain()
        reader = open_reader(config.database)
        records = Records(holdings, reader)
        records.erase(CALLS["erased"], "officer")
        yield World(holdings, records, reader)
        reader.dispose()


@pytest.mark.thorough
@pytest.mark.parametrize("role", [*ROLES, "outsider", ""])
@pytest.mark.parametrize("way", ["", "/decision"])
def test_every_call_that_is_not_kept_answers_with_the_same_bytes(world: World, role: str, way: str) -> None:
    told = set()
    for call in CALLS.values():
        answer = world.ask("GET", f"/calls/{call}{way}", params={"as": role})
        body = answer.content.replace(call.encode(), b"CALL")
        sealed = way and answer.status_code == 200  # an envelope is another each time; its length is what shows
        headers = sorted((name, value) for name, value in answer.headers.items())
        told.add((answer.status_code, len(body) if sealed else body, str(headers)))
    assert len(told) == 1


@pytest.mark.parametrize("role", ROLES)
def test_nobody_learns_more_by_opening_a_play_back_of_one(world: World, role: str) -> None:
    wanted = {"purpose": "training", "role": role}
    answers = [world.ask("POST", f"/calls/{call}/playbacks", json=wanted) for call in CALLS.values()]
    assert len({(answer.status_code, answer.content) for answer in answers}) == 1
    assert answers[0].status_code == 403


def test_in_the_list_they_differ_by_their_ids_only(world: World) -> None:
    listed = world.ask("GET", "/calls").json()["calls"]
    rows = [{**row, "call": ""} for row in listed if row["call"] in CALLS.values()]
    assert len(rows) == len(CALLS)
    assert all(row == rows[0] for row in rows)


def test_their_rows_are_alike_and_no_other_table_knows_them(world: World) -> None:
    rows = [row for row in world.rows("calls") if row["call_id"] in CALLS.values()]
    shapes = {tuple(len(v) if k in ("call_id", "sealed_decision") else v for k, v in row.items()) for row in rows}
    assert len(rows) == len(CALLS)
    assert len(shapes) == 1
    for table in ("parties", "ladders", "accesses"):
        assert not {row["call_id"] for row in world.rows(table)} & set(CALLS.values())


def test_a_kept_call_of_which_no_ladder_was_told_has_none(world: World) -> None:
    shown = world.ask("GET", f"/calls/{KEPT}").json()
    assert (shown["state"], shown["ladders"]) == ("kept", [])
