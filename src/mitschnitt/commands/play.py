"""`mitschnitt play`: one recording, through the one door, into a WAV; each party on a channel of its own."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer

from mitschnitt.commands.call import checked, checked_role
from mitschnitt.commands.door_client import Door
from mitschnitt.errors import ConfigError
from mitschnitt.gateways.wav import Voice, Written, voice_from, write_wav

MAX_PURPOSE_CHARS = 64  # as the keeper's door takes


def run(call: str, directory: Path, *, out: Path, purpose: str, role: str, as_json: bool) -> None:
    """Write the WAV or say which rule refused (NotAllowed). What is wrong here is said before anything is read."""
    checked(call)
    checked_role(role)
    checked_out(out)
    if not 1 <= len(purpose) <= MAX_PURPOSE_CHARS:
        raise ConfigError(f"purpose: expected 1 to {MAX_PURPOSE_CHARS} characters, found {len(purpose)}")
    written = play(Door(directory), call, out, purpose=purpose, role=role)
    if as_json:
        typer.echo(json.dumps({"call": call, "out": str(out), **asdict(written)}))
        return
    typer.echo(f"{out}: {written.seconds:.1f} s, channels {', '.join(written.channels)}")
    if written.undecoded_packets:
        typer.echo(f"{written.undecoded_packets} packets are of a codec that is not decoded: silence in their place")


def checked_out(out: Path) -> None:
    """ConfigError when no new file can come to lie there: who plays must not be logged for nothing."""
    if os.path.lexists(out):
        raise ConfigError(f"play: {out} exists; play never overwrites a file")
    if not out.parent.is_dir():
        raise ConfigError(f"play: {out.parent} is no directory; expected one for {out.name}")
    if not os.access(out.parent, os.W_OK | os.X_OK):
        raise ConfigError(f"play: {out.parent} cannot be written to by this user")


def play(door: Door, call: str, out: Path, *, purpose: str, role: str) -> Written:
    """Read every party of a call through the door and write one WAV."""
    found = door.get(f"/calls/{call}", **{"as": role})
    voices = [_voice(door, call, party, purpose=purpose, role=role) for party in found.get("parties", [])]
    if not voices:
        # Ask anyway: the door's refusal carries the rule, and is logged.
        door.read(f"/calls/{call}/read", _request(0, "timeline", purpose, role, 0, None))
    return write_wav(out, voices)


def _request(party: int, artefact: str, purpose: str, role: str, start: int, stop: int | None) -> dict[str, object]:
    return {"party": party, "artefact": artefact, "purpose": purpose, "role": role, "start": start, "stop": stop}


def _voice(door: Door, call: str, row: Mapping[str, Any], *, purpose: str, role: str) -> Voice:
    path, party = f"/calls/{call}/read", row["party"]

    def fetch(start: int, stop: int) -> bytes:
        return door.read(path, _request(party, "media", purpose, role, start, stop))

    timeline = door.read(path, _request(party, "timeline", purpose, role, 0, None))
    return voice_from(timeline, fetch, role=row["role"])
