"""Who may hear what, for which purpose: one function (design section 6). Denied unless a row says otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

from mitschnitt.core.decision import Decision, Verdict
from mitschnitt.core.purpose import TRAINING, Purpose

ROLES = ("caller", "agent", "coach", "officer", "council", "operator")
MAY_HEAR: Mapping[tuple[str, Purpose], str] = MappingProxyType({("coach", TRAINING): "access.coach.training"})
MAY_SEE_LADDERS = frozenset({"operator", "officer"})  # whoever mends signalling, and whoever answers for it


@dataclass(frozen=True, slots=True)
class Kept:
    """What access needs to know of a recording."""

    purpose: Purpose  # the one that was agreed
    state: str  # kept | not_kept | live
    due_at: datetime  # end of its retention


def may_read(kept: Kept | None, purpose: Purpose, role: str, now: datetime) -> Decision:
    """OPEN with the rule that allows it, or REFUSE with the rule that does not."""
    if role not in ROLES:
        return Decision(Verdict.REFUSE, "access.role.unknown", role)
    rule = MAY_HEAR.get((role, purpose))
    if rule is None:
        return Decision(Verdict.REFUSE, "access.role.purpose", role)
    if kept is None or kept.state != "kept":
        return Decision(Verdict.REFUSE, "access.not_kept", role)
    if kept.purpose != purpose:
        return Decision(Verdict.REFUSE, "access.purpose.not_agreed", role)
    if now >= kept.due_at:
        return Decision(Verdict.REFUSE, "access.retention.over", role)
    return Decision(Verdict.OPEN, rule, role)


def may_see_ladders(state: str, role: str) -> Decision:
    """Whether a role sees the SIP ladders of a call in this state. They show when it was opened: of kept calls only."""
    if role not in ROLES:
        return Decision(Verdict.REFUSE, "access.role.unknown", role)
    if state != "kept":
        return Decision(Verdict.REFUSE, "access.not_kept", role)
    if role not in MAY_SEE_LADDERS:
        return Decision(Verdict.REFUSE, "access.ladder.role", role)
    return Decision(Verdict.OPEN, "access.ladder", role)
