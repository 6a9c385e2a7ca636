"""From a real day to a verified list: policy, commitments, record, beacon, draws of the core, lists, verifier."""

from __future__ import annotations

import hashlib
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from pathlib import Path

import pytest
from sqlalchemy import Connection, insert

from keeper.days_on_disk import SECRET, TOMORROW, Site
from mitschnitt.core.beacon import ROLES
from mitschnitt.core.criteria import Placed
from mitschnitt.core.draw import KEEPER, agent_tag, decide, tag_key
from mitschnitt.core.periods import week_of
from mitschnitt.core.policy_text import parse_policy
from mitschnitt.keeper.draw_lists import DrawLists, list_sources
from mitschnitt.keeper.policies import Policies
from mitschnitt.proof.draws import Verifier
from mitschnitt.store.engine import open_reader
from mitschnitt.store.tables import draws
from world import POLICY_TEXT

CALLS = 300
TEXT = (
    POLICY_TEXT.replace(b"rate = 1", b"rate = 0.25").replace(b'beacon = "none"', b'beacon = "commit"')
    + b"""[[exclusion]]
name = "works council"
when = 'queue == "council"'
"""
)
POLICY = parse_policy(TEXT)


@pytest.fixture
def lived(tmp_path: Path) -> Site:
    """A site whose day began with its beacon, and on which people called."""
    (tmp_path / "policy").mkdir()
    (tmp_path / "policy" / f"{POLICY.hash}.toml").write_bytes(TEXT)
    here = Site(tmp_path, policies={date(2020, 1, 1): POLICY.hash})
    here.all_commit(TOMORROW)
    for role in ROLES:
        here.reveal(TOMORROW, role)
    here.wait_until(TOMORROW)
    here.writer.submit(lambda connection: _calls(connection, here)).result()
    return here


def _calls(connection: Connection, here: Site) -> None:
    day = here.days.today(here.now)
    assert day is not None
    key = tag_key(SECRET, week_of(TOMORROW))
    for n in range(1, CALLS + 1):
        placed = Placed(None, 0) if n % 10 == 0 else Placed(0, None)
        draw = decide(day, KEEPER, n, placed, rates=[Fraction(1, 4)], spent=None)
        row = {"day": day.day, "source": KEEPER, "n": n, "stratum": placed.stratum, "exclusion": placed.exclusion}
        outcome = ("kept", "not_agreed")[n % 2] if draw.is_drawn else None
        row |= {"verdict": draw.verdict, "agent_tag": agent_tag(key, f"agent {n % 7}"), "outcome": outcome}
        connection.execute(insert(draws).values(**row))


def test_a_day_that_was_drawn_by_the_core_is_published_and_verified_with_all_its_files(lived: Site) -> None:
    reader = open_reader(lived.root / "domain.sqlite")
    policies = Policies(lived.root, allow_unsigned=True)
    lists = DrawLists(lived.writer, reader, lived.root / "draw", list_sources(policies, lived.days, SECRET))
    local = (lived.now + timedelta(days=1)).astimezone(lived.zone)
    assert lists.look(lived.now.astimezone(lived.zone)) == []
    assert lists.look(local) == [TOMORROW.isoformat()]

    folder = lived.root / "draw" / TOMORROW.isoformat()
    verifier = Verifier()
    with (folder / "public.mdl").open("rb") as public, (folder / "council.mdl").open("rb") as council:
        verifier.add_list(public, "public.mdl")
        verifier.add_list(council, "council.mdl")
        verifier.add_day((folder / "day.json").read_bytes(), "day.json")
        verifier.add_policy(TEXT, "policy.toml")
        verifier.check()
    assert list(map(str, verifier.report.findings)) == []
    assert len(verifier.report.proved) == 8
    header = verifier.headers()[0]
    assert (header.seen, header.exclusions[0].count) == (CALLS, CALLS // 10)
    assert header.policy_hash == hashlib.sha256(TEXT).digest()
    reader.dispose()
    lived.writer.close()


def test_the_days_zone_says_when_it_is_over(lived: Site) -> None:
    reader = open_reader(lived.root / "domain.sqlite")
    policies = Policies(lived.root, allow_unsigned=True)
    lists = DrawLists(lived.writer, reader, lived.root / "draw", list_sources(policies, lived.days, SECRET))
    for hour, due in ((22, []), (23, [TOMORROW.isoformat()])):  # midnight in Berlin is 23:00 UTC in winter
        at = datetime(TOMORROW.year, TOMORROW.month, TOMORROW.day, hour, tzinfo=UTC)
        assert [day.day for day in lists.due(at.astimezone(lived.zone)) if day.day == TOMORROW.isoformat()] == due
    reader.dispose()
    lived.writer.close()
