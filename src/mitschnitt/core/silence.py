"""What the persons of a call may be told of it at its end: each of their own doing, nobody of the others'.

A caller learns own answers and the draw; where others are the reason, or our own failure, one rule stands for both. An
agent learns which calls are kept. Decides nothing about the call, and knows no key.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from mitschnitt.core.consent import Act, ActKind, spoken_consent, withdrawn
from mitschnitt.core.decision import Decision, Verdict
from mitschnitt.core.gate import CallFacts
from mitschnitt.core.policy import Policy

CALLER = "caller"  # the party whom a receipt code belongs to
KEPT = "kept"
OTHERS = "consent.others"  # not everybody agreed, or the call could not be recorded: one rule, so that it tells neither
CAPPED = "draw.cap"  # a cap was reached; which one would tell of the agent's week
NOT_ASKED = "consent.caller.waiting"
VERSION = 1
MAX_TOLD_ACTS = 4  # of the caller, the newest: an answer, a pause and its end, a withdrawal
MAX_TOLD_QUESTIONS = 2  # of the caller, the newest
AFTER_ALL = datetime(9999, 12, 31, tzinfo=UTC)  # the call is over: whoever has not answered by now was silent


def rule_for_caller(outcome: str, decision: Decision, facts: CallFacts, policy: Policy | None) -> str:
    """The rule that a caller may know: of the draw, of the caller's own acts, or `OTHERS`."""
    if outcome == KEPT:
        return "consent.all"
    if decision.rule.startswith("draw."):
        return CAPPED if decision.rule.startswith(f"{CAPPED}.") else decision.rule
    taken_back = withdrawn(act for act in facts.acts if act.party == CALLER)
    if taken_back is not None:
        return "consent.withdrawn"
    if policy is None or not any(asked.party == CALLER for asked in facts.asked):
        return NOT_ASKED  # whoever else would have said no as well: the caller did not learn it by being asked
    own = spoken_consent(CALLER, facts.asked, facts.acts, policy, AFTER_ALL)
    return OTHERS if own.verdict is Verdict.OPEN else own.rule


def told_to_caller(
    outcome: str, decision: Decision, facts: CallFacts, policy: Policy | None, draw: Mapping[str, Any], *, now: datetime
) -> dict[str, Any]:
    """The caller's page: {v, outcome, rule, policy, purpose, due_at, draw, asked, acts}; times in RFC 3339, UTC.

    `draw` has the day, the number by which the public list names the call (hex), and whether it was drawn.
    """
    questions = [asked for asked in facts.asked if asked.party == CALLER][-MAX_TOLD_QUESTIONS:]
    acts = [what for act in facts.acts if act.party == CALLER and (what := _told_act(act, policy))]
    return {
        **_kept_for(outcome, policy, now),
        "rule": rule_for_caller(outcome, decision, facts, policy),
        "draw": {name: draw[name] for name in ("day", "id", "drawn") if name in draw},
        "asked": [{"at": _time(asked.ended_at), "whole": asked.complete} for asked in questions],
        "acts": acts[-MAX_TOLD_ACTS:],
    }


def told_to_agents(outcome: str, policy: Policy | None, *, now: datetime) -> dict[str, Any]:
    """An agent's page: {v, outcome, rule, policy, purpose, due_at}. Nobody may read it unless the call is kept."""
    return {**_kept_for(outcome, policy, now), "rule": "consent.all"}


def _kept_for(outcome: str, policy: Policy | None, now: datetime) -> dict[str, Any]:
    return {
        "v": VERSION,
        "outcome": outcome,
        "policy": policy.hash if policy is not None else "",
        "purpose": policy.purpose if policy is not None else "",
        "due_at": _time(policy.due_at(now)) if policy is not None and outcome == KEPT else "",
    }


def lost_page() -> dict[str, Any]:
    """What a caller reads of a call to whose end its recorder never came."""
    return {"v": VERSION, "outcome": "", "rule": "recorder.lost"}


def _told_act(act: Act, policy: Policy | None) -> dict[str, str]:
    what = act.kind.value
    if act.kind is ActKind.DIGIT:
        what = "" if policy is None else {policy.yes: "yes", policy.no: "no"}.get(act.value, "")
    return {"what": what, "at": _time(act.at)} if what else {}


def _time(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
