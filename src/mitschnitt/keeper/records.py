"""What a role may learn of calls, and the one way to hear one: rule first, access row second, bytes last.

Of a call that is not kept there is one word, and the answers to any two of them differ in the id only.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine

from mitschnitt.core.access import DEEDS, Action, Kept, Limits, decide
from mitschnitt.core.decision import Verdict
from mitschnitt.core.purpose import Purpose
from mitschnitt.errors import ConfigError, NotAllowed
from mitschnitt.keeper.apply import Holdings
from mitschnitt.keeper.bindings import binding_told
from mitschnitt.keeper.clock import rfc3339
from mitschnitt.keeper.erasing import erase
from mitschnitt.keeper.ladders import shown_ladders
from mitschnitt.keeper.permission import limits_of, require
from mitschnitt.keeper.told_times import facts_by_month, listed_by_month
from mitschnitt.store import queries
from mitschnitt.store.purpose_queries import purposes_of
from mitschnitt.store.queries import AccessRow, CallRow, PartyRow

T = TypeVar("T")


def call_unknown() -> NotAllowed:
    """The same for a call that never was and for an id that is none."""
    return NotAllowed("call.unknown", "no call of that name is known here")


class Records:
    """Methods block; the door runs them in threads."""

    def __init__(self, holdings: Holdings, reader: Engine) -> None:
        self._holdings = holdings
        self._reader = reader

    def _ask(self, query: Callable[[Connection], T]) -> T:
        with self._reader.connect() as connection:
            return query(connection)

    def _allowed(
        self, call_id: str, role: str, action: Action, *, purpose: str | None = None, now: datetime | None = None
    ) -> tuple[CallRow, str]:
        """The call and the rule by which this role may. NotAllowed with the rule that refuses, or `call.unknown`."""
        row = self._ask(lambda connection: queries.call_by_id(connection, call_id))
        wanted: Purpose | None = None
        limits: Limits = {}
        kept = _kept(row)
        if purpose is not None and now is not None:
            wanted, limits = Purpose(purpose), self._limits(row, now)
            kept = _kept(row, self._ask(lambda connection: purposes_of(connection, call_id)))
        try:
            rule = require(role, action, call=kept, purpose=wanted, limits=limits, now=now)
        except NotAllowed as refused:
            if row is None and refused.rule == DEEDS[action].state:
                raise call_unknown() from None
            raise
        if row is None:
            raise call_unknown()
        return row, rule

    def _limits(self, row: CallRow | None, now: datetime) -> Limits:
        """Whom a policy lets hear: that of a kept call, of all others that of today, or they would differ."""
        policies, digest = self._holdings.policies, ""
        try:
            if row is not None and row.state == queries.KEPT:
                digest = row.policy_hash
            else:
                tenure = policies.tenure_at(now)
                digest = "" if tenure is None else tenure.hash
            return limits_of(policies.get(digest))
        except ConfigError:  # a policy that is not here lets nobody hear
            return {}

    def list_calls(self, role: str) -> list[dict[str, Any]]:
        """Every call with its one word and its month; to whoever sees times, its day."""
        require(role, Action.SEE_LIST)
        listed = self._ask(queries.listed_calls)
        if not _may(role, Action.SEE_TIMES):
            return listed_by_month(listed)
        return [{"call": call, "day": day, "state": state} for call, day, state in listed]

    def show(self, call_id: str, role: str) -> dict[str, Any]:
        """One call: its word, and if it is kept and the role may see so much, its facts and its ladders."""
        row, _ = self._allowed(call_id, role, Action.SEE_CALL)
        if not _may(role, Action.SEE_FACTS, row):
            return {"call": row.call_id, "state": row.state}
        parties = self._ask(lambda connection: queries.parties_of(connection, call_id))
        shown: dict[str, Any] = {
            "call": row.call_id,
            "state": row.state,
            "day": row.arrived_day,
            "purpose": row.purpose,
            "policy": row.policy_hash,
            "due_at": row.due_at,
            "parties": [_party(party) for party in parties],
        }
        if _may(role, Action.SEE_LADDER, row):
            found = self._ask(lambda connection: queries.ladders_of(connection, call_id))
            shown["ladders"] = shown_ladders(json.loads(found))
        return shown if _may(role, Action.SEE_TIMES) else facts_by_month(shown)

    def decision(self, call_id: str, role: str) -> bytes:
        """The sealed decision, for the officer, whose own key opens it. NotAllowed for others, or before the end."""
        self._allowed(call_id, role, Action.SEE_DECISION)
        sealed = self._ask(lambda connection: queries.decision_of(connection, call_id))
        if sealed is None:
            raise NotAllowed("access.decision.live", "the call is still running")
        return sealed

    def permitted(self, call_id: str, *, purpose: str, role: str, now: datetime) -> tuple[int, str]:
        """Place in the key tree of a call that this role may hear for this purpose now, and the rule that says so.

        NotAllowed with the rule that refuses. Nothing is opened or written down by asking.
        """
        row, rule = self._allowed(call_id, role, Action.HEAR, purpose=purpose, now=now)
        if row.tree_index is None:
            raise NotAllowed("access.not_kept", "this recording is not played")
        return row.tree_index, rule

    def parties(self, call_id: str) -> list[PartyRow]:
        """Whose files a call has."""
        return self._ask(lambda connection: queries.parties_of(connection, call_id))

    def note_access(self, call_id: str, *, purpose: str, role: str, rule: str, now: datetime) -> None:
        """One access, durable when it returns. NoSpace or VaultError when it cannot be written."""
        row = AccessRow(call_id, role, purpose, rfc3339(now), rule)
        self._holdings.writer.submit(lambda connection: queries.add_access(connection, row)).result()

    def erase(self, call_id: str, role: str) -> dict[str, Any]:
        """Puncture, then remove. NotAllowed with the rule; a call that is not kept answers as one that was erased."""
        self._allowed(call_id, role, Action.ERASE)
        erase(self._holdings, call_id)
        return {"call": call_id, "state": queries.NOT_KEPT, "epoch": self._holdings.keyring.epoch}


def _may(role: str, action: Action, row: CallRow | None = None) -> bool:
    return decide(role, action, call=_kept(row)).verdict is Verdict.OPEN


def _kept(row: CallRow | None, also: frozenset[str] = frozenset()) -> Kept | None:
    """What access needs to know of a call."""
    if row is None:
        return None
    if row.due_at is None:
        return Kept(row.state, Purpose(row.purpose))
    agreed = frozenset(Purpose(one) for one in also)
    return Kept(row.state, Purpose(row.purpose), datetime.fromisoformat(row.due_at), agreed)


def _party(party: PartyRow) -> dict[str, Any]:
    return {
        "party": party.party,
        "role": party.role,
        "started_at": party.started_at,
        "ended_at": party.ended_at,
        "reason": party.reason,
        **({"pseudonym": party.pseudonym} if party.pseudonym else {}),
        "media_size": party.media.size if party.media else 0,
        "timeline_size": party.timeline.size if party.timeline else 0,
        "binding": binding_told(party.binding),
    }
