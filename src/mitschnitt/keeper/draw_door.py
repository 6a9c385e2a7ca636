"""The door's part for days of the draw: what roles commit to and tell, rounds, and how far each day is.

Shapes requests and answers; a signature is checked by `day_acts`, everything else is decided by `days`.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import FastAPI
from fastapi import Path as PathParameter
from pydantic import Field

from mitschnitt.core.access import Action
from mitschnitt.core.backward import SUBJECT
from mitschnitt.core.beacon import ROLES
from mitschnitt.core.periods import Period, parse_period
from mitschnitt.errors import MalformedPacket, NotAllowed
from mitschnitt.keeper.acts import MAX_ACT_BYTES, SignedAct
from mitschnitt.keeper.backward_draws import MAX_TAKE, BackwardDraws, Wish
from mitschnitt.keeper.control import Strict
from mitschnitt.keeper.day_acts import check_clock, check_commitment, check_reveal, is_day
from mitschnitt.keeper.days import COMMITTED_DAYS, Days
from mitschnitt.keeper.permission import require

BASE64_ACT = 4 * MAX_ACT_BYTES // 3 + 4
SubjectName = Annotated[str, PathParameter(pattern=r"^(?:[0-9]{4}-[0-9]{2}-[0-9]{2}|backward-[0-9W-]{7,10})$")]


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


class BackwardBody(Strict):
    """Which calls are to be drawn from a closed period, and who asks."""

    role: Annotated[str, Field(min_length=1, max_length=32)]
    period: Annotated[str, Field(max_length=16)]
    take: Annotated[int, Field(ge=1, le=MAX_TAKE)]
    by: Literal["purpose", "day"] = "purpose"


def add_draw(app: FastAPI, days: Days, backward: BackwardDraws, directory: Path, now: Callable[[], datetime]) -> None:
    """Let the door take acts towards the draw; `directory` holds the enrolled keys of roles."""
    _add_acts(app, days, backward, directory, now)
    _add_rounds(app, days, backward, now)

    @app.post("/draw/backward")
    async def draw_backward(body: BackwardBody) -> dict[str, Any]:
        period = parse_period(body.period)
        _may_draw(body.role, period, body.by)
        at = now()
        wish = Wish(period, body.take, body.by, days.beacon_on(at))
        return await asyncio.to_thread(backward.draw, wish, at, days.local(at))

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

    @app.post("/draw/clock", status_code=201)
    async def clock(body: ActBody) -> dict[str, Any]:
        day = check_clock(directory, _signed(body))
        await asyncio.to_thread(days.confirm_clock, day, now())
        return {"day": day.isoformat()}


def _may_draw(role: str, period: Period, by: str) -> None:
    require(role, Action.SEE_LIST)  # who may not see which calls are kept draws none of them
    if role not in ROLES:
        raise NotAllowed("draw.backward.role", f"{', '.join(ROLES)} draw from kept calls")
    if by == "day" or not period.is_month:
        require(role, Action.SEE_TIMES)  # counts and picks say on which days kept calls were


def _add_acts(app: FastAPI, days: Days, backward: BackwardDraws, directory: Path, now: Callable[[], datetime]) -> None:
    @app.get("/draw/days/{day}")
    async def record(day: SubjectName) -> dict[str, Any]:
        if is_day(day):
            found = await asyncio.to_thread(days.record, day)
        else:
            found = await asyncio.to_thread(backward.record, parse_period(day.removeprefix(SUBJECT)).name)
        if found is None:
            raise NotAllowed("draw.day.missing", f"{day} has no record yet")
        return {"record": found.decode()}

    @app.post("/draw/commitments", status_code=201)
    async def commitments(body: ActsBody) -> dict[str, Any]:
        given = [check_commitment(directory, _signed(item)) for item in body.acts]
        taken_by = _side([row.day for row in given], days, backward)
        await asyncio.to_thread(taken_by.commit, given, now())
        return {"days": [row.day for row in given]}

    @app.post("/draw/reveals", status_code=201)
    async def reveals(body: ActsBody) -> dict[str, Any]:
        told = [check_reveal(directory, _signed(item)) for item in body.acts]
        taken_by = _side([row.day for row, _ in told], days, backward)
        await asyncio.to_thread(taken_by.reveal, told, now())
        return {"days": [row.day for row, _ in told]}


def _add_rounds(app: FastAPI, days: Days, backward: BackwardDraws, now: Callable[[], datetime]) -> None:
    @app.get("/draw/rounds")
    async def awaited() -> dict[str, Any]:
        at = now()
        numbers = await asyncio.to_thread(lambda: {*days.awaited_rounds(at), *backward.awaited_rounds(at)})
        return {"chain": days.chain.name, "rounds": sorted(numbers)}

    @app.post("/draw/rounds", status_code=201)
    async def take_round(body: RoundBody) -> dict[str, Any]:
        try:
            signature = bytes.fromhex(body.signature)
        except ValueError as error:
            raise MalformedPacket("`signature` must be hex") from error
        at = now()

        def take() -> list[str]:
            if body.round in backward.awaited_rounds(at):
                return backward.take_round(body.round, signature, at)
            return days.take_round(body.round, signature, at)

        return {"days": await asyncio.to_thread(take)}


def _side(subjects: list[str], days: Days, backward: BackwardDraws) -> Days | BackwardDraws:
    """Who takes these acts: a request is about days, or about backward draws."""
    of_days = {is_day(subject) for subject in subjects}
    if len(of_days) != 1:
        raise MalformedPacket("acts of one request are all for days, or all for backward draws")
    return days if of_days.pop() else backward


def _signed(body: ActBody) -> SignedAct:
    try:
        return SignedAct(base64.b64decode(body.act, validate=True), base64.b64decode(body.signature, validate=True))
    except ValueError as error:
        raise MalformedPacket("`act` and `signature` must be base64") from error
