"""Every way in acts as a role: a role that does not exist gets one and the same answer everywhere, before any other.

Records, play-backs, pages, drain, trials and the list of agents are real; of the keeper only what they need is there,
so that a way in that did something before it asked would fail.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest
from fastapi.routing import APIRoute

from keeper.fake_recorder import Books
from keeper.site_on_disk import make_site, open_holdings
from mitschnitt.core.access import ROLES, TABLE, Action
from mitschnitt.core.call import encode_call_id
from mitschnitt.hardening import Hardening
from mitschnitt.keeper.apply import Applier
from mitschnitt.keeper.cells import Months
from mitschnitt.keeper.consents import listed
from mitschnitt.keeper.door import door_app
from mitschnitt.keeper.draining import Drain
from mitschnitt.keeper.keeper import Keeper
from mitschnitt.keeper.pages import Pages
from mitschnitt.keeper.playbacks import Playbacks
from mitschnitt.keeper.records import Records
from mitschnitt.keeper.trials import Trials
from mitschnitt.store.engine import open_reader

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
REFUSED = encode_call_id(bytes([1]) * 16)
NEVER = encode_call_id(bytes([7]) * 16)
HARDENING = Hardening(no_core=True, not_dumpable=True, memory_locked=False, swap_off=True)
SIGNED = {"act": base64.b64encode(b"{}").decode(), "signature": base64.b64encode(b"s").decode()}
STRETCH = {"start_ns": 0, "stop_ns": 1, "party": 0}

# Every way in: the action that its role is asked for, and what else a question has. A new one gets its line here.
WAYS: Mapping[tuple[str, str], tuple[Action, Mapping[str, Any]]] = {
    ("GET", "/calls"): (Action.SEE_LIST, {}),
    ("GET", "/calls/{call}"): (Action.SEE_CALL, {}),
    ("GET", "/calls/{call}/decision"): (Action.SEE_DECISION, {}),
    ("GET", "/calls/{call}/page"): (Action.SEE_PAGE, {}),
    ("GET", "/pages"): (Action.SEE_PAGE, {}),
    ("POST", "/calls/{call}/erase"): (Action.ERASE, {}),
    ("POST", "/calls/{call}/playbacks"): (Action.HEAR, {"purpose": "training"}),
    ("GET", "/playbacks/{token}"): (Action.HEAR, STRETCH),
    ("GET", "/playbacks/{token}/completeness"): (Action.HEAR, {}),
    ("DELETE", "/playbacks/{token}"): (Action.HEAR, {}),
    ("GET", "/agents"): (Action.SEE_AGENTS, {}),
    ("GET", "/figures/{month}"): (Action.SEE_CELLS, {}),
    ("GET", "/consents"): (Action.SEE_POLICY, {}),
    ("POST", "/consents"): (Action.SEE_CONSENT, SIGNED),
    ("POST", "/grants"): (Action.GIVE_CONSENT, SIGNED),
    ("GET", "/status"): (Action.SEE_STATUS, {}),
    ("POST", "/drain"): (Action.DRAIN, {}),
    ("GET", "/drain"): (Action.DRAIN, {}),
    ("POST", "/trials"): (Action.TRIAL, {"host": "192.0.2.1"}),
    ("GET", "/trials/{token}"): (Action.TRIAL, {}),
    ("POST", "/trials/{token}/stop"): (Action.TRIAL, {}),
}


class Way:
    """The door of a keeper that has nothing but what answers after the question who asks."""

    def __init__(self, records: Records, playbacks: Playbacks, pages: Pages) -> None:
        drain, trials = Drain(lambda message: None), Trials(lambda message: None)
        keeper = SimpleNamespace(
            drain=drain,
            agents_listed=lambda role: listed((), role),
            begin_trial=lambda role, **more: trials.begin(role, **more, now=NOW),
            look_at_trial=lambda role, token: trials.look(role, token, NOW),
            stop_trial=lambda role, token: trials.stop(role, token, NOW),
        )
        self.app = door_app(
            cast(Keeper, keeper), records, playbacks, pages, HARDENING, months=object.__new__(Months), now=lambda: NOW
        )

    def ways(self) -> set[tuple[str, str]]:
        return {
            (method, route.path)
            for route in self.app.routes
            if isinstance(route, APIRoute)
            for method in route.methods or ()
        }

    def ask(self, way: tuple[str, str], role: str, *, call: str = REFUSED, token: str = "t") -> httpx.Response:
        method, path = way
        more = dict(WAYS[way][1])
        asked: dict[str, Any] = (
            {"json": {**more, "role": role}} if method == "POST" else {"params": {**more, "as": role}}
        )

        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://keeper") as client:
                return await client.request(method, path.format(call=call, token=token, month="2026-10"), **asked)

        return asyncio.run(send())


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Way]:
    place: Path = tmp_path_factory.mktemp("door")
    config = make_site(place)
    with open_holdings(config) as holdings:
        block = holdings.leases.lease(1, "boot", 1)
        books = Books(config, 1, holdings.officer_key)
        books.arrived(REFUSED, block.first, block.number)
        books.closed(REFUSED, kept=False)
        Applier(1, config.journal(1), holdings).drain()
        reader = open_reader(config.database)
        records = Records(holdings, reader)
        yield Way(records, Playbacks(holdings, records), Pages(reader))
        reader.dispose()


def test_every_way_in_has_its_line(door: Way) -> None:
    assert door.ways() == set(WAYS)


def test_every_action_that_is_asked_for_at_the_door_has_a_row_and_every_row_is_asked_for_somewhere() -> None:
    within = {Action.SEE_FACTS, Action.SEE_LADDER, Action.SEE_TIMES}  # parts of what is shown of a call
    assert {action for action, _ in WAYS.values()} == {row.action for row in TABLE} - within


@pytest.mark.parametrize("role", ["outsider", "", "Operator"])
def test_a_role_that_does_not_exist_gets_the_same_answer_from_every_way_in(door: Way, role: str) -> None:
    answers = [door.ask(way, role, call=call) for way in WAYS for call in (REFUSED, NEVER)]
    (only,) = {(answer.status_code, answer.content) for answer in answers}
    assert only[0] == 403
    assert answers[0].json()["rule"] == "access.role.unknown"


@pytest.mark.parametrize("way", WAYS, ids=" ".join)
def test_a_role_without_a_row_is_refused_whether_or_not_there_is_such_a_call(door: Way, way: tuple[str, str]) -> None:
    action = WAYS[way][0]
    without = set(ROLES) - {row.role for row in TABLE if row.action is action}
    for role in without:
        answers = [door.ask(way, role, call=call) for call in (REFUSED, NEVER)]
        assert {answer.status_code for answer in answers} == {403}
        assert len({answer.content for answer in answers}) == 1
    assert without or action is Action.SEE_POLICY
