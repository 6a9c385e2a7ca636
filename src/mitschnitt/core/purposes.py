"""Which further purposes a recording may be used for: those that every party agreed to beside the one that records.

Looked at once, at the end of a call that is kept. What is not certain is not agreed to.
"""

from __future__ import annotations

from datetime import datetime

from mitschnitt.core.consent import Role, agent_consent, spoken_consent, withdrawn
from mitschnitt.core.decision import Verdict
from mitschnitt.core.gate import CallFacts, Party
from mitschnitt.core.purpose import ACCOUNTABILITY, OBLIGATION, Purpose
from mitschnitt.core.view import View

NEVER_AGREED = frozenset({OBLIGATION, ACCOUNTABILITY})  # these rest on law; a yes adds nothing (Art. 6(1)(c) GDPR)


def agreed_also(facts: CallFacts, view: View | None, now: datetime) -> tuple[Purpose, ...]:
    """The purposes by name. Whoever was on the line at any time must have agreed: their voice is in the recording."""
    if view is None or not facts.parties or withdrawn(facts.acts) is not None or view.policy.purpose == OBLIGATION:
        return ()
    further = set(view.policy.purposes) - {view.policy.purpose} - NEVER_AGREED
    return tuple(
        purpose for purpose in sorted(further) if all(_agreed(one, purpose, facts, view, now) for one in facts.parties)
    )


def _agreed(party: Party, purpose: Purpose, facts: CallFacts, view: View, now: datetime) -> bool:
    if party.role is Role.AGENT:
        notice = view.policy.purposes[purpose].notice
        answer = agent_consent(party.name, party.agent, view.grants, purpose, now, notice=notice)
    else:
        answer = spoken_consent(party.name, facts.asked, facts.acts, view.policy, now, purpose=purpose)
    return answer.verdict is Verdict.OPEN
