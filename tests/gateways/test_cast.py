"""The simulated centre's people are the tests' people, and their numbers belong to nobody."""

from __future__ import annotations

import re

import world
from mitschnitt.gateways import cast


def test_the_first_caller_and_the_agents_are_those_of_the_tests() -> None:
    assert (cast.caller(0).name, cast.caller(0).aor) == (world.CALLER.name, world.CALLER.aor)
    assert cast.agent(0).aor == world.AGENT_WITH_GRANT.aor
    assert cast.AGENT_WITHOUT_GRANT.aor == world.AGENT_WITHOUT_GRANT.aor
    assert cast.AGENT_EXPIRED_GRANT.aor == world.AGENT_EXPIRED_GRANT.aor


def test_ninety_callers_have_ninety_names_and_numbers() -> None:
    callers = [cast.caller(number) for number in range(90)]
    assert len({caller.name for caller in callers}) == 90
    assert len({caller.aor for caller in callers}) == 90


def test_numbers_stay_in_the_range_that_nobody_is_given() -> None:
    found = [cast.caller(number).aor for number in (0, 899, 900, 12_345)]
    assert all(re.fullmatch(r"sip:\+49305550[1-9]\d\d@carrier.example.org;user=phone", aor) for aor in found)


def test_agents_without_a_grant_are_none_of_those_with_one() -> None:
    assert cast.AGENT_WITHOUT_GRANT not in cast.AGENTS_WITH_GRANT
    assert cast.AGENT_EXPIRED_GRANT not in cast.AGENTS_WITH_GRANT
    assert cast.THIRD.aor not in {cast.caller(number).aor for number in range(900)}
