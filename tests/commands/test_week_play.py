"""What is played in the scene `week`: each call once, and the same week every time."""

from __future__ import annotations

from collections import Counter

from commands.week_stage import SHORT, short_week
from mitschnitt.commands.week_play import CALLS, moments, plan
from mitschnitt.commands.week_site import agent_names


def test_a_call_follows_from_its_number_alone() -> None:
    assert [plan(number) for number in range(50)] == [plan(number) for number in range(50)]
    whole = [plan(number) for number in range(CALLS)]
    assert {item.agent for item in whole} == set(agent_names())
    assert set(Counter(item.caller for item in whole)) == {"yes", "no", "silent", "withdraws", "unclear"}
    assert {item.named for item in whole} == {True, False}


def test_every_call_comes_once_and_time_goes_forward() -> None:
    site = short_week().week.site
    for calls in (SHORT, CALLS):
        found = list(moments(site, calls))
        assert sorted(number for _, batch in found for number in batch) == list(range(calls))
        times = [at for at, _ in found]
        assert times == sorted(times)
        assert site.local(site.monday, 0) <= times[0]


def test_every_call_that_was_played_is_over_and_listed() -> None:
    seen = short_week()
    assert len(seen.week.played) == SHORT
    assert {item.call_id for item in seen.week.played} == set(seen.states)
    assert set(seen.states.values()) == {"kept", "not_kept"}
    assert len({item.receipt for item in seen.week.played}) == SHORT
