"""What the gateway says to the control API, and what it makes of the answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import httpx
import pytest

import world
from mitschnitt.errors import ConfigError, MalformedPacket
from mitschnitt.gateways import control_client
from mitschnitt.gateways.control_client import Ask, ControlClient, ControlGone, ControlRefused

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
ASK = Ask("ask-training", "de", "ff" * 32, "1", "2", 12.0)
ASK_BODY = {
    "prompt": "ask-training",
    "language": "de",
    "sha256": "ff" * 32,
    "yes": "1",
    "no": "2",
    "window_s": 12,
}


class Api:
    """A control API that gives prepared answers and remembers what it was asked."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers, self.requests = list(answers), list[httpx.Request]()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def body(self, number: int = 0) -> dict[str, Any]:
        body: dict[str, Any] = json.loads(self.requests[number].content)
        return body


def run(api: Api, use: Callable[[ControlClient], Coroutine[Any, Any, Any]]) -> Any:
    async def session() -> Any:
        keys = iter(f"key-{number}" for number in range(10))
        client = ControlClient(
            "http://127.0.0.1:8471",
            "secret",
            new_key=lambda: next(keys),
            transport=httpx.MockTransport(api),
        )
        try:
            return await use(client)
        finally:
            await client.close()

    return asyncio.run(session())


def announce(client: ControlClient) -> Coroutine[Any, Any, Any]:
    return client.announce(
        {"sip_session_id": "ab;remote=cd"},
        queue="bank",
        direction="inbound",
        agent=world.AGENT_WITH_GRANT.aor,
        answer_by="digit",
    )


def test_a_call_is_announced_with_its_references() -> None:
    api = Api(httpx.Response(200, json={"call": "C1", "ask": ASK_BODY, "receipt_code": "R1"}))
    announced = run(api, announce)
    assert (announced.call, announced.ask, announced.receipt_code) == ("C1", ASK, "R1")
    assert api.requests[0].url.path == "/v1/calls"
    assert api.requests[0].headers["Authorization"] == "Bearer secret"
    assert api.requests[0].headers["Idempotency-Key"] == "key-0"
    assert api.body() == {
        "refs": [{"kind": "sip_session_id", "value": "ab;remote=cd"}],
        "queue": "bank",
        "direction": "inbound",
        "agent": world.AGENT_WITH_GRANT.aor,
        "answer_by": "digit",
    }


def test_further_questions_name_their_purposes() -> None:
    further = [{**ASK_BODY, "purpose": "onboarding", "prompt": "ask-onboarding"}]
    api = Api(httpx.Response(200, json={"call": "C1", "ask": ASK_BODY, "further": further, "receipt_code": "R1"}))
    assert run(api, announce).further == (replace(ASK, purpose="onboarding", prompt="ask-onboarding"),)


@pytest.mark.parametrize("further", [None, 7, [None], [{"purpose": "onboarding"}]])
def test_further_questions_that_are_none_are_a_peers_fault(further: object) -> None:
    api = Api(httpx.Response(200, json={"call": "C1", "ask": ASK_BODY, "further": further, "receipt_code": "R1"}))
    with pytest.raises(MalformedPacket, match="an announced call without"):
        run(api, announce)


def test_a_call_that_is_not_to_be_asked_has_no_question() -> None:
    assert run(Api(httpx.Response(200, json={"call": "C1", "ask": None, "receipt_code": "R"})), announce).ask is None


def test_what_was_asked_is_said_in_utc() -> None:
    api = Api(httpx.Response(204))
    berlin = NOON.astimezone(timezone(timedelta(hours=1)))
    run(
        api,
        lambda client: client.asked(
            "C1", ASK, begin=berlin, end=NOON + timedelta(seconds=7.5), played_ms=7500, length_ms=7580
        ),
    )
    assert api.requests[0].url.path == "/v1/calls/C1/asked"
    assert api.body() == {
        "party": "caller",
        "prompt": "ask-training",
        "sha256": "ff" * 32,
        "language": "de",
        "from": "2026-11-23T12:00:00.000000Z",
        "to": "2026-11-23T12:00:07.500000Z",
        "played_ms": 7500,
        "length_ms": 7580,
    }


def test_acts_and_joins_are_said_with_their_time() -> None:
    api = Api(httpx.Response(200, json={}), httpx.Response(200, json={}), httpx.Response(200, json={}))

    async def use(client: ControlClient) -> None:
        await client.act("C1", "digit", "1", at=NOON, ask=ASK)
        await client.act("C1", "withdraw", "", at=NOON, ask=None)
        await client.party("C1", "third-1", "joined", world.THIRD.aor, at=NOON)

    run(api, use)
    at = "2026-11-23T12:00:00.000000Z"
    assert api.body(0) == {
        "party": "caller",
        "kind": "digit",
        "value": "1",
        "at": at,
        "prompt": "ask-training",
        "sha256": "ff" * 32,
    }
    assert api.body(1) == {"party": "caller", "kind": "withdraw", "value": "", "at": at}
    assert api.body(2) == {"party": "third-1", "kind": "joined", "value": world.THIRD.aor, "at": at}
    assert [request.url.path.rsplit("/", 1)[1] for request in api.requests] == ["acts", "acts", "parties"]
    assert len({request.headers["Idempotency-Key"] for request in api.requests}) == 3


def test_a_lost_answer_is_asked_for_again_under_the_same_key() -> None:
    api = Api(httpx.ReadTimeout("slow"), httpx.Response(200, json={"call": "C1", "ask": None}))
    assert run(api, announce).call == "C1"
    assert [request.headers["Idempotency-Key"] for request in api.requests] == ["key-0", "key-0"]


def test_no_answer_at_all_is_said_so() -> None:
    with pytest.raises(ControlGone, match=r"no answer \(ConnectError\)"):
        run(Api(httpx.ConnectError("no"), httpx.ConnectError("no")), announce)


def test_a_refusal_keeps_its_status() -> None:
    with pytest.raises(ControlRefused, match="control API: 401 no such token") as refused:
        run(Api(httpx.Response(401, text="no such token")), announce)
    assert refused.value.status == 401


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, text="<html>"),
        httpx.Response(200, json=[]),
        httpx.Response(200, json={"ask": None}),
        httpx.Response(200, json={"call": "C1", "ask": {"prompt": "p"}}),
        httpx.Response(200, json={"call": "C1", "ask": 3}),
    ],
)
def test_an_answer_that_is_none_is_refused(answer: httpx.Response) -> None:
    with pytest.raises(MalformedPacket, match="control API: "):
        run(Api(answer), announce)


def test_the_token_file_must_be_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("abc\n")
    path.chmod(0o600)
    assert control_client.read_token(path) == "abc"
    path.chmod(0o640)
    with pytest.raises(ConfigError, match="has mode 0640, expected 0600"):
        control_client.read_token(path)
    path.chmod(0o600)
    path.write_text("\n")
    with pytest.raises(ConfigError, match="is empty"):
        control_client.read_token(path)
    with pytest.raises(ConfigError, match="No such file"):
        control_client.read_token(tmp_path / "none")


VECTORS = {
    vector["name"]: vector
    for vector in json.loads(
        (Path(__file__).parents[1] / "vectors/control/exchanges.json").read_text(encoding="utf-8")
    )["exchanges"]
}
CALL = "00000000000000000000000001"


def said(name: str, use: Callable[[ControlClient], Coroutine[Any, Any, Any]]) -> tuple[Any, str, dict[str, Any]]:
    """What came back, the path and the body, when the API answers as the vector of this name."""
    vector = VECTORS[name]
    api = Api(httpx.Response(vector["status"], json=vector["answer"]))
    result = run(api, use)
    return result, api.requests[0].url.path, api.body()


def test_a_call_is_announced_as_the_vectors_say() -> None:
    vector = VECTORS["a call is announced and is to be asked"]
    body = vector["body"]
    announced, path, sent = said(
        vector["name"],
        lambda client: client.announce(
            {ref["kind"]: ref["value"] for ref in body["refs"]},
            queue=body["queue"],
            direction=body["direction"],
            agent=body["agent"],
            answer_by=body["answer_by"],
        ),
    )
    assert (path, sent) == (vector["path"], body)
    assert announced.ask == Ask("ask-training", "de", vector["answer"]["ask"]["sha256"], "1", "2", 12.0)


def test_question_act_withdrawal_and_party_are_told_as_the_vectors_say() -> None:
    def at(text: str) -> datetime:
        return datetime.fromisoformat(text)

    asked = VECTORS["the question was played whole"]["body"]
    ask = Ask(asked["prompt"], asked["language"], asked["sha256"], "1", "2", 12.0)
    played: dict[str, int] = {"played_ms": asked["played_ms"], "length_ms": asked["length_ms"]}
    act, back = VECTORS["the caller answered"]["body"], VECTORS["the caller took it back"]["body"]
    party = VECTORS["somebody joined"]["body"]
    uses: dict[str, Callable[[ControlClient], Coroutine[Any, Any, Any]]] = {
        "the question was played whole": lambda client: client.asked(
            CALL, ask, begin=at(asked["from"]), end=at(asked["to"]), **played
        ),
        "the caller answered": lambda client: client.act(CALL, act["kind"], act["value"], at=at(act["at"]), ask=ask),
        "the caller took it back": lambda client: client.act(CALL, "withdraw", "", at=at(back["at"]), ask=None),
        "somebody joined": lambda client: client.party(
            CALL, party["party"], party["kind"], party["value"], at=at(party["at"])
        ),
    }
    for name, use in uses.items():
        _, path, sent = said(name, use)
        assert (path, sent) == (VECTORS[name]["path"], VECTORS[name]["body"]), name
