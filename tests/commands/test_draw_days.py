"""`mitschnitt draw days`: who is missing, in words."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from commands.draw_ceremony import Ceremony, ceremony
from keeper.days_on_disk import OTHER_POLICY, TOMORROW
from mitschnitt import cli
from mitschnitt.core.beacon import NONE, ROLES


def days(here: Ceremony, *more: str) -> str:
    return CliRunner().invoke(cli.app, ["draw", "days", "--dir", str(here.directory), *more]).output


def line_of(output: str, day: str) -> str:
    return next(line for line in output.splitlines() if line.startswith(day))


def test_it_says_day_by_day_whose_act_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ceremony(tmp_path, monkeypatch) as here:
        here.site.all_commit(TOMORROW)
        here.site.reveal(TOMORROW, "operator")
        output = days(here)
        assert line_of(output, "2026-11-27") == "2026-11-27  missing: value of council, value of officer"
        assert line_of(output, "2026-11-28").endswith(
            "missing: commitment of council, commitment of officer, commitment of operator"
        )
        assert output.splitlines()[-1] == "a missing value means nobody is asked"


def test_days_that_draw_are_ready_and_nothing_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ceremony(tmp_path, monkeypatch, beacon=NONE) as here:
        here.site.days.look_ahead(here.site.now)
        lines = days(here).splitlines()
        assert len(lines) == 8
        assert {line[12:] for line in lines} == {"ready: calls of this day are drawn"}


def test_a_day_that_a_new_policy_came_too_late_for_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ceremony(tmp_path, monkeypatch) as here:
        here.site.all_commit(TOMORROW)
        for role in ROLES:
            here.site.reveal(TOMORROW, role)
        here.site.policies[TOMORROW] = OTHER_POLICY
        assert "values were told under another policy" in line_of(days(here), "2026-11-27")


def test_a_clock_that_is_not_trusted_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ceremony(tmp_path, monkeypatch, beacon=NONE) as here:
        here.site.days.look_ahead(here.site.now)
        here.site.now += timedelta(days=30)
        assert "clock is not trusted [clock.ahead]" in days(here).splitlines()[0]


def test_without_a_policy_nobody_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ceremony(tmp_path, monkeypatch) as here:
        here.site.policies.clear()
        assert days(here).strip() == "no policy is in force, today or in the week to come: nobody is asked"


def test_as_json_it_names_rule_and_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ceremony(tmp_path, monkeypatch) as here:
        here.site.all_commit(TOMORROW)
        told = {item["day"]: item for item in json.loads(days(here, "--json"))["days"]}
        assert (told["2026-11-27"]["opened"], told["2026-11-27"]["rule"]) == (True, "draw.beacon.missing")
        assert told["2026-11-28"]["rule"] == "draw.day.missing"
