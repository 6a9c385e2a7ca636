"""`mitschnitt policy activate HASH`: what all have signed begins on a later day. A running `serve` takes it."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path

import typer

from mitschnitt.config import Config
from mitschnitt.core.periods import parse_period
from mitschnitt.errors import ConfigError, NotAllowed
from mitschnitt.keeper.clock import wall_clock
from mitschnitt.keeper.fixed_days import fixed_days
from mitschnitt.keeper.policies import Policies


def run(directory: Path, name: str, *, first: str, force: bool, as_json: bool) -> None:
    """Write down from when on it is in force, or say why not (NotAllowed, ConfigError) and change nothing.

    NotAllowed with `draw.day.fixed` names the days on which it would draw nobody; `force` goes on all the same.
    """
    policies, now = Policies(directory), wall_clock()
    policy = policies.files.named(name).policy
    line = policies.may_be_activated(policy, checked_day(first) if first else None, now=now)
    fixed = fixed_days(Config(directory).database, policy, line.first or now.date(), now)
    days = ", ".join(map(str, fixed))
    if fixed and not force:
        raise NotAllowed(
            "draw.day.fixed",
            f"nobody would be asked on {days}: what fixes the draw of these days is known already, and not for this "
            f"policy; name a later day (--from {fixed[-1] + timedelta(days=1)}), or go on with --force",
        )
    policies.activate(policy, line.first, now=now)
    if as_json:
        told = {"policy": policy.hash, "from": str(line.first), "nobody_on": [str(day) for day in fixed]}
        typer.echo(json.dumps(told))
        return
    typer.echo(f"{policy.hash} ({policy.name!r}) is in force from {line.first} on, at midnight in {policy.timezone}")
    typer.echo("until then what is in force now applies; calls that run at that moment keep it to their end")
    if fixed:
        typer.echo(f"nobody is asked on {days}: what fixes the draw of these days was known before")


def checked_day(text: str) -> date:
    """The day of this name; ConfigError for what is no day."""
    period = parse_period(text)
    if period.first != period.last:
        raise ConfigError(f"--from: expected a day such as 2026-11-26, found {text!r}")
    return period.first
