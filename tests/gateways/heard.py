"""Recordings for tests of play-back: packets said one by one, given as the door gives them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from mitschnitt.errors import MitschnittError
from mitschnitt.gateways.recording import Recording, recording_from
from mitschnitt.keeper.laid_out import LaidOut
from mitschnitt.wire.folded import Even, Folded
from mitschnitt.wire.layout import Layout

MS = 1_000_000
CALL = "0" * 25 + "1"


@dataclass(frozen=True)
class Said:
    """One packet: when it begins and how long it lasts in ms, its payload, and its place among the codings."""

    at: float
    span: float
    payload: bytes
    codec: int = 0


@dataclass(frozen=True)
class Party:
    """What one party said."""

    role: str
    said: Sequence[Said]
    codings: tuple[str, ...] = ("PCMA",)
    reason: str = "ended"
    completeness: dict[str, object] = field(default_factory=dict)


@dataclass
class Door:
    """Answers as the keeper does, and remembers what it was asked."""

    parties: Sequence[Party]
    asked: list[tuple[int, int, Sequence[int], int]] = field(default_factory=list)
    error: MitschnittError | None = None

    def __post_init__(self) -> None:
        self.places = [_places(number, party) for number, party in enumerate(self.parties)]

    def ask(self, start_ns: int, stop_ns: int, parties: Sequence[int], before: int) -> bytes:
        self.asked.append((start_ns, stop_ns, parties, before))
        if self.error is not None:
            raise self.error
        found = []
        for party in parties:
            media = b"".join(one.payload for one in self.parties[party].said)
            found.append(self.places[party].packed(lambda a, b: media[a:b], start_ns, stop_ns, before=before))  # noqa: B023 - called at once
        return b"".join(found)

    def recording(self) -> Recording:
        """As a command gets it."""
        told = {
            "call": CALL,
            "duration_ns": max((one.end_ns for one in self.places), default=0),
            "parties": [
                {
                    "party": number,
                    "role": party.role,
                    "reason": party.reason,
                    "codecs": [
                        [name, sum(one.codec == place for one in party.said)]
                        for place, name in enumerate(party.codings)
                    ],
                }
                for number, party in enumerate(self.parties)
            ],
        }
        return recording_from(told, self.ask, self.counted)

    def counted(self) -> dict[str, dict[str, object]]:
        return {
            str(number): {**party.completeness, "reason": party.reason} for number, party in enumerate(self.parties)
        }


def recording(*parties: Party) -> Recording:
    """A call of these parties."""
    return Door(parties).recording()


def _places(number: int, party: Party) -> LaidOut:
    length = np.array([len(one.payload) for one in party.said], np.int64)
    offset = np.cumsum(length) - length
    order = np.argsort([one.at for one in party.said], kind="stable")
    column = [party.said[n] for n in order]
    rows = Layout(
        0,
        first=np.array([round(one.at * MS) for one in column], np.int64),
        span=np.array([round(one.span * MS) for one in column], np.int64),
        length=length[order],
        codec=np.array([one.codec for one in column], np.int64),
        epoch=np.zeros(len(column), np.int64),
        offset=offset[order],
    )
    return LaidOut(number, Folded(rows, np.ones(len(column), np.int64), Even.of(len(column))))


def g711(count: int, *, seed: int = 0, at: float = 0.0, codec: int = 0) -> list[Said]:
    """So many packets of 20 ms of bytes that do not repeat."""
    dice = np.random.default_rng(seed)
    return [Said(at + 20 * n, 20, dice.integers(0, 256, 160, np.uint8).tobytes(), codec) for n in range(count)]


def payload(said: Sequence[Said]) -> bytes:
    """Of all packets."""
    return b"".join(one.payload for one in said)
