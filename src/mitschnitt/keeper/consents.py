"""What agents are asked, and what they may see of their own standing consent. Nobody sees another's.

Reckons from view and signed questions; keeps nothing. A list of agents says who works here and never who agreed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mitschnitt.core.access import Action
from mitschnitt.core.consent import StandingGrant, agent_consent
from mitschnitt.core.policy import Basis, Policy
from mitschnitt.core.purpose import Purpose
from mitschnitt.core.view import Agent, View
from mitschnitt.errors import NotAllowed
from mitschnitt.keeper.acts import VERSION, SignedAct, read_fields, sign_act, time_in
from mitschnitt.keeper.clock import rfc3339
from mitschnitt.keeper.grants import Notices, is_of_agent
from mitschnitt.keeper.permission import require

DOMAIN = b"mitschnitt/v1/own-consents\n"  # a question is no act: neither can be shown for the other
FIELDS = {"show": frozenset({"v", "act", "agent", "at"})}
FRESH = timedelta(seconds=60)  # a question that somebody else kept is of no use later
STATES: Mapping[str, str] = {
    "consent.given": "given",
    "consent.agent.none": "not given",
    "consent.agent.withdrawn": "withdrawn",
    "consent.agent.expired": "expired",
    "consent.agent.notice": "given to another notice",
}


def notices_of(policy: Policy) -> Notices:
    """The purposes for which a policy asks agents for consent, and the notice that each names."""
    return {purpose: policy.purposes[purpose].notice for purpose in _asked(policy)}


def _asked(policy: Policy) -> list[Purpose]:
    return [name for name, rule in policy.purposes.items() if rule.basis.get("agent") is Basis.CONSENT]


def offered(policy: Policy) -> list[dict[str, Any]]:
    """What agents can agree to, as they are told before they do (Art. 13 GDPR, section 26(2) BDSG). Public."""
    return [
        {
            "purpose": name,
            "language": policy.language,
            "notice": policy.purposes[name].notice,
            "retention": str(policy.purposes[name].retention),
            "roles": sorted(policy.purposes[name].roles),
            "agreement": policy.purposes[name].agreement,
            "controller": policy.controller.name,
            "contact": policy.controller.officer_contact or policy.controller.contact,
        }
        for name in _asked(policy)
    ]


def listed(agents: Iterable[Agent], role: str) -> list[dict[str, str]]:
    """Who works here: id, team and first day. Whether somebody agreed is nowhere in it. NotAllowed for other roles."""
    require(role, Action.SEE_AGENTS)
    return [{"id": agent.id, "team": agent.team, "started": agent.started} for agent in agents]


def sign_question(key: Ed25519PrivateKey, *, agent: str, at: datetime) -> SignedAct:
    """The agent asks for the own consents; good for a minute."""
    return sign_act(key, DOMAIN, {"v": VERSION, "act": "show", "agent": agent, "at": rfc3339(at)})


def own_consents(view: View, agents: Iterable[Agent], question: SignedAct, *, now: datetime) -> dict[str, Any]:
    """How it stands with each purpose, for the agent who signed the question.

    NotAllowed with `grant.agent.unknown`, `grant.signature` or `grant.stale`; MalformedPacket for no question.
    """
    fields = read_fields(question.act, FIELDS)
    name = fields["agent"]
    agent = next((agent for agent in agents if agent.id == name and agent.key), None)
    if agent is None:
        raise NotAllowed("grant.agent.unknown", "a question needs an agent of agents.toml who has a `key`")
    if not is_of_agent(agent.key, DOMAIN, question):
        raise NotAllowed("grant.signature", "the question is not signed with the agent's own key")
    if abs(time_in(fields, "at") - now) > FRESH:
        raise NotAllowed("grant.stale", f"a question is good for {FRESH.seconds} s")
    own = [grant for grant in view.grants if grant.agent == name]
    purposes = [*_asked(view.policy), *sorted({grant.purpose for grant in own} - set(_asked(view.policy)))]
    told = {"agent": name, "language": view.policy.language}
    return {**told, "consents": [_consent(view, name, purpose, own, now) for purpose in purposes]}


def _consent(view: View, agent: str, purpose: Purpose, own: list[StandingGrant], now: datetime) -> dict[str, Any]:
    rule = view.policy.purposes.get(purpose)
    notice = rule.notice if rule is not None else ""
    found = agent_consent("agent", agent, own, purpose, now, notice=notice)
    newest = max((grant for grant in own if grant.purpose == purpose), key=lambda grant: grant.granted_at, default=None)
    told: dict[str, Any] = {"purpose": purpose, "notice": notice, "state": STATES[found.rule]}
    if newest is not None:
        told |= {
            "granted_at": rfc3339(newest.granted_at),
            "expires_at": rfc3339(newest.expires_at),
            "given_to": newest.notice,
            "withdrawn_at": rfc3339(newest.withdrawn_at) if newest.withdrawn_at else None,
        }
    return told
