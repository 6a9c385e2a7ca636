"""Who is on the line: from participants and posted parties to the parties of the gate."""

from __future__ import annotations

from dataclasses import replace

from mitschnitt.core.consent import Role
from mitschnitt.core.policy_text import parse_policy
from mitschnitt.core.view import Agent, View
from mitschnitt.recorder.parties import (
    MAX_IDS,
    MAX_PARTIES,
    Participant,
    Roll,
    posted_joined,
    signalled,
)
from world import POLICY_TEXT

AGENT = Agent("a.one", "hotline", "2026-01-01", ("sip:one@pbx.example",))
VIEW = View(1, parse_policy(POLICY_TEXT), POLICY_TEXT, (AGENT,), (), bytes(32))
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
    roll = signalled(roll, [CALLER, ONE], VIEW)
    assert _roles(roll)["third-1"] == (Role.THIRD, False)


def test_more_parties_than_leaves_are_a_problem() -> None:
    crowd = [Participant(f"p{n}", f"sip:{n}@net.example") for n in range(MAX_PARTIES + 1)]
    assert signalled(Roll(), crowd, VIEW).problem == "parties.too_many"
    assert len(signalled(Roll(), crowd, VIEW).by_participant) == MAX_PARTIES


ANONYMOUS = "sip:anonymous@anonymous.invalid"


def test_a_second_participant_with_the_callers_address_is_another_person() -> None:
    for aor in (CALLER.aor, ANONYMOUS):
        first = Participant("p1", aor)
        roll = signalled(signalled(Roll(), [first, ONE], VIEW), [Participant("p9", aor), first, ONE], VIEW)
        assert _roles(roll)["third-1"] == (Role.THIRD, True)
        assert roll.by_participant[first] == "caller"


def test_two_people_who_withhold_their_number_one_after_the_other_are_two() -> None:
    roll = signalled(Roll(), [Participant("p1", ANONYMOUS), ONE], VIEW)
    roll = signalled(roll, [Participant("p9", ANONYMOUS), ONE], VIEW)
    assert _roles(roll) == {"caller": (Role.CALLER, False), "agent": (Role.AGENT, True), "third-1": (Role.THIRD, True)}


def test_a_known_address_under_a_new_id_is_the_same_party() -> None:
    roll = signalled(signalled(Roll(), [CALLER, ONE], VIEW), [replace(CALLER, id="p7"), ONE], VIEW)
    assert len(roll.parties) == 2


def test_an_id_that_gets_another_address_is_another_person() -> None:
    roll = signalled(signalled(Roll(), [CALLER, ONE], VIEW), [replace(CALLER, aor=THIRD.aor), ONE], VIEW)
    assert _roles(roll)["third-1"] == (Role.THIRD, True)
    assert _roles(roll)["caller"] == (Role.CALLER, False)


def test_a_gateway_that_uses_a_name_again_speaks_of_somebody_else() -> None:
    roll, first = posted_joined(signalled(Roll(), [CALLER, ONE], VIEW), "third-1", "tel:+49302", VIEW)
    gone = signalled(roll, [CALLER, ONE], VIEW)
    assert posted_joined(gone, "third-1", "tel:+49303", VIEW)[1] == "third-2"
    assert posted_joined(gone, "third-1", "", VIEW)[1] == "third-2"
    assert posted_joined(gone, "third-1", "sip:+49302@net.example", VIEW)[1] == first == "third-1"


def test_a_name_of_somebody_on_the_line_means_them_unless_the_address_is_anothers() -> None:
    roll = signalled(Roll(), [CALLER, ONE], VIEW)
    assert posted_joined(roll, "caller", "", VIEW)[1] == "caller"
    assert posted_joined(roll, "caller", "tel:+49301", VIEW)[1] == "caller"
    assert posted_joined(roll, "caller", THIRD.aor, VIEW)[1] == "third-1"


def test_an_agent_may_be_posted_by_id() -> None:
    roll, name = posted_joined(signalled(Roll(), [CALLER, ONE], VIEW), "whisper", AGENT.id, VIEW)
    party = roll.party(name)
    assert party is not None
    assert (party.role, party.agent) == (Role.AGENT, AGENT.id)


def test_a_posted_party_beyond_the_leaves_is_a_problem() -> None:
    crowd = [Participant(f"p{n}", f"sip:{n}@net.example") for n in range(MAX_PARTIES)]
    roll, name = posted_joined(signalled(Roll(), crowd, VIEW), "third-99", "", VIEW)
    assert (name, roll.problem) == ("", "parties.too_many")


def test_two_sessions_name_one_party_where_the_address_is_the_same_number() -> None:
    roll = signalled(Roll(), [CALLER, ONE, Participant("q1", "tel:+49301", 1), Participant("q2", ONE.aor, 1)], VIEW)
    assert len(roll.parties) == 2
    assert roll.by_participant[Participant("q1", "tel:+49301", 1)] == "caller"


def test_two_sessions_name_one_agent_by_any_of_the_agents_addresses() -> None:
    view = replace(VIEW, agents=(replace(AGENT, patterns=("sip:one@pbx.example", "sip:one@sbc.example")),))
    roll = signalled(Roll(), [CALLER, ONE, Participant("q2", "sip:one@sbc.example", 1)], view)
    assert len(roll.parties) == 2


def test_what_is_no_global_number_is_one_party_only_in_the_same_spelling() -> None:
    local = Participant("p1", "sip:301@net.example")
    roll = signalled(Roll(), [local, ONE, Participant("q1", "sip:301@other.example", 1)], VIEW)
    assert len(roll.parties) == 3


def test_two_of_one_number_in_one_session_are_two_whatever_another_session_says() -> None:
    twice = [Participant("q1", CALLER.aor, 1), Participant("q2", CALLER.aor, 1)]
    assert len(signalled(Roll(), [CALLER, ONE, *twice], VIEW).parties) == 3


def test_one_person_under_ever_new_ids_is_a_problem_before_the_ids_fill_the_memory() -> None:
    roll = signalled(Roll(), [CALLER, ONE], VIEW)
    for number in range(MAX_IDS + 1):
        roll = signalled(roll, [replace(CALLER, id=f"p-{number}"), ONE], VIEW)
    assert roll.problem == "parties.too_many"
    assert len(roll.by_participant) == MAX_IDS
    assert signalled(roll, [CALLER, ONE], VIEW).problem == "parties.too_many"
