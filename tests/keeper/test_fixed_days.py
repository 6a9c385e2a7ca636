"""Days that a policy would come too late for: the same that the keeper would refuse to open anew."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from keeper.days_on_disk import OTHER_POLICY, POLICY, TODAY, TOMORROW, Site, site
from mitschnitt.core.beacon import COMMIT, DRAND, NONE, ROLES
from mitschnitt.core.policy import BeaconKind, Policy
from mitschnitt.core.policy_text import parse_policy
from mitschnitt.errors import NotAllowed, VaultError
from mitschnitt.keeper.fixed_days import fixed_days
from world import POLICY_TEXT

AFTER = TOMORROW + timedelta(days=1)
ROUND = datetime(2026, 11, 26, 22, 0, tzinfo=UTC)  # an hour before midnight in Berlin


def policy(digest: str, beacon: str) -> Policy:
    return replace(parse_policy(POLICY_TEXT), hash=digest, beacon=BeaconKind(beacon))


def refused(here: Site, day: date) -> bool:
    """Whether the keeper opens the day for the policy that it is to have now."""
    try:
        here.days.open(day, here.now)
    except NotAllowed as error:
        return error.rule in {"draw.day.fixed", "draw.day.late"}
    return False


@pytest.mark.parametrize("beacon", [COMMIT, DRAND, NONE])
@pytest.mark.parametrize("digest", [POLICY, OTHER_POLICY])
def test_the_days_are_those_that_the_keeper_refuses(tmp_path: Path, digest: str, beacon: str) -> None:
    with site(tmp_path) as here:
        for day in (TOMORROW, AFTER):
            here.all_commit(day)
        here.reveal(AFTER, "council")
        found = fixed_days(tmp_path / "domain.sqlite", policy(digest, beacon), TOMORROW, here.now)
        here.policies[TOMORROW], here.beacon = digest, beacon
        assert found == [day for day in (TOMORROW, AFTER) if refused(here, day)]
        assert found == ([] if (digest, beacon) == (POLICY, COMMIT) else [AFTER])


@pytest.mark.parametrize("late, days", [(timedelta(minutes=-1), []), (timedelta(seconds=3), [TOMORROW])])
def test_a_round_that_may_be_out_fixes_its_day(tmp_path: Path, late: timedelta, days: list[date]) -> None:
    with site(tmp_path, beacon=DRAND) as here:
        here.policies[TODAY] = ""
        here.wait(ROUND + late - here.now)
        here.policies[TOMORROW] = POLICY
        found = fixed_days(tmp_path / "domain.sqlite", policy(POLICY, DRAND), TOMORROW, here.now)
        assert found == days == [day for day in (TOMORROW,) if refused(here, day)]


def test_without_a_database_nothing_was_told(tmp_path: Path) -> None:
    assert fixed_days(tmp_path / "none.sqlite", policy(POLICY, COMMIT), TOMORROW, ROUND) == []
    assert not (tmp_path / "none.sqlite").exists()


def test_a_database_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "domain.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(VaultError, match="nobody knows which days are fixed"):
        fixed_days(tmp_path / "domain.sqlite", policy(POLICY, COMMIT), TOMORROW, ROUND)


def test_a_value_that_fixes_a_day_is_never_shown(tmp_path: Path) -> None:
    with site(tmp_path) as here:
        here.all_commit(TOMORROW)
        for role in ROLES:
            here.reveal(TOMORROW, role)
        before = here.everything()
        assert fixed_days(tmp_path / "domain.sqlite", policy(OTHER_POLICY, COMMIT), TOMORROW, here.now) == [TOMORROW]
        assert here.everything() == before
