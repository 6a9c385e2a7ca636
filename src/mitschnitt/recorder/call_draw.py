"""The draw of one call, and the units of the agents who are on it, as rules by which the gate stays shut.

Opens nothing, draws nothing: `draws` does, once for each call and each agent of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from mitschnitt.core.draw import UNTOLD, Told, outcome_of, told_from_json
from mitschnitt.core.view import View
from mitschnitt.errors import MalformedPacket
from mitschnitt.recorder.draws import Draws


class CallDraw:
    """The draw of one call, and the units of the agents who are on it. `changed` is called when it says more."""

    def __init__(self, draws: Draws, changed: Callable[[], None]) -> None:
        self._draws = draws
        self._changed = changed
        self._rules: dict[str, str] = {}  # by agent: why this one must not be recorded, "" if they may
        self._waits = ""
        self._capped = False  # the first agent had no unit: then the call counts as capped, not as drawn
        self.told = UNTOLD

    def announced(self, data: object, *, agent: object) -> None:
        """What the keeper says of an announced call, and who was announced; what cannot be read draws nobody."""
        try:
            self.told = told_from_json(data)
        except MalformedPacket:
            self.told = UNTOLD
        if self.told.has_agent and isinstance(agent, str):
            self._rules[agent] = ""  # the draw paid for this one

    def unmatched(self, view: View | None, agents: Sequence[str], now: datetime) -> None:
        """Nobody announced the call: it is drawn here."""
        if view is None:
            return
        agent = agents[0] if agents else None

        def hear(told: Told) -> None:
            self.told, self._waits = told, ""
            self._changed()

        self._waits = self._draws.unmatched(view, agent, now, hear)
        if self._waits == "draw.waiting" and agent is not None:
            self._rules[agent] = ""  # the draw paid for this one

    def undrawn(self, view: View, agents: Sequence[str]) -> str:
        """The rule by which, with these agents on the line, nobody may be asked or recorded; "" if they may."""
        if not self.told.n:
            return self._waits or self.told.rule
        for agent in agents:
            if agent not in self._rules:
                self._ask(view, agent)
        if not self.told.drawn:
            return self.told.rule
        return next((rule for agent in agents if (rule := self._rules.get(agent, ""))), "")

    def _ask(self, view: View, agent: str) -> None:
        is_first = not self._rules

        def written() -> None:
            if self._rules.get(agent) == "draw.waiting":
                self._rules[agent] = ""
                self._changed()

        rule = self._rules[agent] = self._draws.unit(view, self.told, agent, written)
        self._capped = self._capped or (is_first and rule not in ("", "draw.waiting"))

    def outcome(self, rule: str, *, kept: bool) -> dict[str, Any] | None:
        """What `ended` says of a drawn call: {day, source, n, outcome}; None of any other."""
        told = self.told
        if not told.drawn or self._capped:
            return None
        return {"day": told.day, "source": told.source, "n": told.n, "outcome": outcome_of(rule, kept=kept).value}
