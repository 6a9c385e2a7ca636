"""Failures by group: an exact test that alarms for one unlucky agent, and nearly never for nobody."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitschnitt.proof.draw_failures import FALSE_ALARM, chance_of, failing
from second.draw_check import chance

AGENTS, DRAWS = 30, 40  # three quarters of a year's cap of one draw a week, say
WEEKS = 2_000


@given(st.integers(1, 60), st.integers(0, 60), st.integers(0, 60), st.data())
def test_the_chance_is_that_of_counting_all_ways(drawn: int, more: int, failures: int, data: st.DataObject) -> None:
    everybody = drawn + more
    all_failed = min(failures, everybody)
    failed = data.draw(st.integers(max(0, drawn + all_failed - everybody), min(drawn, all_failed)))
    exact = float(chance(failed, drawn, all_failed, everybody))
    assert chance_of(failed, drawn, all_failed, everybody) == pytest.approx(exact, rel=1e-6)


def test_impossible_and_certain_counts_have_the_chances_0_and_1() -> None:
    assert chance_of(0, 10, 5, 100) == 1.0
    assert chance_of(6, 10, 5, 100) == 0.0
    assert chance_of(5, 10, 10, 10) == 1.0


def test_millions_of_draws_do_not_lose_the_digits() -> None:
    # With so many draws the hypergeometric is close to Poisson's, whose mean is 10.
    poisson = sum(math.exp(-10) * 10**count / math.factorial(count) for count in range(30, 80))
    assert chance_of(30, 10_000, 10_000, 10_000_000) == pytest.approx(poisson, rel=0.05)


def week(seed: int, rates: list[float]) -> dict[str, tuple[int, int]]:
    """A simulated week: agent a's calls fail at rates[a]. The same seed, the same week."""
    dice = bits(seed)
    return {
        f"agent {number}": (sum(next(dice) < rate for _ in range(DRAWS)), DRAWS) for number, rate in enumerate(rates)
    }


def bits(seed: int) -> Iterator[float]:
    block = 0
    while True:
        data = hashlib.sha256(f"{seed}|{block}".encode()).digest()
        yield from (int.from_bytes(data[at : at + 4], "big") / 2**32 for at in range(0, 32, 4))
        block += 1


def test_thirty_per_cent_on_one_agent_alarm_and_name_nobody_else() -> None:
    rates = [0.02] * (AGENTS - 1) + [0.3]
    found = [[group.group for group in failing(week(seed, rates), AGENTS)] for seed in range(200)]
    assert sum(names == [f"agent {AGENTS - 1}"] for names in found) >= 190


@pytest.mark.thorough
@pytest.mark.parametrize("rate", [0.01, 0.05, 0.2])
def test_where_failures_are_chance_fewer_than_one_week_in_a_hundred_alarms(rate: float) -> None:
    alarms = sum(bool(failing(week(seed, [rate] * AGENTS), AGENTS)) for seed in range(WEEKS))
    print(f"failures at {rate:.0%}: {alarms} of {WEEKS} weeks alarm without a reason")
    assert alarms / WEEKS < FALSE_ALARM


def test_an_agent_who_fails_less_than_others_is_no_alarm() -> None:
    assert failing({"a": (0, 1000), "b": (100, 200)}, 2)[0].group == "b"
    assert [group.group for group in failing({"a": (0, 1000), "b": (100, 200)}, 2)] == ["b"]


def test_nothing_drawn_and_nothing_failed_are_no_alarm() -> None:
    assert failing({}, 0) == []
    assert failing({"a": (0, 0), "b": (0, 10)}, 2) == []
