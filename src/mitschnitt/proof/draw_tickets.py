"""The arithmetic of the draw, reckoned anew: numbers of draws, tickets, thresholds, beacons (docs/draw-lists.md).

Shares no line with what draws. A ticket takes one compression of SHA-256: domain and policy hash are its first block,
which is the same for every draw of a day.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from fractions import Fraction

DOMAIN = b"mitschnitt/v1/draw".ljust(32, b"\0")
BLOCK_BYTES = 64  # of SHA-256
ID_BYTES = 16
SPACE = 1 << 256  # tickets are below it
ZERO_BEACON = bytes(32)
COMMITMENT_DOMAIN = b"mitschnitt/v1/beacon/value|"
COMMIT_DOMAIN = b"mitschnitt/v1/beacon/commit|"
DRAND_DOMAIN = b"mitschnitt/v1/beacon/drand|"


def limit_of(rate: Fraction) -> bytes | None:
    """Tickets below it are drawn: floor(rate * 2^256), big-endian; None when all are (rate 1)."""
    limit = rate.numerator * SPACE // rate.denominator
    return None if limit >= SPACE else limit.to_bytes(32, "big")


def winners(policy_hash: bytes, beacon: bytes, ids: Iterable[bytes], rate: Fraction) -> list[bool]:
    """For each draw_id whether its ticket is below the threshold of this rate."""
    limit = limit_of(rate)
    if limit is None:
        return [True for _ in ids]
    begin = hashlib.sha256(DOMAIN + policy_hash)
    begin.update(beacon)
    copy, found = begin.copy, []
    for draw_id in ids:
        ticket = copy()
        ticket.update(draw_id)
        found.append(ticket.digest() < limit)
    return found


def _pads(key: bytes) -> tuple[hashlib._Hash, hashlib._Hash]:
    padded = key.ljust(BLOCK_BYTES, b"\0")
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in padded))
    return inner, hashlib.sha256(bytes(byte ^ 0x5C for byte in padded))


def draw_ids(day_key: bytes, source: str, numbers: Iterable[int]) -> list[bytes]:
    """draw_id of each number: HMAC-SHA256(day_key, source|n)[:16] (RFC 2104; the key has 32 bytes)."""
    inner, outer = _pads(day_key)
    inner.update(f"{source}|".encode("ascii"))
    within, around, found = inner.copy, outer.copy, []
    for number in numbers:
        message, sealed = within(), around()
        message.update(b"%d" % number)
        sealed.update(message.digest())
        found.append(sealed.digest()[:ID_BYTES])
    return found


def commit_beacon(day: str, values: Mapping[str, bytes]) -> bytes:
    """The beacon of values that were committed to, in alphabetical order of their roles."""
    return hashlib.sha256(
        COMMIT_DOMAIN + day.encode() + b"|" + b"".join(values[role] for role in sorted(values))
    ).digest()


def commitment(day: str, role: str, value: bytes) -> bytes:
    """What a role published before it told its value for this day."""
    return hashlib.sha256(COMMITMENT_DOMAIN + f"{day}|{role}|".encode() + value).digest()


def drand_beacon(round_number: int, signature: bytes) -> bytes:
    """The beacon of a drand round, whose signature is checked elsewhere."""
    return hashlib.sha256(DRAND_DOMAIN + round_number.to_bytes(8, "big") + signature).digest()
