"""Further purposes as a journal tells them: nothing strange counts, and the shortest period wins."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.test_purposes import POLICY
from dialogue import POLICY as ONE_PURPOSE
from mitschnitt.core.purpose import DISPUTE
from mitschnitt.keeper.purposes import due_of, purposes_in

KEPT_AT = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


def test_what_the_policy_names_is_taken_once() -> None:
    assert purposes_in({"also": ["dispute", "dispute"]}, POLICY) == (DISPUTE,)


@pytest.mark.parametrize(
    "told", [None, "dispute", {"dispute": 1}, [], ["training"], ["obligation", "accountability", "fun", "", 7, None]]
)
def test_what_nobody_can_have_agreed_to_is_left_out(told: Any) -> None:
    assert purposes_in({"also": told}, POLICY) == ()
    assert purposes_in({}, POLICY) == ()
    assert purposes_in({"also": ["dispute"]}, ONE_PURPOSE) == ()


VALUES = st.recursive(st.none() | st.integers() | st.text(max_size=9), st.lists, max_leaves=9)


@given(VALUES)
def test_any_value_is_a_purpose_of_the_policy_or_none(told: Any) -> None:
    assert set(purposes_in({"also": told}, POLICY)) <= {DISPUTE}


def test_of_two_purposes_the_shorter_period_wins() -> None:
    assert due_of(POLICY, (), KEPT_AT) == KEPT_AT + timedelta(days=30)
    assert due_of(POLICY, (DISPUTE,), KEPT_AT) == KEPT_AT + timedelta(days=10)
