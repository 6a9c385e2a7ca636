"""`mitschnitt policy propose FILE`: a sound policy is kept under its hash, for others to sign. Activates nothing."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import typer

from mitschnitt.commands.policy_file import read_policy
from mitschnitt.core.policy import Policy
from mitschnitt.core.policy_check import check_policy
from mitschnitt.errors import ConfigError, NotAllowed
from mitschnitt.keeper.clock import wall_clock
from mitschnitt.keeper.next_step import step_of
from mitschnitt.keeper.policies import Policies


def run(directory: Path, file: Path, *, as_json: bool) -> None:
    """Check and keep the file, or say what is wrong with it (ConfigError, NotAllowed) and change nothing."""
    found = read_policy(str(file), directory)
    if any(finding.is_error for finding in check_policy(found.policy)):
        raise NotAllowed("policy.check", f"`mitschnitt policy check {file}` says what speaks against it")
    if not (directory / "config.toml").is_file():
        raise ConfigError(f"policy: {directory} holds no config.toml; `mitschnitt init {directory}` makes a site")
    policies = Policies(directory)
    policies.files.write(found.text.encode())
    tell(policies, found.policy, directory, now=wall_clock(), as_json=as_json)


def tell(policies: Policies, policy: Policy, directory: Path, *, now: datetime, as_json: bool) -> None:
    """The hash, who must sign, and the next command."""
    if as_json:
        typer.echo(json.dumps({"policy": policy.hash, "name": policy.name, "signed_by": list(policy.signed_by)}))
        return
    typer.echo(f"proposed {policy.hash} ({policy.name!r})")
    typer.echo(f"to come into force it needs signatures of {' and '.join(policy.signed_by)}, and activating")
    typer.echo(f"next: {step_of(policies, policy, directory, now=now)}")
