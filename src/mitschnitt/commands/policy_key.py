"""`mitschnitt policy key`: a key for officer, works council or operator. Shows no private half and no password."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from mitschnitt.commands.passwords import role_password
from mitschnitt.keeper.role_keys import checked_signer, fingerprint, make_key


def run(directory: Path, role: str, *, out: Path, password_file: Path | None, replace: bool, as_json: bool) -> None:
    """Make the key and enrol its public half, or say what is in the way (ConfigError) and change nothing."""
    password = role_password(checked_signer(role), file=password_file, again=True)
    public = make_key(directory, role, out, password, replace=replace)
    if as_json:
        typer.echo(json.dumps({"role": role, "private_key": str(out), "fingerprint": fingerprint(public)}))
        return
    typer.echo(f"made {out}: the {role}'s private key, under the password")
    typer.echo(f"keep both where only the {role} reaches them; nothing on this machine needs them")
    typer.echo(f"enrolled for {role}: {fingerprint(public)}")
    typer.echo("compare this fingerprint with the one that `mitschnitt policy show` prints, now and later")
    if replace:
        typer.echo(f"what the {role}'s former key signed counts no longer; sign the policies that are still to apply")
