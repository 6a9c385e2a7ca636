"""`mitschnitt play`: one recording, through the one door, into a WAV; each party on a channel of its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from mitschnitt.commands.call import checked
from mitschnitt.commands.door_client import Door
from mitschnitt.errors import ConfigError
from mitschnitt.gateways.wav import Voice, Written, voice_from, write_wav


def run(call: str, directory: Path, *, out: Path, purpose: str, role: str) -> None:
    """Write the WAV or say which rule refused (NotAllowed)."""
    if out.exists():
        raise ConfigError(f"play: {out} exists; play never overwrites a file")
    written = play(Door(directory), checked(call), out, purpose=purpose, role=role)
    typer.echo(f"{out}: {written.seconds:.1f} s, channels {', '.join(written.channels)}")


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
