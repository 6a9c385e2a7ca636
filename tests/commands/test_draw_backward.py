"""`mitschnitt draw backward`: the whole way by commands, and the check that needs no keeper."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from commands.draw_ceremony import Ceremony, ceremony
from mitschnitt import cli
from mitschnitt.core.beacon import ROLES
from mitschnitt.errors import ConfigError, NotAllowed
from mitschnitt.exit_codes import DONE, VERIFICATION_FAILED

CALLS = {f"{number:026d}": f"2026-11-{16 + number % 7}" for number in range(70)}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ceremony]:
    with ceremony(tmp_path, monkeypatch) as found:
        found.site.keep(CALLS)
        yield found


def run(here: Ceremony, *arguments: str) -> Result:
    return CliRunner().invoke(cli.app, ["draw", *arguments, "--dir", str(here.directory)])


def as_role(here: Ceremony, role: str, verb: str, *more: str) -> None:
    hands = ["--as", role, "--key", str(here.key(role)), "--password-file", str(here.password)]
    told = run(here, verb, *more, *hands)
    assert told.exit_code == DONE, told.exception


def whole_draw(here: Ceremony) -> Result:
    for role in ROLES:
        as_role(here, role, "commit", "--from", "backward-2026-W47")
    told = run(here, "backward", "2026-W47", "--take", "5")
    assert "missing: value of council, value of officer, value of operator" in told.output, told.exception
    for role in ROLES:
        as_role(here, role, "reveal", "backward-2026-W47", "--values", str(here.values(role)))
    return run(here, "backward", "2026-W47", "--take", "5")


def test_commit_publish_tell_draw_and_check(here: Ceremony) -> None:
    told = whole_draw(here)
    assert "training: 5 drawn" in told.output
    picked = [line.strip() for line in told.output.splitlines() if line.startswith("  ")]
    assert len(set(picked) & set(CALLS)) == 5
    checked = run(here, "backward", "2026-W47", "--check")
    assert (checked.exit_code, checked.output) == (
        DONE,
        "the draw is what record and beacon make of the population\n",
    )


@pytest.mark.thorough
def test_a_changed_file_fails_the_check(here: Ceremony) -> None:
    whole_draw(here)
    path = here.directory / "draw" / "backward" / "2026-W47" / "result.json"
    result = json.loads(path.read_text())
    result["picks"]["training"].reverse()
    path.write_text(json.dumps(result))
    checked = run(here, "backward", "2026-W47", "--check", "--json")
    assert checked.exit_code == VERIFICATION_FAILED
    assert "smallest tickets" in json.loads(checked.output)["problems"][0]
    path.write_text("{}")
    assert run(here, "backward", "2026-W47", "--check").exit_code == VERIFICATION_FAILED


@pytest.mark.parametrize("role", ["caller", "agent", "coach", "analyst", "client"])
def test_who_may_not_see_which_calls_are_kept_draws_none(here: Ceremony, role: str) -> None:
    told = run(here, "backward", "2026-W47", "--as", role)
    assert isinstance(told.exception, NotAllowed)
    assert told.exception.rule in {"access.list.role", "draw.backward.role"}
    assert not (here.directory / "draw" / "backward").exists()


@pytest.mark.parametrize("role", ["council", "operator"])
@pytest.mark.parametrize("arguments", [("2026-W47",), ("2026-11-20",), ("2026-10", "--by", "day")])
def test_what_would_tell_on_which_days_kept_calls_were_is_the_officers(
    here: Ceremony, role: str, arguments: tuple[str, ...]
) -> None:
    told = run(here, "backward", *arguments, "--as", role)
    assert isinstance(told.exception, NotAllowed)
    assert told.exception.rule == "access.times.role"
    assert not (here.directory / "draw" / "backward").exists()


@pytest.mark.parametrize("role", ROLES)
def test_from_a_whole_month_each_of_the_three_may_draw(here: Ceremony, role: str) -> None:
    told = run(here, "backward", "2026-10", "--as", role)
    assert isinstance(told.exception, NotAllowed)
    assert told.exception.rule == "draw.backward.empty"


def test_a_period_that_is_not_over_is_refused(here: Ceremony) -> None:
    told = run(here, "backward", "2026-W48")
    assert isinstance(told.exception, NotAllowed)
    assert told.exception.rule == "draw.backward.open"


@pytest.mark.parametrize(
    "arguments",
    [
        ("2026-W47", "--by", "agent"),
        ("someday",),
        ("2026-W47", "--check"),
        ("../../etc", "--check"),
        ("2026-W47", "--as", "nobody"),
    ],
)
def test_wrong_usage_is_told(here: Ceremony, arguments: tuple[str, ...]) -> None:
    assert isinstance(run(here, "backward", *arguments).exception, ConfigError)
