"""`mitschnitt call`: list, show, why, erase. One word for calls that are not kept, whatever the reason."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import typer
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from rich.console import Console
from rich.table import Table

from mitschnitt.commands.door_client import Door
from mitschnitt.core.call import decode_call_id
from mitschnitt.errors import ConfigError, MalformedPacket, VaultError
from mitschnitt.vault.envelope import open_with, unpad


def list_calls(directory: Path, *, role: str, as_json: bool) -> None:
    """All calls that this role may know of."""
    calls = Door(directory).get("/calls", **{"as": role})["calls"]
    if as_json:
        typer.echo(json.dumps(calls))
        return
    table = Table("call", "state", box=None)
    for call in calls:
        table.add_row(call["call"], call["state"])
    Console().print(table)


def show(call: str, directory: Path, *, role: str, as_json: bool) -> None:
    """One call: its word, and if it is kept its parties, purpose and end of retention."""
    found = Door(directory).get(f"/calls/{checked(call)}", **{"as": role})
    if as_json:
        typer.echo(json.dumps(found))
        return
    for key, value in found.items():
        typer.echo(f"{key:12} {value}")


def why(call: str, directory: Path, *, key: Path, role: str, as_json: bool) -> None:
    """The rule behind a call's outcome, opened with the officer's key."""
    decision = decide(Door(directory), call, load_key(key), role=role)
    typer.echo(json.dumps(decision) if as_json else "\n".join(f"{name:12} {value}" for name, value in decision.items()))


def decide(door: Door, call: str, key: bytes, *, role: str = "officer") -> dict[str, Any]:
    """The opened decision of one call. VaultError when the key is not the officer's."""
    sealed = base64.b64decode(door.get(f"/calls/{checked(call)}/decision", **{"as": role})["decision"])
    opened: dict[str, Any] = json.loads(
        unpad(open_with(key, sealed, context=b"mitschnitt/v1/decision/" + call.encode()))
    )
    return opened


def erase(call: str, directory: Path, *, role: str, as_json: bool) -> None:
    """Puncture, then remove; prints what was reached."""
    done = Door(directory).post(f"/calls/{checked(call)}/erase", {"role": role})
    typer.echo(json.dumps(done) if as_json else f"{call}: its key is punctured, its files are removed")


def checked(call: str) -> str:
    """The call id as given; ConfigError when it is none."""
    try:
        decode_call_id(call)
    except MalformedPacket as error:
        raise ConfigError(f"call: {error}; found {call!r}") from error
    return call


def load_key(path: Path) -> bytes:
    """The raw private key in the officer's file."""
    try:
        private = load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise ConfigError(f"key: cannot read {path}: {error.strerror}") from error
    except (ValueError, TypeError) as error:
        raise VaultError(f"key: {path} holds no unencrypted private key in PEM form") from error
    if not isinstance(private, X25519PrivateKey):
        raise VaultError(f"key: {path} holds another kind of key, not X25519")
    return private.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
