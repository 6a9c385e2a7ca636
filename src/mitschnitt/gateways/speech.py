"""The shipped speech: dialogues for the simulated centre, and the questions that are put to callers.

Reads package files only. Whoever changes a text runs `gateways/dialogues/render.py` afterwards.
"""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import dataclass
from importlib import resources
from typing import Any

from mitschnitt.errors import ConfigError

DIALOGUES = resources.files("mitschnitt.gateways") / "dialogues"
PROMPTS = resources.files("mitschnitt.gateways") / "prompts"
BYTES_PER_MS = 8  # A-law at 8 kHz
SIDES = ("caller", "agent")


@dataclass(frozen=True)
class Script:
    """One dialogue as written: who says what, in order, and the voices that speak it."""

    name: str
    queue: str
    voices: dict[str, str]
    turns: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Dialogue:
    """One dialogue as spoken: A-law at 8 kHz; both sides equally long, silent in the other's turns."""

    name: str
    queue: str
    caller: bytes
    agent: bytes

    @property
    def seconds(self) -> float:
        """Length of either side."""
        return len(self.caller) / BYTES_PER_MS / 1000


@dataclass(frozen=True)
class Prompt:
    """A question as it is played, with the digits that answer it; `sha256` is of `audio`, in hex."""

    name: str
    language: str
    voice: str
    yes: str
    no: str
    text: str
    sha256: str
    length_ms: int
    audio: bytes


def scripts() -> tuple[Script, ...]:
    """Every dialogue as written, in the order of the file."""
    found = tomllib.loads((DIALOGUES / "dialogues.toml").read_text(encoding="utf-8"))["dialogue"]
    return tuple(
        Script(
            name=entry["name"],
            queue=entry["queue"],
            voices=dict(entry["voices"]),
            turns=tuple((who, text) for who, text in entry["turns"]),
        )
        for entry in found
    )


def dialogues() -> tuple[Dialogue, ...]:
    """Every dialogue as spoken, in the order of the file."""
    return tuple(
        Dialogue(
            name=script.name,
            queue=script.queue,
            caller=(DIALOGUES / f"{script.name}.caller.pcma").read_bytes(),
            agent=(DIALOGUES / f"{script.name}.agent.pcma").read_bytes(),
        )
        for script in scripts()
    )


def prompt_entries(kind: str = "prompt") -> list[dict[str, Any]]:
    """The entries of `prompts.toml` as they stand: of a `prompt` after the recording, or of a `further` question."""
    entries: list[dict[str, Any]] = tomllib.loads((PROMPTS / "prompts.toml").read_text(encoding="utf-8"))[kind]
    return entries


def prompt(name: str, language: str) -> Prompt:
    """The question in one language; ConfigError when there is none, or its audio is another one."""
    for entry in (*prompt_entries(), *prompt_entries("further")):
        if (entry["name"], entry["language"]) == (name, language):
            audio = (PROMPTS / f"{name}.{language}.pcma").read_bytes()
            found = hashlib.sha256(audio).hexdigest()
            if found != entry["sha256"]:
                raise ConfigError(
                    f"prompt {name}.{language}: the audio has SHA-256 {found}, expected {entry['sha256']}"
                )
            return Prompt(**entry, audio=audio)
    raise ConfigError(f"no prompt {name} in language {language}")
