"""The view: what the keeper tells a recorder, and what the recorder refuses to believe."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialogue import JENS, POLICY, grant, view_with
from mitschnitt.core import view as view_module
from mitschnitt.core.view import Agent, agent_from_json, view_from_json
from mitschnitt.errors import ConfigError, MalformedPacket, MitschnittError

VECTOR: dict[str, Any] = json.loads(
    (Path(__file__).parent.parent / "vectors" / "core" / "view.json").read_text(encoding="utf-8")
)


def changed(**fields: Any) -> dict[str, Any]:
    return {**VECTOR["json"], **fields}


def test_the_vector_comes_back_as_it_was() -> None:
    view = view_from_json(VECTOR["json"])
    assert view.to_json() == VECTOR["json"]
    assert view.version == VECTOR["says"]["version"]
    assert [agent.id for agent in view.agents] == VECTOR["says"]["agents"]
    assert [item.agent for item in view.grants] == VECTOR["says"]["grants"]
    assert view.policy.window.seconds == VECTOR["says"]["window_s"]


def test_a_view_comes_back_through_json_text() -> None:
    view = view_with(grant(), grant(agent="nora.feld", withdrawn=5), version=7)
    assert view_from_json(json.loads(json.dumps(view.to_json()))) == view


def test_the_key_of_pseudonyms_comes_back_and_one_of_another_length_is_refused() -> None:
    view = replace(view_with(grant()), pseudonym_key=bytes(32))
    assert view_from_json(json.loads(json.dumps(view.to_json()))) == view
    with pytest.raises(MalformedPacket, match="the key of pseudonyms has 31 bytes"):
        view_from_json(changed(pseudonym_key=base64.b64encode(bytes(31)).decode()))


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no version": ({"version": None}, "`version` must be a whole number"),
    "a version as text": ({"version": "1"}, "`version` must be a whole number"),
    "a version that is a switch": ({"version": True}, "`version` must be a whole number"),
    "a version without end": ({"version": float("inf")}, "`version` must be a whole number"),
    "a negative version": ({"version": -1}, "`version` must be a whole number"),
    "another policy than the hash says": ({"policy_hash": "00" * 32}, "does not have the hash"),
    "no hash": ({"policy_hash": None}, "does not have the hash"),
    "a policy that is not base64": ({"policy": "?"}, "wrong kind"),
    "a policy that is a number": ({"policy": 7}, "wrong kind"),
    "an officer's key that is short": ({"officer_key": base64.b64encode(bytes(31)).decode()}, "has 31 bytes, not 32"),
    "agents that are numbers": ({"agents": [1]}, "wrong kind"),
    "grants that are numbers": ({"grants": [1]}, "wrong kind"),
    "agents that are none": ({"agents": None}, "wrong kind"),
    "a grant without an end": ({"grants": [{**VECTOR["json"]["grants"][0], "expires_at": None}]}, "`expires_at`"),
}


@pytest.mark.parametrize("phrase", WRONG)
def test_a_broken_view_is_refused_and_told_why(phrase: str) -> None:
    change, sentence = WRONG[phrase]
    with pytest.raises(MalformedPacket, match=sentence):
        view_from_json(changed(**change))


@pytest.mark.parametrize("key", ["version", "policy", "policy_hash", "agents", "grants", "officer_key"])
def test_a_view_with_a_field_missing_is_refused(key: str) -> None:
    with pytest.raises(MalformedPacket):
        view_from_json({name: value for name, value in VECTOR["json"].items() if name != key})


def test_a_view_with_more_agents_than_a_frame_holds_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(view_module, "MAX_AGENTS", 0)
    with pytest.raises(MalformedPacket, match="agents, at most 0"):
        view_from_json(VECTOR["json"])


def test_a_view_with_a_broken_policy_is_the_operators_fault() -> None:
    with pytest.raises(ConfigError, match="policy: "):
        view_from_json(changed(policy=base64.b64encode(b"x = 1").decode()))


@given(
    st.sampled_from(sorted(VECTOR["json"])),
    st.one_of(st.none(), st.integers(), st.floats(), st.text(max_size=5), st.lists(st.integers()), st.just({"a": [1]})),
)
def test_any_value_in_any_field_is_a_view_or_an_error_of_ours(key: str, value: Any) -> None:
    try:
        view = view_from_json(changed(**{key: value}))
    except MitschnittError as error:
        told = str(error)
    else:
        told = ""
        assert view.policy.hash == VECTOR["json"]["policy_hash"]
    assert not told or told.startswith(("view: ", "policy: ", "agents: "))


# -- agents and their addresses --------------------------------------------------------------------

EXACT = Agent("a", "", "", ("sip:a@centre.example.org",))
ANY_REST = Agent("b", "", "", ("sip:b@*", "tel:+4930555*"))


@pytest.mark.parametrize(
    "agent, aor, matches",
    [
        (EXACT, "sip:a@centre.example.org", True),
        (EXACT, "sip:a@centre.example.org.evil.example", False),
        (EXACT, "sip:aa@centre.example.org", False),
        (EXACT, "", False),
        (ANY_REST, "sip:b@anywhere.example", True),
        (ANY_REST, "tel:+493055512", True),
        (ANY_REST, "sip:bb@anywhere.example", False),
    ],
)
def test_an_address_matches_exactly_or_by_a_final_star(agent: Agent, aor: str, matches: bool) -> None:
    assert agent.matches(aor) is matches


def test_all_agents_that_match_are_named_so_that_two_are_no_binding() -> None:
    twins = [*VECTOR["json"]["agents"], {**VECTOR["json"]["agents"][0], "id": "twin"}]
    view = view_from_json(changed(agents=twins, caps={}))
    aor = VECTOR["json"]["agents"][0]["patterns"][0]
    assert [agent.id for agent in view.agents_at(aor)] == [VECTOR["says"]["agents"][0], "twin"]
    assert view.agents_at("sip:nobody@elsewhere.example.org") == ()


def test_an_agent_of_the_file_carries_a_key_and_the_view_does_not() -> None:
    agent = agent_from_json({"id": "a", "patterns": ["sip:a@b"], "key": "a2V5"})
    assert agent.key == "a2V5"
    assert all("key" not in line for line in VECTOR["json"]["agents"])


WRONG_AGENTS: dict[str, tuple[dict[str, Any], str]] = {
    "no id": ({"id": None}, "`id` must be lower-case"),
    "an id in capitals": ({"id": "Jens"}, "`id` must be lower-case"),
    "an id that climbs": ({"id": "../x"}, "`id` must be lower-case"),
    "no patterns": ({"patterns": []}, "needs `patterns`"),
    "patterns as text": ({"patterns": "sip:a@b"}, "needs `patterns`"),
    "a pattern that is nearly everybody": ({"patterns": ["*"]}, "needs `patterns`"),
    "a pattern of endless length": ({"patterns": ["x" * 201]}, "needs `patterns`"),
    "a star in the middle": ({"patterns": ["sip:*@centre.example.org"]}, r"\* may only end a pattern"),
    "a day that is none": ({"started": "2026-02-30"}, "`started` must be a day such as 2026-11-26"),
    "a day in another order": ({"started": "26.11.2026"}, "`started` must be a day"),
    "a day without dashes": ({"started": "20261126"}, "`started` must be a day"),
    "a time of day": ({"started": datetime(2026, 11, 26, 9, tzinfo=UTC)}, "`started` must be a day"),
    "a number of days": ({"started": 3}, "`started` must be a day"),
    "a day before anybody worked": ({"started": "0001-01-01"}, "from 1950 to 2199; found '0001-01-01'"),
    "a day after everybody did": ({"started": "2200-01-01"}, "from 1950 to 2199"),
    "a team that is a number": ({"team": 7}, "`team` must be a text"),
    "a team without end": ({"team": "x" * 201}, "`team` must be a text of at most 200"),
    "a key that is a number": ({"key": 7}, "`key` must be a text"),
    "a key that nobody knows": ({"consent": True}, "unknown key `consent`"),
}


@pytest.mark.parametrize("phrase", WRONG_AGENTS)
def test_a_broken_agent_is_refused_and_told_why(phrase: str) -> None:
    change, sentence = WRONG_AGENTS[phrase]
    with pytest.raises(ConfigError, match=sentence):
        agent_from_json({"id": JENS.id, "patterns": list(JENS.patterns), **change})


@pytest.mark.parametrize("started", ["1987-04-01", "2030-01-01", date(2026, 11, 26), ""])
def test_a_start_is_a_day_in_quotes_or_without_or_not_said(started: str | date) -> None:
    found = agent_from_json({"id": "a", "patterns": ["sip:a@b"], "started": started})
    assert found.started == str(started)
    assert agent_from_json({"id": "a", "patterns": ["sip:a@b"]}).started == ""


def test_the_policy_of_a_view_is_the_one_that_its_text_says() -> None:
    assert view_with().policy == POLICY
