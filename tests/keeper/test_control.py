"""The control API: token first, strict bodies, the same answer twice, the same 404 for unknown and over."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.types import ASGIApp

from mitschnitt.core.consent import Act, Asked
from mitschnitt.errors import NoSpace, NotAllowed
from mitschnitt.keeper.announced import PartyPost, Ref
from mitschnitt.keeper.control import control_app

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
TOKEN = "t" * 40
CALL = "0" * 25 + "1"
REFS = [{"kind": "header", "value": "x"}]
ASKED = {
    "party": "caller",
    "prompt": "ask",
    "sha256": "a" * 64,
    "from": "2026-11-23T08:59:50Z",
    "to": "2026-11-23T08:59:54Z",
    "played_ms": 4_000,
    "length_ms": 4_000,
}
ACT = {"party": "caller", "kind": "digit", "value": "1", "at": "2026-11-23T08:59:57Z"}
PARTY = {"party": "third-1", "kind": "joined", "value": "sip:t@example.org", "at": "2026-11-23T08:59:57Z"}
VECTORS = json.loads((Path(__file__).parents[1] / "vectors/control/exchanges.json").read_text(encoding="utf-8"))


class FakeKeeper:
    """Remembers what it was told; knows one call."""

    def __init__(self) -> None:
        self.told: list[object] = []
        self.fails = False
        self.ready = 1
        self.ask: dict[str, Any] | None = None
        self.further: list[dict[str, Any]] = []

    async def announce(self, refs: list[Ref], **more: Any) -> dict[str, Any]:
        if self.fails:
            raise NoSpace("full")
        self.told.append((refs, more))
        return {"call": CALL, "ask": self.ask, "further": self.further, "receipt_code": "00000-00000-00000-00015-0"}

    def _known(self, call: str) -> None:
        if call != CALL:
            raise NotAllowed("call.unknown")

    def post_asked(self, call: str, asked: Asked) -> None:
        self._known(call)
        self.told.append(asked)

    async def post_act(self, call: str, act: Act) -> None:
        self._known(call)
        self.told.append(act)

    def post_party(self, call: str, post: PartyPost) -> None:
        self._known(call)
        self.told.append(post)

    def status(self) -> dict[str, int]:
        return {"recorders": self.ready}


@pytest.fixture
def keeper() -> FakeKeeper:
    return FakeKeeper()


@pytest.fixture
def app(keeper: FakeKeeper) -> ASGIApp:
    return control_app(keeper, TOKEN, now=lambda: NOW)  # type: ignore[arg-type]  # a twin of the keeper


def request(app: ASGIApp, method: str, path: str, *, token: str = TOKEN, key: str = "", **more: Any) -> httpx.Response:
    async def send() -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}", **({"Idempotency-Key": key} if key else {})}
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://c") as client:
            return await client.request(method, path, headers=headers, **more)

    return asyncio.run(send())


def post(app: ASGIApp, path: str, body: Any, **more: Any) -> httpx.Response:
    return request(app, "POST", path, json=body, **more)


def test_a_call_is_announced_with_its_references(app: ASGIApp, keeper: FakeKeeper) -> None:
    answer = post(app, "/v1/calls", {"refs": REFS, "queue": "q", "direction": "inbound", "agent": "anna"})
    found: dict[str, Any] = {"call": CALL, "ask": None, "further": [], "receipt_code": "00000-00000-00000-00015-0"}
    assert (answer.status_code, answer.json()) == (201, found)
    told = {"queue": "q", "direction": "inbound", "agent": "anna", "language": "", "answer_by": "post"}
    assert keeper.told == [([Ref("header", "x")], told)]


@pytest.mark.parametrize("vector", VECTORS["exchanges"], ids=lambda vector: vector["name"])
def test_requests_are_answered_as_the_vectors_say(app: ASGIApp, keeper: FakeKeeper, vector: dict[str, Any]) -> None:
    assert VECTORS["call"] == CALL
    keeper.ask, keeper.further = vector["answer"].get("ask"), vector["answer"].get("further", [])
    answer = post(app, vector["path"], vector["body"])
    assert (answer.status_code, answer.json()) == (vector["status"], vector["answer"])
    assert len(keeper.told) == 1


def test_facts_arrive_as_facts(app: ASGIApp, keeper: FakeKeeper) -> None:
    for path, body in (("asked", ASKED), ("acts", ACT), ("parties", PARTY)):
        assert post(app, f"/v1/calls/{CALL}/{path}", body).status_code == 202
    asked, act, party = keeper.told
    assert isinstance(asked, Asked)
    assert asked.complete
    assert isinstance(act, Act)
    assert act.at == NOW - timedelta(seconds=3)
    assert isinstance(party, PartyPost)
    assert (party.kind, party.role, party.at) == ("joined", "", NOW - timedelta(seconds=3))


@pytest.mark.parametrize("token", ["", "wrong", TOKEN + "x", "ü"])
def test_without_the_token_nothing_is_read(app: ASGIApp, keeper: FakeKeeper, token: str) -> None:
    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://c") as client:
            headers = [(b"authorization", b"Bearer " + token.encode())]
            return await client.post("/v1/calls", json={"refs": REFS}, headers=headers)

    assert asyncio.run(send()).status_code == 401
    assert keeper.told == []


@pytest.mark.parametrize(
    "path, body, says",
    [
        ("/v1/calls", {"refs": []}, "`refs`: List should have at least 1 item"),
        ("/v1/calls", {"refs": REFS * 9}, "at most 8 items"),
        (
            "/v1/calls",
            {"refs": [{"kind": "phone", "value": "1"}]},
            "`refs.0.kind`: Input should be 'sip_session_id'",
        ),
        ("/v1/calls", {"refs": REFS, "consent": True}, "`consent`: Extra inputs are not permitted"),
        ("/v1/calls", {"refs": REFS, "queue": 7}, "`queue`: Input should be a valid string"),
        ("/v1/calls/x/asked", {**ASKED, "played_ms": "4000"}, "`played_ms`: Input should be a valid integer"),
        ("/v1/calls/x/asked", {**ASKED, "played_ms": -1}, "`played_ms`"),
        ("/v1/calls/x/asked", {**ASKED, "sha256": "A" * 64}, "`sha256`"),
        ("/v1/calls/x/asked", {**ASKED, "to": "2026-11-23T08:59:40Z"}, "`to` lies before `from`"),
        ("/v1/calls/x/asked", {**ASKED, "to": "2026-11-23T09:00:06Z"}, "more than 5 s ahead"),
        ("/v1/calls/x/acts", {**ACT, "at": "yesterday"}, "`at` must be an RFC 3339 time"),
        ("/v1/calls/x/acts", {**ACT, "at": "2026-11-23T08:59:57"}, "`at` must name its zone"),
        ("/v1/calls/x/acts", {**ACT, "kind": "shout"}, "`kind`: Input should be 'digit'"),
        ("/v1/calls/x/acts", {**ACT, "value": "1" * 257}, "`value`: String should have at most 256"),
        ("/v1/calls/x/parties", {**PARTY, "kind": "left it"}, "`kind`"),
        ("/v1/calls/x/parties", {**PARTY, "at": "2026-11-23T09:00:06Z"}, "more than 5 s ahead"),
        ("/v1/calls", ["x"], "`body`: Input should be a valid dictionary"),
    ],
)
def test_a_wrong_body_is_refused_in_words_that_name_the_field(
    app: ASGIApp, keeper: FakeKeeper, path: str, body: Any, says: str
) -> None:
    answer = post(app, path, body)
    assert answer.status_code == 422
    assert says in answer.json()["detail"]
    assert keeper.told == []


@pytest.mark.parametrize("kind", ["withdraw", "pause"])
def test_row_4_whoever_stops_a_recording_is_heard_although_our_clock_was_set_back(
    app: ASGIApp, keeper: FakeKeeper, kind: str
) -> None:
    answer = post(app, f"/v1/calls/{CALL}/acts", {**ACT, "kind": kind, "at": "2026-11-23T10:00:00Z"})
    assert answer.status_code == 202
    (act,) = keeper.told
    assert isinstance(act, Act)
    assert (act.kind, act.at) == (kind, NOW)


@pytest.mark.parametrize("kind", ["digit", "resume"])
def test_row_4_an_act_from_the_future_is_not_taken(app: ASGIApp, keeper: FakeKeeper, kind: str) -> None:
    answer = post(app, f"/v1/calls/{CALL}/acts", {**ACT, "kind": kind, "at": "2026-11-23T09:00:06Z"})
    assert answer.status_code == 422
    assert "more than 5 s ahead" in answer.json()["detail"]
    assert keeper.told == []


def test_an_error_does_not_repeat_what_was_sent(app: ASGIApp) -> None:
    assert "+49305550100" not in post(app, "/v1/calls", {"refs": REFS, "direction": "+49305550100"}).text


def test_unknown_and_ended_calls_answer_alike(app: ASGIApp) -> None:
    answers = [post(app, f"/v1/calls/{call}/acts", ACT) for call in ("0" * 26, "x", "0" * 25 + "2")]
    assert {(answer.status_code, answer.text) for answer in answers} == {
        (404, '{"rule":"call.unknown","detail":"call.unknown"}')
    }


def test_a_body_that_is_too_large_is_not_read(app: ASGIApp, keeper: FakeKeeper) -> None:
    assert post(app, "/v1/calls", {"refs": REFS, "queue": "x" * 20_000}).status_code == 413

    async def pieces() -> Any:
        for _ in range(30):
            yield b" " * 1_000

    assert request(app, "POST", "/v1/calls", content=pieces()).status_code == 413
    assert keeper.told == []


def test_the_same_key_gets_the_same_answer_and_tells_once(app: ASGIApp, keeper: FakeKeeper) -> None:
    answers = [post(app, f"/v1/calls/{CALL}/acts", ACT, key="k") for _ in range(3)]
    assert {(answer.status_code, answer.text) for answer in answers} == {(202, f'{{"call":"{CALL}"}}')}
    assert len(keeper.told) == 1
    assert post(app, f"/v1/calls/{CALL}/acts", {**ACT, "value": "2"}, key="k").status_code == 409
    assert post(app, f"/v1/calls/{CALL}/acts", ACT, key="k" * 201).status_code == 413
    assert post(app, f"/v1/calls/{CALL}/acts", ACT, key="other").status_code == 202
    assert len(keeper.told) == 2


@pytest.mark.parametrize("fails, statuses, told", [(False, [201, 201, 201], 1), (True, [503, 201, 201], 1)])
def test_who_tries_again_while_the_first_is_answered_gets_its_answer_and_announces_once(
    app: ASGIApp, keeper: FakeKeeper, monkeypatch: pytest.MonkeyPatch, fails: bool, statuses: list[int], told: int
) -> None:
    async def play() -> list[int]:
        goes_on, announced = asyncio.Event(), keeper.announce

        async def waits(refs: list[Ref], **more: Any) -> dict[str, Any]:
            keeper.fails = fails and not goes_on.is_set()  # the first only: the others have not begun
            await goes_on.wait()
            return await announced(refs, **more)

        monkeypatch.setattr(keeper, "announce", waits)
        headers = {"authorization": f"Bearer {TOKEN}", "idempotency-key": "k"}
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers) as client:
            tries = [asyncio.create_task(client.post("/v1/calls", json={"refs": REFS})) for _ in range(3)]
            for _ in range(100):
                await asyncio.sleep(0)  # all three have come as far as they can
            goes_on.set()
            return [(await answer).status_code for answer in tries]

    assert asyncio.run(play()) == statuses
    assert len(keeper.told) == told


def test_who_is_gone_before_the_answer_gets_it_at_the_next_try(app: ASGIApp, keeper: FakeKeeper) -> None:
    async def gone(_message: Any) -> None:
        raise OSError("gone")

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": json.dumps({"refs": REFS}, separators=(",", ":")).encode()}

    names = {"authorization": f"Bearer {TOKEN}", "idempotency-key": "k", "content-type": "application/json"}
    headers = [(name.encode(), value.encode()) for name, value in names.items()]
    scope = {"type": "http", "method": "POST", "path": "/v1/calls", "headers": headers, "query_string": b""}
    with pytest.raises(OSError, match="gone"):
        asyncio.run(app(scope, receive, gone))  # type: ignore[arg-type]  # as a server calls it
    assert post(app, "/v1/calls", {"refs": REFS}, key="k").status_code == 201
    assert len(keeper.told) == 1


def test_what_failed_here_may_be_tried_again_with_the_same_key(app: ASGIApp, keeper: FakeKeeper) -> None:
    keeper.fails = True
    assert post(app, "/v1/calls", {"refs": REFS}, key="k").status_code == 503
    keeper.fails = False
    assert post(app, "/v1/calls", {"refs": REFS}, key="k").status_code == 201


def test_health_needs_no_token_and_tells_of_no_call(app: ASGIApp, keeper: FakeKeeper) -> None:
    assert request(app, "GET", "/v1/health", token="").json() == {"status": "ok", "recorders": 1}
    keeper.ready = 0
    assert request(app, "GET", "/v1/health", token="").json()["status"] == "no_recorder"
