"""Views, their age and the clock, as calls see them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from mitschnitt.core.gate import VIEW_TOO_OLD_FOR_GRANTS, VIEW_TOO_OLD_FOR_KEEPING
from mitschnitt.core.policy_text import parse_policy
from mitschnitt.core.view import View
from mitschnitt.errors import MitschnittError
from mitschnitt.recorder.clock import SteadyClock
from mitschnitt.recorder.outlook import STORE_LOCKED, Outlook
from world import POLICY_TEXT

VIEW = View(1, parse_policy(POLICY_TEXT), POLICY_TEXT, (), (), bytes(32))


class Hands:
    """The monotonic clock in the test's hands; the wall clock runs with it."""

    def __init__(self) -> None:
        self.seconds = 1_000.0
        self.wall_extra = 0.0

    def monotonic(self) -> float:
        return self.seconds

    def outlook(self) -> Outlook:
        clock = SteadyClock(
            lambda: int((1.79e9 + self.seconds + self.wall_extra) * 1e9), lambda: int(self.seconds * 1e9)
        )
        return Outlook(clock, self.monotonic)


def test_without_a_view_there_is_none_to_judge_by() -> None:
    assert Hands().outlook().surroundings().view is None


def test_a_view_is_new_by_what_it_says_and_young_again_by_each_frame() -> None:
    hands = Hands()
    outlook = hands.outlook()
    assert outlook.take(VIEW.to_json())
    hands.seconds += 10
    assert outlook.surroundings().view_age == timedelta(seconds=10)
    assert not outlook.take(VIEW.to_json())
    assert outlook.surroundings().view_age == timedelta(0)


@pytest.mark.parametrize("rule", ["policy.none", "policy.changed", "clock.back"])
def test_a_keeper_whose_policy_is_not_in_order_asks_nobody_new(rule: str) -> None:
    outlook = Hands().outlook()
    assert outlook.take({**VIEW.to_json(), "closed": rule})
    assert outlook.surroundings().hindrance == rule
    assert outlook.take({**VIEW.to_json(), "closed": rule, "store_locked": True})
    assert outlook.surroundings().hindrance == STORE_LOCKED
    assert outlook.take({**VIEW.to_json(), "closed": ""})
    assert outlook.surroundings().hindrance == ""


def test_a_broken_view_is_not_believed() -> None:
    outlook = Hands().outlook()
    outlook.take(VIEW.to_json())
    with pytest.raises(MitschnittError):
        outlook.take({**VIEW.to_json(), "version": 2, "policy_hash": "0" * 64})
    view = outlook.surroundings().view
    assert view is not None
    assert view.version == 1


def test_calls_are_looked_at_again_when_the_view_grows_too_old() -> None:
    hands = Hands()
    outlook = hands.outlook()
    outlook.take(VIEW.to_json())
    assert not outlook.changed()
    for limit in (VIEW_TOO_OLD_FOR_GRANTS, VIEW_TOO_OLD_FOR_KEEPING):
        hands.seconds = 1_000 + limit.total_seconds() + 0.5
        assert outlook.changed()
        assert not outlook.changed()


def test_calls_are_looked_at_again_when_the_clock_jumps() -> None:
    hands = Hands()
    outlook = hands.outlook()
    outlook.take(VIEW.to_json())
    hands.wall_extra = 3_600
    assert outlook.changed()
    assert not outlook.surroundings().clock_steady


def test_row_1_and_2_what_would_keep_nothing_is_told_to_all_calls_at_once_and_when_it_is_over() -> None:
    hands, full = Hands(), [""]
    clock = hands.outlook()._clock
    outlook = Outlook(clock, hands.monotonic, hindrance=lambda: full[0])
    outlook.take(VIEW.to_json())
    assert not outlook.changed()
    full[0] = "vault.no_space"
    assert outlook.surroundings().hindrance == "vault.no_space"
    assert outlook.changed()
    full[0] = ""
    assert outlook.changed()
    assert outlook.take({**VIEW.to_json(), "store_locked": True}), "a lock is news although the view is the same"
    assert outlook.surroundings().hindrance == STORE_LOCKED
    assert outlook.take(VIEW.to_json())
    assert outlook.surroundings().hindrance == ""
