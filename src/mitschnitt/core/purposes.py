"""Further purposes of a recording, beside the one that records: what is asked for them, and what every party agreed to.

What was agreed to is looked at once, at the end of a call that is kept. What is not certain is not agreed to.
"""

from __future__ import annotations

from datetime import datetime

from mitschnitt.core.consent import Asked, Role, agent_consent, spoken_consent, window_of, withdrawn
from mitschnitt.core.decision import Verdict
from mitschnitt.core.gate import CallFacts, Party, State
from mitschnitt.core.policy import Basis, Policy, Prompt
from mitschnitt.core.purpose import ACCOUNTABILITY, OBLIGATION, Purpose
from mitschnitt.core.view import View

NEVER_AGREED = frozenset({OBLIGATION, ACCOUNTABILITY})  # these rest on law; a yes adds nothing (Art. 6(1)(c) GDPR)


def further_questions(policy: Policy, language: str) -> tuple[Prompt, ...]:
    """What to ask once the caller agreed to the recording: a question for each further purpose, in the policy's order.

    Each in this language, else the policy's own, else any (Art. 6(1)(a) GDPR, recital 32: a yes for each purpose).
    Depends on the policy alone, never on what an agent agreed to: a question that is missing would tell of a no.
    """
    if policy.purpose == OBLIGATION:
        return ()
    wanted = [one for one in policy.purposes if _can_be_agreed_to(one, policy)]
    spoken = [[prompt for prompt in policy.prompts if prompt.purpose == one] for one in wanted]
    return tuple(_in_language(prompts, language, policy.language) for prompts in spoken if prompts)


def _can_be_agreed_to(purpose: Purpose, policy: Policy) -> bool:
    """Whether a yes of the caller could ever count: it is asked for, and so is that of the agent."""
    if purpose == policy.purpose or purpose in NEVER_AGREED:
        return False
    return all(policy.purposes[purpose].basis.get(party) is Basis.CONSENT for party in ("caller", "agent"))


def _in_language(prompts: list[Prompt], language: str, own: str) -> Prompt:
    by_language = {prompt.language: prompt for prompt in prompts}
    return by_language.get(language, by_language.get(own, prompts[0]))


def awaits_further(state: State, facts: CallFacts, policy: Policy, party: str, at: datetime) -> bool:
    """Whether a key of this party at this time can answer a further question; only while the call is being kept."""
    if state is not State.KEEPING:
        return False
    own = [asked for asked in facts.asked if asked.party == party and asked.complete]
    further = set(policy.purposes) - {policy.purpose} - NEVER_AGREED
    return any(
        policy.knows_prompt(asked.prompt, asked.sha256, asked.length_ms, purpose=one)
        for asked in own
        for one in further
        if _covers(asked, policy, at)
    )


def _covers(asked: Asked, policy: Policy, at: datetime) -> bool:
    begin, end = window_of(asked, policy)
    return begin <= at <= end


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
