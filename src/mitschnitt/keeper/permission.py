"""Asks core/access on behalf of the keeper and turns its no into a refusal that says why. Decides nothing itself."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType

from mitschnitt.core.access import DEEDS, Action, Kept, Limits, decide, unknown_role
from mitschnitt.core.decision import Verdict
from mitschnitt.core.policy import Policy
from mitschnitt.core.purpose import Purpose
from mitschnitt.errors import NotAllowed

SENTENCES: Mapping[str, str] = MappingProxyType(
    {
        "access.purpose.unknown": "there is no such purpose: it is neither built in nor the policy's",
        "access.policy.role": "the policy does not let this role hear recordings for this purpose",
    }
)


def require(
    role: str,
    action: Action,
    *,
    call: Kept | None = None,
    purpose: Purpose | None = None,
    limits: Limits = MappingProxyType({}),
    now: datetime | None = None,
) -> str:
    """The rule that allows it. NotAllowed with the rule that does not, and its sentence."""
    decision = decide(role, action, call=call, purpose=purpose, limits=limits, now=now)
    if decision.verdict is Verdict.OPEN:
        return decision.rule
    raise NotAllowed(decision.rule, _sentence(decision.rule, role, action, purpose))


def require_trial(role: str) -> str:
    """The same for test calls, by name: whoever knows findings of the wire must not know the table."""
    return require(role, Action.TRIAL)


def limits_of(policy: Policy) -> Limits:
    """Whom a policy lets hear, by purpose."""
    return {purpose: rule.roles for purpose, rule in policy.purposes.items()}


def _sentence(rule: str, role: str, action: Action, purpose: Purpose | None) -> str:
    deed = DEEDS[action]
    if rule == "access.role.unknown":
        return unknown_role(role)
    if rule == deed.role:
        return f"{role} is no role that {deed.says}" + (f" for {purpose}" if action is Action.HEAR else "")
    return SENTENCES.get(rule, deed.no)
