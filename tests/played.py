"""What the door plays of a whole call, for tests: the payload of each party, and what was counted.

A play-back like any other, with its access: there is no second way to hear a call, for tests neither.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mitschnitt.commands.door_client import Door
from mitschnitt.commands.play import opened

LONGEST_NS = 120_000_000_000  # of one answer of the door; calls of tests are shorter


@dataclass(frozen=True)
class Played:
    """One party of a call: its payload in order of time, and what became of its packets."""

    party: int
    role: str
    payload: bytes
    counted: Mapping[str, Any]


def played(door: Door, call: str, *, purpose: str = "training", role: str = "coach") -> list[Played]:
    """Every party by number. NotAllowed with the rule that refuses."""
    with door.kept_open(), opened(door, call, purpose=purpose, role=role) as recording:
        assert recording.duration_ns <= LONGEST_NS, "too long for one answer"
        voices = sorted(recording.voices, key=lambda voice: voice.party)
        counted = recording.counted()
        found = recording.stretches(voices, 0, recording.duration_ns)
        roles = {voice.party: voice.name.partition("-")[0] for voice in voices}
        return [Played(one.party, roles[one.party], bytes(one.payload), counted[str(one.party)]) for one in found]
