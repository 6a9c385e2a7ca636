"""`policy activate`: from a later day on, when all have signed; the refusals are in keeper/test_policies."""

from __future__ import annotations

import json
from datetime import date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from keeper.signed_site import FIRST, SIGNERS, contents, directory_of, propose
from mitschnitt.commands.policy_activate import checked_day, run
from mitschnitt.config import Config
from mitschnitt.core.beacon import ROLES
from mitschnitt.errors import ConfigError, NotAllowed
from mitschnitt.keeper.clock import wall_clock
from mitschnitt.keeper.policy_files import PolicyFiles
from mitschnitt.store import day_queries
from mitschnitt.store.day_queries import DayRow, ShareRow
from mitschnitt.store.engine import open_engine
from mitschnitt.store.upgrade import upgrade


@pytest.fixture(name="directory")
def with_roles(tmp_path: Path) -> Path:
    return directory_of(tmp_path)


def today() -> date:
    return datetime.now(ZoneInfo("Europe/Berlin")).date()


def test_it_says_from_when_on(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policy = propose(directory, FIRST, *SIGNERS, at=wall_clock())
    first = today() + timedelta(days=5)
    run(directory, policy.hash[:8], first=str(first), force=False, as_json=False)
    assert f"is in force from {first} on, at midnight in Europe/Berlin" in capsys.readouterr().out
    run(directory, policy.hash, first="", force=False, as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert date.fromisoformat(told["from"]) > today()


@pytest.mark.parametrize("days", [0, -1])
def test_today_and_yesterday_are_refused(directory: Path, days: int) -> None:
    policy = propose(directory, FIRST, *SIGNERS, at=wall_clock())
    before = contents(directory)
    with pytest.raises(NotAllowed, match=r"begins on a later day than today .*policy\.day\.begun"):
        run(directory, policy.hash, first=str(today() + timedelta(days=days)), force=False, as_json=False)
    assert contents(directory) == before


@pytest.mark.parametrize("text", ["tomorrow", "2026-W48", "2026-11", "2026-02-30", ""])
def test_what_is_no_day_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="expected a day"):
        checked_day(text)


# -- over days whose draw is fixed ---------------------------------------------------------------------


@pytest.fixture(name="told")
def two_days_with_values(directory: Path) -> list[date]:
    """Values of the third and fourth day from now were told under another policy; the fifth has commitments only."""
    days = [today() + timedelta(days=number) for number in (3, 4, 5)]
    database = Config(directory).database
    database.parent.mkdir()
    engine = open_engine(database)
    upgrade(engine)
    with engine.begin() as connection:
        for day in days:
            row = DayRow(str(day), "a" * 64, "b" * 64, "commit", None, None, "2026-11-22T10:00:00.000000Z", b"{}")
            day_queries.put_day(connection, row)
            for role in ROLES:
                day_queries.add_commitment(connection, ShareRow(str(day), role, "c" * 64, b"{}", b"s"))
        for day in days[:2]:
            told = ShareRow(str(day), "council", "c" * 64, b"{}", b"s", "d" * 64, b"{}", b"s")
            day_queries.set_reveal(connection, told)
        backward = ShareRow("backward-2026-11", "council", "c" * 64, b"{}", b"s", "d" * 64, b"{}", b"s")
        day_queries.add_commitment(connection, backward)
    engine.dispose()
    return days[:2]


def test_days_whose_values_were_told_are_named_before_anything_is_done(directory: Path, told: list[date]) -> None:
    policy = propose(directory, FIRST, *SIGNERS, at=wall_clock())
    before = PolicyFiles(directory).activations()
    later = told[-1] + timedelta(days=1)
    with pytest.raises(NotAllowed, match=rf"on {told[0]}, {told[1]}: .*--from {later}.*--force.*draw\.day\.fixed"):
        run(directory, policy.hash, first="", force=False, as_json=False)
    assert PolicyFiles(directory).activations() == before


def test_who_says_force_is_told_the_days_all_the_same(
    directory: Path, told: list[date], capsys: pytest.CaptureFixture[str]
) -> None:
    policy = propose(directory, FIRST, *SIGNERS, at=wall_clock())
    run(directory, policy.hash, first=str(told[1]), force=True, as_json=True)
    assert json.loads(capsys.readouterr().out)["nobody_on"] == [str(told[1])]
    run(directory, policy.hash, first="", force=True, as_json=False)
    assert f"nobody is asked on {told[0]}, {told[1]}" in capsys.readouterr().out
    assert PolicyFiles(directory).activations()[-1].hash == policy.hash


def test_after_the_last_fixed_day_nothing_stands_in_the_way(
    directory: Path, told: list[date], capsys: pytest.CaptureFixture[str]
) -> None:
    policy = propose(directory, FIRST, *SIGNERS, at=wall_clock())
    run(directory, policy.hash, first=str(told[-1] + timedelta(days=1)), force=False, as_json=True)
    assert json.loads(capsys.readouterr().out)["nobody_on"] == []


def test_what_all_have_not_signed_is_refused_for_that_first(directory: Path, told: list[date]) -> None:
    policy = propose(directory, FIRST)
    with pytest.raises(NotAllowed, match=r"policy\.signature\.missing"):
        run(directory, policy.hash, first=str(told[0]), force=True, as_json=False)
