"""`mitschnitt draw round`: bring in a round of drand, from a file or from the relay that the configuration names.

Believes nothing: the keeper verifies the signature. Without `drand_url` in [draw], and while no round is awaited, it
opens no connection.
"""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import typer

from mitschnitt.commands.door_client import Door, NotReachable
from mitschnitt.config import load_config
from mitschnitt.errors import ConfigError, MitschnittError
from mitschnitt.proof.drand import MAX_FILE_BYTES, chain_named, read_round

FETCH_SECONDS = 20.0  # a relay answers in one; after that the next try is worth more


def run(directory: Path, *, file: Path | None, fetch: bool, as_json: bool) -> None:
    """Take the round in `file`, or with `fetch` every round that a day waits for: one that fails holds up no other.

    ConfigError for wrong usage, NotAllowed with the rule for a round that is none, NotReachable without a relay; with
    `fetch` what failed first, after all others were taken.
    """
    if (file is None) != fetch:
        raise ConfigError("draw round: expected a file, or --fetch and no file")
    door = Door(directory)
    if file is not None:
        _say(_take(door, _read(file)), as_json=as_json)
        return
    days, failed = _fetch_all(directory, door)
    if days or failed is None:
        _say(days, as_json=as_json)
    if failed is not None:
        raise failed


def _fetch_all(directory: Path, door: Door) -> tuple[list[str], MitschnittError | None]:
    """The days that are fixed now, and what failed first. A draw of the past may wait for a round that no relay has."""
    url = load_config(directory).draw.drand_url.rstrip("/")
    if not url:
        raise ConfigError("draw round: --fetch needs `drand_url` in [draw]; without it nothing is fetched")
    awaited = door.get("/draw/rounds")
    chain = chain_named(awaited["chain"])
    days: list[str] = []
    failed: MitschnittError | None = None
    with httpx.Client(timeout=FETCH_SECONDS, trust_env=False, follow_redirects=False) as client:
        for number in awaited["rounds"]:
            try:
                days += _take(door, _fetch(client, f"{url}/{chain.chain_hash.hex()}/public/{number}"))
            except MitschnittError as error:
                failed = failed or error
    return days, failed


def _take(door: Door, data: bytes) -> list[str]:
    number, signature = read_round(data)
    days: list[str] = door.post("/draw/rounds", {"round": number, "signature": signature.hex()})["days"]
    return days


def _say(days: list[str], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"days": days}))
    elif days:
        typer.echo(f"verified; the draw of {', '.join(days)} is fixed by it")
    else:
        typer.echo("no day waits for a round that is signed by now")


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            return opened.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"draw round: cannot read {file}: {error.strerror}") from error


def _fetch(client: httpx.Client, address: str) -> bytes:
    data = b""
    try:
        with client.stream("GET", address) as answer:
            if answer.status_code != httpx.codes.OK:
                raise NotReachable(f"the relay answered {answer.status_code}, expected 200")
            for piece in answer.iter_bytes():
                data += piece
                if len(data) > MAX_FILE_BYTES:
                    break
    except httpx.HTTPError as error:
        raise NotReachable(f"the relay of drand does not answer ({type(error).__name__})") from error
    return data
