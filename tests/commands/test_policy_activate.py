"""`policy activate`: from a later day on, when all have signed; the refusals are in keeper/test_policies."""

from __future__ import annotations

import json
from datetime import date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from keeper.signed_site import FIRST, SIGNERS, contents, directory_of, propose
from mitschnitt.commands.policy_activate import checked_day, run
from mitschnitt.errors import ConfigError, NotAllowed
from mitschnitt.keeper.clock import wall_clock


@pytest.fixture(name="directory")
def with_roles(tmp_path: Path) -> Path:
    return directory_of(tmp_path)


def today() -> date:
    return datetime.now(ZoneInfo("Europe/Berlin")).date()


def test_it_says_from_when_on(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policy = propose(directory, FIRST, *SIGNERS, at=wall_clock())
    first = today() + timedelta(days=5)
    run(directory, policy.hash[:8], first=str(first), as_json=False)
    assert f"is in force from {first} on, at midnight in Europe/Berlin" in capsys.readouterr().out
    run(directory, policy.hash, first="", as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert date.fromisoformat(told["from"]) > today()


@pytest.mark.parametrize("days", [0, -1])
def test_today_and_yesterday_are_refused(directory: Path, days: int) -> None:
    policy = propose(directory, FIRST, *SIGNERS, at=wall_clock())
    before = contents(directory)
    with pytest.raises(NotAllowed, match=r"begins on a later day than today .*policy\.day\.begun"):
        run(directory, policy.hash, first=str(today() + timedelta(days=days)), as_json=False)
    assert contents(directory) == before


@pytest.mark.parametrize("text", ["tomorrow", "2026-W48", "2026-11", "2026-02-30", ""])
def test_what_is_no_day_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="expected a day"):
        checked_day(text)
