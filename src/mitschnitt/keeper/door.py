"""The door of the command line: HTTP on `run/door.sock`, which only the owner's user can open.

Shapes requests and answers; who may do what is `records` and core. It has no other way to audio.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response
from fastapi import Path as PathParameter
from fastapi.exceptions import RequestValidationError
from pydantic import Field

from mitschnitt.core.access import Action
from mitschnitt.core.call import CALL_ID_CHARS, decode_call_id
from mitschnitt.errors import Damaged, KeyGone, MalformedPacket, MitschnittError, NotAllowed, VaultError
from mitschnitt.hardening import Hardening
from mitschnitt.keeper.acts import SignedAct
from mitschnitt.keeper.cells import Months
from mitschnitt.keeper.clock import wall_clock
from mitschnitt.keeper.control import Strict, problem, told
from mitschnitt.keeper.draining import LONGEST_SECONDS
from mitschnitt.keeper.keeper import Keeper
from mitschnitt.keeper.pages import Pages
from mitschnitt.keeper.permission import require
from mitschnitt.keeper.playbacks import Playbacks
from mitschnitt.keeper.records import Records, call_unknown
from mitschnitt.vault.derive import PARTY_LEAVES

MAX_ROLE_CHARS = 64  # of any role that is asked for; which of them exist, core/access says
RoleQuery = Annotated[str, Query(alias="as", max_length=MAX_ROLE_CHARS)]
RoleField = Annotated[str, Field(max_length=MAX_ROLE_CHARS)]
Token = Annotated[str, PathParameter(max_length=64)]
MAX_NS = (1 << 63) - 1  # times after the origin are 64-bit numbers


class PlaybackBody(Strict):
    """Who wants to hear a call, and for what."""

    purpose: Annotated[str, Field(min_length=1, max_length=64)]
    role: RoleField


class RoleBody(Strict):
    """Who asks."""

    role: RoleField


class TrialBody(Strict):
    """Whose test call is awaited; `caller` is the tester's own address or number."""

    role: RoleField
    host: Annotated[str, Field(min_length=1, max_length=64)]
    caller: Annotated[str, Field(max_length=128)] = ""
    wait_s: Annotated[int, Field(ge=1, le=600)] = 60


class DrainBody(Strict):
    """How long calls that run may go on."""

    role: RoleField
    within_s: Annotated[float, Field(ge=0, le=LONGEST_SECONDS)] = LONGEST_SECONDS


class SignedBody(Strict):
    """What an agent signed, base64, and who brings it."""

    role: RoleField = "agent"
    act: Annotated[str, Field(max_length=8_192)]
    signature: Annotated[str, Field(max_length=128)]

    def signed(self) -> SignedAct:
        """Its bytes, unchecked. MalformedPacket for what is no base64."""
        try:
            return SignedAct(base64.b64decode(self.act, validate=True), base64.b64decode(self.signature, validate=True))
        except ValueError as error:
            raise MalformedPacket("`act` and `signature` must be base64") from error


def _known_id(call: str) -> str:
    try:
        decode_call_id(call)
    except MalformedPacket:
        raise call_unknown() from None
    return call


def door_app(
    keeper: Keeper,
    records: Records,
    playbacks: Playbacks,
    pages: Pages,
    hardening: Hardening,
    *,
    months: Months,
    now: Callable[[], datetime] = wall_clock,
) -> FastAPI:
    """The application."""
    app = FastAPI(title="mitschnitt door", openapi_url=None, docs_url=None, redoc_url=None)
    _add_errors(app)
    _add_trials(app, keeper)
    _add_playbacks(app, playbacks, now)
    _add_records(app, records)
    _add_pages(app, pages)
    _add_agents(app, keeper)
    _add_figures(app, months)

    @app.get("/status")
    async def status(role: RoleQuery = "operator") -> dict[str, Any]:
        require(role, Action.SEE_STATUS)
        return {
            **keeper.status(),
            "no_core": hardening.no_core,
            "not_dumpable": hardening.not_dumpable,
            "memory_locked": hardening.memory_locked,
            "swap_off": hardening.swap_off,
        }

    @app.post("/drain")
    async def drain(body: DrainBody) -> dict[str, Any]:
        return keeper.drain.begin(body.role, body.within_s)

    @app.get("/drain")
    async def drained(role: RoleQuery = "operator") -> dict[str, Any]:
        return keeper.drain.look(role)

    return app


def _add_records(app: FastAPI, records: Records) -> None:
    @app.get("/calls")
    async def calls(role: RoleQuery = "operator") -> dict[str, Any]:
        return {"calls": await asyncio.to_thread(records.list_calls, role)}

    @app.get("/calls/{call}")
    async def show(call: str, role: RoleQuery = "operator") -> dict[str, Any]:
        return await asyncio.to_thread(records.show, _known_id(call), role)

    @app.get("/calls/{call}/decision")
    async def decision(call: str, role: RoleQuery = "operator") -> dict[str, Any]:
        sealed = await asyncio.to_thread(records.decision, _known_id(call), role)
        return {"call": call, "decision": base64.b64encode(sealed).decode()}

    @app.post("/calls/{call}/erase")
    async def erase(call: str, body: RoleBody) -> dict[str, Any]:
        return await asyncio.to_thread(records.erase, _known_id(call), body.role)


def _add_pages(app: FastAPI, pages: Pages) -> None:
    @app.get("/calls/{call}/page")
    async def page(call: str, role: RoleQuery = "operator") -> dict[str, Any]:
        sealed = await asyncio.to_thread(pages.page, _known_id(call), role)
        return {"call": call, "page": base64.b64encode(sealed).decode()}

    @app.get("/pages")
    async def portion(
        role: RoleQuery = "operator", after: Annotated[str, Query(max_length=CALL_ID_CHARS)] = ""
    ) -> dict[str, Any]:
        return {"pages": await asyncio.to_thread(pages.portion, role, after)}


def _add_agents(app: FastAPI, keeper: Keeper) -> None:
    @app.get("/agents")
    async def agents(role: RoleQuery = "operator") -> dict[str, Any]:
        return {"agents": keeper.agents_listed(role)}

    @app.get("/consents")
    async def offered(role: RoleQuery = "operator") -> dict[str, Any]:
        require(role, Action.SEE_POLICY)
        return {"offered": keeper.consents_offered()}

    @app.post("/consents")
    async def own(body: SignedBody) -> dict[str, Any]:
        require(body.role, Action.SEE_CONSENT)
        return keeper.own_consents(body.signed())

    # The answer is the same for a grant and for a withdrawal, and counts nobody's consents.
    @app.post("/grants", status_code=201)
    async def grants(body: SignedBody) -> dict[str, Any]:
        require(body.role, Action.GIVE_CONSENT)
        return {"recorders": await keeper.import_grant(body.signed())}


def _add_figures(app: FastAPI, months: Months) -> None:
    @app.get("/figures/{month}")
    async def show(month: Annotated[str, PathParameter(max_length=32)], role: RoleQuery = "operator") -> dict[str, Any]:
        return await asyncio.to_thread(months.show, month, role)


def _add_playbacks(app: FastAPI, playbacks: Playbacks, now: Callable[[], datetime]) -> None:
    @app.post("/calls/{call}/playbacks", status_code=201)
    async def begin(call: str, body: PlaybackBody) -> dict[str, Any]:
        return await asyncio.to_thread(playbacks.open, _known_id(call), purpose=body.purpose, role=body.role, now=now())

    @app.get("/playbacks/{token}")
    async def stretch(  # noqa: PLR0913 - a query has as many parts
        token: Token,
        start_ns: Annotated[int, Query(ge=0, le=MAX_NS)],
        stop_ns: Annotated[int, Query(ge=0, le=MAX_NS)],
        party: Annotated[list[int], Query(max_length=PARTY_LEAVES)],
        before: Annotated[int, Query(ge=0)] = 0,
        role: RoleQuery = "operator",
    ) -> Response:
        data = await asyncio.to_thread(
            playbacks.stretch, token, role, (start_ns, stop_ns), parties=party, before=before, now=now()
        )
        return Response(data, media_type="application/octet-stream", headers={"Cache-Control": "no-store"})

    @app.get("/playbacks/{token}/completeness")
    async def completeness(token: Token, role: RoleQuery = "operator") -> dict[str, Any]:
        return await asyncio.to_thread(playbacks.completeness, token, role, now=now())

    @app.delete("/playbacks/{token}")
    async def end(token: Token, role: RoleQuery = "operator") -> dict[str, Any]:
        playbacks.close(token, role)
        return {}


def _add_trials(app: FastAPI, keeper: Keeper) -> None:
    @app.post("/trials", status_code=201)
    async def trials(body: TrialBody) -> dict[str, Any]:
        wait = timedelta(seconds=body.wait_s)
        return keeper.begin_trial(body.role, host=body.host, caller=body.caller, wait=wait)

    @app.get("/trials/{token}")
    async def trial(token: str, role: RoleQuery = "operator") -> dict[str, Any]:
        return keeper.look_at_trial(role, token)

    @app.post("/trials/{token}/stop")
    async def stop_trial(token: str, body: RoleBody) -> dict[str, Any]:
        keeper.stop_trial(body.role, token)
        return keeper.look_at_trial(body.role, token)


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(RequestValidationError)
    async def _invalid(_request: Request, error: RequestValidationError) -> Response:
        found = error.errors()[0]
        return problem(422, "request.invalid", f"`{found['loc'][-1]}`: {found['msg']}")

    @app.exception_handler(MitschnittError)
    async def _ours(_request: Request, error: MitschnittError) -> Response:
        if isinstance(error, KeyGone):
            # An erasure came between the row and the key.
            return told(NotAllowed("access.key_gone", "no key opens this recording any more"))
        if isinstance(error, Damaged):
            return problem(500, "vault.damaged", str(error))
        if isinstance(error, VaultError):
            return problem(500, "vault.failing", str(error))
        return told(error)
