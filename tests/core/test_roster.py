"""Agents who could be taken for each other are refused when the file is read, not when a call is."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitschnitt.core.roster import check_roster, check_teams
from mitschnitt.core.view import Agent
from mitschnitt.errors import ConfigError

KEY = base64.b64encode(bytes(32)).decode()
LINES = {"anna": 3, "ben": 9}


def agent(name: str, *patterns: str, team: str = "", key: str = "") -> Agent:
    return Agent(name, team, "2026-01-01", patterns or (f"sip:{name}@x",), key)


COLLIDING = {
    "the same address": ("sip:a@x", "sip:a@x"),
    "an address and what stands for it": ("sip:a@*", "sip:a@x"),
    "an address that is all of a wildcard": ("sip:a*", "sip:a"),
    "a wildcard within a wildcard": ("tel:+4930*", "tel:+49*"),
    "the same wildcard": ("tel:+49*", "tel:+49*"),
    "a wildcard that stands for everybody": ("sip:*", "sip:b@x"),
}


@pytest.mark.parametrize("phrase", COLLIDING)
@pytest.mark.parametrize("turned", [False, True])
def test_two_agents_whom_one_address_could_mean_are_refused_with_both_names(phrase: str, turned: bool) -> None:
    one, other = COLLIDING[phrase]
    agents = [agent("anna", "sip:other@y", one), agent("ben", other)]
    with pytest.raises(ConfigError) as refused:
        check_roster(agents[::-1] if turned else agents, lines=LINES)
    told = str(refused.value)
    assert "line 3: anna" in told
    assert "line 9: ben" in told
    assert one in told
    assert other in told


@pytest.mark.parametrize(
    "one, other",
    [
        ("sip:a@x", "sip:aa@x"),
        ("sip:a@*", "sip:aa@x"),
        ("tel:+4930*", "tel:+4931*"),
        ("sip:b*", "sip:a"),
        ("sip:ab", "sip:abc"),
    ],
)
def test_addresses_that_only_look_alike_are_fine(one: str, other: str) -> None:
    check_roster([agent("anna", one), agent("ben", other)])
    with pytest.raises(ConfigError):  # so that it is known to look
        check_roster([agent("anna", one), agent("ben", one)])


def test_one_agent_may_be_known_twice_by_the_same() -> None:
    alone = [agent("anna", "sip:a@x", "sip:a@*", "sip:*")]
    check_roster(alone)
    with pytest.raises(ConfigError):
        check_roster([*alone, agent("ben")])


def test_without_lines_the_names_alone_are_told() -> None:
    with pytest.raises(ConfigError, match="agents: ben and anna are both known by sip:a@x"):
        check_roster([agent("anna", "sip:a@*"), agent("ben", "sip:a@x")])


def test_ids_are_unique() -> None:
    with pytest.raises(ConfigError, match="`anna` is there twice"):
        check_roster([agent("anna"), agent("anna", "sip:b@x")])


PATTERNS = st.lists(st.sampled_from(["a", "aa", "ab", "b", "a*", "aa*", "ab*", "b*", "*"]), min_size=1, max_size=3)


@pytest.mark.thorough
@given(st.lists(PATTERNS, min_size=1, max_size=4))
def test_what_passes_leaves_no_address_with_two_agents_and_what_fails_has_one(rosters: list[list[str]]) -> None:
    agents = [agent(f"a{number}", *patterns) for number, patterns in enumerate(rosters)]
    ends = ["", "a", "b", "aa", "ab", "ba", "aaa", "aab", "aba", "abb", "c", "bc", "ac", "aac", "abc", "aaaa"]
    twice = any(sum(one.matches(end) for one in agents) > 1 for end in ends)
    try:
        check_roster(agents)
        passed = True
    except ConfigError:
        passed = False
    assert passed is not twice


@pytest.mark.parametrize("key", ["a2V5", "?", KEY[:-1], KEY + "AAAA", "ключ"])
def test_a_key_that_is_none_is_refused(key: str) -> None:
    with pytest.raises(ConfigError, match="line 3: anna: `key` must be 32 bytes in base64"):
        check_roster([agent("anna", key=key)], lines=LINES)


def test_two_agents_with_one_key_are_refused() -> None:
    check_roster([agent("anna", key=KEY), agent("ben"), agent("carl")])
    with pytest.raises(ConfigError, match="ben and line 3: anna have one `key`"):
        check_roster([agent("anna", key=KEY), agent("ben", key=KEY)], lines=LINES)


def test_a_team_is_one_of_the_policys_or_none() -> None:
    teams = frozenset({"north", "south"})
    check_teams([agent("anna", team="north"), agent("ben", team="")], teams)
    with pytest.raises(ConfigError, match=r"line 9: ben: `team` .*\(north, south\) or be left out, found 'nroth'"):
        check_teams([agent("anna", team="north"), agent("ben", team="nroth")], teams, lines=LINES)


def test_where_the_policy_has_no_groups_any_team_will_do() -> None:
    check_teams([agent("anna", team="hotline")], frozenset())
    with pytest.raises(ConfigError):
        check_teams([agent("anna", team="hotline")], frozenset({"north"}))
