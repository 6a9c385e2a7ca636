"""`mitschnitt policy sign HASH`: officer or works council sign a policy with their own key. Signs nothing unseen."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from mitschnitt.commands.passwords import role_password
from mitschnitt.errors import NotAllowed
from mitschnitt.keeper.clock import rfc3339, wall_clock
from mitschnitt.keeper.next_step import step_of
from mitschnitt.keeper.policies import Policies
from mitschnitt.keeper.role_keys import checked_signer, load_private, load_public


def run(directory: Path, name: str, role: str, *, key: Path, password_file: Path | None, as_json: bool) -> None:
    """Sign, or say why not (NotAllowed, ConfigError) and change nothing."""
    policies, now = Policies(directory), wall_clock()
    policy = policies.files.named(name).policy
    if checked_signer(role) not in policy.signed_by:
        raise NotAllowed("policy.signer", f"this policy is signed by {', '.join(policy.signed_by)}, not by {role}")
    load_public(directory, role)  # before anybody types a password
    private = load_private(key, role_password(role, file=password_file))
    signature, is_new = policies.signatures.sign(policy, role, private, now=now)
    if as_json:
        typer.echo(json.dumps({"policy": policy.hash, "role": role, "signed_at": rfc3339(signature.at)}))
        return
    done = "signed" if is_new else "had signed"
    typer.echo(f"{role} {done} {policy.hash} ({policy.name!r}) at {rfc3339(signature.at)}")
    typer.echo(f"next: {step_of(policies, policy, directory, now=now)}")
