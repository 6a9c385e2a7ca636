"""Steps of a day as transactions: one that is refused half-way leaves nothing."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection

from keeper.days_on_disk import CHAIN, NOON, POLICY, SECRET, TODAY, TOMORROW, commitment, site, told
from mitschnitt.core.beacon import COMMIT, NONE, ROLES
from mitschnitt.errors import NotAllowed
from mitschnitt.keeper.day_steps import Opening, Plan, known_beacon, open_day, parts_of, silent_roles, take_commitment


def test_who_has_not_committed_is_named_in_the_order_of_roles() -> None:
    assert silent_roles([]) == list(ROLES)
    assert silent_roles([commitment(TOMORROW, "officer")]) == ["council", "operator"]


def test_a_step_that_fails_takes_back_what_it_did(tmp_path: Path) -> None:
    with site(tmp_path) as here:

        def half(connection: Connection) -> None:
            take_commitment(connection, commitment(TOMORROW, "council"))
            take_commitment(connection, commitment(TOMORROW, "council", value=bytes(32)))

        with pytest.raises(NotAllowed, match="committed to another value"):
            here.writer.submit(half).result()
        assert here.shares(TOMORROW) == []


def test_a_day_is_opened_for_its_plan_and_found_again(tmp_path: Path) -> None:
    asked = Opening(TOMORROW, Plan(POLICY, NONE), NOON + timedelta(hours=11), TODAY, NOON)
    with site(tmp_path, beacon=NONE) as here:
        row = here.writer.submit(lambda connection: open_day(connection, asked, SECRET, CHAIN)).result()
        again = here.writer.submit(lambda connection: open_day(connection, asked, SECRET, CHAIN)).result()
        assert again == row
        assert row.key_sha256 != hashlib.sha256(SECRET).hexdigest()


def test_the_beacon_is_known_with_the_last_value_only(tmp_path: Path) -> None:
    with site(tmp_path, beacon=COMMIT) as here:
        here.all_commit(TOMORROW)
        row = here.row(TOMORROW)
        assert row is not None
        digest = hashlib.sha256(row.record).digest()
        known = []
        for role in ROLES:
            here.days.reveal([(told(TOMORROW, role, digest), digest)], here.now)
            parts = here.writer.submit(lambda connection: parts_of(connection, row)).result()
            known.append(known_beacon(row, *parts) is not None)
        assert known == [False, False, True]
