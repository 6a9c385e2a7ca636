"""What the persons of a call may read when it is over, and by whose keys: the same pages whatever became of the call.

Knows what was told of caller and draw when the call was joined. Decides nothing, seals nothing: `core/silence` says
what each person is told, the ledger seals.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mitschnitt.core.decision import Decision
from mitschnitt.core.gate import CallFacts
from mitschnitt.core.silence import lost_page, told_to_agents, told_to_caller
from mitschnitt.core.view import View


@dataclass(frozen=True, slots=True)
class Page:
    """What is told, and the public keys (X25519) of those who may read it."""

    person: str
    readers: tuple[bytes, ...]
    told: Mapping[str, Any]


class Readers:
    """The persons of one call."""

    def __init__(self) -> None:
        self._caller: tuple[bytes, ...] = ()
        self._draw: Mapping[str, Any] = {}

    def joined(self, told: Mapping[str, Any]) -> None:
        """The keeper's answer to a joined call; of one that nobody announced, nobody has a receipt."""
        key = _key(told.get("page_key"))
        self._caller = (key,) if key else ()
        draw = told.get("draw")
        self._draw = draw if isinstance(draw, Mapping) else {}

    def at_arrival(self) -> tuple[Page, ...]:
        """What stays to be read if the recorder never comes to the call's end: the caller's page only."""
        return (Page("caller", self._caller, lost_page()),)

    def at_end(
        self, outcome: str, decision: Decision, facts: CallFacts, view: View | None, now: datetime
    ) -> tuple[Page, ...]:
        """The pages of a call that is over; agents read of kept calls only."""
        policy = view.policy if view is not None else None
        agents = _keys_of_agents(facts, view) if outcome == "kept" and view is not None else ()
        caller = told_to_caller(outcome, decision, facts, policy, self._draw, now=now)
        return Page("caller", self._caller, caller), Page("agent", agents, told_to_agents(outcome, policy, now=now))


def _keys_of_agents(facts: CallFacts, view: View) -> tuple[bytes, ...]:
    """Of all agents who were on the line, in order of appearance; an agent without a key reads nothing."""
    known = {agent.id: agent.page_key for agent in view.agents}
    keys = [_key(known.get(party.agent or "", "")) for party in facts.parties]
    return tuple(dict.fromkeys(key for key in keys if key))


def _key(text: object) -> bytes:
    try:
        return base64.b64decode(text, validate=True) if isinstance(text, str) else b""
    except (binascii.Error, ValueError):
        return b""
