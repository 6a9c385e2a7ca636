"""The control API on loopback: whoever speaks to the caller announces calls and posts what was asked and answered.

Takes facts, decides nothing. Every answer about a call that is unknown, or over, is the same. Errors name the field
and what was expected, never what was found in it: values of calls do not belong into error texts.
"""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mitschnitt.core.consent import MAX_TEXT_CHARS, ActKind, act_from_json, asked_from_json
from mitschnitt.errors import MalformedPacket, MitschnittError, NotAllowed, PeerError, TooLarge
from mitschnitt.keeper.announced import MAX_REFS, PartyPost, Ref
from mitschnitt.keeper.clock import wall_clock
from mitschnitt.keeper.idempotency import Answer, Answers, fingerprint
from mitschnitt.keeper.keeper import Keeper

MAX_BODY_BYTES = 16_384  # eight references of 256 characters fit many times
MAX_AHEAD = timedelta(seconds=5)  # clocks of two machines; a fact from further ahead is not taken
ALWAYS_TAKEN = (ActKind.WITHDRAW, ActKind.PAUSE)  # who stops a recording is not asked whose clock is right
Text = Annotated[str, Field(max_length=MAX_TEXT_CHARS)]
Named = Annotated[str, Field(min_length=1, max_length=MAX_TEXT_CHARS)]
Milliseconds = Annotated[int, Field(ge=0, lt=1 << 31)]


class Strict(BaseModel):
    """Nothing is guessed: wrong kinds and unknown fields are errors."""

    model_config = ConfigDict(strict=True, extra="forbid")


class RefBody(Strict):
    """By what the INVITE will name the call."""

    kind: Literal["sip_session_id", "sip_call_id", "header"]
    value: Named


class CallBody(Strict):
    """A call that will come."""

    refs: Annotated[list[RefBody], Field(min_length=1, max_length=MAX_REFS)]
    queue: Text = ""
    direction: Literal["inbound", "outbound", ""] = ""
    agent: Named | None = None
    language: Text = ""
    answer_by: Literal["post", "digit"] = "post"


class AskedBody(Strict):
    """A prompt was played to a party, from when to when, and how much of it."""

    party: Named
    prompt: Named
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    language: Text = ""
    begin: Named = Field(alias="from")
    end: Named = Field(alias="to")
    played_ms: Milliseconds
    length_ms: Milliseconds


class ActBody(Strict):
    """A party did something. `prompt` and `sha256` may name the prompt that it answers."""

    party: Named
    kind: Literal["digit", "withdraw", "pause", "resume"]
    value: Text = ""
    at: Named
    prompt: Text = ""
    sha256: Text = ""


class PartyBody(Strict):
    """Somebody joined or left; `value` is the address or agent id."""

    party: Named
    kind: Literal["joined", "left"]
    role: Literal["caller", "agent", "third", ""] = ""
    value: Text = ""
    at: Named


class AskAnswer(BaseModel):
    """The question to put, and how it is answered."""

    prompt: str
    language: str
    sha256: str
    length_ms: int
    yes: str
    no: str
    window_s: int


class FurtherAnswer(AskAnswer):
    """A question after one more purpose, for a caller who has just said yes to `ask` (recital 32 GDPR)."""

    purpose: str


class CallAnswer(BaseModel):
    """The call's name here; `ask` is null, and `further` empty, when nobody is to be asked.

    The code is the caller's, and told only here.
    """

    call: str
    ask: AskAnswer | None
    further: list[FurtherAnswer]
    receipt_code: str


class TakenAnswer(BaseModel):
    """The fact is known."""

    call: str


def control_app(keeper: Keeper, token: str, *, now: Callable[[], datetime] = wall_clock) -> ASGIApp:
    """The application, with its guard in front."""
    app = FastAPI(title="mitschnitt control", openapi_url="/v1/openapi.json", docs_url=None, redoc_url=None)
    _add_errors(app)

    @app.post("/v1/calls", status_code=201)
    async def announce(body: CallBody) -> CallAnswer:
        refs = [Ref(ref.kind, ref.value) for ref in body.refs]
        told = await keeper.announce(
            refs,
            queue=body.queue,
            direction=body.direction,
            agent=body.agent,
            language=body.language,
            answer_by=body.answer_by,
        )
        return CallAnswer.model_validate(told)

    @app.post("/v1/calls/{call}/asked", status_code=202)
    async def asked(call: str, body: AskedBody) -> TakenAnswer:
        fact = asked_from_json(body.model_dump(by_alias=True))
        _not_ahead(fact.ended_at, now())
        keeper.post_asked(call, fact)
        return TakenAnswer(call=call)

    @app.post("/v1/calls/{call}/acts", status_code=202)
    async def act(call: str, body: ActBody) -> TakenAnswer:
        fact = act_from_json(body.model_dump())
        if fact.kind in ALWAYS_TAKEN:
            fact = replace(fact, at=min(fact.at, now()))
        _not_ahead(fact.at, now())
        await keeper.post_act(call, fact)
        return TakenAnswer(call=call)

    @app.post("/v1/calls/{call}/parties", status_code=202)
    async def party(call: str, body: PartyBody) -> TakenAnswer:
        # The time is read as that of an act is: same form, same sentence when it is wrong.
        at = act_from_json({"party": body.party, "kind": "pause", "at": body.at}).at
        _not_ahead(at, now())
        keeper.post_party(call, PartyPost(body.party, body.kind, body.role, body.value, at))
        return TakenAnswer(call=call)

    @app.get("/v1/health")
    async def health() -> dict[str, Any]:
        status = keeper.status()
        return {"status": "ok" if status["recorders"] else "no_recorder", "recorders": status["recorders"]}

    return Guard(app, token, now=now)


def _not_ahead(at: datetime, now: datetime) -> None:
    if at > now + MAX_AHEAD:
        raise MalformedPacket(f"the time of this fact lies more than {MAX_AHEAD.seconds} s ahead of our clock")


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(RequestValidationError)
    async def _invalid(_request: Request, error: RequestValidationError) -> Response:
        found = error.errors()[0]
        where = ".".join(str(part) for part in found["loc"] if part != "body") or "body"
        return problem(422, "request.invalid", f"`{where}`: {found['msg']}")

    @app.exception_handler(MitschnittError)
    async def _ours(_request: Request, error: MitschnittError) -> Response:
        return told(error)


def told(error: MitschnittError) -> Response:
    """The answer to one of our errors."""
    if isinstance(error, NotAllowed):
        status = {"call.unknown": 404, "request.key_reused": 409}.get(error.rule, 403)
        return problem(status, error.rule, str(error))
    if isinstance(error, TooLarge):
        return problem(413, "request.too_large", str(error))
    if isinstance(error, PeerError):
        return problem(422, "request.invalid", str(error))
    return problem(503, "keeper.failing", "keys or database cannot be written now; ask again")


def problem(status: int, rule: str, detail: str) -> JSONResponse:
    """The one shape of an error."""
    return JSONResponse({"rule": rule, "detail": detail}, status)


class Guard:
    """In front of the application: token before anything is read, size while it is read, the same answer twice."""

    def __init__(self, app: ASGIApp, token: str, *, now: Callable[[], datetime]) -> None:
        self._app = app
        self._expected = b"Bearer " + token.encode()
        self._answers = Answers()
        self._running: dict[str, asyncio.Event] = {}  # keys whose first request is being answered
        self._now = now

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request (ASGI)."""
        if scope["type"] != "http":
            return
        headers: Mapping[bytes, bytes] = dict(scope["headers"])
        if scope["path"] != "/v1/health" and not self._may(headers):
            await problem(401, "request.token", "the bearer token of secrets/control.token is needed")(
                scope, receive, send
            )
            return
        try:
            body = await _body(headers, receive)
            await self._once(scope, headers, body, send)
        except MitschnittError as error:
            await told(error)(scope, receive, send)

    def _may(self, headers: Mapping[bytes, bytes]) -> bool:
        return hmac.compare_digest(headers.get(b"authorization", b""), self._expected)

    async def _once(self, scope: Scope, headers: Mapping[bytes, bytes], body: bytes, send: Send) -> None:
        key = headers.get(b"idempotency-key")
        if key is None or scope["method"] != "POST":
            await self._app(scope, _replay(body), send)
            return
        name, request = key.decode("latin-1"), fingerprint(scope["path"], body)
        # Who tries again because an answer is late gets that answer, not a second call and a second draw.
        while (known := self._answers.find(name, request, self._now())) is None and name in self._running:
            await self._running[name].wait()
        if known is not None:
            await JSONResponse(known.body, known.status)(scope, _replay(b""), send)
            return
        collected: list[Message] = []

        async def collect(message: Message) -> None:
            collected.append(message)

        done = self._running[name] = asyncio.Event()
        try:
            await self._app(scope, _replay(body), collect)
            self._keep(name, request, collected)  # before it is sent: who asked may be gone
        finally:
            del self._running[name]
            done.set()
        for message in collected:
            await send(message)

    def _keep(self, name: str, request: bytes, collected: list[Message]) -> None:
        status = next(message["status"] for message in collected if message["type"] == "http.response.start")
        if status < 500:  # what failed here may be tried again with the same key
            data = b"".join(message.get("body", b"") for message in collected)
            self._answers.keep(name, Answer(request, status, json.loads(data or b"null"), self._now()))


async def _body(headers: Mapping[bytes, bytes], receive: Receive) -> bytes:
    announced = headers.get(b"content-length", b"0")
    if announced.isdigit() and int(announced) > MAX_BODY_BYTES:
        raise TooLarge(f"a body of {int(announced)} bytes; at most {MAX_BODY_BYTES} are read")
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise MalformedPacket("the client hung up before its request was whole")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MAX_BODY_BYTES:
            raise TooLarge(f"the body is longer than {MAX_BODY_BYTES} bytes")
        if not message.get("more_body", False):
            return b"".join(parts)


def _replay(body: bytes) -> Callable[[], Awaitable[Message]]:
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    return receive
