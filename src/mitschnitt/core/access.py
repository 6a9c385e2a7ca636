"""Who may do what: one function over one table of role, action, purpose and state (design section 6).

Denied unless a row says otherwise. A policy narrows the table, nothing widens it: policy and works agreement are
limits, never a leave (Art. 88 GDPR). Who asks is what the asker says; who that really is, is settled elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType

from mitschnitt.core.decision import Decision, Verdict
from mitschnitt.core.purpose import BUILT_IN, OBLIGATION, TRAINING, Purpose

ROLES: Mapping[str, str] = MappingProxyType(
    {
        "caller": "whoever spoke to the centre; also a third party on the line",
        "agent": "whoever spoke for the centre",
        "coach": "hears what was agreed for training, and gives feedback",
        "officer": "data protection officer: requests, holds, deletions, breaches",
        "council": "works council: signs policies, audits draws, accesses and deletions; hears nothing",
        "operator": "runs the machines; sees health, never audio",
        "analyst": "quality management: published figures only",
        "client": "company that the centre works for: published figures only (Art. 26, 28 GDPR)",
    }
)


class Action(StrEnum):
    """What is asked for at a door or on a command line."""

    HEAR = "hear"
    SEE_LIST = "see_list"
    SEE_CALL = "see_call"
    SEE_FACTS = "see_facts"
    SEE_LADDER = "see_ladder"
    SEE_TIMES = "see_times"
    SEE_DECISION = "see_decision"
    SEE_PAGE = "see_page"
    ERASE = "erase"
    GIVE_CONSENT = "give_consent"
    SEE_CONSENT = "see_consent"
    SEE_AGENTS = "see_agents"
    SEE_CELLS = "see_cells"
    SEE_POLICY = "see_policy"
    SEE_STATUS = "see_status"
    DRAIN = "drain"
    TRIAL = "trial"


@dataclass(frozen=True, slots=True)
class Deed:
    """What an action is, in words, and by which rules it is refused."""

    says: str  # what somebody does
    role: str  # rule for a role that has no row
    state: str = ""  # rule for a call in a state that the row does not name; "" where no call is concerned
    no: str = ""  # what is said then


UNHEARD, NOTHING = "this recording is not played", "there is nothing to see of this call"
RUNNING = "the call is still running"
DEEDS: Mapping[Action, Deed] = MappingProxyType(
    {
        Action.HEAR: Deed("hears a recording", "access.role.purpose", "access.not_kept", UNHEARD),
        Action.SEE_LIST: Deed("sees the list of calls: month and one word", "access.list.role"),
        Action.SEE_CALL: Deed("sees the one word of a call", "access.call.role", "access.not_kept", NOTHING),
        Action.SEE_FACTS: Deed("sees parties, purpose and month", "access.facts.role", "access.not_kept", NOTHING),
        Action.SEE_LADDER: Deed("sees the SIP messages of a call", "access.ladder.role", "access.not_kept", NOTHING),
        Action.SEE_TIMES: Deed("sees day and time of calls, not only their month", "access.times.role"),
        Action.SEE_DECISION: Deed("gets the sealed decision", "access.decision.role", "access.decision.live", RUNNING),
        Action.SEE_PAGE: Deed("gets the sealed page of the own calls", "access.page.role", "access.page.live", RUNNING),
        Action.ERASE: Deed("erases a recording", "erase.role", "erase.live", RUNNING),
        Action.GIVE_CONSENT: Deed("brings an agent's signed act", "access.grant.role"),
        Action.SEE_CONSENT: Deed("asks for the own consents with the own key", "access.consent.role"),
        Action.SEE_AGENTS: Deed("sees the list of agents", "access.agents.role"),
        Action.SEE_CELLS: Deed("sees the published figures", "access.cells.role"),
        Action.SEE_POLICY: Deed("reads the policy", "access.policy.reader"),
        Action.SEE_STATUS: Deed("sees how the site is", "access.status.role"),
        Action.DRAIN: Deed("drains the site", "drain.role"),
        Action.TRIAL: Deed("makes test calls", "trial.role"),
    }
)

KEPT = frozenset({"kept"})
OVER = frozenset({"kept", "not_kept"})  # the answer must not tell these two apart
ANY = frozenset({"kept", "not_kept", "live"})
NO_CALL: frozenset[str] = frozenset()  # no single call is concerned
OWN = Purpose("own")  # in the table: any purpose that a policy made up; in a policy the word means nothing


@dataclass(frozen=True, slots=True)
class Permission:
    """One permission."""

    role: str
    action: Action
    states: frozenset[str]  # in which a call may be
    rule: str
    purpose: Purpose | None = None  # None: not for any purpose, so no grant of it is needed


TABLE: tuple[Permission, ...] = (
    Permission("coach", Action.HEAR, KEPT, "access.coach.training", TRAINING),
    Permission("coach", Action.HEAR, KEPT, "access.coach.own", OWN),
    Permission("coach", Action.SEE_LIST, NO_CALL, "access.list"),
    Permission("officer", Action.SEE_LIST, NO_CALL, "access.list"),
    Permission("council", Action.SEE_LIST, NO_CALL, "access.list"),
    Permission("operator", Action.SEE_LIST, NO_CALL, "access.list"),
    Permission("caller", Action.SEE_CALL, ANY, "access.call"),
    Permission("agent", Action.SEE_CALL, ANY, "access.call"),
    Permission("coach", Action.SEE_CALL, ANY, "access.call"),
    Permission("officer", Action.SEE_CALL, ANY, "access.call"),
    Permission("council", Action.SEE_CALL, ANY, "access.call"),
    Permission("operator", Action.SEE_CALL, ANY, "access.call"),
    Permission("coach", Action.SEE_FACTS, KEPT, "access.facts"),
    Permission("officer", Action.SEE_FACTS, KEPT, "access.facts"),
    Permission("council", Action.SEE_FACTS, KEPT, "access.facts"),
    Permission("operator", Action.SEE_FACTS, KEPT, "access.facts"),
    Permission("officer", Action.SEE_LADDER, KEPT, "access.ladder"),
    Permission("operator", Action.SEE_LADDER, KEPT, "access.ladder"),
    Permission("officer", Action.SEE_TIMES, NO_CALL, "access.times"),  # of many days one can solve for each agent: P8
    Permission("officer", Action.SEE_DECISION, OVER, "access.decision"),
    Permission("caller", Action.SEE_PAGE, OVER, "access.page"),
    Permission("agent", Action.SEE_PAGE, OVER, "access.page"),
    Permission("officer", Action.ERASE, OVER, "erase.officer"),
    Permission("agent", Action.GIVE_CONSENT, NO_CALL, "access.grant"),
    Permission("officer", Action.GIVE_CONSENT, NO_CALL, "access.grant"),
    Permission("operator", Action.GIVE_CONSENT, NO_CALL, "access.grant"),
    Permission("agent", Action.SEE_CONSENT, NO_CALL, "access.consent"),
    Permission("operator", Action.SEE_AGENTS, NO_CALL, "access.agents"),
    Permission("agent", Action.SEE_CELLS, NO_CALL, "access.cells"),
    Permission("coach", Action.SEE_CELLS, NO_CALL, "access.cells"),
    Permission("officer", Action.SEE_CELLS, NO_CALL, "access.cells"),
    Permission("council", Action.SEE_CELLS, NO_CALL, "access.cells"),
    Permission("operator", Action.SEE_CELLS, NO_CALL, "access.cells"),
    Permission("analyst", Action.SEE_CELLS, NO_CALL, "access.cells"),
    Permission("client", Action.SEE_CELLS, NO_CALL, "access.cells"),
    *(Permission(role, Action.SEE_POLICY, NO_CALL, "access.policy") for role in ROLES),  # it is public
    Permission("officer", Action.SEE_STATUS, NO_CALL, "access.status"),
    Permission("operator", Action.SEE_STATUS, NO_CALL, "access.status"),
    Permission("operator", Action.DRAIN, NO_CALL, "access.drain"),
    Permission("operator", Action.TRIAL, NO_CALL, "access.trial"),
)


@dataclass(frozen=True, slots=True)
class Kept:
    """What access needs to know of a call."""

    state: str  # kept | not_kept | live
    purpose: Purpose = Purpose("")  # what it is, or would have been, kept for
    due_at: datetime = datetime.min.replace(tzinfo=UTC)  # end of its retention; not told: it is over
    also: frozenset[Purpose] = frozenset()  # further purposes that every party agreed to


Limits = Mapping[Purpose, frozenset[str]]  # whom a policy lets hear, by purpose; what it does not name it lets nobody


def decide(
    role: str,
    action: Action,
    *,
    call: Kept | None = None,
    purpose: Purpose | None = None,
    limits: Limits = MappingProxyType({}),
    now: datetime | None = None,
) -> Decision:
    """OPEN with the rule that allows it, or REFUSE with the rule that does not.

    A call that never was looks like one that was not kept. `purpose`, `limits` and `now` are for HEAR.
    """
    refused = _refused_whatever_call(role, action, purpose, limits)
    if refused:
        return Decision(Verdict.REFUSE, refused, role)
    row = _row(role, action, purpose)
    if row is None:
        return Decision(Verdict.REFUSE, DEEDS[action].role, role)
    if row.states and (call is None or call.state not in row.states):
        return Decision(Verdict.REFUSE, DEEDS[action].state, role)
    if row.purpose is not None:
        closed = "access.not_kept" if call is None or purpose is None else _closed(call, purpose, now)
        if closed:
            return Decision(Verdict.REFUSE, closed, role)
    return Decision(Verdict.OPEN, row.rule, role)


def _refused_whatever_call(role: str, action: Action, purpose: Purpose | None, limits: Limits) -> str:
    """The rule, "" if none: nothing of a call may show in who is refused as what."""
    if role not in ROLES:
        return "access.role.unknown"
    if action is not Action.HEAR:
        return ""
    if purpose not in BUILT_IN and purpose not in limits:
        return "access.purpose.unknown"
    if purpose is not None and _row(role, action, purpose) and role not in limits.get(purpose, frozenset()):
        return "access.policy.role"
    return ""


def _row(role: str, action: Action, purpose: Purpose | None) -> Permission | None:
    if action is not Action.HEAR:
        named = None
    else:
        named = purpose if purpose in BUILT_IN else OWN
    for row in TABLE:
        if (row.role, row.action, row.purpose) == (role, action, named):
            return row
    return None


def _closed(call: Kept, purpose: Purpose, now: datetime | None) -> str:
    """The rule by which a kept call is not heard for this purpose, "" if it is."""
    if OBLIGATION in (call.purpose, *call.also):
        return "access.obligation"  # no other use, whoever agreed: WpHG section 83(9), FinVermV section 18a(5)
    if purpose != call.purpose and purpose not in call.also:
        return "access.purpose.not_agreed"
    if now is None or now >= call.due_at:
        return "access.retention.over"
    return ""


def unknown_role(role: str) -> str:
    """The sentence for a role that does not exist, the same wherever somebody asks."""
    return f"role: expected one of {', '.join(ROLES)}; found {role!r}"
