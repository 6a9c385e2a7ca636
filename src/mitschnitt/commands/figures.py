"""`mitschnitt figures show MONTH`: what is published of a month: shares of groups with their intervals, in no order."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import typer

from mitschnitt.commands.call import checked_role
from mitschnitt.commands.door_client import Door
from mitschnitt.keeper.cells import checked_month

THE_WHOLE = "the whole"
WHY = (
    "not told alone: fewer than five people or twenty calls, or too few different answers, or it could be told by\n"
    "subtraction. Which of these it is, and by how much, is not said."
)
WHO = (
    "counted are people who were there throughout the month, and of their calls those that were drawn. So that nobody\n"
    "can be told by subtracting one month from another, others may go uncounted beside whoever came or left."
)


def show(month: str, directory: Path, *, role: str, as_json: bool) -> None:
    """All cells of a month, and which groups are not told alone. ConfigError for what is no month."""
    found = Door(directory).get(f"/figures/{checked_month(month)}", **{"as": checked_role(role)})
    if as_json:
        typer.echo(json.dumps(found))
        return
    typer.echo("\n".join([f"{month}: share of drawn calls that were kept", *_told(found["cells"])]))
    if found["not_alone"]:
        typer.echo("\n".join(["", *_merged(found["not_alone"]), WHY]))
    typer.echo(f"\n{WHO}")


def _told(cells: Iterable[Mapping[str, Any]]) -> list[str]:
    rows = [
        (
            cell["group"] or THE_WHOLE,
            f"{cell['calls']:>6}",
            f"{100 * cell['share']:>4.0f} %",
            f"{100 * cell['low']:>3.0f} to {100 * cell['high']:.0f} %",
        )
        for cell in cells
    ]
    if not rows:
        return ["nothing of this month may be told"]
    width = max(len(THE_WHOLE), *(len(row[0]) for row in rows))
    return ["  ".join([name.ljust(width), *rest]) for name, *rest in [("", " calls", " share", "95 % interval"), *rows]]


def _merged(groups: Iterable[Mapping[str, Any]]) -> list[str]:
    return [
        f"{group['group']}: {'in no figure' if group['with'] is None else 'part of ' + (group['with'] or THE_WHOLE)}"
        for group in groups
    ]
