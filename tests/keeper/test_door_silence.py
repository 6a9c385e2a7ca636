"""Seven reasons for which a call is not kept: every way in, every role, row and statement shows one of them.

Keeper, database and door are real. Ways in, roles and tables are taken from the code: a new one is asked, too.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import Connection, Engine, event, select

from keeper.fake_recorder import Books, stamped
from keeper.site_on_disk import make_site, open_holdings
from mitschnitt.config import Config
from mitschnitt.core.access import ROLES
from mitschnitt.core.call import decode_call_id, encode_call_id
from mitschnitt.errors import Damaged
from mitschnitt.hardening import Hardening
from mitschnitt.keeper.apply import Applier, Holdings
from mitschnitt.keeper.cells import Months
from mitschnitt.keeper.door import door_app
from mitschnitt.keeper.keeper import Keeper
from mitschnitt.keeper.pages import Pages
from mitschnitt.keeper.playbacks import Playbacks
from mitschnitt.keeper.records import Records
from mitschnitt.store.engine import open_reader
from mitschnitt.store.tables import calls, metadata, punctures
from mitschnitt.vault.page import READERS, open_page, public_of, seal_page
from test_silence import door, routes

RULES = {
    "not drawn": "draw.not_drawn",
    "excluded": "draw.excluded",
    "capped": "draw.cap",
    "refused by the caller": "consent.caller.refused",
    "refused by the agent": "consent.others",
    "withdrawn": "consent.withdrawn",
    "erased": "consent.all",
}
CALLS = {kind: encode_call_id(bytes([number]) * 16) for number, kind in enumerate(RULES, 1)}
LAST = encode_call_id(bytes([99]) * 16)
KEYS = {"caller": bytes([1]) * 32, "agent": bytes([2]) * 32}
HARDENING = Hardening(no_core=True, not_dumpable=True, memory_locked=False, swap_off=True)
WITH_A_CALL = sorted(route for route in routes(door()) if "{call}" in route)
WITHOUT = ("GET /calls", "GET /pages")  # those that tell of many
SEALED = ("decision", "page")  # fields that are sealed: another each time, so that only their size can show
EVERYBODY = [*ROLES, "outsider", ""]


@dataclass
class World:
    """What is left of one call of each kind, and whoever asks for it."""

    config: Config
    holdings: Holdings
    app: FastAPI
    indices: Mapping[str, int]

    def ask(self, route: str, call: str, role: str) -> httpx.Response:
        """One question as this role; bodies have what all of them want."""
        method, path = route.split(" ")
        body = {"role": role, "purpose": "training"} if "playbacks" in path else {"role": role}
        more: dict[str, Any] = {"json": body} if method == "POST" else {"params": {"as": role}}

        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://keeper") as client:
                return await client.request(method, path.replace("{call}", call), **more)

        return asyncio.run(send())

    def rows(self, table: str) -> list[Mapping[str, Any]]:
        """All rows of a table."""

        def look(connection: Connection) -> list[Mapping[str, Any]]:
            return [dict(row) for row in connection.execute(select(metadata.tables[table])).mappings()]

        return self.holdings.writer.submit(look).result(10)


def book(books: Books, block: Any) -> dict[str, int]:
    """Calls as recorders journal them; of those that were opened also what that leaves."""
    indices = {}
    for offset, (kind, call) in enumerate(CALLS.items()):
        indices[kind] = block.first + offset
        books.arrived(call, indices[kind], block.number)
        if kind in ("withdrawn", "erased"):
            books.track(call)
            books.media_slice(call, block.nodes[offset], 0, stamped("x", 10))
        if kind == "erased":
            books.sealed(call, block.nodes[offset], 0)
    books.shred(CALLS["withdrawn"])
    return indices


def pages(kind: str, call: str) -> dict[str, str]:
    """What the recorder sealed to the persons of this call."""
    told = {"outcome": "kept" if kind == "erased" else "not_kept", "rule": RULES[kind]}
    readers = {"caller": [public_of(KEYS["caller"])], "agent": [public_of(KEYS["agent"])] if kind == "erased" else []}
    sealed = {person: seal_page(person, call, readers[person], told) for person in READERS}
    return {person: base64.b64encode(page).decode() for person, page in sealed.items()}


@pytest.fixture(scope="module")
def heard() -> Iterator[list[tuple[str, str]]]:
    """Every statement that a database is really asked, with its parameters. Heard from before the first connection."""
    found: list[tuple[str, str]] = []

    def hear(_connection: object, _cursor: object, statement: str, parameters: object, *_: object) -> None:
        if statement.partition(" ")[0] in ("SELECT", "INSERT", "UPDATE", "DELETE"):
            found.append((statement, repr(parameters)))

    event.listen(Engine, "before_cursor_execute", hear)
    yield found
    event.remove(Engine, "before_cursor_execute", hear)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, heard: list[tuple[str, str]]) -> Iterator[World]:
    config = make_site(tmp_path_factory.mktemp("world"))
    with open_holdings(config) as holdings:
        block = holdings.leases.lease(1, "boot", 8)
        books = Books(config, 1, holdings.officer_key)
        applier = Applier(1, config.journal(1), holdings)
        indices = book(books, block)
        applier.drain()
        for kind, call in CALLS.items():
            books.closed(call, kept=kind == "erased", pages=pages(kind, call))
        applier.drain()
        books.writer.rotate()
        books.arrived(LAST, block.first + 7, block.number)  # the next call: what the journal told before may go
        applier.drain()
        reader = open_reader(config.database)
        records = Records(holdings, reader)
        records.erase(CALLS["erased"], "officer")
        months = cast(Months, None)  # figures are of months that are over, and this is one day
        app = door_app(
            cast(Keeper, None), records, Playbacks(holdings, records), Pages(reader), HARDENING, months=months
        )
        assert heard
        yield World(config, holdings, app, indices)
        reader.dispose()


def shown(answer: httpx.Response, call: str) -> tuple[int, str, str]:
    """Status, headers and body, without the id; of what is sealed the size."""
    body = answer.content.replace(call.encode(), b"CALL").decode()
    told = json.loads(body)
    for name in SEALED:
        if isinstance(told, dict) and name in told:
            told[name] = len(told[name])
    return answer.status_code, json.dumps(told), str(sorted(answer.headers.items()))


@pytest.mark.parametrize("role", EVERYBODY)
@pytest.mark.parametrize("route", WITH_A_CALL)
def test_every_way_in_answers_the_same_about_each_of_them(world: World, route: str, role: str) -> None:
    answers = {shown(world.ask(route, call, role), call) for call in CALLS.values()}
    assert len(answers) == 1


@pytest.mark.parametrize("role", EVERYBODY)
@pytest.mark.parametrize("route", WITHOUT)
def test_where_many_are_told_of_they_differ_in_their_ids_only(world: World, route: str, role: str) -> None:
    told = world.ask(route, "", role).json()
    listed = [row for rows in told.values() if isinstance(rows, list) for row in rows if row["call"] in CALLS.values()]
    assert len(listed) in (0, len(CALLS))
    assert len({json.dumps({**row, "call": "", "page": len(row.get("page", ""))}) for row in listed}) <= 1


@pytest.mark.thorough
@pytest.mark.parametrize("role", EVERYBODY)
@pytest.mark.parametrize("route", [*WITH_A_CALL, *WITHOUT])
def test_the_reason_is_not_even_selected(world: World, heard: list[tuple[str, str]], route: str, role: str) -> None:
    asked = []
    for call in CALLS.values():
        heard.clear()
        world.ask(route, call, role)
        asked.append([(statement, parameters.replace(call, "CALL")) for statement, parameters in heard])
    assert all(one == asked[0] for one in asked)
    selected = [statement for statement, _ in asked[0] if "sealed_decision" in statement]
    assert bool(selected) == (route == "GET /calls/{call}/decision" and role == "officer")
    assert not [statement for statement, _ in asked[0] if re.search(r"\b(draws|grants|punctures|leases)\b", statement)]


@pytest.mark.parametrize("table", sorted(metadata.tables))
def test_in_no_table_do_they_differ_but_in_their_ids(world: World, table: str) -> None:
    if "call_id" not in metadata.tables[table].columns:
        everything = repr(world.rows(table))
        assert not [call for call in CALLS.values() if call in everything]
        return
    found = {kind: [shape(row) for row in world.rows(table) if row["call_id"] == call] for kind, call in CALLS.items()}
    assert len({repr(rows) for rows in found.values()}) == 1
    assert bool(found["withdrawn"]) == (table in ("calls", "pages"))


def shape(row: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """A row without the id; of bytes their number."""
    return [(name, len(v) if isinstance(v, bytes) or name == "call_id" else v) for name, v in row.items()]


def test_every_key_is_punctured_once(world: World) -> None:
    rows = [row for row in world.rows(punctures.name) if row["count"]]
    spans = Counter(index for row in rows for index in range(row["first"], row["first"] + row["count"]))
    assert {kind: spans[index] for kind, index in world.indices.items()} == dict.fromkeys(CALLS, 1)


def test_rows_stand_in_no_order_in_which_calls_came(world: World) -> None:
    def look(connection: Connection) -> list[str]:
        return list(connection.execute(select(calls.c.call_id)).scalars())

    assert world.holdings.writer.submit(look).result(10) == sorted([*CALLS.values(), LAST])


def test_no_file_but_the_database_names_one_of_them(world: World) -> None:
    """Not by its letters, nor by its bytes; empty directories of audio have gone, too."""
    files = [path for path in world.config.directory.rglob("*") if path.is_file()]
    media = [path for path in files if path.parent == world.config.journal(1) and path.suffix != ".jnl"]
    for call in CALLS.values():
        marks = (call.encode(), decode_call_id(call))
        named = {path for path in files if any(mark in path.read_bytes() for mark in marks)} - set(media)
        assert {path.name.partition("-")[0] for path in named} == {"domain.sqlite"}
    assert list(world.config.audio.rglob("*")) == []


@pytest.mark.parametrize("kind", CALLS)
def test_only_the_callers_key_tells_them_apart(world: World, kind: str) -> None:
    look = partial(world.ask, "GET /calls/{call}/page", CALLS[kind])
    caller, agent = (base64.b64decode(look(role).json()["page"]) for role in ("caller", "agent"))
    assert open_with_any(caller, "caller", CALLS[kind]) == RULES[kind]
    assert open_with_any(agent, "agent", CALLS[kind]) == ""


def open_with_any(sealed: bytes, person: str, call: str) -> str:
    """The rule that a page tells whoever has one of the keys of this test."""
    from_keys = [rule_in(key, person, call, sealed) for key in KEYS.values()]
    return next((rule for rule in from_keys if rule), "")


def rule_in(key: bytes, person: str, call: str, sealed: bytes) -> str:
    try:
        return str(open_page(key, person, call, sealed)["rule"])
    except Damaged:
        return ""
