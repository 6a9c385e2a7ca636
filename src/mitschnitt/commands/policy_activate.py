"""`mitschnitt policy activate HASH`: what all have signed begins on a later day. A running `serve` takes it."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import typer

from mitschnitt.core.periods import parse_period
from mitschnitt.errors import ConfigError
from mitschnitt.keeper.clock import wall_clock
from mitschnitt.keeper.policies import Policies


def run(directory: Path, name: str, *, first: str, as_json: bool) -> None:
    """Write down from when on it is in force, or say why not (NotAllowed, ConfigError) and change nothing."""
    policies = Policies(directory)
    policy = policies.files.named(name).policy
    line = policies.activate(policy, checked_day(first) if first else None, now=wall_clock())
    if as_json:
        typer.echo(json.dumps({"policy": policy.hash, "from": str(line.first)}))
        return
    typer.echo(f"{policy.hash} ({policy.name!r}) is in force from {line.first} on, at midnight in {policy.timezone}")
    typer.echo("until then what is in force now applies; calls that run at that moment keep it to their end")


def checked_day(text: str) -> date:
    """The day of this name; ConfigError for what is no day."""
    period = parse_period(text)
    if period.first != period.last:
        raise ConfigError(f"--from: expected a day such as 2026-11-26, found {text!r}")
    return period.first
