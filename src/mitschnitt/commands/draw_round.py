"""`mitschnitt draw round`: bring in a round of drand, from a file or from the relay that the configuration names.

Believes nothing: the keeper verifies the signature. Without `drand_url` in [draw] it opens no connection.
"""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import typer

from mitschnitt.commands.door_client import Door, NotReachable
from mitschnitt.config import load_config
from mitschnitt.errors import ConfigError
from mitschnitt.proof.drand import MAX_FILE_BYTES, chain_named, read_round

FETCH_SECONDS = 20.0  # a relay answers in one; after that the next try is worth more


def run(directory: Path, *, file: Path | None, fetch: bool, as_json: bool) -> None:
    """Take the round in `file`, or with `fetch` every round that a day waits for.

    ConfigError for wrong usage, NotAllowed with the rule for a round that is none, NotReachable without a relay.
    """
    if (file is None) != fetch:
        raise ConfigError("draw round: expected a file, or --fetch and no file")
    door = Door(directory)
    days: list[str] = []
    for number, signature in _fetched(directory, door) if file is None else [read_round(_read(file))]:
        days += door.post("/draw/rounds", {"round": number, "signature": signature.hex()})["days"]
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


def _fetched(directory: Path, door: Door) -> list[tuple[int, bytes]]:
    url = load_config(directory).draw.drand_url.rstrip("/")
    if not url:
        raise ConfigError("draw round: --fetch needs `drand_url` in [draw]; without it nothing is fetched")
    awaited = door.get("/draw/rounds")
    chain = chain_named(awaited["chain"])
    with httpx.Client(timeout=FETCH_SECONDS, trust_env=False, follow_redirects=False) as client:
        return [
            read_round(_fetch(client, f"{url}/{chain.chain_hash.hex()}/public/{number}"))
            for number in awaited["rounds"]
        ]


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
