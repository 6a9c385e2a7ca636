"""The door of the command line: shapes, refusals, and what it says when the vault fails."""

from __future__ import annotations

import asyncio
import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from mitschnitt.errors import Damaged, KeyGone, MitschnittError, NoSpace, NotAllowed, TooLarge, VaultError
from mitschnitt.hardening import Hardening
from mitschnitt.keeper.acts import SignedAct
from mitschnitt.keeper.door import door_app

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
CALL = "0" * 25 + "1"
HEAR = {"purpose": "training", "role": "coach"}


class FakeRecords:
    """Answers what it is told to."""

    def __init__(self) -> None:
        self.error: MitschnittError | None = None
        self.asked: list[object] = []

    def _say(self, *what: object) -> None:
        self.asked.append(what)
        if self.error is not None:
            raise self.error

    def list_calls(self, role: str) -> list[dict[str, Any]]:
        self._say(role)
        return [{"call": CALL, "state": "kept"}]

    def show(self, call: str, role: str) -> dict[str, Any]:
        self._say(call, role)
        return {"call": call, "state": "kept"}

    def decision(self, call: str, role: str) -> bytes:
        self._say(call, role)
        return b"sealed"

    def erase(self, call: str, role: str) -> dict[str, Any]:
        self._say(call, role)
        return {"call": call, "state": "not_kept", "epoch": 7}


class FakePlaybacks:
    """Answers what it is told to."""

    def __init__(self) -> None:
        self.error: MitschnittError | None = None
        self.asked: list[object] = []

    def open(self, call: str, **asked: object) -> dict[str, Any]:
        self.asked.append((call, asked))
        if self.error is not None:
            raise self.error
        return {"playback": "token"}

    def stretch(self, token: str, role: str, span: tuple[int, int], **asked: object) -> bytes:
        self.asked.append((token, role, span, asked))
        if self.error is not None:
            raise self.error
        return b"\x00stretch"

    def completeness(self, token: str, role: str, *, now: datetime) -> dict[str, Any]:
        self.asked.append((token, role))
        return {"0": {"expected": 7}}

    def close(self, token: str, role: str) -> None:
        self.asked.append((token, role))


class FakePages:
    """Sealed pages by role."""

    def page(self, call: str, role: str) -> bytes:
        return f"{call} {role}".encode()

    def portion(self, role: str, after: str) -> list[dict[str, str]]:
        return [{"role": role, "after": after}]


class FakeMonths:
    """Says which month was asked for, as whom."""

    def show(self, month: str, role: str) -> dict[str, Any]:
        if role == "caller":
            raise NotAllowed("access.cells.role", "not for callers")
        return {"month": month, "role": role}


class FakeKeeper:
    """Takes grants."""

    def __init__(self) -> None:
        self.acts: list[SignedAct] = []
        self.trials: list[object] = []

    async def import_grant(self, act: SignedAct) -> int:
        self.acts.append(act)
        return 2

    def agents_listed(self, role: str) -> list[dict[str, str]]:
        return [{"id": role}]

    def consents_offered(self) -> list[dict[str, Any]]:
        return [{"purpose": "training"}]

    def own_consents(self, question: SignedAct) -> dict[str, Any]:
        return {"agent": question.act.decode(), "consents": []}

    def status(self) -> dict[str, int]:
        return {"recorders": 1}

    def begin_trial(self, role: str, *, host: str, caller: str, wait: timedelta) -> dict[str, Any]:
        if role != "operator":
            raise NotAllowed("trial.role", "test calls are the operator's")
        self.trials.append((host, caller, wait))
        return {"token": "t1"}

    def look_at_trial(self, role: str, token: str) -> dict[str, Any]:
        return {"state": f"{role} {token}", "findings": []}

    def stop_trial(self, role: str, token: str) -> None:
        self.trials.append((role, token))


class Door:
    def __init__(self) -> None:
        self.records, self.keeper = FakeRecords(), FakeKeeper()
        hardening = Hardening(no_core=True, not_dumpable=True, memory_locked=False, swap_off=True)
        self.playbacks, self.pages, self.months = FakePlaybacks(), FakePages(), FakeMonths()
        self.app = door_app(
            self.keeper,  # type: ignore[arg-type]  # a twin
            self.records,  # type: ignore[arg-type]  # a twin
            self.playbacks,  # type: ignore[arg-type]  # a twin
            self.pages,  # type: ignore[arg-type]  # a twin
            hardening,
            months=self.months,  # type: ignore[arg-type]  # a twin
            now=lambda: NOW,
        )

    def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://keeper") as client:
                return await client.request(method, path, **more)

        return asyncio.run(send())


@pytest.fixture
def door() -> Door:
    return Door()


def test_a_role_is_asked_for_by_name_and_is_the_operator_by_default(door: Door) -> None:
    assert door.ask("GET", "/calls", params={"as": "coach"}).json() == {"calls": [{"call": CALL, "state": "kept"}]}
    door.ask("GET", f"/calls/{CALL}")
    assert door.records.asked == [("coach",), (CALL, "operator")]


def test_envelopes_come_as_base64(door: Door) -> None:
    answer = door.ask("GET", f"/calls/{CALL}/decision", params={"as": "officer"}).json()
    assert base64.b64decode(answer["decision"]) == b"sealed"


def test_an_erasure_says_what_was_reached(door: Door) -> None:
    assert door.ask("POST", f"/calls/{CALL}/erase", json={"role": "officer"}).json()["epoch"] == 7


def test_an_id_that_is_none_is_unknown(door: Door) -> None:
    for path in ("/calls/x", "/calls/..%2Fx/decision"):
        answer = door.ask("GET", path)
        assert answer.status_code == 404
    assert door.records.asked == []


@pytest.mark.parametrize(
    "body",
    [
        {**HEAR, "purpose": ""},
        {**HEAR, "purpose": "x" * 65},
        {**HEAR, "role": "x" * 65},
        {**HEAR, "everything": True},
        {"purpose": "training"},
        {"role": "coach"},
    ],
)
def test_a_wrong_request_is_refused(door: Door, body: dict[str, Any]) -> None:
    assert door.ask("POST", f"/calls/{CALL}/playbacks", json=body).status_code == 422
    assert door.playbacks.asked == []


@pytest.mark.parametrize(
    "error, status, rule",
    [
        (NotAllowed("access.role.purpose"), 403, "access.role.purpose"),
        (NotAllowed("call.unknown"), 404, "call.unknown"),
        (KeyGone("gone"), 403, "access.key_gone"),
        (Damaged("a chunk fails its tag"), 500, "vault.damaged"),
        (NoSpace("full"), 500, "vault.failing"),
        (VaultError("there is none"), 500, "vault.failing"),
        (TooLarge("too much"), 413, "request.too_large"),
    ],
)
def test_each_error_has_its_status_and_rule(door: Door, error: MitschnittError, status: int, rule: str) -> None:
    door.playbacks.error = error
    answer = door.ask("POST", f"/calls/{CALL}/playbacks", json=HEAR)
    assert (answer.status_code, answer.json()["rule"]) == (status, rule)


def test_pages_come_sealed_for_a_role_one_by_one_or_in_portions(door: Door) -> None:
    one = door.ask("GET", f"/calls/{CALL}/page", params={"as": "caller"}).json()
    assert one == {"call": CALL, "page": base64.b64encode(f"{CALL} caller".encode()).decode()}
    assert (
        door.ask("GET", f"/calls/{CALL}/page").json()["page"] == base64.b64encode(f"{CALL} operator".encode()).decode()
    )
    several = door.ask("GET", "/pages", params={"as": "agent", "after": CALL}).json()
    assert several == {"pages": [{"role": "agent", "after": CALL}]}
    assert door.ask("GET", "/pages", params={"after": CALL + "0"}).status_code == 422


def test_a_grant_comes_in_as_base64(door: Door) -> None:
    body = {"act": base64.b64encode(b"{}").decode(), "signature": base64.b64encode(b"s").decode()}
    assert door.ask("POST", "/grants", json=body).json() == {"recorders": 2}
    assert door.keeper.acts == [SignedAct(b"{}", b"s")]
    assert door.ask("POST", "/grants", json={**body, "act": "?"}).status_code == 422


def test_figures_are_asked_for_by_month_and_role(door: Door) -> None:
    assert door.ask("GET", "/figures/2026-11?as=council").json() == {"month": "2026-11", "role": "council"}
    refused = door.ask("GET", "/figures/2026-11?as=caller")
    assert (refused.status_code, refused.json()["rule"]) == (403, "access.cells.role")
    assert door.ask("GET", f"/figures/{'9' * 33}").status_code == 422


def test_agents_are_listed_and_see_what_they_can_agree_to_and_their_own(door: Door) -> None:
    assert door.ask("GET", "/agents?as=council").json() == {"agents": [{"id": "council"}]}
    assert door.ask("GET", "/consents").json() == {"offered": [{"purpose": "training"}]}
    body = {"act": base64.b64encode(b"anna").decode(), "signature": base64.b64encode(b"s").decode()}
    assert door.ask("POST", "/consents", json=body).json() == {"agent": "anna", "consents": []}
    assert door.ask("POST", "/consents", json={**body, "signature": "?"}).status_code == 422


def test_the_status_tells_what_the_kernel_was_asked_for(door: Door) -> None:
    told = door.ask("GET", "/status").json()
    assert (told["recorders"], told["no_core"], told["memory_locked"]) == (1, True, False)


def test_a_test_call_is_begun_looked_at_and_stopped(door: Door) -> None:
    wanted = {"role": "operator", "host": "192.0.2.1", "caller": "+49", "wait_s": 30}
    answer = door.ask("POST", "/trials", json=wanted)
    assert (answer.status_code, answer.json()) == (201, {"token": "t1"})
    assert door.ask("GET", "/trials/t1").json()["state"] == "operator t1"
    assert door.ask("POST", "/trials/t1/stop", json={"role": "operator"}).json()["state"] == "operator t1"
    assert door.keeper.trials == [("192.0.2.1", "+49", timedelta(seconds=30)), ("operator", "t1")]
    assert door.ask("POST", "/trials", json={**wanted, "role": "coach"}).json()["rule"] == "trial.role"


@pytest.mark.parametrize("wrong", [{"wait_s": 0}, {"wait_s": 601}, {"host": ""}, {"caller": "1" * 129}, {"more": 1}])
def test_a_test_call_of_another_shape_is_refused(door: Door, wrong: dict[str, Any]) -> None:
    answer = door.ask("POST", "/trials", json={"role": "operator", "host": "192.0.2.1", **wrong})
    assert answer.json()["rule"] == "request.invalid"
    assert door.keeper.trials == []


def test_a_play_back_is_opened_asked_for_stretches_and_closed(door: Door) -> None:
    wanted = {"purpose": "training", "role": "coach"}
    answer = door.ask("POST", f"/calls/{CALL}/playbacks", json=wanted)
    assert (answer.status_code, answer.json()) == (201, {"playback": "token"})
    query = {"start_ns": 5, "stop_ns": 9, "party": [0, 1], "before": 3, "as": "coach"}
    answer = door.ask("GET", "/playbacks/token", params=query)
    assert (answer.content, answer.headers["cache-control"]) == (b"\x00stretch", "no-store")
    door.ask("GET", "/playbacks/token", params={"start_ns": 0, "stop_ns": 1, "party": 1})
    assert door.ask("GET", "/playbacks/token/completeness", params={"as": "coach"}).json() == {"0": {"expected": 7}}
    assert door.ask("DELETE", "/playbacks/token", params={"as": "coach"}).status_code == 200
    assert door.playbacks.asked == [
        (CALL, {**wanted, "now": NOW}),
        ("token", "coach", (5, 9), {"parties": [0, 1], "before": 3, "now": NOW}),
        ("token", "operator", (0, 1), {"parties": [1], "before": 0, "now": NOW}),
        ("token", "coach"),
        ("token", "coach"),
    ]


@pytest.mark.parametrize(
    "query",
    [
        {"start_ns": 0, "stop_ns": 1},
        {"start_ns": -1, "stop_ns": 1, "party": 0},
        {"start_ns": 0, "stop_ns": 1 << 63, "party": 0},
        {"start_ns": 0, "stop_ns": 1, "party": list(range(13))},
        {"start_ns": 0, "stop_ns": 1, "party": "all"},
        {"start_ns": 0, "stop_ns": 1, "party": 0, "before": -1},
    ],
)
def test_a_stretch_of_another_shape_is_refused(door: Door, query: dict[str, Any]) -> None:
    assert door.ask("GET", "/playbacks/token", params=query).status_code == 422
    assert door.playbacks.asked == []


@pytest.mark.parametrize(
    "error, status, rule",
    [
        (NotAllowed("playback.over"), 403, "playback.over"),
        (KeyGone("gone"), 403, "access.key_gone"),
        (Damaged("media of party 1: chunk 3 fails its tag"), 500, "vault.damaged"),
        (TooLarge("too much"), 413, "request.too_large"),
    ],
)
def test_a_stretch_that_cannot_be_given_says_why(door: Door, error: MitschnittError, status: int, rule: str) -> None:
    door.playbacks.error = error
    answer = door.ask("GET", "/playbacks/token", params={"start_ns": 0, "stop_ns": 1, "party": 0})
    assert (answer.status_code, answer.json()["rule"]) == (status, rule)
