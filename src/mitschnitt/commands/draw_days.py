"""`mitschnitt draw days`: which days can draw, and whose act is missing. Shows no value."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import typer

from mitschnitt.commands.door_client import Door

READY = "ready: calls of this day are drawn"
FIXED = "nobody is asked: values were told under another policy before this one was activated"


def run(directory: Path, *, as_json: bool) -> None:
    """Today and the days ahead, a line each."""
    days = Door(directory).get("/draw/days")["days"]
    if as_json:
        typer.echo(json.dumps({"days": days}))
        return
    for item in days:
        typer.echo(f"{item['day']}  {_state(item)}")
    if not days:
        typer.echo("no policy is in force, today or in the week to come: nobody is asked")
    elif any(item["rule"] for item in days):
        typer.echo("a missing value means nobody is asked")


def _state(item: dict[str, Any]) -> str:
    rule = item["rule"]
    if not rule:
        return READY
    if rule == "draw.day.fixed":
        return FIXED
    if rule.startswith("clock."):
        return f"nobody is asked: this machine's clock is not trusted [{rule}]"
    return f"missing: {', '.join(item['missing']) or 'its record'}"
