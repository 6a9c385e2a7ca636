"""Days of the draw in their order, and out of it: what is refused, and that nothing is changed by it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from itertools import permutations
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keeper.days_on_disk import (
    CHAIN,
    OTHER_POLICY,
    POLICY,
    SECRET,
    TODAY,
    TOMORROW,
    Site,
    commitment,
    round_of,
    site,
    told,
    value_of,
)
from mitschnitt.core.beacon import COMMIT, DRAND, NO_BEACON, NONE, ROLES
from mitschnitt.core.draw import day_key
from mitschnitt.errors import NotAllowed
from mitschnitt.keeper.days import AHEAD_DAYS, COMMITTED_DAYS
from mitschnitt.proof.drand import QUICKNET
from mitschnitt.store import day_queries

NEXT_WEEK = TODAY + timedelta(days=5)


def refused(work: Callable[[], object]) -> str:
    with pytest.raises(NotAllowed) as info:
        work()
    return info.value.rule


def refused_and_nothing_changed(here: Site, work: Callable[[], object]) -> str:
    before = here.everything()
    rule = refused(work)
    assert here.everything() == before
    return rule


# -- a day that everybody is drawn on ---------------------------------------------------------------


def test_a_day_on_which_all_are_drawn_needs_nobody(tmp_path: Path) -> None:
    with site(tmp_path, beacon=NONE) as here:
        assert here.days.today(here.now) is None
        assert here.days.look_ahead(here.now)[0] == "2026-11-26"
        day = here.days.today(here.now)
        assert day is not None
        assert (day.day, day.policy_hash, day.beacon) == ("2026-11-26", POLICY, NO_BEACON)
        assert day.day_key == day_key(SECRET, "2026-11-26")


def test_days_are_opened_a_week_ahead_and_only_once(tmp_path: Path) -> None:
    with site(tmp_path, beacon=NONE) as here:
        assert len(here.days.look_ahead(here.now)) == AHEAD_DAYS + 1
        assert here.days.look_ahead(here.now) == []
        here.wait(timedelta(days=1))
        assert here.days.look_ahead(here.now) == ["2026-12-04"]


def test_a_day_begins_at_midnight_of_the_policys_zone(tmp_path: Path) -> None:
    with site(tmp_path, beacon=NONE, now=datetime(2026, 11, 26, 22, 59, 59, tzinfo=UTC)) as here:
        here.days.look_ahead(here.now)
        day = here.days.today(here.now)
        assert day is not None
        assert day.day == "2026-11-26"
        here.wait(timedelta(seconds=1))
        following = here.days.today(here.now)
        assert following is not None
        assert following.day == "2026-11-27"


def test_a_day_without_a_policy_is_none(tmp_path: Path) -> None:
    with site(tmp_path, beacon=NONE) as here:
        here.policies.clear()
        assert here.days.look_ahead(here.now) == []
        assert here.days.today(here.now) is None
        assert refused(lambda: here.days.open(TOMORROW, here.now)) == "draw.day.policy"


# -- values of three roles ----------------------------------------------------------------------------


@pytest.mark.parametrize("order", list(permutations(ROLES)), ids="-".join)
def test_when_all_have_told_their_values_the_next_day_draws(tmp_path: Path, order: tuple[str, ...]) -> None:
    with site(tmp_path) as here:
        here.all_commit(TOMORROW)
        for role in order:
            here.reveal(TOMORROW, role)
        here.wait_until(TOMORROW)
        day = here.days.today(here.now)
        assert day is not None
        values = b"".join(value_of(TOMORROW, role) for role in ("council", "officer", "operator"))
        assert day.beacon == hashlib.sha256(b"mitschnitt/v1/beacon/commit|2026-11-27|" + values).digest()
        assert here.start().today(here.now) is None, "until the first look"
        here.days.look_ahead(here.now)
        assert here.days.today(here.now) == day


@pytest.mark.parametrize("silent", ROLES)
def test_one_value_missing_and_nobody_is_asked(tmp_path: Path, silent: str) -> None:
    with site(tmp_path) as here:
        here.all_commit(TOMORROW)
        for role in ROLES:
            if role != silent:
                here.reveal(TOMORROW, role)
        here.wait_until(TOMORROW)
        day = here.days.today(here.now)
        assert day is not None
        assert day.beacon is None
        standing = here.days.standing(here.now)[0]
        assert (standing.missing, standing.rule) == ((f"value of {silent}",), "draw.beacon.missing")


@pytest.mark.parametrize("silent", ROLES)
def test_one_commitment_missing_and_the_day_is_not_opened(tmp_path: Path, silent: str) -> None:
    with site(tmp_path) as here:
        for role in ROLES:
            if role != silent:
                here.days.commit([commitment(TOMORROW, role)], here.now)
        assert here.row(TOMORROW) is None
        assert refused(lambda: here.days.open(TOMORROW, here.now)) == "draw.beacon.uncommitted"
        here.wait_until(TOMORROW)
        assert here.days.look_ahead(here.now) == []
        assert here.days.today(here.now) is None


def test_the_record_is_published_with_all_commitments_before_any_value_is_taken(tmp_path: Path) -> None:
    with site(tmp_path) as here:
        here.all_commit(TOMORROW)
        record = json.loads(here.record(TOMORROW))
        assert record["key_sha256"] == hashlib.sha256(day_key(SECRET, "2026-11-27")).hexdigest()
        assert record["beacon"]["commitments"] == {role: commitment(TOMORROW, role).commitment for role in ROLES}
        assert set(record["beacon"]["acts"]) == set(ROLES)
        assert (record["day"], record["policy_hash"], record["replaces"]) == ("2026-11-27", POLICY, None)
        assert not any(share.value for share in here.shares(TOMORROW))


def test_a_value_before_the_days_record_is_refused(tmp_path: Path) -> None:
    with site(tmp_path) as here:
        here.days.commit([commitment(TOMORROW, "council")], here.now)
        early = told(TOMORROW, "council", bytes(32))
        rule = refused_and_nothing_changed(here, lambda: here.days.reveal([(early, bytes(32))], here.now))
        assert rule == "draw.beacon.early"


def test_a_value_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    with site(tmp_path) as here:
        here.all_commit(TOMORROW)
        record = hashlib.sha256(here.record(TOMORROW)).digest()
        other = told(TOMORROW, "officer", record, value=bytes(32))
        rule = refused_and_nothing_changed(here, lambda: here.days.reveal([(other, record)], here.now))
        assert rule == "draw.beacon.commitment"
        fits = told(TOMORROW, "officer", bytes(32))
        rule = refused_and_nothing_changed(here, lambda: here.days.reveal([(fits, bytes(32))], here.now))
        assert rule == "draw.beacon.record"


def test_a_value_after_the_day_began_is_too_late(tmp_path: Path) -> None:
    with site(tmp_path) as here:
        here.all_commit(TOMORROW)
        here.wait_until(TOMORROW)
        rule = refused_and_nothing_changed(here, lambda: here.reveal(TOMORROW, "council"))
        assert rule == "draw.beacon.late"


def test_the_same_commitment_and_value_again_change_nothing(tmp_path: Path) -> None:
    with site(tmp_path) as here:
        here.all_commit(TOMORROW)
        for role in ROLES:
            here.reveal(TOMORROW, role)
        before = here.everything()
        here.all_commit(TOMORROW)
        for role in ROLES:
            here.reveal(TOMORROW, role)
        assert here.everything() == before


def test_a_second_other_commitment_is_refused(tmp_path: Path) -> None:
    with site(tmp_path) as here:
        here.days.commit([commitment(TOMORROW, "council")], here.now)
        other = commitment(TOMORROW, "council", value=bytes(32))
        rule = refused_and_nothing_changed(here, lambda: here.days.commit([other], here.now))
        assert rule == "draw.commit.second"


@pytest.mark.parametrize("ahead", [-1, 0, COMMITTED_DAYS + 1])
def test_commitments_are_for_days_to_come_and_not_for_years(tmp_path: Path, ahead: int) -> None:
    with site(tmp_path) as here:
        late = commitment(TODAY + timedelta(days=ahead), "council")
        rule = refused_and_nothing_changed(here, lambda: here.days.commit([late], here.now))
        assert rule == "draw.commit.day"


def test_nobody_but_the_three_roles_commits(tmp_path: Path) -> None:
    with site(tmp_path) as here:
        stranger = commitment(TOMORROW, "coach")
        assert refused_and_nothing_changed(here, lambda: here.days.commit([stranger], here.now)) == "draw.commit.role"


def test_far_days_are_opened_as_soon_as_all_have_committed(tmp_path: Path) -> None:
    far = TODAY + timedelta(days=60)
    with site(tmp_path) as here:
        here.all_commit(far)
        assert here.row(far) is not None
        for role in ROLES:
            here.reveal(far, role)
        assert here.row(far) is not None


def test_a_day_drawn_by_drand_takes_no_values(tmp_path: Path) -> None:
    with site(tmp_path, beacon=DRAND) as here:
        here.all_commit(TOMORROW)
        rule = refused_and_nothing_changed(here, lambda: here.reveal(TOMORROW, "council"))
        assert rule == "draw.beacon.unasked"


# -- a new policy --------------------------------------------------------------------------------------


def test_a_new_policy_opens_the_days_record_anew_while_no_value_is_told(tmp_path: Path) -> None:
    with site(tmp_path) as here:
        here.all_commit(TOMORROW)
        first = here.record(TOMORROW)
        here.policies[TOMORROW] = OTHER_POLICY
        assert here.days.look_ahead(here.now) == ["2026-11-27"]
        again = json.loads(here.record(TOMORROW))
        assert (again["policy_hash"], again["replaces"]) == (OTHER_POLICY, hashlib.sha256(first).hexdigest())
        assert again["key_sha256"] == json.loads(first)["key_sha256"]
        stale = told(TOMORROW, "council", hashlib.sha256(first).digest())
        rule = refused(lambda: here.days.reveal([(stale, hashlib.sha256(first).digest())], here.now))
        assert rule == "draw.beacon.record"
        for role in ROLES:
            here.reveal(TOMORROW, role)
        here.wait_until(TOMORROW)
        day = here.days.today(here.now)
        assert day is not None
        assert (day.policy_hash, day.beacon is None) == (OTHER_POLICY, False)


def test_once_a_value_is_told_no_new_policy_comes_over_the_day_and_nobody_is_asked(tmp_path: Path) -> None:
    with site(tmp_path) as here:
        here.all_commit(TOMORROW)
        here.reveal(TOMORROW, "operator")
        here.policies[TOMORROW] = OTHER_POLICY
        before = here.everything()
        assert here.days.look_ahead(here.now) == []
        assert refused(lambda: here.days.open(TOMORROW, here.now)) == "draw.day.fixed"
        assert here.everything() == before
        assert here.days.standing(here.now)[1].rule == "draw.day.fixed"
        here.reveal(TOMORROW, "council")
        here.reveal(TOMORROW, "officer")
        here.wait_until(TOMORROW)
        assert here.days.today(here.now) is None


@pytest.mark.parametrize("beacon", [NONE, COMMIT, DRAND])
def test_a_policy_edited_in_the_middle_of_a_day_draws_nobody_on_it(tmp_path: Path, beacon: str) -> None:
    with site(tmp_path, beacon=beacon) as here:
        here.all_commit(TOMORROW)
        here.wait_until(TOMORROW)
        here.days.look_ahead(here.now)
        here.policies[TOMORROW] = OTHER_POLICY
        row = here.row(TOMORROW)
        here.days.look_ahead(here.now)
        assert here.row(TOMORROW) == row
        assert here.days.today(here.now) is None
        assert refused(lambda: here.days.open(TOMORROW, here.now)) == "draw.day.late"


def test_a_day_that_is_over_is_never_opened(tmp_path: Path) -> None:
    with site(tmp_path, beacon=NONE) as here:
        yesterday = TODAY - timedelta(days=1)
        assert refused_and_nothing_changed(here, lambda: here.days.open(yesterday, here.now)) == "draw.day.late"


# -- a round of drand ------------------------------------------------------------------------------------


def awaited_round(here: Site, day: date) -> int:
    row = here.row(day)
    assert row is not None
    assert row.drand_round is not None
    return row.drand_round


def test_the_round_of_a_day_is_the_first_one_an_hour_before_local_midnight(tmp_path: Path) -> None:
    with site(tmp_path, beacon=DRAND) as here:
        here.days.look_ahead(here.now)
        number = awaited_round(here, TOMORROW)
        hour_before = datetime(2026, 11, 26, 22, 0, tzinfo=UTC)
        assert CHAIN.time_of(number) >= hour_before > CHAIN.time_of(number - 1)
        record = json.loads(here.record(TOMORROW))["beacon"]
        assert (record["kind"], record["round"], record["chain_hash"]) == (DRAND, number, CHAIN.chain_hash.hex())


def test_the_days_round_makes_its_beacon(tmp_path: Path) -> None:
    with site(tmp_path, beacon=DRAND) as here:
        here.days.look_ahead(here.now)
        number = awaited_round(here, TOMORROW)
        assert here.days.awaited_rounds(here.now) == []
        here.wait(CHAIN.time_of(number) - here.now)
        assert here.days.awaited_rounds(here.now) == [number]
        assert here.days.take_round(number, round_of(number), here.now) == ["2026-11-27"]
        assert here.days.awaited_rounds(here.now) == []
        here.wait_until(TOMORROW)
        day = here.days.today(here.now)
        assert day is not None
        expected = b"mitschnitt/v1/beacon/drand|" + number.to_bytes(8, "big") + round_of(number)
        assert day.beacon == hashlib.sha256(expected).digest()


def test_a_recorded_round_of_the_real_network_makes_the_beacon_of_its_day(tmp_path: Path) -> None:
    recorded = json.loads((Path(__file__).parent.parent / "vectors" / "drand" / "quicknet.json").read_text())
    item = next(item for item in recorded["rounds"] if item["round"] == 657413)
    # A zone in which this round is the first one an hour before midnight.
    zone = timezone(timedelta(hours=12, seconds=-3))
    with site(tmp_path, beacon=DRAND, chain=QUICKNET, zone=zone, now=datetime(2023, 9, 15, 1, tzinfo=UTC)) as here:
        here.days.look_ahead(here.now)
        here.wait(timedelta(hours=10, seconds=3))
        assert here.days.take_round(657413, bytes.fromhex(item["signature"]), here.now) == ["2023-09-16"]


@pytest.mark.parametrize(
    "forge, rule",
    [
        (lambda number: (number, round_of(number + 1)), "draw.round.forged"),
        (lambda number: (number + 1, round_of(number)), "draw.round.forged"),
        (lambda number: (number, b"\xc0" + bytes(47)), "draw.round.form"),
        (lambda number: (number, bytes(48)), "draw.round.form"),
        (lambda number: (number + 1, round_of(number + 1)), "draw.round.unasked"),
    ],
)
def test_no_other_round_is_taken(tmp_path: Path, forge: Callable[[int], tuple[int, bytes]], rule: str) -> None:
    with site(tmp_path, beacon=DRAND) as here:
        here.days.look_ahead(here.now)
        number = awaited_round(here, TOMORROW)
        here.wait(CHAIN.time_of(number) - here.now)
        forged = forge(number)
        assert refused_and_nothing_changed(here, lambda: here.days.take_round(*forged, here.now)) == rule


def test_a_round_after_the_day_began_is_too_late(tmp_path: Path) -> None:
    with site(tmp_path, beacon=DRAND) as here:
        here.days.look_ahead(here.now)
        number = awaited_round(here, TOMORROW)
        here.wait_until(TOMORROW)
        rule = refused_and_nothing_changed(here, lambda: here.days.take_round(number, round_of(number), here.now))
        assert rule == "draw.beacon.late"
        day = here.days.today(here.now)
        assert day is not None
        assert day.beacon is None


def test_a_round_of_the_future_says_that_the_clock_is_behind(tmp_path: Path) -> None:
    with site(tmp_path, beacon=DRAND) as here:
        here.days.look_ahead(here.now)
        number = awaited_round(here, TOMORROW)
        rule = refused_and_nothing_changed(here, lambda: here.days.take_round(number, round_of(number), here.now))
        assert rule == "clock.back"


def test_a_day_whose_round_may_be_known_is_not_opened_any_more(tmp_path: Path) -> None:
    with site(tmp_path, beacon=DRAND, now=datetime(2026, 11, 26, 22, 30, tzinfo=UTC)) as here:
        assert here.days.look_ahead(here.now)[0] == "2026-11-28"
        assert refused(lambda: here.days.open(TOMORROW, here.now)) == "draw.day.late"


# -- a clock that is wrong -----------------------------------------------------------------------------------


@pytest.mark.thorough
@pytest.mark.parametrize("jump", [timedelta(hours=-1), timedelta(days=30), timedelta(minutes=-6), timedelta(minutes=6)])
@pytest.mark.parametrize("beacon", [NONE, COMMIT, DRAND])
def test_by_a_clock_that_jumped_nobody_is_asked_and_nothing_changed(
    tmp_path: Path, beacon: str, jump: timedelta
) -> None:
    with site(tmp_path, beacon=beacon) as here:
        for ahead in range(1, 32):
            here.all_commit(TODAY + timedelta(days=ahead))
        record = hashlib.sha256(here.record(TOMORROW)).digest()
        before, right = here.everything(), here.now
        here.now += jump
        rule = "clock.back" if jump < timedelta(0) else "clock.ahead"
        assert here.days.today(here.now) is None
        assert here.days.look_ahead(here.now) == []
        for work in (
            lambda: here.days.open(NEXT_WEEK, here.now),
            lambda: here.days.commit([commitment(NEXT_WEEK, "council", value=bytes(32))], here.now),
            lambda: here.days.reveal([(told(TOMORROW, "council", record), record)], here.now),
            lambda: here.days.take_round(5, round_of(5), here.now),
        ):
            assert refused(work) == rule
        assert all(standing.rule == rule for standing in here.days.standing(here.now))
        assert here.everything() == before
        here.now = right
        here.days.look_ahead(here.now)
        assert (here.days.today(here.now) is None) == (beacon != NONE)


@pytest.mark.parametrize("jump", [timedelta(hours=-1), timedelta(days=30)])
def test_a_clock_that_jumped_while_the_site_was_off_is_noticed_at_the_start(tmp_path: Path, jump: timedelta) -> None:
    with site(tmp_path, beacon=NONE) as here:
        here.days.look_ahead(here.now)
        before = here.everything()
        here.now += jump
        here.monotonic = 5.0
        here.start()
        assert here.days.look_ahead(here.now) == []
        assert here.days.today(here.now) is None
        assert here.everything() == before


def test_a_site_that_was_off_for_long_goes_on_when_somebody_confirms_the_date(tmp_path: Path) -> None:
    with site(tmp_path, beacon=NONE) as here:
        here.days.look_ahead(here.now)
        here.now += timedelta(days=30)
        here.start()
        assert refused(lambda: here.days.confirm_clock(TODAY, here.now)) == "clock.day"
        assert here.days.today(here.now) is None
        here.days.confirm_clock(date(2026, 12, 26), here.now)
        day = here.days.today(here.now)
        assert day is not None
        assert day.day == "2026-12-26"


# -- crashes and hands in the database ------------------------------------------------------------------------


def test_a_crash_between_the_row_and_the_file_is_made_up_for_by_the_next_look(tmp_path: Path) -> None:
    with site(tmp_path) as here:
        here.all_commit(TOMORROW)
        published = here.record(TOMORROW)
        (tmp_path / "draw" / "2026-11-27" / "day.json").unlink()
        here.start().look_ahead(here.now)
        assert here.record(TOMORROW) == published


def test_no_value_is_taken_for_a_record_that_nobody_could_read(tmp_path: Path) -> None:
    with site(tmp_path) as here:
        here.all_commit(TOMORROW)
        record = here.record(TOMORROW)
        (tmp_path / "draw" / "2026-11-27" / "day.json").unlink()
        digest = hashlib.sha256(record).digest()
        here.days.reveal([(told(TOMORROW, "council", digest), digest)], here.now)
        assert here.record(TOMORROW) == record


@pytest.mark.parametrize("beacon", ["0" * 64, None])
def test_a_beacon_that_somebody_wrote_into_the_database_counts_for_nothing(tmp_path: Path, beacon: str | None) -> None:
    with site(tmp_path) as here:
        here.all_commit(TOMORROW)
        for role in ROLES:
            here.reveal(TOMORROW, role)
        row = here.row(TOMORROW)
        assert row is not None
        here.writer.submit(lambda connection: day_queries.put_day(connection, replace(row, beacon=beacon))).result()
        here.wait_until(TOMORROW)
        here.days.look_ahead(here.now)
        day = here.days.today(here.now)
        assert day is not None
        assert day.beacon is None


# -- what is told ------------------------------------------------------------------------------------------------


def test_what_is_still_missing_is_told_day_by_day(tmp_path: Path) -> None:
    with site(tmp_path) as here:
        here.all_commit(TOMORROW)
        here.reveal(TOMORROW, "operator")
        here.days.commit([commitment(NEXT_WEEK, "council")], here.now)
        told_of = {standing.day: standing for standing in here.days.standing(here.now)}
        assert told_of["2026-11-27"].missing == ("value of council", "value of officer")
        assert told_of["2026-12-01"].missing == ("commitment of officer", "commitment of operator")
        assert len(told_of["2026-11-28"].missing) == 3
        assert {standing.rule for standing in told_of.values()} == {"draw.day.missing", "draw.beacon.missing"}
        here.reveal(TOMORROW, "council")
        here.reveal(TOMORROW, "officer")
        ready = here.days.standing(here.now)[1]
        assert (ready.day, ready.opened, ready.missing, ready.rule) == ("2026-11-27", True, (), "")


def test_a_list_can_say_what_the_beacon_is_made_of(tmp_path: Path) -> None:
    with site(tmp_path) as here:
        assert refused(lambda: here.days.proof_of("2026-11-27")) == "draw.day.missing"
        here.all_commit(TOMORROW)
        assert here.days.proof_of("2026-11-27")["value"] is None
        for role in ROLES:
            here.reveal(TOMORROW, role)
        proof = here.days.proof_of("2026-11-27")
        assert proof["shares"]["officer"] == {
            "commitment": commitment(TOMORROW, "officer").commitment,
            "value": value_of(TOMORROW, "officer").hex(),
        }
        assert len(proof["value"]) == 64


def test_of_a_round_the_list_says_chain_number_and_signature(tmp_path: Path) -> None:
    with site(tmp_path, beacon=DRAND) as here:
        here.days.look_ahead(here.now)
        number = awaited_round(here, TOMORROW)
        here.wait(CHAIN.time_of(number) - here.now)
        here.days.take_round(number, round_of(number), here.now)
        proof = here.days.proof_of("2026-11-27")
        assert (proof["chain"], proof["round"], proof["signature"]) == ("tests", number, round_of(number).hex())


STEPS = ("commit council", "commit officer", "commit operator", "tell council", "tell officer", "tell operator")


@pytest.mark.thorough
@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from((*STEPS, "night")), max_size=12))
def test_in_whatever_order_acts_come_a_beacon_means_all_committed_before_any_told(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str]
) -> None:
    taken: list[str] = []
    with site(tmp_path_factory.mktemp("days")) as here:
        for step in steps:
            verb, _, role = step.partition(" ")
            if verb == "night" and "night" not in taken:
                here.wait_until(TOMORROW)
                taken.append(step)
                continue
            record = here.row(TOMORROW)
            digest = hashlib.sha256(record.record).digest() if record else bytes(32)
            try:
                if verb == "commit":
                    here.days.commit([commitment(TOMORROW, role)], here.now)
                elif verb == "tell":
                    here.days.reveal([(told(TOMORROW, role, digest), digest)], here.now)
            except NotAllowed:
                continue
            if step not in taken:
                taken.append(step)
        row = here.row(TOMORROW)
        assert (row is not None and row.beacon is not None) == (len(_of(taken, "tell")) == 3)
        if _of(taken, "tell"):
            assert len(_of(taken, "commit")) == 3
            assert max(_of(taken, "commit")) < min(_of(taken, "tell"))
            assert "night" not in taken or max(_of(taken, "tell")) < taken.index("night")


def _of(taken: list[str], verb: str) -> list[int]:
    """When acts of this kind were taken first."""
    return [place for place, step in enumerate(taken) if step.startswith(verb)]
