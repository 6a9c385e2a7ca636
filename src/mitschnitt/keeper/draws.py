"""The keeper's draws: of every announced call one, numbered and durable before anybody hears of it.

Decides nothing itself: `core/draw` decides, in the writer's own transaction, from what the tables say there. So a
crash or a rollback leaves neither a gap in the numbers nor a unit that nobody took. Names no call anywhere.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection

from mitschnitt.core.allowances import agent_cap, whole_cap
from mitschnitt.core.criteria import Criteria, Placed, Traits, compile_criteria
from mitschnitt.core.draw import (
    KEEPER,
    UNTOLD,
    Cap,
    Day,
    Draw,
    Outcome,
    Told,
    agent_tag,
    decide,
    tag_key,
    tenure_days,
    told_from_json,
    told_of,
    undrawable,
)
from mitschnitt.core.periods import week_of
from mitschnitt.core.policy import Policy
from mitschnitt.core.view import View
from mitschnitt.errors import ConfigError, MalformedPacket, MitschnittError
from mitschnitt.keeper.policy_files import zone_of
from mitschnitt.store import draw_queries
from mitschnitt.store.draw_queries import DrawRow, Pot
from mitschnitt.store.writer import Writer

ANSWER_SECONDS = 2.0  # how long an announcement waits for the database; the IVR does not wait longer for us either

log = logging.getLogger("mitschnitt.keeper")


@dataclass(frozen=True, slots=True)
class _Asked:
    """What one draw is made from, apart from its number and the caps."""

    day: Day
    week: str
    placed: Placed
    tag: bytes | None  # of the agent, where the announcement named one
    policy: Policy


class Draws:
    """See the module. `today` gives the day that a moment belongs to, None where it has none."""

    def __init__(
        self,
        writer: Writer,
        secret: bytes,
        today: Callable[[datetime], Day | None],
    ) -> None:
        self._writer = writer
        self._secret = secret
        self._today = today
        self._criteria: tuple[str, Criteria] | None = None
        self._lost = 0

    async def announced(self, view: View, *, queue: str, direction: str, agent: str | None, now: datetime) -> Told:
        """The draw of a call that was announced just now. Never raises: what cannot be drawn is not drawn."""
        policy = view.policy
        try:
            local, criteria = now.astimezone(zone_of(policy)), self._compiled(policy)
        except ConfigError:
            return UNTOLD  # a policy that cannot be carried out draws nobody
        day = self._today(now)
        rule = undrawable(day, local_day=local.date().isoformat(), policy_hash=policy.hash)
        if rule or day is None:
            return replace(UNTOLD, rule=rule)
        known = next((item for item in view.agents if item.id == agent), None)
        tenure = tenure_days(known.started, local.date()) if known is not None else -1
        traits = Traits(queue, direction, local.hour, local.isoweekday(), tenure)
        week = week_of(local.date())
        tag = None if known is None else agent_tag(tag_key(self._secret, week), known.id)
        asked = _Asked(day, week, criteria.place(traits), tag, policy)
        try:
            future = self._writer.submit(lambda connection: _draw(connection, asked))
            # What the database takes later all the same was drawn and never asked: it is counted as failed.
            draw = await asyncio.wait_for(asyncio.wrap_future(future), ANSWER_SECONDS)
        except (MitschnittError, TimeoutError):
            self._complain()
            return UNTOLD
        return replace(told_of(draw), has_agent=tag is not None)

    def _compiled(self, policy: Policy) -> Criteria:
        if self._criteria is None or self._criteria[0] != policy.hash:
            self._criteria = policy.hash, compile_criteria(policy)
        return self._criteria[1]

    def _complain(self) -> None:
        self._lost += 1
        if self._lost.bit_count() == 1:  # the first, second, fourth, ...: a locked database fails every call
            log.error("a draw could not be written down; its call is not recorded", extra={"count": self._lost})

    def note_outcome(self, data: object) -> None:
        """What became of a drawn call: {day, source, n, outcome}. What the database does not take counts as failed.

        MalformedPacket for what is none.
        """
        told = told_from_json({"drawn": True, "rule": "", **data} if isinstance(data, Mapping) else data)
        word = data.get("outcome") if isinstance(data, Mapping) else None
        if word not in set(Outcome):
            raise MalformedPacket(f"`outcome` must be one of {', '.join(Outcome)}")
        outcome = Outcome(str(word))
        self._writer.submit(
            lambda connection: draw_queries.set_outcome(connection, told.day, told.source, told.n, outcome)
        )


def _draw(connection: Connection, asked: _Asked) -> Draw:
    """Number, decide, write down and pay, all or nothing."""
    day = asked.day
    n = draw_queries.next_number(connection, day.day, KEEPER)
    rates = [stratum.rate for stratum in asked.policy.strata]
    draw = decide(day, KEEPER, n, asked.placed, rates=rates, spent=None)
    if draw.is_drawn:
        # Only whom the ticket drew costs a look at the caps.
        draw = decide(day, KEEPER, n, asked.placed, rates=rates, spent=_spent(connection, asked))
    placed = draw.placed
    draw_queries.add_draw(
        connection, DrawRow(day.day, KEEPER, n, placed.stratum, placed.exclusion, draw.verdict, asked.tag)
    )
    if draw.is_drawn:
        _pay(connection, asked, n)
    return draw


def _spent(connection: Connection, asked: _Asked) -> Cap | None:
    """The cap of which this call can have no unit; it counts itself among the calls that were seen."""
    caps, tag = asked.policy.caps, asked.tag
    if tag is not None and (caps.agent_week is not None or caps.agent_share is not None):
        given = draw_queries.given(connection, Pot(asked.week, asked.day.day, tag))
        seen = draw_queries.seen_of_agent(connection, tag) + 1
        if (cap := agent_cap(caps, given=given, seen=seen)) is not None:
            return cap
    if caps.share is None:
        return None
    given = draw_queries.given(connection, Pot(asked.week, asked.day.day))
    return whole_cap(caps, given=given, seen=draw_queries.seen_of_day(connection, asked.day.day) + 1)


def _pay(connection: Connection, asked: _Asked, n: int) -> None:
    caps, tag, day = asked.policy.caps, asked.tag, asked.day.day
    if tag is not None and (cap := agent_pot_cap(asked.policy)) is not None:
        draw_queries.take_own(connection, Pot(asked.week, day, tag), cap=cap, source=KEEPER, n=n)
    if caps.share is not None:
        draw_queries.take_own(connection, Pot(asked.week, day), cap=Cap.SHARE, source=KEEPER, n=n)


def agent_pot_cap(policy: Policy) -> Cap | None:
    """Under which name the units of an agent's week are counted; None where nothing limits them."""
    if policy.caps.agent_week is not None:
        return Cap.AGENT_WEEK
    return Cap.AGENT_SHARE if policy.caps.agent_share is not None else None
