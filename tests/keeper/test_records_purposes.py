"""One recording, several purposes: heard for each that all agreed to and for no other, until the first is over."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection, select

from keeper.fake_recorder import Books, stamped
from keeper.site_on_disk import POLICY, make_site, open_holdings
from mitschnitt.core.call import encode_call_id
from mitschnitt.errors import NotAllowed
from mitschnitt.keeper.apply import Applier, Holdings
from mitschnitt.keeper.records import Records
from mitschnitt.store.engine import open_reader
from mitschnitt.store.tables import call_purposes

BOTH, FIRST_ONLY, REFUSED = (encode_call_id(bytes([number]) * 16) for number in range(1, 4))
FURTHER = """
[[purpose]]
id = "onboarding"
retention = "P10D"
roles = ["coach"]
[[purpose]]
id = "exam"
retention = "P10D"
roles = ["officer"]
[[prompt]]
name = "ask-onboarding"
language = "de"
purpose = "onboarding"
sha256 = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
length_ms = 4000
"""


class World:
    """The keeper's books after three calls, of which two are kept."""

    def __init__(self, holdings: Holdings, records: Records) -> None:
        self.holdings = holdings
        self.records = records

    def asked(self, call: str, purpose: str, role: str = "coach", days: int = 0) -> str:
        """The rule that allows or refuses."""
        at = datetime.now(UTC) + timedelta(days=days)
        try:
            return self.records.permitted(call, purpose=purpose, role=role, now=at)[1]
        except NotAllowed as refused:
            return refused.rule

    def rows(self) -> set[tuple[str, str]]:
        def look(connection: Connection) -> set[tuple[str, str]]:
            return {(row.call_id, row.purpose) for row in connection.execute(select(call_purposes))}

        return self.holdings.writer.submit(look).result(10)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    config = make_site(tmp_path, policy=POLICY + FURTHER)
    with open_holdings(config) as holdings:
        block = holdings.leases.lease(1, "boot", 3)
        books = Books(config, 1, holdings.officer_key)
        for offset, call in enumerate((BOTH, FIRST_ONLY, REFUSED)):
            books.arrived(call, block.first + offset, block.number)
            books.track(call)
            books.media_slice(call, block.nodes[offset], 0, stamped("x", 10))
            if call != REFUSED:
                books.sealed(call, block.nodes[offset], 0)
        books.closed(BOTH, kept=True, also=["onboarding", "exam", "obligation", "fun"])
        books.closed(FIRST_ONLY, kept=True)
        books.closed(REFUSED, kept=False, also=["onboarding"])
        Applier(1, config.journal(1), holdings).drain()
        reader = open_reader(config.database)
        yield World(holdings, Records(holdings, reader))
        reader.dispose()


def test_a_recording_is_heard_for_each_purpose_that_was_agreed_and_for_no_other(world: World) -> None:
    assert world.asked(BOTH, "training") == "access.coach.training"
    assert world.asked(BOTH, "onboarding") == "access.coach.own"
    assert world.asked(FIRST_ONLY, "training") == "access.coach.training"
    assert world.asked(FIRST_ONLY, "onboarding") == "access.purpose.not_agreed"
    assert world.asked(BOTH, "fun") == "access.purpose.unknown"
    for purpose in ("dispute", "obligation", "accountability", "live_listening", "transcript"):
        assert world.asked(BOTH, purpose) == "access.role.purpose"


def test_the_policy_narrows_whom_the_table_lets_hear(world: World) -> None:
    assert world.asked(BOTH, "exam") == "access.policy.role"  # the table lets a coach, the policy the officer only
    assert world.asked(BOTH, "exam", role="officer") == "access.role.purpose"  # and the policy widens nothing


def test_the_shorter_period_ends_both(world: World) -> None:
    for purpose in ("training", "onboarding"):
        assert world.asked(BOTH, purpose, days=9).startswith("access.coach.")
        assert world.asked(BOTH, purpose, days=10) == "access.retention.over"
    assert world.asked(FIRST_ONLY, "training", days=29) == "access.coach.training"


def test_only_of_kept_calls_there_are_rows_and_an_erasure_takes_them(world: World) -> None:
    assert world.rows() == {(BOTH, "onboarding"), (BOTH, "exam")}
    assert world.asked(REFUSED, "onboarding") == "access.not_kept"
    world.records.erase(BOTH, "officer")
    assert world.rows() == set()
    assert {world.asked(call, "onboarding") for call in (BOTH, REFUSED)} == {"access.not_kept"}


def test_a_policy_that_is_not_there_any_more_lets_nobody_hear(world: World, tmp_path: Path) -> None:
    for path in (tmp_path / "site" / "policy").glob("*.toml"):
        path.unlink()
    world.holdings.policies._known.clear()  # as after a start: nothing of it is remembered
    assert world.asked(BOTH, "training") == "access.policy.role"
    assert world.asked(BOTH, "onboarding") == "access.purpose.unknown"
