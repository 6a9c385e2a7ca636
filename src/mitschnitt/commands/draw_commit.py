"""`mitschnitt draw commit`: a role makes values for days to come, keeps them, and commits to them. Shows no value."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Iterable
from datetime import date, timedelta
from pathlib import Path

import typer

from mitschnitt.commands.door_client import Door
from mitschnitt.commands.draw_values import load_values, save_values, values_path
from mitschnitt.commands.passwords import role_password
from mitschnitt.core.backward import SUBJECT
from mitschnitt.core.beacon import VALUE_BYTES, commitment_of
from mitschnitt.core.periods import parse_period
from mitschnitt.errors import ConfigError
from mitschnitt.keeper.acts import SignedAct
from mitschnitt.keeper.day_acts import sign_commitment
from mitschnitt.keeper.role_keys import checked_signer, load_private

MOST_DAYS = 100  # as far ahead as the keeper takes commitments


def run(
    directory: Path,
    role: str,
    *,
    key: Path,
    password_file: Path | None,
    first: str,
    days: int,
    values: Path | None,
    as_json: bool,
) -> None:
    """Values are kept before anything is sent: a crash leaves values that nobody committed to, and the next run does.

    ConfigError says what is in the way; NotAllowed what the keeper refused, and then it took none of them.
    """
    wanted = _days(first, days)
    path = values_path(directory, key, values)
    private = load_private(key, role_password(checked_signer(role), file=password_file))
    known = load_values(path, role) if path.exists() else {}
    fresh = {day: secrets.token_bytes(VALUE_BYTES) for day in wanted if day not in known}
    if fresh:
        save_values(path, role, known | fresh)
    known |= fresh
    acts = [
        sign_commitment(private, role=role, day=day, commitment=commitment_of(day, role, known[day])) for day in wanted
    ]
    Door(directory).post("/draw/commitments", {"acts": sent(acts)})
    if as_json:
        typer.echo(json.dumps({"role": role, "days": wanted, "values": str(path)}))
        return
    span = wanted[0] if len(wanted) == 1 else f"{len(wanted)} days, {wanted[0]} to {wanted[-1]}"
    typer.echo(f"committed as {role} for {span}")
    typer.echo(f"your values are in {path}: keep them to yourself until you tell them with `mitschnitt draw reveal`")
    typer.echo("a value that is not told before its day begins means that nobody is asked on that day")


def sent(acts: Iterable[SignedAct]) -> list[dict[str, str]]:
    """Acts as the door takes them."""
    return [
        {"act": base64.b64encode(item.act).decode(), "signature": base64.b64encode(item.signature).decode()}
        for item in acts
    ]


def _days(first: str, count: int) -> list[str]:
    """Days, or the one backward draw that `--from backward-PERIOD` names."""
    if first.startswith(SUBJECT):
        return [SUBJECT + parse_period(first.removeprefix(SUBJECT)).name]
    begin = parse_period(first)
    if begin.first != begin.last:
        raise ConfigError(f"--from: expected a day such as 2026-11-27, found {first!r}")
    if not 1 <= count <= MOST_DAYS:
        raise ConfigError(f"--days: expected 1 to {MOST_DAYS}, found {count}")
    return [date.isoformat(begin.first + timedelta(days=number)) for number in range(count)]
