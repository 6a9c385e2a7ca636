"""Kept calls without telephones: journal, keys, sealed files and rows as a recorder and the keeper leave them.

For measuring play-back only. It writes into a site that nobody serves at the moment, through the real vault.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from mitschnitt.config import Config
from mitschnitt.core.call import decode_call_id
from mitschnitt.keeper.apply import Applier, Holdings
from mitschnitt.keeper.clock import rfc3339
from mitschnitt.keeper.decisions import own_decision
from mitschnitt.vault.artefact import RUN, PartyHeader, PlainSlice
from mitschnitt.vault.blobs import LocalBlobs, make_directories
from mitschnitt.vault.finish import SALT_BYTES, SealedParty, finish_party
from mitschnitt.vault.journal_files import JournalWriter
from mitschnitt.vault.keytree import leaf_key

RECORDER = 1  # whose journal tells of the calls
DRAIN_NS = 250_000_000  # between two drains of a recorder
PACKET_NS = 20_000_000
PACKET_BYTES = 160  # 20 ms of G.711
PAYLOAD_TYPE = 8  # PCMA (RFC 3551, table 4)
CODECS: Mapping[int, tuple[str, int]] = {PAYLOAD_TYPE: ("PCMA", 8_000)}
BEGIN_NS = 1_795_435_200_000_000_000  # of every call: a noon in 2026, so that two runs measure the same bytes
REORDERED, LOST = 0.02, 0.005  # of the packets: a poor network, which makes many runs

Runs = npt.NDArray[Any]


@dataclass(frozen=True)
class Spoken:
    """What came of one party, in the order in which it came."""

    role: str
    slices: Sequence[PlainSlice]
    codecs: Mapping[int, tuple[str, int]] = field(default_factory=lambda: CODECS)
    reason: str = "ended"


def keep_calls(holdings: Holdings, config: Config, calls: Mapping[str, Sequence[Spoken]]) -> None:
    """Seal and book these calls in a site that has none yet."""
    directory = config.journal(RECORDER)
    make_directories(directory)
    journal, blobs = JournalWriter(directory, next_seq=1), LocalBlobs(config.audio)
    block = holdings.leases.lease(RECORDER, "bench", len(calls))
    rules = holdings.policies.in_force(datetime.now(UTC)).policy
    for offset, (call, parties) in enumerate(calls.items()):
        now = rfc3339(datetime.now(UTC))
        told = {"index": block.first + offset, "block": block.number, "policy": rules.hash, "sealed": "AAAA"}
        journal.append(call, "arrived", told, at=now)
        for party, spoken in enumerate(parties):
            data = _track(party, spoken, now)
            journal.append(call, "track", data, at=now)
            made = _sealed(blobs, call, block.nodes[offset], party, spoken, now)
            journal.append(call, "sealed", {**data, **_files(made)}, at=now)
        decision = own_decision(holdings.officer_key, call, outcome="kept", rule="consent.all", policy="")
        journal.append(call, "closed", {"kept": True, "decision": base64.b64encode(decision).decode()}, at=now)
    journal.sync()
    Applier(RECORDER, directory, holdings).drain()


def _track(party: int, spoken: Spoken, now: str) -> dict[str, Any]:
    codecs = {str(number): list(codec) for number, codec in spoken.codecs.items()}
    return {"party": party, "track": party, "role": spoken.role, "codecs": codecs, "started_at": now}


def _sealed(blobs: LocalBlobs, call: str, node: bytes, party: int, spoken: Spoken, now: str) -> SealedParty:
    return finish_party(
        spoken.slices,
        leaf_key=leaf_key(node, party),
        call_id=decode_call_id(call),
        party=party,
        header=PartyHeader(spoken.codecs, now, now, spoken.reason),
        blobs=blobs,
        salts=(secrets.token_bytes(SALT_BYTES), secrets.token_bytes(SALT_BYTES)),
    )


def _files(made: SealedParty) -> dict[str, Any]:
    return {
        "media": {"name": made.media_name, "size": made.media_size, "sha256": made.media_sha256},
        "timeline": {"name": made.timeline_name, "size": made.timeline_size, "sha256": made.timeline_sha256},
        "reason": made.reason,
        "ended_at": made.ended_at,
    }


def spoken_for(seconds: float, *, role: str, party: int) -> Spoken:
    """A party that speaks for so long over a poor network: drains of 250 ms, jitter, reordering, loss."""
    dice = np.random.default_rng(party)
    count = round(seconds * 1e9 / PACKET_NS)
    sent = np.arange(count)
    arrival = sent * PACKET_NS + dice.integers(0, 15_000_000, count)
    arrival[dice.random(count) < REORDERED] += 30_000_000  # behind its successor
    order = np.argsort(arrival, kind="stable")
    order = order[dice.random(count)[order] >= LOST]
    drains = arrival[order] // DRAIN_NS
    cuts = np.flatnonzero(np.diff(drains)) + 1
    pieces = np.split(order, cuts)
    return Spoken(role, [_slice(number, piece, int(arrival[piece[-1]]), party) for number, piece in enumerate(pieces)])


def _slice(number: int, packets: npt.NDArray[np.int64], last_ns: int, party: int) -> PlainSlice:
    """One drain: packets by their numbers, in the order in which they came."""
    cuts = np.flatnonzero(np.diff(packets) != 1) + 1
    first = packets[np.concatenate(([0], cuts))]
    runs = np.zeros(first.size, RUN)
    runs["arrival_ns"] = BEGIN_NS + (last_ns // DRAIN_NS + 1) * DRAIN_NS
    runs["rtp_time"], runs["seq"] = first * PACKET_BYTES & 0xFFFFFFFF, first & 0xFFFF
    runs["count"] = np.diff(np.concatenate(([0], cuts, [packets.size])))
    runs["step"] = np.where(runs["count"] > 1, PACKET_BYTES, 0)
    runs["length"], runs["payload_type"], runs["ssrc"] = PACKET_BYTES, PAYLOAD_TYPE, party + 1
    return PlainSlice(party, number, 0, runs, payload_of(packets, party).tobytes())


def payload_of(packets: npt.NDArray[np.int64], party: int) -> npt.NDArray[np.uint8]:
    """(n, 160) bytes of A-law: no two packets alike, and no two parties."""
    steps = np.arange(PACKET_BYTES)
    return ((packets[:, None] * 37 + steps * (3 + party) + party * 101) % 251).astype(np.uint8)
