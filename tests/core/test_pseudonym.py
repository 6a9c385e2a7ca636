"""Pseudonyms: fresh in every call, said aloud without mistakes, and nobody's without the key."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialogue import view_with
from mitschnitt.core.call import CALL_ID_BYTES, encode_call_id
from mitschnitt.core.consent import Role
from mitschnitt.core.gate import Party
from mitschnitt.core.pseudonym import KEY_BYTES, SPEAKABLE, names_of, pseudonym
from mitschnitt.errors import MalformedPacket

VECTORS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parent.parent / "vectors" / "pseudonym" / "names.json").read_text(encoding="utf-8")
)
KEY = bytes(range(KEY_BYTES))
CALL = encode_call_id(bytes(CALL_ID_BYTES))
CALLS = st.binary(min_size=CALL_ID_BYTES, max_size=CALL_ID_BYTES).map(encode_call_id)
KEYS = st.binary(min_size=KEY_BYTES, max_size=KEY_BYTES)
AGENTS = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,20}", fullmatch=True)


@pytest.mark.parametrize("case", VECTORS, ids=lambda case: case["name"])
def test_known_names(case: dict[str, Any]) -> None:
    assert pseudonym(bytes.fromhex(case["key"]), case["call"], case["agent"]) == case["name"]


@given(KEYS, CALLS, AGENTS)
def test_a_name_is_the_same_whenever_it_is_asked_for_and_can_be_said_aloud(key: bytes, call: str, agent: str) -> None:
    name = pseudonym(key, call, agent)
    assert SPEAKABLE.fullmatch(name)
    assert pseudonym(key, call, agent) == name


def test_who_hears_a_thousand_calls_of_one_agent_meets_a_thousand_names() -> None:
    calls = [encode_call_id(number.to_bytes(CALL_ID_BYTES, "big")) for number in range(1_000)]
    assert len({pseudonym(KEY, call, "jens.albers") for call in calls}) == len(calls)


@pytest.mark.thorough
@given(KEYS, st.lists(CALLS, min_size=2, max_size=20, unique=True), AGENTS, AGENTS)
def test_names_say_neither_whether_two_calls_are_of_one_agent_nor_whether_of_two(
    key: bytes, calls: list[str], one: str, other: str
) -> None:
    same = [pseudonym(key, call, one) for call in calls]
    mixed = [pseudonym(key, call, one if place % 2 else other) for place, call in enumerate(calls)]
    # Whatever the casting, what is seen is the same: as many names as calls, each of them seen once.
    assert len(set(same)) == len(set(mixed)) == len(calls)


@given(KEYS, KEYS, CALLS, AGENTS)
def test_another_key_makes_another_name(one: bytes, other: bytes, call: str, agent: str) -> None:
    assert (pseudonym(one, call, agent) == pseudonym(other, call, agent)) is (one == other)


def test_agents_have_names_and_others_have_none() -> None:
    caller, agent = Party("caller", Role.CALLER, 0), Party("agent", Role.AGENT, 1, "anna")
    view = replace(view_with(), pseudonym_key=KEY)
    assert names_of(view, CALL, (caller, agent, Party("third-1", Role.THIRD, 2))) == {1: pseudonym(KEY, CALL, "anna")}
    assert names_of(view_with(), CALL, (agent,)) == names_of(None, CALL, (agent,)) == {}


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_key_of_another_length_makes_no_name(length: int) -> None:
    with pytest.raises(ValueError, match="has 32 bytes"):
        pseudonym(bytes(length), CALL, "a")


@pytest.mark.parametrize("call", ["", "0" * 25, "0" * 26 + "|a", "O" * 26])
def test_what_is_no_call_has_no_name_in_it(call: str) -> None:
    with pytest.raises(MalformedPacket):
        pseudonym(KEY, call, "a")
