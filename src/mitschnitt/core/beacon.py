"""The beacon of a day: what fixes its draw, and what nobody may have known when the day's key was fixed.

Three roles commit to values before the day's record is written and tell them after it; or a round of a public beacon
that was signed later does. Fails closed: a day without its whole beacon draws nobody. Checks no signature.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from mitschnitt.errors import NotAllowed

NONE, COMMIT, DRAND = "none", "commit", "drand"  # kinds of beacons, as policies name them
ROLES = ("council", "officer", "operator")  # who commits; in this order, the alphabet's, their values are hashed
VALUE_BYTES = 32  # of a role's value, of a commitment and of a beacon
NO_BEACON = bytes(VALUE_BYTES)  # of days on which everybody is drawn and nothing is left to chance
COMMITMENT_DOMAIN = b"mitschnitt/v1/beacon/value|"
COMMIT_DOMAIN = b"mitschnitt/v1/beacon/commit|"
DRAND_DOMAIN = b"mitschnitt/v1/beacon/drand|"


@dataclass(frozen=True, slots=True)
class Share:
    """What one role gave: the hash of a value, and later the value, told for the record with the hash `record`."""

    role: str
    commitment: bytes
    value: bytes | None = None
    record: bytes | None = None


@dataclass(frozen=True, slots=True)
class DayRecord:
    """What was fixed and published before the beacon: `record` is the SHA-256 of the published bytes."""

    day: str
    kind: str
    record: bytes
    round: int | None = None


def commitment_of(day: str, role: str, value: bytes) -> bytes:
    """SHA-256 over day, role and value: nobody can hand in another role's commitment, or another day's, as the own."""
    return hashlib.sha256(COMMITMENT_DOMAIN + f"{day}|{role}|".encode("ascii") + value).digest()


def check_reveal(record: DayRecord | None, share: Share | None, value: bytes, told_for: bytes) -> None:
    """Nothing, if this value may be taken for the day.

    NotAllowed with `draw.beacon.early` before the day's record, `draw.beacon.record` for another record,
    `draw.beacon.uncommitted` without commitment, `draw.beacon.commitment` for another value.
    """
    if record is None:
        raise NotAllowed("draw.beacon.early", "values are told after the day's record is published; it is not there")
    if told_for != record.record:
        raise NotAllowed("draw.beacon.record", "the value is told for another record of the day than the published one")
    if share is None:
        raise NotAllowed("draw.beacon.uncommitted", "this role has not committed to a value for the day")
    if commitment_of(record.day, share.role, value) != share.commitment:
        raise NotAllowed("draw.beacon.commitment", "the value is not the one that this role committed to")


def beacon_of(record: DayRecord | None, shares: Iterable[Share], signature: bytes | None) -> bytes:
    """32 bytes. `signature` is that of the record's round, verified by whoever took it.

    NotAllowed with `draw.day.missing` without a record, `draw.beacon.missing` while a value or the round is not there,
    and what `check_reveal` raises for a value that does not fit.
    """
    if record is None:
        raise NotAllowed("draw.day.missing", "the day has no record: nobody is asked")
    if record.kind == NONE:
        return NO_BEACON
    if record.kind == DRAND and record.round is not None and signature is not None:
        return drand_beacon(record.round, signature)
    if record.kind == COMMIT:
        return _commit_beacon(record, {share.role: share for share in shares})
    raise NotAllowed("draw.beacon.missing", "the day's round is not there: nobody is asked")


def _commit_beacon(record: DayRecord, shares: dict[str, Share]) -> bytes:
    values = []
    for role in ROLES:
        share = shares.get(role)
        if share is None or share.value is None:
            raise NotAllowed("draw.beacon.missing", f"the value of {role} is missing: nobody is asked")
        check_reveal(record, share, share.value, share.record or b"")
        values.append(share.value)
    return hashlib.sha256(COMMIT_DOMAIN + record.day.encode("ascii") + b"|" + b"".join(values)).digest()


def drand_beacon(number: int, signature: bytes) -> bytes:
    """The beacon that a verified round makes."""
    return hashlib.sha256(DRAND_DOMAIN + number.to_bytes(8, "big") + signature).digest()
