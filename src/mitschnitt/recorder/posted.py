"""What the gateway posts of a call, as facts of the gate. Pure: values in, values out; opens and asks nothing.

A fact that cannot be read is a PeerError and changes nothing; only a withdrawal counts however badly it is told.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from mitschnitt.core.consent import Act, ActKind, Asked, act_from_json, asked_from_json
from mitschnitt.core.gate import CallFacts
from mitschnitt.core.policy import Policy
from mitschnitt.errors import MitschnittError


def with_posted(
    facts: CallFacts, kind: str, data: Mapping[str, Any], names: Mapping[str, str], *, now: datetime
) -> CallFacts:
    """The facts after a posted question or act; `names` lays the gateway's names of parties to ours."""
    name = str(data.get("party", ""))
    ours = names.get(name, name)
    if ActKind.WITHDRAW in (kind, data.get("kind")):
        return facts.with_act(_withdrawal(data, now))
    if kind == "asked":
        return facts.with_asked(replace(asked_from_json(data), party=ours))
    if kind == "act":
        return facts.with_act(replace(act_from_json(data), party=ours))
    return facts


def _withdrawal(data: Mapping[str, Any], now: datetime) -> Act:
    try:
        return act_from_json({**data, "kind": ActKind.WITHDRAW.value})
    except MitschnittError:
        return Act("", ActKind.WITHDRAW, "", now)


def asserted(policy: Policy, now: datetime) -> Asked:
    """The policy says that whoever reaches us has heard the whole prompt; it ended just now."""
    prompt = policy.prompt_for(policy.language)
    begun = now - timedelta(milliseconds=prompt.length_ms)
    return Asked("caller", prompt.name, prompt.sha256, prompt.language, begun, now, prompt.length_ms, prompt.length_ms)


def said_at(data: Mapping[str, Any], now: datetime) -> datetime:
    """When a posted fact was true: its own time if it has one that is not in the future, else now."""
    try:
        at = datetime.fromisoformat(str(data.get("at")))
    except ValueError:
        return now
    return min(at, now) if at.tzinfo is not None else now
