"""`mitschnitt draw commit`: values are kept before they are committed to, and shown to nobody."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from commands.draw_ceremony import Ceremony, ceremony
from keeper.days_on_disk import TODAY, TOMORROW
from mitschnitt import cli
from mitschnitt.core.beacon import ROLES, commitment_of
from mitschnitt.errors import ConfigError, NotAllowed


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ceremony]:
    with ceremony(tmp_path, monkeypatch) as found:
        yield found


def commit(here: Ceremony, role: str, *more: str, key_of: str = "", first: str = "2026-11-27") -> Result:
    arguments = ["draw", "commit", "--as", role, "--key", str(here.key(key_of or role)), "--from", first]
    arguments += ["--password-file", str(here.password), "--dir", str(here.directory), *more]
    return CliRunner().invoke(cli.app, arguments)


def test_a_role_commits_for_a_week_and_keeps_its_values(here: Ceremony) -> None:
    told = commit(here, "officer")
    assert told.exit_code == 0, told.exception
    path = here.values("officer")
    assert path.stat().st_mode & 0o777 == 0o600
    values = json.loads(path.read_text())["values"]
    assert list(values) == [(TOMORROW + timedelta(days=ahead)).isoformat() for ahead in range(7)]
    share = here.site.shares(TOMORROW)[0]
    assert share.commitment == commitment_of("2026-11-27", "officer", bytes.fromhex(values["2026-11-27"])).hex()
    assert str(path) in told.output
    assert not any(value in told.output for value in values.values())
    assert len(set(values.values())) == 7


def test_when_all_three_have_committed_the_days_are_opened(here: Ceremony) -> None:
    for role in ROLES:
        assert here.site.row(TOMORROW) is None
        assert commit(here, role, "--days", "2").exit_code == 0
    assert here.site.row(TOMORROW) is not None
    assert here.site.row(TOMORROW + timedelta(days=1)) is not None
    assert here.site.row(TOMORROW + timedelta(days=2)) is None


def test_again_for_the_same_days_commits_to_the_same_values(here: Ceremony) -> None:
    commit(here, "council", "--days", "1")
    before = here.values("council").read_bytes()
    assert commit(here, "council", "--days", "1").exit_code == 0
    assert here.values("council").read_bytes() == before
    assert commit(here, "council", "--days", "2").exit_code == 0
    assert json.loads(here.values("council").read_text())["values"].items() >= json.loads(before)["values"].items()


def test_who_lost_the_values_cannot_commit_to_others(here: Ceremony) -> None:
    commit(here, "council", "--days", "1")
    here.values("council").unlink()
    told = commit(here, "council", "--days", "2")
    assert isinstance(told.exception, NotAllowed)
    assert told.exception.rule == "draw.commit.second"
    assert len(here.site.shares(TOMORROW + timedelta(days=1))) == 0, "none of them was taken"


def test_another_roles_key_is_refused(here: Ceremony) -> None:
    told = commit(here, "council", key_of="operator")
    assert isinstance(told.exception, NotAllowed)
    assert told.exception.rule == "role.signature"
    assert here.site.shares(TOMORROW) == []


@pytest.mark.parametrize("first", [TODAY.isoformat(), "2026-11-25"])
def test_a_day_that_began_takes_no_commitment(here: Ceremony, first: str) -> None:
    told = commit(here, "council", first=first)
    assert isinstance(told.exception, NotAllowed)
    assert told.exception.rule == "draw.commit.day"


@pytest.mark.parametrize(
    "role, first, more, sentence",
    [
        ("coach", "2026-11-27", [], "expected one of council, officer, operator"),
        ("council", "2026-W48", [], "expected a day such as 2026-11-27, found '2026-W48'"),
        ("council", "tomorrow", [], "expected a day"),
        ("council", "2026-11-27", ["--days", "0"], "expected 1 to 100, found 0"),
        ("council", "2026-11-27", ["--days", "101"], "expected 1 to 100, found 101"),
    ],
)
def test_wrong_usage_is_told_in_one_sentence(
    here: Ceremony, role: str, first: str, more: list[str], sentence: str
) -> None:
    told = commit(here, role, *more, key_of="council", first=first)
    assert isinstance(told.exception, ConfigError)
    assert sentence in str(told.exception)
    assert not here.values("council").exists()


def test_values_never_lie_in_the_directory_of_the_site(here: Ceremony) -> None:
    inside = here.directory / "council.values"
    told = commit(here, "council", "--values", str(inside))
    assert isinstance(told.exception, ConfigError)
    assert not inside.exists()


def test_as_json_it_says_where_the_values_are(here: Ceremony) -> None:
    told = json.loads(commit(here, "operator", "--json", "--days", "1").output)
    assert told == {"role": "operator", "days": ["2026-11-27"], "values": str(here.values("operator"))}
