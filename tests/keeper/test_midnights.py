"""Days by local time where clocks change at midnight: they tile the time line, and every part has the same ones.

2025 to 2028, in zones where 00:00 is missing or comes twice, the hour before it is missing or comes twice, and where
clocks change elsewhere in the night. What is expected is reckoned from UTC alone, to the second.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keeper.days_on_disk import CHAIN, OTHER_POLICY, POLICY, round_of, site
from keeper.drawn_week import Site as ListSite
from keeper.signed_site import FIRST, SIGNERS, directory_of, force, propose
from mitschnitt.core.beacon import COMMIT, DRAND, NONE, ROLES
from mitschnitt.core.draw import undrawable
from mitschnitt.core.durations import Duration
from mitschnitt.core.periods import Period, month_of, parse_period
from mitschnitt.core.policy import Policy
from mitschnitt.core.policy_life import Activation
from mitschnitt.core.policy_text import parse_policy
from mitschnitt.errors import NotAllowed
from mitschnitt.keeper.cells import SETTLED
from mitschnitt.keeper.days import ROUND_BEFORE
from mitschnitt.keeper.draw_lists import LONGEST_WAIT
from mitschnitt.keeper.policies import Policies
from mitschnitt.keeper.policy_files import begin_of, earliest_begin, today_of, zone_of
from mitschnitt.keeper.policy_watch import PolicyWatch
from mitschnitt.keeper.time_watch import TimeWatch
from second.draw_lists import empty_day

TICK, MINUTE, HOUR, DAY = timedelta(microseconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
FIRST_DAY, LAST_DAY = date(2025, 1, 1), date(2028, 12, 31)
ZONES = (
    "America/Santiago",
    "Africa/Cairo",
    "Asia/Beirut",
    "America/Havana",
    "America/Nuuk",
    "Atlantic/Azores",
    "Europe/Berlin",
    "Australia/Lord_Howe",
    "Pacific/Chatham",
    "Pacific/Kiritimati",
    "Pacific/Pago_Pago",
)


def policy_in(zone: str) -> Policy:
    return parse_policy(text_in(zone))


def text_in(zone: str) -> bytes:
    return FIRST.replace(b"Europe/Berlin", zone.encode())


def all_days() -> Iterator[date]:
    day = FIRST_DAY
    while day <= LAST_DAY:
        yield day
        day += DAY


def date_at(zone: str, at: datetime) -> date:
    """Which day it is, from UTC and the offset that holds at this moment."""
    offset = at.astimezone(ZoneInfo(zone)).utcoffset()
    assert offset is not None
    return (at.replace(tzinfo=None) + offset).date()


def begin(zone: str, day: date) -> datetime:
    """The first second of a day, found by halving: nothing here asks for a local midnight."""
    low = datetime(day.year, day.month, day.day, tzinfo=UTC) - 15 * HOUR
    high = low + 30 * HOUR
    while high - low > timedelta(seconds=1):
        middle = (low + (high - low) / 2).replace(microsecond=0)
        low, high = (low, middle) if date_at(zone, middle) >= day else (middle, high)
    return high


def odd_days(zone: str) -> list[date]:
    """Days that are not 24 hours long."""
    return [day for day in all_days() if changes(zone, day) and begin(zone, day + DAY) - begin(zone, day) != DAY]


def changes(zone: str, day: date) -> bool:
    """Whether clocks change near this day; spares the search for most of them."""
    noon = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    return (noon - 30 * HOUR).astimezone(ZoneInfo(zone)).utcoffset() != (
        (noon + 36 * HOUR).astimezone(ZoneInfo(zone)).utcoffset()
    )


# Of each zone a day that is longer and one that is shorter; whole sites are taken through these.
NIGHTS = [(zone, day) for zone in ZONES[:5] + ZONES[6:8] for day in odd_days(zone)[:2]]


def test_the_zones_have_the_midnights_that_are_meant() -> None:
    """Were the zone tables of this machine older, nothing below would show anything."""
    for zone in ("America/Santiago", "Africa/Cairo", "Asia/Beirut", "America/Havana"):
        lengths = {begin(zone, day + DAY) - begin(zone, day) for day in odd_days(zone)}
        assert lengths == {23 * HOUR, 25 * HOUR}, zone
    missing = datetime(2026, 9, 6, tzinfo=ZoneInfo("America/Santiago"))
    assert missing.astimezone(UTC).astimezone(missing.tzinfo).hour == 1
    twice = datetime(2026, 11, 1, tzinfo=ZoneInfo("America/Havana"))
    assert twice.replace(fold=1).utcoffset() != twice.utcoffset()


@pytest.mark.parametrize("zone", ZONES)
def test_days_tile_the_time_line(zone: str) -> None:
    policy = policy_in(zone)
    for day in all_days():
        begins = begin_of(policy, day)
        assert begins == begin(zone, day)
        assert (today_of(policy, begins - TICK), today_of(policy, begins)) == (day - DAY, day)
        assert begins >= earliest_begin(Activation(policy.hash, day))


@given(zone=st.sampled_from(ZONES), seconds=st.integers(0, 4 * 365 * 86_400))
def test_every_moment_is_in_the_one_day_that_has_begun_and_is_not_over(zone: str, seconds: int) -> None:
    policy, at = policy_in(zone), datetime(2025, 1, 1, 12, tzinfo=UTC) + timedelta(seconds=seconds)
    day = today_of(policy, at)
    assert begin_of(policy, day) <= at < begin_of(policy, day + DAY)


@pytest.mark.parametrize("zone", ZONES)
def test_a_month_is_over_when_the_next_one_begins(zone: str) -> None:
    for day in all_days():
        if day.day == 1:
            before = parse_period(month_of(day - DAY))
            begins = begin(zone, day)
            assert [before.over(at.astimezone(ZoneInfo(zone))) for at in (begins - TICK, begins)] == [False, True]
            assert settled(before, zone, begins + SETTLED - 2 * HOUR) is False
            assert settled(before, zone, begins + SETTLED + 2 * HOUR) is True


def settled(month: Period, zone: str, at: datetime) -> bool:
    """As figures ask: a day later, by the clock on the wall."""
    return month.over(at.astimezone(ZoneInfo(zone)) - SETTLED)


# -- policies ------------------------------------------------------------------------------------------


@pytest.mark.thorough
@pytest.mark.parametrize("zone, day", NIGHTS)
@pytest.mark.parametrize("after", [0, 1])
def test_a_policy_changes_at_the_first_moment_of_its_day(tmp_path: Path, zone: str, day: date, after: int) -> None:
    directory, first = directory_of(tmp_path), day + after * DAY
    begins = begin(zone, first)
    signed = begins - 30 * DAY
    old = propose(directory, text_in(zone), *SIGNERS, at=signed)
    new = propose(directory, text_in(zone).replace(b"P30D", b"P14D"), *SIGNERS, at=signed)
    force(directory, (old, first - 9 * DAY), (new, first))
    policies = Policies(directory)
    assert policies.in_force(begins - TICK).policy == old
    assert policies.in_force(begins).policy == new
    rules = PolicyWatch(policies, directory, now=begins - 3 * HOUR, clock=TimeWatch(None, lambda: 0.0))
    rules.clock = Trusted()
    changes = []
    for minute in range(-180, 180, 5):
        at = begins + minute * MINUTE
        if rules.look(at):
            changes.append(at)
        planned = policies.on(today_of(rules.current.policy, at))
        assert planned == rules.current.policy
    assert changes == [begins]


class Trusted(TimeWatch):
    def __init__(self) -> None:
        super().__init__(None, lambda: 0.0)

    def look(self, now: datetime) -> str:
        return ""


# -- days of the draw ----------------------------------------------------------------------------------


@pytest.mark.thorough
@pytest.mark.parametrize("zone, day", NIGHTS)
def test_each_day_opens_once_and_no_moment_is_drawn_on_another_day(tmp_path: Path, zone: str, day: date) -> None:
    opened: list[str] = []
    drawn: list[str] = []
    with site(tmp_path, beacon=NONE, zone=ZoneInfo(zone), now=begin(zone, day) - 5 * HOUR) as here:
        while here.now < begin(zone, day + DAY) + 2 * HOUR:
            opened += here.days.look_ahead(here.now)
            for at in (here.now, here.now + TICK):
                found, local = here.days.today(at), date_at(zone, at)
                assert found is not None
                assert found.day == str(local)
                assert undrawable(found, local_day=str(local), policy_hash=POLICY) == ""
                assert undrawable(found, local_day=str(local + DAY), policy_hash=POLICY) != ""
                drawn.append(found.day)
            here.wait(20 * MINUTE)
        assert len(opened) == len(set(opened))
        assert [*dict.fromkeys(drawn)] == sorted(set(drawn))  # none comes back once it is over


@pytest.mark.thorough
@pytest.mark.parametrize("zone, day", NIGHTS)
def test_values_are_taken_until_the_day_begins_and_never_after(tmp_path: Path, zone: str, day: date) -> None:
    begins = begin(zone, day)
    with site(tmp_path, beacon=COMMIT, zone=ZoneInfo(zone), now=begins - 30 * HOUR) as here:
        here.all_commit(day)
        for role in ROLES[:2]:
            here.reveal(day, role)
        here.wait(begins - TICK - here.now)
        assert str(day) in {row.day for row in here.days.standing(here.now)}
        before = here.everything()
        here.wait(TICK)
        with pytest.raises(NotAllowed, match=r"draw\.beacon\.late"):
            here.reveal(day, ROLES[2])
        here.wait(-TICK)
        assert here.everything() == before
        here.reveal(day, ROLES[2])
        here.wait(TICK)
        found = here.days.today(here.now)
        assert found is not None
        assert found.beacon is not None


@pytest.mark.thorough
@pytest.mark.parametrize("zone, day", NIGHTS)
def test_the_round_of_a_day_comes_an_hour_before_it_begins(tmp_path: Path, zone: str, day: date) -> None:
    begins = begin(zone, day)
    with site(tmp_path, beacon=DRAND, zone=ZoneInfo(zone), now=begins - 30 * HOUR) as here:
        here.days.look_ahead(here.now)
        number = CHAIN.first_round(begins - ROUND_BEFORE)
        here.wait(CHAIN.time_of(number) - MINUTE - here.now)
        assert number not in here.days.awaited_rounds(here.now)
        here.wait(MINUTE)
        assert here.days.awaited_rounds(here.now) == [number]
        here.wait(begins - TICK - here.now)
        assert here.days.take_round(number, round_of(number), here.now) == [str(day)]
        here.wait(TICK)
        found = here.days.today(here.now)
        assert found is not None
        assert (found.day, found.beacon is not None) == (str(day), True)


def test_the_round_of_a_day_is_reckoned_in_the_time_zone_of_its_own_policy(tmp_path: Path) -> None:
    day, berlin = date(2026, 11, 27), "Europe/Berlin"
    zones = {day: "America/Santiago", day + DAY: "Asia/Beirut", day + 2 * DAY: berlin}
    with site(tmp_path, beacon=DRAND, zone=ZoneInfo(berlin), now=begin(berlin, day) - 12 * HOUR) as here:
        here.zones = {asked: ZoneInfo(zone) for asked, zone in zones.items()}
        for asked, zone in zones.items():
            here.days.open(asked, here.now)
            told = json.loads(here.record(asked))["beacon"]
            assert told["round"] == CHAIN.first_round(begin(zone, asked) - ROUND_BEFORE)


WEST_AND_EAST = [("Europe/Berlin", "America/Santiago"), ("Pacific/Kiritimati", "Pacific/Pago_Pago")]
WEST_AND_EAST += [(east, west) for west, east in WEST_AND_EAST] + [("Europe/Berlin", "Atlantic/Azores")]


@pytest.mark.parametrize("before, after", WEST_AND_EAST)
def test_the_first_day_of_a_policy_of_another_zone_takes_its_round_until_it_begins_there(
    tmp_path: Path, before: str, after: str
) -> None:
    """Farther west the old policy's midnight is over when the round is signed; farther east it is still to come."""
    day = date(2026, 11, 27)
    begins = begin(after, day)
    number = CHAIN.first_round(begins - ROUND_BEFORE)
    with site(tmp_path, beacon=DRAND, zone=ZoneInfo(before), now=begins - 30 * HOUR) as here:
        here.zones = {day: ZoneInfo(after)}
        here.days.look_ahead(here.now)
        here.wait(begins - ROUND_BEFORE + MINUTE - here.now)
        assert number in here.days.awaited_rounds(here.now)
        here.wait(begins - here.now)
        assert number not in here.days.awaited_rounds(here.now)
        with pytest.raises(NotAllowed, match=r"draw\.beacon\.late"):
            here.days.take_round(number, round_of(number), here.now)
        here.wait(-TICK)
        assert here.days.take_round(number, round_of(number), here.now) == [str(day)]
        here.wait(TICK)
        here.zone = ZoneInfo(after)
        here.days.look_ahead(here.now)
        found = here.days.today(here.now)
        assert found is not None
        assert (found.day, found.beacon is not None) == (str(day), True)


@pytest.mark.parametrize("before, after", WEST_AND_EAST)
def test_the_first_day_of_a_policy_of_another_zone_takes_values_until_it_begins_there(
    tmp_path: Path, before: str, after: str
) -> None:
    day = date(2026, 11, 27)
    begins = begin(after, day)
    with site(tmp_path, beacon=COMMIT, zone=ZoneInfo(before), now=begins - 50 * HOUR) as here:
        here.zones = {day: ZoneInfo(after)}
        here.all_commit(day)
        here.reveal(day, ROLES[0])
        here.wait(begins - here.now)
        with pytest.raises(NotAllowed, match=r"draw\.beacon\.late"):
            here.reveal(day, ROLES[1])
        here.wait(-TICK)
        here.reveal(day, ROLES[1])


def test_a_day_of_a_policy_that_another_replaced_begins_where_days_begin_now(tmp_path: Path) -> None:
    """Its record is fixed by a value; the zone of whoever came too late for it gives nobody more time."""
    day, berlin = date(2026, 11, 27), "Europe/Berlin"
    begins = begin(berlin, day)
    with site(tmp_path, beacon=COMMIT, zone=ZoneInfo(berlin), now=begins - 30 * HOUR) as here:
        here.all_commit(day)
        here.reveal(day, ROLES[0])
        here.policies[day], here.zones = OTHER_POLICY, {day: ZoneInfo("America/Santiago")}
        here.days.look_ahead(here.now)
        here.wait(begins - here.now)
        with pytest.raises(NotAllowed, match=r"draw\.beacon\.late"):
            here.reveal(day, ROLES[1])


# -- lists, retention ----------------------------------------------------------------------------------


@pytest.mark.thorough
@pytest.mark.parametrize("zone, day", NIGHTS)
@pytest.mark.parametrize("shift", [-1, 0])
def test_a_list_comes_when_the_day_is_over_and_at_the_latest_24_hours_later(
    tmp_path: Path, zone: str, day: date, shift: int
) -> None:
    listed = day + shift * DAY
    here, ended = ListSite(tmp_path, [empty_day(listed)]), begin(zone, listed + DAY)
    local = ZoneInfo(zone)
    assert here.lists.due((ended - TICK).astimezone(local)) == []
    assert [row.day for row in here.lists.due(ended.astimezone(local))] == [str(listed)]
    here.settled = False
    assert here.lists.due((ended + LONGEST_WAIT - TICK).astimezone(local)) == []
    assert [row.day for row in here.lists.due((ended + LONGEST_WAIT).astimezone(local))] == [str(listed)]
    here.close()


@given(zone=st.sampled_from(ZONES), seconds=st.integers(0, 3 * 365 * 86_400), days=st.integers(1, 400))
def test_what_is_kept_is_kept_for_whole_days_whatever_clocks_do(zone: str, seconds: int, days: int) -> None:
    kept = datetime(2025, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    due = Duration(days=days).after(kept)
    assert due - kept == days * DAY
    assert Duration(days=days).after(kept.astimezone(ZoneInfo(zone))) == due


def test_every_zone_is_one_that_a_policy_may_name() -> None:
    assert [str(zone_of(policy_in(zone))) for zone in ZONES] == list(ZONES)
