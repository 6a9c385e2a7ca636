"""The cast is complete, and nobody in it could exist."""

from __future__ import annotations

import re

import world


def test_every_role_is_cast() -> None:
    assert {person.role for person in world.EVERYBODY} == set(world.Role)


def test_names_and_addresses_are_told_apart_by_one_search() -> None:
    assert len({person.name for person in world.EVERYBODY}) == len(world.EVERYBODY)
    assert len({person.aor for person in world.EVERYBODY}) == len(world.EVERYBODY)


def test_addresses_and_numbers_belong_to_nobody() -> None:
    assert all(re.fullmatch(r"sip:[^@]+@[a-z]+\.example\.org(;user=phone)?", p.aor) for p in world.EVERYBODY)
    numbers = (world.CLARA_NUMBER, world.THIRD_NUMBER)
    assert all(re.fullmatch(r"\+49305550\d{3}", number.e164) for number in numbers)


def test_there_is_an_agent_with_without_and_with_an_expired_grant() -> None:
    assert {person.role for person in world.AGENTS} == {world.Role.AGENT}
    assert len(world.AGENTS) == 3
