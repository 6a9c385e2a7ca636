"""`mitschnitt draw reveal`: a role tells its values, each for the record of the day that it has looked at.

The look is the point: a value is told only when the published record holds the own commitment.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import typer

from mitschnitt.commands.door_client import Door
from mitschnitt.commands.draw_commit import sent
from mitschnitt.commands.draw_values import load_values
from mitschnitt.commands.passwords import role_password
from mitschnitt.core.backward import SUBJECT
from mitschnitt.core.beacon import commitment_of
from mitschnitt.core.periods import Period, parse_period
from mitschnitt.errors import ConfigError, MalformedPacket, NotAllowed
from mitschnitt.keeper.day_acts import sign_reveal
from mitschnitt.keeper.role_keys import checked_signer, load_private


def run(
    directory: Path,
    role: str,
    period: str,
    *,
    key: Path,
    password_file: Path | None,
    values: Path,
    as_json: bool,
) -> None:
    """Tell the values of a day, or of those days of a week or month that wait for them.

    ConfigError when none of them is in the file; NotAllowed with the rule, and then no value was told.
    """
    span = parse_period(period.removeprefix(SUBJECT))
    known = load_values(values, checked_signer(role))
    private = load_private(key, role_password(role, file=password_file))
    door = Door(directory)
    days = [SUBJECT + span.name] if period.startswith(SUBJECT) else _waiting(door, span, role)
    lacking = [day for day in days if day not in known]
    if not days or lacking:
        what = (
            f"no value for {lacking[0]} in {values}" if lacking else f"no day of {period} waits for a value of {role}"
        )
        raise ConfigError(f"reveal: {what}; `mitschnitt draw days` shows what is missing")
    acts = []
    for day in days:
        record = _own_record(door.get(f"/draw/days/{day}"), role, day, known[day])
        acts.append(sign_reveal(private, role=role, day=day, value=known[day], record=record))
    door.post("/draw/reveals", {"acts": sent(acts)})
    if as_json:
        typer.echo(json.dumps({"role": role, "days": days}))
        return
    typer.echo(f"told as {role} for {', '.join(days)}")
    typer.echo("`mitschnitt draw days` shows whether all values of a day are there")


def _waiting(door: Door, span: Period, role: str) -> list[str]:
    """A single day is taken at its word, so that the keeper says what is wrong with it."""
    if span.first == span.last:
        return [span.name]
    standing = door.get("/draw/days")["days"]
    within = {day.isoformat() for day in span.days()}
    return [item["day"] for item in standing if item["day"] in within and f"value of {role}" in item["missing"]]


def _own_record(told: Any, role: str, day: str, value: bytes) -> bytes:
    """The hash of the record, if it is this day's and holds our commitment."""
    try:
        text: str = told["record"]
        record = json.loads(text)
        beacon = record["beacon"]
        committed = beacon["commitments"][role] if beacon["kind"] == "commit" else ""
        found = record["day"] if "day" in record else SUBJECT + record["period"]
    except (ValueError, KeyError, TypeError) as error:
        raise MalformedPacket(f"the keeper told a record of {day} that is none") from error
    if not committed:
        raise NotAllowed("draw.beacon.unasked", f"{day} is not drawn by values of roles ({beacon['kind']})")
    if found != day or committed != commitment_of(day, role, value).hex():
        raise NotAllowed("draw.beacon.commitment", f"the record of {day} does not hold your commitment; tell nobody")
    return hashlib.sha256(text.encode()).digest()
