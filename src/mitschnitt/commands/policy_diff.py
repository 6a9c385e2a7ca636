"""`mitschnitt policy diff OLD NEW`: what changes, in words, by whom it concerns. Signed or not; changes nothing."""

from __future__ import annotations

import json
from itertools import groupby
from pathlib import Path

import typer

from mitschnitt.commands.policy_file import read_policy
from mitschnitt.core.policy_diff import differences


def run(old: str, new: str, directory: Path, *, as_json: bool) -> None:
    """Print the changes; ConfigError when one of the two is no policy."""
    before, after = read_policy(old, directory).policy, read_policy(new, directory).policy
    changes = differences(before, after)
    if as_json:
        told = [
            {
                "concerns": change.concern.value,
                "key": change.key,
                "was": change.was or None,
                "becomes": change.becomes or None,
                "sentence": change.sentence,
            }
            for change in changes
        ]
        typer.echo(json.dumps({"old": before.hash, "new": after.hash, "changes": told}))
        return
    typer.echo(f"{before.hash[:8]}… -> {after.hash[:8]}…")
    if not changes:
        typer.echo("nothing that applies to anybody changes")
    for concern, items in groupby(changes, key=lambda change: change.concern):
        typer.echo(f"\n{concern}:")
        for change in items:
            typer.echo(f"  {change.sentence}")
