"""`mitschnitt draw clock DAY`: works council or officer say which day it is, after the keeper doubted its clock."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from mitschnitt.commands.door_client import Door
from mitschnitt.commands.draw_commit import sent
from mitschnitt.commands.passwords import role_password
from mitschnitt.core.periods import parse_period
from mitschnitt.errors import ConfigError
from mitschnitt.keeper.day_acts import sign_clock
from mitschnitt.keeper.role_keys import checked_signer, load_private


def run(directory: Path, role: str, day: str, *, key: Path, password_file: Path | None, as_json: bool) -> None:
    """Confirm the date. NotAllowed when the keeper's clock says another, or for a role that sets the clock."""
    span = parse_period(day)
    if span.first != span.last:
        raise ConfigError(f"draw clock: expected today as a day such as 2026-11-27, found {day!r}")
    private = load_private(key, role_password(checked_signer(role), file=password_file))
    Door(directory).post("/draw/clock", sent([sign_clock(private, role=role, day=day)])[0])
    typer.echo(json.dumps({"role": role, "day": day}) if as_json else f"{day} is confirmed as {role}; the draw goes on")
