"""`mitschnitt call`: list, show, why, erase. One word for calls that are not kept, whatever the reason."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from mitschnitt.commands.call_ladder import NO_LADDER, draw
from mitschnitt.commands.door_client import Door
from mitschnitt.core.access import ROLES, unknown_role
from mitschnitt.core.call import decode_call_id
from mitschnitt.errors import ConfigError, Damaged, MalformedPacket
from mitschnitt.keeper.ladders import shown_ladders
from mitschnitt.vault.decision import open_decision

TIMES = "{role}, {started_at} to {ended_at} ({reason}), {media_size} bytes"  # to whoever sees times
LENGTH = "{role}, up to {minutes} min ({reason})"


def list_calls(directory: Path, *, role: str, as_json: bool) -> None:
    """All calls that this role may know of."""
    calls = Door(directory).get("/calls", **{"as": checked_role(role)})["calls"]
    if as_json:
        typer.echo(json.dumps(calls))
        return
    for call in calls:
        typer.echo(f"{call['call']}  {call.get('day') or call['month']}  {call['state']}")
    if not calls:
        typer.echo("no calls yet")


def show(call: str, directory: Path, *, role: str, as_json: bool) -> None:
    """One call: its word, and if it is kept its parties, what binds them, purpose and SIP ladders; when it was."""
    found = dict(Door(directory).get(f"/calls/{checked(call)}", **{"as": checked_role(role)}))
    if as_json:
        typer.echo(json.dumps(found))
        return
    ladders = found.pop("ladders", None)
    for party in found.pop("parties", []):
        label = f"party {party['party']}"
        if party.get("pseudonym"):
            label += f", {party['pseudonym']}"  # of an agent, in this call only
        found[label] = (LENGTH if "minutes" in party else TIMES).format_map(party)
        for number, binding in enumerate(party.get("binding") or (), 1):
            told = (f"{name} {json.dumps(value)}" for name, value in binding.items())
            found[f"  binding {number} of {label}"] = ", ".join(told)
    _print_facts(found)
    _print_ladders(ladders)


def why(call: str, directory: Path, *, key: Path, role: str, as_json: bool) -> None:
    """The rule behind a call's outcome, opened with the officer's key."""
    decision = decide(Door(directory), checked(call), load_key(key), role=checked_role(role))
    if as_json:
        typer.echo(json.dumps(decision))
        return
    ladders = decision.pop("ladders", None)
    _print_facts(decision)
    _print_ladders(ladders)


def decide(door: Door, call: str, key: bytes, *, role: str = "officer") -> dict[str, Any]:
    """The opened decision of one call. VaultError when the key is not the officer's."""
    sealed = base64.b64decode(door.get(f"/calls/{checked(call)}/decision", **{"as": role})["decision"])
    try:
        opened = open_decision(key, call, sealed)
    except Damaged as error:
        raise Damaged(f"the decision of {call} does not open with this key; expected the officer's: {error}") from error
    if "ladders" in opened:
        opened["ladders"] = shown_ladders(opened["ladders"])
    return opened


def erase(call: str, directory: Path, *, role: str, as_json: bool) -> None:
    """Puncture, then remove; prints what was reached."""
    done = Door(directory).post(f"/calls/{checked(call)}/erase", {"role": checked_role(role)})
    # The same words for a call that never was kept: an erasure must not tell who agreed.
    typer.echo(json.dumps(done) if as_json else f"{call}: {done['state']}; no key opens it, its files are gone")


def checked(call: str) -> str:
    """The call id as given; ConfigError when it is none."""
    try:
        decode_call_id(call)
    except MalformedPacket as error:
        raise ConfigError(f"call: {error}; found {call!r}") from error
    return call


def checked_role(role: str) -> str:
    """The role as given; ConfigError when there is none of that name. What a role may do, the keeper decides."""
    if role not in ROLES:
        raise ConfigError(unknown_role(role))
    return role


def load_key(path: Path) -> bytes:
    """The raw private key in the officer's file. ConfigError when there is none."""
    try:
        private = load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise ConfigError(f"key: cannot read {path}: {error.strerror}") from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"key: {path} holds no unencrypted private key in PEM form") from error
    if not isinstance(private, X25519PrivateKey):
        raise ConfigError(f"key: {path} holds another kind of key; expected the officer's, X25519")
    return private.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())


def _print_facts(facts: Mapping[str, Any]) -> None:
    for name, value in facts.items():
        typer.echo(f"{name:12} {value if isinstance(value, str | int | float) else json.dumps(value)}")


def _print_ladders(ladders: Sequence[Mapping[str, Any]] | None) -> None:
    """The ladders of a call whose role may see them; None: it may not, or there is nothing to see."""
    if ladders is None:
        return
    if not ladders:
        typer.echo(NO_LADDER)
    for ladder in ladders:
        typer.echo("\n".join(["", *draw(ladder)]))
