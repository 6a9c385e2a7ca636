"""The door's part for days of the draw: what roles commit to and tell, rounds, and how far each day is.

Shapes requests and answers; a signature is checked by `day_acts`, everything else is decided by `days`.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI
from fastapi import Path as PathParameter
from pydantic import Field

from mitschnitt.errors import MalformedPacket, NotAllowed
from mitschnitt.keeper.acts import MAX_ACT_BYTES, SignedAct
from mitschnitt.keeper.control import Strict
from mitschnitt.keeper.day_acts import check_clock, check_commitment, check_reveal
from mitschnitt.keeper.days import COMMITTED_DAYS, Days

BASE64_ACT = 4 * MAX_ACT_BYTES // 3 + 4
DayName = Annotated[str, PathParameter(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]


class ActBody(Strict):
    """A signed act, base64."""

    act: Annotated[str, Field(max_length=BASE64_ACT)]
    signature: Annotated[str, Field(max_length=128)]


class ActsBody(Strict):
    """Acts of one role, for a day each; all are taken, or none."""

    acts: Annotated[list[ActBody], Field(min_length=1, max_length=COMMITTED_DAYS)]


class RoundBody(Strict):
    """A round of drand: its number, and its signature in hex."""

    round: Annotated[int, Field(ge=1)]
    signature: Annotated[str, Field(max_length=256)]


def add_draw(app: FastAPI, days: Days, directory: Path, now: Callable[[], datetime]) -> None:
    """Let the door take acts towards the draw; `directory` holds the enrolled keys of roles."""

    @app.get("/draw/days")
    async def standing() -> dict[str, Any]:
        found = await asyncio.to_thread(days.standing, now())
        return {
            "days": [
                {
                    "day": item.day,
                    "policy": item.policy_hash,
                    "beacon": item.kind,
                    "opened": item.opened,
                    "missing": list(item.missing),
                    "rule": item.rule,
                }
                for item in found
            ]
        }

    @app.get("/draw/days/{day}")
    async def record(day: DayName) -> dict[str, Any]:
        found = await asyncio.to_thread(days.record, day)
        if found is None:
            raise NotAllowed("draw.day.missing", f"{day} has no record yet")
        return {"record": found.decode()}

    @app.post("/draw/commitments", status_code=201)
    async def commitments(body: ActsBody) -> dict[str, Any]:
        given = [check_commitment(directory, _signed(item)) for item in body.acts]
        await asyncio.to_thread(days.commit, given, now())
        return {"days": [row.day for row in given]}

    @app.post("/draw/reveals", status_code=201)
    async def reveals(body: ActsBody) -> dict[str, Any]:
        told = [check_reveal(directory, _signed(item)) for item in body.acts]
        await asyncio.to_thread(days.reveal, told, now())
        return {"days": [row.day for row, _ in told]}

    @app.get("/draw/rounds")
    async def awaited() -> dict[str, Any]:
        return {"chain": days.chain.name, "rounds": await asyncio.to_thread(days.awaited_rounds, now())}

    @app.post("/draw/rounds", status_code=201)
    async def take_round(body: RoundBody) -> dict[str, Any]:
        try:
            signature = bytes.fromhex(body.signature)
        except ValueError as error:
            raise MalformedPacket("`signature` must be hex") from error
        return {"days": await asyncio.to_thread(days.take_round, body.round, signature, now())}

    @app.post("/draw/clock", status_code=201)
    async def clock(body: ActBody) -> dict[str, Any]:
        day = check_clock(directory, _signed(body))
        await asyncio.to_thread(days.confirm_clock, day, now())
        return {"day": day.isoformat()}


def _signed(body: ActBody) -> SignedAct:
    try:
        return SignedAct(base64.b64decode(body.act, validate=True), base64.b64decode(body.signature, validate=True))
    except ValueError as error:
        raise MalformedPacket("`act` and `signature` must be base64") from error
