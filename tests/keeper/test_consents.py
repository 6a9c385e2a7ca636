"""What agents are asked and may see: their own consents, and of others nothing."""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from keeper.site_on_disk import POLICY
from mitschnitt.core.consent import StandingGrant
from mitschnitt.core.policy_text import parse_policy
from mitschnitt.core.purpose import TRAINING, Purpose
from mitschnitt.core.view import Agent, View
from mitschnitt.errors import MalformedPacket, NotAllowed
from mitschnitt.keeper.acts import SignedAct
from mitschnitt.keeper.consents import listed, notices_of, offered, own_consents, sign_question
from mitschnitt.keeper.grants import check_act, sign_withdrawal

NOW = datetime(2026, 11, 26, 9, 0, tzinfo=UTC)
KEYS = {name: Ed25519PrivateKey.from_private_bytes(name.encode().ljust(32)) for name in ("anna", "ben")}
TEXT = POLICY.replace('id = "training"', 'id = "training"\nnotice = "n-2"\nagreement = "BV 7"') + (
    '[[purpose]]\nid = "transcript"\nretention = "P10D"\n'
    '[[purpose]]\nid = "obligation"\nretention = "P5Y"\nagent = "legal_obligation"\nnotice = "n-9"\n'
)
RULES = parse_policy(TEXT.encode())


def agent(name: str) -> Agent:
    key = base64.b64encode(KEYS[name].public_key().public_bytes_raw()).decode() if name in KEYS else ""
    return Agent(name, "north", "2026-01-01", (f"sip:{name}@example.org",), key)


AGENTS = tuple(agent(name) for name in ("anna", "ben", "carl"))


def grant(name: str = "anna", purpose: Purpose = TRAINING, **more: Any) -> StandingGrant:
    given = StandingGrant(name, purpose, NOW - timedelta(days=1), NOW + timedelta(days=90), "n-2")
    return replace(given, **more)


def ask(*grants: StandingGrant, name: str = "anna", at: datetime = NOW, key: str = "anna") -> list[dict[str, Any]]:
    view = View(1, RULES, TEXT.encode(), AGENTS, grants, bytes(32))
    found: list[dict[str, Any]] = own_consents(view, AGENTS, sign_question(KEYS[key], agent=name, at=at), now=NOW)[
        "consents"
    ]
    return found


def test_agents_are_asked_for_what_rests_on_their_consent_and_for_nothing_else() -> None:
    assert notices_of(RULES) == {"training": "n-2", "transcript": ""}
    training, transcript = offered(RULES)
    assert training == {
        "purpose": "training",
        "language": "de",
        "notice": "n-2",
        "retention": "P30D",
        "roles": ["coach"],
        "agreement": "BV 7",
        "controller": "Centre Ltd",
        "contact": "",
    }
    assert (transcript["purpose"], transcript["notice"]) == ("transcript", "")


def test_the_list_of_agents_says_who_works_here_and_nothing_else() -> None:
    assert listed(AGENTS, "operator")[0] == {"id": "anna", "team": "north", "started": "2026-01-01"}
    for role in ("coach", "council", "client", "nobody"):
        with pytest.raises(NotAllowed, match=r"access\."):
            listed(AGENTS, role)


@pytest.mark.parametrize(
    "given, state",
    [
        ([], "not given"),
        ([grant("ben")], "not given"),
        ([grant()], "given"),
        ([grant(notice="n-1")], "given to another notice"),
        ([grant(expires_at=NOW)], "expired"),
        ([grant(withdrawn_at=NOW)], "withdrawn"),
    ],
)
def test_an_agent_sees_how_it_stands_with_the_own_consent(given: list[StandingGrant], state: str) -> None:
    training, transcript = ask(*given)
    assert (training["purpose"], training["notice"], training["state"]) == ("training", "n-2", state)
    assert transcript["state"] == "not given"
    assert ("granted_at" in training) is any(item.agent == "anna" for item in given)


def test_what_was_given_for_a_purpose_that_the_policy_no_longer_has_is_still_shown() -> None:
    found = ask(grant(purpose=Purpose("surveys"), notice="n-0"))
    assert [(item["purpose"], item["state"]) for item in found][-1] == ("surveys", "given")
    assert found[-1]["given_to"] == "n-0"


@pytest.mark.parametrize(
    "asked, rule",
    [
        ({"key": "ben"}, "grant.signature"),
        ({"name": "carl"}, "grant.agent.unknown"),
        ({"name": "nobody"}, "grant.agent.unknown"),
        ({"at": NOW - timedelta(seconds=61)}, "grant.stale"),
        ({"at": NOW + timedelta(seconds=61)}, "grant.stale"),
    ],
)
def test_nobody_else_sees_it(asked: dict[str, Any], rule: str) -> None:
    with pytest.raises(NotAllowed) as refused:
        ask(grant(), **asked)
    assert refused.value.rule == rule


def test_a_question_is_no_act_and_an_act_is_no_question() -> None:
    question = sign_question(KEYS["anna"], agent="anna", at=NOW)
    with pytest.raises(MalformedPacket):
        check_act(question, AGENTS)
    act = sign_withdrawal(KEYS["anna"], agent="anna", purpose=TRAINING, withdrawn_at=NOW)
    view = View(1, RULES, TEXT.encode(), AGENTS, (), bytes(32))
    for told in (act, SignedAct(b"{}", bytes(64))):
        with pytest.raises(MalformedPacket):
            own_consents(view, AGENTS, told, now=NOW)
