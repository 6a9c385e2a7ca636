"""Who is on the line: from participants and posted parties to the parties of the gate."""

from __future__ import annotations

from dataclasses import replace

from mitschnitt.core.consent import Role
from mitschnitt.core.policy import parse_policy
from mitschnitt.core.view import Agent, View
from mitschnitt.recorder.parties import (
    MAX_PARTIES,
    Participant,
    Roll,
    posted_joined,
    posted_left,
    signalled,
)

POLICY = b"""
name = "t"
language = "de"
[purpose]
id = "training"
rate = 1.0
retention = "P30D"
[asking]
mode = "announced"
window_s = 12
yes = "1"
no = "2"
withdraw = "*9"
pause = "*0"
[[prompt]]
name = "ask"
language = "de"
sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
length_ms = 4000
"""
AGENT = Agent("a.one", "hotline", "2026-01-01", ("sip:one@pbx.example",))
VIEW = View(1, parse_policy(POLICY), POLICY, (AGENT,), (), bytes(32))
CALLER, ONE = Participant("p1", "sip:+49301@net.example"), Participant("p2", "sip:one@pbx.example")
THIRD = Participant("p3", "sip:+49302@net.example")


def _roles(roll: Roll) -> dict[str, tuple[Role, bool]]:
    return {party.name: (party.role, party.present) for party in roll.parties}


def test_the_agent_is_who_matches_a_pattern_and_the_other_is_the_caller() -> None:
    roll = signalled(Roll(), [ONE, CALLER], VIEW)
    assert _roles(roll) == {"agent": (Role.AGENT, True), "caller": (Role.CALLER, True)}
    assert [party.number for party in roll.parties] == [0, 1]
    assert roll.parties[0].agent == "a.one"


def test_who_comes_later_is_a_third_party_and_who_is_no_longer_named_has_left() -> None:
    roll = signalled(signalled(Roll(), [CALLER, ONE], VIEW), [CALLER, ONE, THIRD], VIEW)
    assert _roles(roll)["third-1"] == (Role.THIRD, True)
    roll = signalled(roll, [CALLER, ONE], VIEW)
    assert _roles(roll)["third-1"] == (Role.THIRD, False)


def test_an_address_that_two_agents_claim_is_a_problem_not_a_guess() -> None:
    view = replace(VIEW, agents=(AGENT, replace(AGENT, id="a.two", patterns=("sip:one*",))))
    assert signalled(Roll(), [ONE, CALLER], view).problem == "agent.ambiguous"


def test_a_posted_party_and_a_signalled_one_with_the_same_address_are_one() -> None:
    roll = signalled(Roll(), [CALLER, ONE], VIEW)
    roll, name = posted_joined(roll, "third-1", THIRD.aor, VIEW)
    assert name == "third-1"
    roll = signalled(roll, [CALLER, ONE, THIRD], VIEW, posted=frozenset({"third-1"}))
    assert len(roll.parties) == 3


def test_a_posted_party_without_a_stream_stays_on_the_line_until_it_is_posted_to_have_left() -> None:
    roll, name = posted_joined(signalled(Roll(), [CALLER, ONE], VIEW), "third-1", "", VIEW)
    roll = signalled(roll, [CALLER, ONE], VIEW, posted=frozenset({name}))
    assert _roles(roll)["third-1"] == (Role.THIRD, True)
    assert _roles(posted_left(roll, name))["third-1"] == (Role.THIRD, False)


def test_more_parties_than_leaves_are_a_problem() -> None:
    crowd = [Participant(f"p{n}", f"sip:{n}@net.example") for n in range(MAX_PARTIES + 1)]
    assert signalled(Roll(), crowd, VIEW).problem == "parties.too_many"
