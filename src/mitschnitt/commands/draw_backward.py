"""`mitschnitt draw backward PERIOD`: fix the population, then, with its beacon, draw; or check what was drawn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import typer

from mitschnitt.commands.call import checked_role
from mitschnitt.commands.door_client import Door
from mitschnitt.core.periods import parse_period
from mitschnitt.errors import ConfigError, MalformedPacket, TooLarge
from mitschnitt.exit_codes import DONE, VERIFICATION_FAILED
from mitschnitt.proof.backward import check_backward


def run(directory: Path, period: str, *, take: int, by: str, check: bool, role: str, as_json: bool) -> int:
    """The exit code. NotAllowed with the rule when the keeper refuses, ConfigError for files that are not there."""
    name = parse_period(period).name
    if check:
        return _check(directory / "draw" / "backward" / name, as_json=as_json)
    if by not in ("purpose", "day"):
        raise ConfigError(f"--by: expected purpose or day, found {by!r}")
    told = Door(directory).post("/draw/backward", {"role": checked_role(role), "period": name, "take": take, "by": by})
    if as_json:
        typer.echo(json.dumps(told))
    else:
        _print(told)
    return DONE


def _print(told: dict[str, Any]) -> None:
    typer.echo(f"{told['period']}: published as {told['record'][:16]}…; draw/backward/{told['period']}/record.json")
    if told["state"] != "drawn":
        typer.echo(f"missing: {', '.join(told['missing'])}; nothing is drawn until it is there")
        return
    for stratum, calls in told["picks"].items():
        typer.echo(f"{stratum}: {len(calls)} drawn")
        for call in calls:
            typer.echo(f"  {call}")


def _check(place: Path, *, as_json: bool) -> int:
    try:
        record, result = (place / "record.json").read_bytes(), (place / "result.json").read_bytes()
    except OSError as error:
        raise ConfigError(f"draw backward: cannot read {error.filename}: {error.strerror}") from error
    try:
        problems = check_backward(record, result)
    except (MalformedPacket, TooLarge) as error:
        problems = [str(error)]
    if as_json:
        typer.echo(json.dumps({"problems": problems}))
    else:
        typer.echo("\n".join(problems) if problems else "the draw is what record and beacon make of the population")
    return VERIFICATION_FAILED if problems else DONE
