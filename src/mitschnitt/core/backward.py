"""The backward draw: some of the calls that are lawfully kept of a closed period, by the smallest tickets.

First the whole population is fixed and published as a root and counts, later comes the beacon. A call that is gone
makes way for the next ticket and for nothing else. Reckons only; what is gone is an argument.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from mitschnitt.errors import NotAllowed

DOMAIN = b"mitschnitt/v1/backward".ljust(32, b"\0")  # before every ticket: no ticket of a day's draw can be one
ROOT_DOMAIN = b"mitschnitt/v1/backward/population|"
KEY_DOMAIN = "mitschnitt/v1/backward|"
SUBJECT = "backward-"  # what roles commit to is named so, with the period behind it
ID_BYTES = 16  # two alike among a million calls once in 10^26 periods


@dataclass(frozen=True, slots=True)
class Candidate:
    """A kept call of the period, under an id that names it to nobody else, and the stratum that it is drawn in."""

    id: bytes
    stratum: str


def backward_key(secret: bytes, period: str) -> bytes:
    """The salt of a period's ids: 32 bytes that only the keeper can reckon."""
    return hmac.digest(secret, (KEY_DOMAIN + period).encode("ascii"), "sha256")


def candidate_id(key: bytes, call_id: str) -> bytes:
    """The salted id of a call."""
    return hmac.digest(key, call_id.encode("ascii"), "sha256")[:ID_BYTES]


def population_root(candidates: Iterable[Candidate]) -> bytes:
    """SHA-256 over ids and strata, sorted by id. NotAllowed(`draw.backward.empty`) for nobody."""
    ordered = sorted(candidates, key=lambda item: item.id)
    if not ordered:
        raise NotAllowed("draw.backward.empty", "no kept call is left of this period")
    digest = hashlib.sha256(ROOT_DOMAIN)
    for item in ordered:
        name = item.stratum.encode("utf-8")
        digest.update(item.id + len(name).to_bytes(2, "big") + name)
    return digest.digest()


def backward_ticket(record: bytes, beacon: bytes, identifier: bytes) -> bytes:
    """The ticket of a call, 32 bytes to be read big-endian; `record` is the hash of what was published first."""
    return hashlib.sha256(DOMAIN + record + beacon + identifier).digest()


def picks(
    candidates: Iterable[Candidate], *, record: bytes, beacon: bytes, take: int, gone: Collection[bytes]
) -> Mapping[str, tuple[bytes, ...]]:
    """By stratum the `take` smallest tickets of those that are still there, smallest first; fewer where fewer are."""
    by_stratum: dict[str, list[tuple[bytes, bytes]]] = {}
    for item in candidates:
        tickets = by_stratum.setdefault(item.stratum, [])
        if item.id not in gone:
            tickets.append((backward_ticket(record, beacon, item.id), item.id))
    return {name: tuple(found for _, found in sorted(tickets)[:take]) for name, tickets in sorted(by_stratum.items())}
