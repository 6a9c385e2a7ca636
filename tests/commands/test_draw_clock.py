"""`mitschnitt draw clock`: a doubted clock goes on when somebody who does not set it says which day it is."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from commands.draw_ceremony import Ceremony, ceremony
from mitschnitt import cli
from mitschnitt.core.beacon import NONE
from mitschnitt.errors import ConfigError, NotAllowed


def clock(here: Ceremony, role: str, day: str) -> Result:
    arguments = ["draw", "clock", day, "--as", role, "--key", str(here.key(role))]
    arguments += ["--password-file", str(here.password), "--dir", str(here.directory)]
    return CliRunner().invoke(cli.app, arguments)


@pytest.mark.parametrize("role", ["council", "officer"])
def test_council_or_officer_let_the_draw_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, role: str) -> None:
    with ceremony(tmp_path, monkeypatch, beacon=NONE) as here:
        here.site.days.look_ahead(here.site.now)
        here.site.now += timedelta(days=30)
        assert here.site.days.today(here.site.now) is None
        told = clock(here, role, "2026-12-26")
        assert told.exit_code == 0, told.exception
        assert here.site.days.today(here.site.now) is not None


def test_the_operator_who_sets_the_clock_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ceremony(tmp_path, monkeypatch, beacon=NONE) as here:
        told = clock(here, "operator", "2026-11-26")
        assert isinstance(told.exception, NotAllowed)
        assert told.exception.rule == "draw.commit.role"


def test_another_day_than_the_clocks_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ceremony(tmp_path, monkeypatch, beacon=NONE) as here:
        told = clock(here, "council", "2026-11-27")
        assert isinstance(told.exception, NotAllowed)
        assert told.exception.rule == "clock.day"
        assert isinstance(clock(here, "council", "2026-W48").exception, ConfigError)
