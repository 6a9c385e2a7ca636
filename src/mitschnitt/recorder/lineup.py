"""Who is on the line of one call, as all its recording sessions, the gateway and the announcement say together.

Decides nothing: what does not fit together is the rule by which the gate stays shut.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mitschnitt.core.gate import Party
from mitschnitt.core.view import View
from mitschnitt.recorder.branch import Branch
from mitschnitt.recorder.parties import Roll, posted_joined, signalled


class Lineup:
    """See the module. `posted` lays the gateway's names of parties to ours."""

    def __init__(self) -> None:
        self._roll = Roll()
        self.posted: dict[str, str] = {}
        self.announced_agent: str | None = None

    @property
    def parties(self) -> tuple[Party, ...]:
        """Everybody who is or was on the line."""
        return self._roll.parties

    @property
    def agents(self) -> list[str]:
        """The ids of the agents who are on the line now."""
        return [party.agent for party in self._roll.parties if party.present and party.agent is not None]

    @property
    def word(self) -> str:
        """What the directory makes of the line: known, none or ambiguous, "" while nobody is reported."""
        if self.problem == "agent.ambiguous":
            return "ambiguous"
        known = any(party.agent is not None for party in self.parties)
        return "known" if known else "none" if self.parties else ""

    @property
    def problem(self) -> str:
        """The rule by which people cannot be told apart, "" when they can."""
        return self._roll.problem

    def party(self, name: str) -> Party | None:
        """The party of this name."""
        return self._roll.party(name)

    def take(self, name: str, data: Mapping[str, Any], view: View) -> None:
        """The gateway reports that somebody joined or left."""
        if data.get("kind") == "left":
            self.posted.pop(name, None)
        else:
            self._roll, self.posted[name] = posted_joined(self._roll, name, str(data.get("value", "")), view)

    def bind(self, branches: Sequence[Branch], view: View, *, at_ns: int) -> str:
        """Lays every m-line of these branches to its party; the rule by which not all can be, "" when they can."""
        problem = min((rule for branch in branches if (rule := branch.bind())), default="")
        everybody = [participant for branch in branches for participant in branch.participants]
        self._roll = signalled(self._roll, everybody, view, posted=frozenset(self.posted.values()))
        for branch in branches:
            names = [self._roll.by_participant.get(who, "") if who is not None else "" for who in branch.speakers]
            branch.legs.bind(names, at_ns=at_ns)
        return problem or self._roll.problem or self._contradiction() or _doubt(branches)

    def _contradiction(self) -> str:
        agents = {party.agent: party.present for party in self._roll.parties if party.agent is not None}
        # Whoever was announced may have handed the call over since; the others are asked for themselves.
        if self.announced_agent is not None and any(agents.values()) and self.announced_agent not in agents:
            return "binding.contradiction"
        return ""


def _doubt(branches: Sequence[Branch]) -> str:
    doubts = (leg.doubt for branch in branches for leg in branch.legs if leg.doubt and leg.line is not None)
    return next(doubts, "")
