"""A recorder's own draws: of sessions that nobody announced, and the units that agents of drawn calls need.

Decides on the spot, by `core/draw`, from the newest view and from what this recorder was lent. Each draw and each
unit is journalled, without its call, and counts only once that is on disk: a number is never used twice, also by the
next life of this recorder.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from mitschnitt.core.allowances import Purse, agent_pot
from mitschnitt.core.criteria import UNMATCHED, Criteria, Placed, Traits, compile_criteria
from mitschnitt.core.draw import CAPPED as CAPPED_BY
from mitschnitt.core.draw import (
    RULES,
    UNTOLD,
    Cap,
    Day,
    Told,
    agent_tag,
    decide,
    tenure_days,
    told_of,
    undrawable,
)
from mitschnitt.core.periods import week_of
from mitschnitt.core.policy import Asking, Policy
from mitschnitt.core.view import Agent, View
from mitschnitt.errors import ConfigError
from mitschnitt.recorder.ledger import Ledger

WEEKS_KEPT = 2  # a call that was drawn on Sunday may meet its agent on Monday
DAYS_KEPT = 2


class Draws:
    """All draws of one recorder. Runs on its loop; `then` is called there, once the entry is on disk."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._journal: Ledger | None = None
        self._purse = Purse()
        self._numbers: dict[str, int] = {}  # the newest by day
        self._tag_keys: dict[str, bytes] = {}  # by week
        self._weeks: deque[str] = deque(maxlen=WEEKS_KEPT)
        self._days: deque[str] = deque(maxlen=DAYS_KEPT)
        self._compiled: tuple[str, Criteria, ZoneInfo] | None = None

    def start(self, ledger: Ledger) -> None:
        """Where draws are journalled; views come before there is a journal, calls after."""
        self._journal = ledger

    @property
    def _ledger(self) -> Ledger:
        if self._journal is None:
            raise RuntimeError("Draws.start was not called")
        return self._journal

    # -- what the keeper tells -------------------------------------------------------------------

    def drawn_before(self, told: Mapping[str, Any]) -> None:
        """What former lives of this recorder numbered and took (`ready`); what this one did stays as it is."""
        for day, n in dict(told["numbers"]).items():
            self._numbers[str(day)] = max(self._numbers.get(str(day), 0), int(n))
        taken = {agent_pot(week, agent): int(n) for week, by in dict(told["agents"]).items() for agent, n in by.items()}
        self._purse.spent(taken | {str(day): int(n) for day, n in dict(told["whole"]).items()})

    def see(self, view: View) -> None:
        """A new view: what it lends is here from now on."""
        lent = view.lent
        if lent is None or lent.source != self._source:
            return
        if lent.week not in self._weeks:
            self._weeks.append(lent.week)
        if lent.day not in self._days:
            self._days.append(lent.day)
        self._tag_keys = {week: key for week, key in self._tag_keys.items() if week in self._weeks}
        self._tag_keys[lent.week] = lent.tag_key
        names = [agent.id for agent in view.agents]
        units = dict(zip((agent_pot(lent.week, name) for name in names), lent.agents, strict=False))
        self._purse.keep({*self._days, *self._weeks})
        self._purse.lent(units | {lent.day: lent.whole})

    # -- what is drawn ---------------------------------------------------------------------------

    def unmatched(self, view: View, agent: str | None, now: datetime, then: Callable[[Told], None]) -> str:
        """Draw a session that nobody announced: for real where the policy asserts that all were asked, else it is
        counted as excluded. The rule by which nobody is asked until `then` has heard the draw.
        """
        policy = view.policy
        try:
            _, zone = self._criteria(policy)
        except (ConfigError, ZoneInfoNotFoundError, ValueError, OSError):
            return UNTOLD.rule  # a policy that this recorder cannot carry out draws nobody
        local = now.astimezone(zone)
        rule = undrawable(view.day, local_day=local.date().isoformat(), policy_hash=policy.hash)
        if rule or view.day is None:
            return rule
        if self._ledger.refuses:
            return "vault.no_space"  # and takes no number: one that is never written would be missing
        placed = Placed(None, UNMATCHED)
        if policy.asking is Asking.ASSERTED:
            placed = self._placed(policy, _agent_named(view, agent), local)
        return self._number(view.day, policy, agent, placed, then)

    def _number(self, day: Day, policy: Policy, agent: str | None, placed: Placed, then: Callable[[Told], None]) -> str:
        n = self._numbers[day.day] = self._numbers.get(day.day, 0) + 1
        rates = [stratum.rate for stratum in policy.strata]
        draw = decide(day, self._source, n, placed, rates=rates, spent=None)
        pots = self._pots(policy, day.day, agent)
        if draw.is_drawn:
            spent = next((cap for cap, pot in pots.items() if not self._purse.holds(pot)), None)
            draw = decide(day, self._source, n, placed, rates=rates, spent=spent)
        paid = [cap for cap, pot in pots.items() if self._purse.take(pot)] if draw.is_drawn else []
        told, tag = told_of(draw), self._tag(day.day, agent)
        data = {
            "what": "draw",
            "day": day.day,
            "n": n,
            "stratum": placed.stratum,
            "exclusion": placed.exclusion,
            "verdict": draw.verdict.value,
            "tag": None if tag is None else tag.hex(),
            "paid": [cap.value for cap in paid],
        }
        self._ledger.draw(data, on=date.fromisoformat(day.day), then=lambda: then(told))
        return "draw.waiting"

    def unit(self, view: View, told: Told, agent: str, then: Callable[[], None]) -> str:
        """An agent of this call became known. "" when nothing is to be waited for; `draw.waiting` until `then`, when
        a unit was taken; a rule of a cap when there is none. A call that is not drawn takes no unit.
        """
        tag = self._tag(told.day, agent)
        if tag is None:
            return RULES[CAPPED_BY[Cap.AGENT_WEEK]] if told.drawn and _agent_cap(view.policy) else ""
        cap = _agent_cap(view.policy) if told.drawn else None
        took = cap is not None and self._purse.take(agent_pot(_week(told.day), agent))
        spent = cap if cap is not None and not took else None
        data = {
            "what": "agent",
            "day": told.day,
            "source": told.source,
            "n": told.n,
            "tag": tag.hex(),
            "paid": [cap.value] if cap is not None and took else [],
            "spent": None if spent is None else spent.value,
        }
        self._ledger.draw(data, on=date.fromisoformat(told.day), then=then)
        if spent is not None:
            return RULES[CAPPED_BY[spent]]
        return "draw.waiting" if took else ""

    # -- within ----------------------------------------------------------------------------------

    def _pots(self, policy: Policy, day: str, agent: str | None) -> dict[Cap, str]:
        pots: dict[Cap, str] = {}
        cap = _agent_cap(policy)
        if cap is not None and agent is not None:
            pots[cap] = agent_pot(_week(day), agent)
        if policy.caps.share is not None:
            pots[Cap.SHARE] = day
        return pots

    def _placed(self, policy: Policy, agent: Agent | None, local: datetime) -> Placed:
        tenure = tenure_days(agent.started if agent is not None else "", local.date())
        criteria, _ = self._criteria(policy)
        return criteria.place(Traits("", "", local.hour, local.isoweekday(), tenure))

    def _criteria(self, policy: Policy) -> tuple[Criteria, ZoneInfo]:
        if self._compiled is None or self._compiled[0] != policy.hash:
            self._compiled = policy.hash, compile_criteria(policy), ZoneInfo(policy.timezone)
        return self._compiled[1], self._compiled[2]

    def _tag(self, day: str, agent: str | None) -> bytes | None:
        key = self._tag_keys.get(_week(day))
        return None if key is None or agent is None else agent_tag(key, agent)


def _agent_named(view: View, agent: str | None) -> Agent | None:
    return next((known for known in view.agents if known.id == agent), None)


def _agent_cap(policy: Policy) -> Cap | None:
    """Under which name the units of an agent's week are counted; None where nothing limits them."""
    if policy.caps.agent_week is not None:
        return Cap.AGENT_WEEK
    return Cap.AGENT_SHARE if policy.caps.agent_share is not None else None


def _week(day: str) -> str:
    return week_of(date.fromisoformat(day))
