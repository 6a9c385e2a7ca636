"""What recorders are lent of the caps, so that they decide on the spot: whole units, written down before they are told.

Which source is lent what, `core/allowances` says. A unit that was lent is gone from its pot for good, taken or not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from mitschnitt.core.allowances import agent_free, lend, whole_free
from mitschnitt.core.draw import Cap, Day, agent_tag, tag_key
from mitschnitt.core.lent import Lent
from mitschnitt.core.periods import parse_period, week_of
from mitschnitt.core.policy import Asking, Policy
from mitschnitt.core.view import Agent, View
from mitschnitt.keeper.draws import agent_pot_cap
from mitschnitt.keeper.policy_files import zone_of
from mitschnitt.store import draw_queries
from mitschnitt.store.draw_queries import SHARE, Lot, Pot
from mitschnitt.store.writer import Writer

MAX_AT_ONCE = 500  # leases in one transaction, some 50 ms: announced calls wait behind it
SPENT_DAYS = 8  # a call that was drawn in the last week may still run when its recorder starts anew


def source_of(recorder: int) -> str:
    """The name under which a recorder draws."""
    return f"recorder-{recorder}"


@dataclass(frozen=True, slots=True)
class _Renewal:
    """One week's tags, and what of it is lent where."""

    week: str
    day: str
    policy: Policy
    tags: Mapping[bytes, str]  # agent id by tag


@dataclass(frozen=True, slots=True)
class _Lots:
    """What one recorder was lent in all."""

    week: str
    day: str
    by_agent: bool  # whether anything limits draws per agent
    agents: Mapping[str, int]
    whole: int


class Lending:
    """See the module. `renew` blocks; the others touch memory only."""

    def __init__(
        self,
        writer: Writer,
        secret: bytes,
        today: Callable[[datetime], Day | None],
        recorders: Sequence[int],
    ) -> None:
        self._writer = writer
        self._secret = secret
        self._today = today
        self._agents: tuple[str, ...] = ()
        self._sources = [source_of(number) for number in recorders]
        self._tags: dict[bytes, str] = {}  # agents of `_week` by tag
        self._week = ""
        self._lent: dict[str, _Lots] = {}

    def renew(self, view: View, now: datetime) -> bool:
        """Lend what is free; whether a recorder has something new to hear.

        A day that cannot be drawn on lends nothing. Raises what the writer raises, and then nothing was lent.
        """
        day, policy = self._today(now), view.policy
        if day is None:
            return False
        week = week_of(now.astimezone(zone_of(policy)).date())
        renewal = _Renewal(week, day.day, policy, self._tags_of(week, view.agents))
        sources = self._sources
        lots = self._writer.submit(lambda connection: _renew(connection, renewal, sources)).result()
        before, self._lent = self._lent, {source: _lots_of(source, renewal, lots) for source in sources}
        return before != self._lent

    def lent(self, recorder: int, agents: Sequence[Agent]) -> Lent | None:
        """All that this recorder was lent, for a view of these agents; None before the first renewal."""
        source = source_of(recorder)
        found = self._lent.get(source)
        if found is None:
            return None
        units = tuple(found.agents.get(agent.id, 0) for agent in agents) if found.by_agent else ()
        return Lent(source, found.week, tag_key(self._secret, found.week), units, found.day, found.whole)

    def spent(self, connection: Connection, recorder: int, agents: Sequence[Agent], now: datetime) -> dict[str, object]:
        """What a new life of a recorder must know of its former ones: newest numbers, and units that were taken by
        these agents, whether or not this life of the keeper has lent anything yet.

        {numbers: {day: n}, agents: {week: {agent: taken}}, whole: {day: taken}}
        """
        source, since = source_of(recorder), (now - timedelta(days=SPENT_DAYS)).date()
        names = tuple(agent.id for agent in agents)
        numbers = draw_queries.numbers_since(connection, source, since.isoformat())
        by_week: dict[str, dict[str, int]] = {}
        whole: dict[str, int] = {}
        # Days are UTC's here: east of it tomorrow has begun, and with it perhaps another week.
        for week in {week_of(since + timedelta(days=ahead)) for ahead in range(SPENT_DAYS + 2)}:
            tags = self._reckoned(week, names)
            for lot in draw_queries.lots_of_week(connection, week):
                if lot.source == source and lot.cap == SHARE:
                    whole[lot.day] = lot.taken
                elif lot.source == source and lot.agent_tag in tags:
                    by_week.setdefault(week, {})[tags[lot.agent_tag]] = lot.taken
        return {"numbers": numbers, "agents": by_week, "whole": whole}

    def _tags_of(self, week: str, agents: Sequence[Agent]) -> Mapping[bytes, str]:
        names = tuple(agent.id for agent in agents)
        if (self._week, self._agents) != (week, names):
            self._week, self._agents, self._tags = week, names, self._reckoned(week, names)
        return self._tags

    def _reckoned(self, week: str, agents: Sequence[str]) -> dict[bytes, str]:
        key = tag_key(self._secret, week)
        return {agent_tag(key, agent): agent for agent in agents}


def _lots_of(source: str, renewal: _Renewal, lots: Sequence[Lot]) -> _Lots:
    agents = {
        renewal.tags[lot.agent_tag]: lot.units
        for lot in lots
        if lot.source == source and lot.agent_tag is not None and lot.agent_tag in renewal.tags
    }
    own = (lot.units for lot in lots if lot.source == source and lot.cap == SHARE and lot.day == renewal.day)
    return _Lots(renewal.week, renewal.day, agent_pot_cap(renewal.policy) is not None, agents, sum(own))


def _renew(connection: Connection, renewal: _Renewal, sources: Sequence[str]) -> list[Lot]:
    """Lend in the writer's transaction: what is free there and then is what no draw has taken."""
    left = MAX_AT_ONCE
    for pot, cap, free, untaken in _free_pots(connection, renewal, sources):
        name = pot.day if pot.agent_tag is None else pot.agent_tag.hex()
        for source, units in lend(name, free, untaken).items():
            first = draw_queries.next_number(connection, renewal.day, source)
            draw_queries.lend(connection, pot, cap=cap, source=source, from_n=first, units=units)
            left -= 1
        if left <= 0:
            break  # the rest a moment later
    return draw_queries.lots_of_week(connection, renewal.week)


def _free_pots(
    connection: Connection, renewal: _Renewal, sources: Sequence[str]
) -> Iterator[tuple[Pot, Cap, int, dict[str, int]]]:
    """Pots with something to lend: under which cap, how many units are free, and what each recorder holds untaken."""
    caps, by_pot = renewal.policy.caps, _by_pot(draw_queries.lots_of_week(connection, renewal.week))

    def held(lots: Sequence[Lot]) -> dict[str, int]:
        return dict.fromkeys(sources, 0) | {lot.source: lot.units - lot.taken for lot in lots if lot.source in sources}

    # Recorders draw for themselves only where nobody announces calls; elsewhere the whole is the keeper's.
    if renewal.policy.asking is Asking.ASSERTED:
        lots = by_pot.get(renewal.day, ())
        seen = draw_queries.seen_of_day(connection, renewal.day) if caps.share is not None else 0
        if free := whole_free(caps, given=sum(lot.units for lot in lots), seen=seen):
            yield Pot(renewal.week, renewal.day), Cap.SHARE, free, held(lots)
    cap = agent_pot_cap(renewal.policy)
    if cap is None:
        return
    week = parse_period(renewal.week)
    seen_of: Mapping[bytes, int] = {}
    if caps.agent_share is not None:
        seen_of = draw_queries.seen_of_agents(connection, week.first.isoformat(), week.last.isoformat())
    for tag in renewal.tags:
        lots = by_pot.get(tag, ())
        if free := agent_free(caps, given=sum(lot.units for lot in lots), seen=seen_of.get(tag, 0)):
            yield Pot(renewal.week, renewal.day, tag), cap, free, held(lots)


def _by_pot(lots: Sequence[Lot]) -> dict[str | bytes, list[Lot]]:
    found: dict[str | bytes, list[Lot]] = {}
    for lot in lots:
        found.setdefault(lot.agent_tag if lot.agent_tag is not None else lot.day, []).append(lot)
    return found
