"""Rounds of the public beacon drand: which round belongs to a moment, and whether a signature is that round's.

Pure: fetches nothing and knows no clock. Unchained rounds with signatures on G1 (scheme bls-unchained-g1-rfc9380):
the message is SHA-256 of the round's number, hashed to the curve as RFC 9380 says.
"""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from py_arkworks_bls12381 import GT, G1Point, G2Point

from mitschnitt.errors import ConfigError, NotAllowed, TooLarge

SIGNATURE_BYTES = 48  # a compressed point on G1
KEY_BYTES = 96  # a compressed point on G2
MAX_ROUND = (1 << 63) - 1  # rounds stand in 64-bit columns; quicknet reaches it in 10^12 years
MAX_FILE_BYTES = 4_096  # a round as the public relays tell it has some 300
DST = b"BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_NUL_"  # RFC 9380 section 8.8.1, with the tag that drand signs under


@dataclass(frozen=True, slots=True)
class Chain:
    """A network of drand: the first round came at `genesis` (s since 1970), one more every `period` s."""

    name: str
    chain_hash: bytes
    public_key: bytes
    genesis: int
    period: int

    def time_of(self, number: int) -> datetime:
        """When this round (from 1) is signed, in UTC."""
        return datetime.fromtimestamp(self.genesis + (number - 1) * self.period, UTC)

    def first_round(self, at: datetime) -> int:
        """The first round that is signed at this moment or later; 1 for what lies before the chain began."""
        behind = int((at - datetime.fromtimestamp(self.genesis, UTC)).total_seconds() * 1_000_000)
        return max(1, -(-behind // (self.period * 1_000_000)) + 1)


QUICKNET = Chain(
    name="quicknet",
    chain_hash=bytes.fromhex("52db9ba70e0cc0f6eaf7803dd07447a1f5477735fd3f661792ba94600c84e971"),
    public_key=bytes.fromhex(
        "83cf0f2896adee7eb8b5f01fcad3912212c437e0073e911fb90022d3e760183c"
        "8c4b450b6a0a6c3ac6a5776a2d1064510d1fec758c921cc22b0e17e63aaf4bcb"
        "5ed66304de9cf809bd274ca73bab4af5a6e9c76a4bc09e76eae8991ef5ece45a"
    ),
    genesis=1_692_803_367,
    period=3,
)
CHAINS = {QUICKNET.name: QUICKNET}


def chain_named(name: str) -> Chain:
    """The chain that is built in under this name. ConfigError names those that are."""
    try:
        return CHAINS[name]
    except KeyError:
        raise ConfigError(f"drand: chains are {', '.join(CHAINS)}; found {name!r}") from None


def verify_round(chain: Chain, number: int, signature: bytes) -> None:
    """Nothing, if the chain's key signed exactly this round.

    NotAllowed with `draw.round.form` for bytes that are no signature, `draw.round.forged` for one of something else.
    """
    if not 1 <= number <= MAX_ROUND:
        raise NotAllowed("draw.round.form", f"a round is a whole number from 1, found {number}")
    point = _point(signature)
    message = hashlib.sha256(struct.pack(">Q", number)).digest()
    hashed = G1Point.hash_to_curve(message, DST)
    key = G2Point.from_compressed_bytes(chain.public_key)
    # e(signature, generator) = e(H(message), key), as one product that must be 1.
    if not GT.pairing_check([point, hashed], [-G2Point(), key]):
        raise NotAllowed("draw.round.forged", f"the signature is not that of round {number} of {chain.name}")


def _point(signature: bytes) -> G1Point:
    if len(signature) != SIGNATURE_BYTES:
        raise NotAllowed("draw.round.form", f"a signature has {SIGNATURE_BYTES} bytes, found {len(signature)}")
    try:
        point = G1Point.from_compressed_bytes(signature)
    except ValueError:
        raise NotAllowed("draw.round.form", "the signature is no point of the group G1") from None
    if point == G1Point.identity():
        raise NotAllowed("draw.round.form", "the signature is the point at infinity, which nobody's key makes")
    # A second spelling of the same point would be a second beacon of the same round.
    if point.to_compressed_bytes() != signature:
        raise NotAllowed("draw.round.form", "the signature is not in the one form that counts (compressed, reduced)")
    return point


def read_round(data: bytes) -> tuple[int, bytes]:
    """Round and signature from the JSON that public relays tell; not verified yet.

    TooLarge or NotAllowed(`draw.round.form`) for anything else; `randomness` is not read: it follows from the rest.
    """
    if len(data) > MAX_FILE_BYTES:
        raise TooLarge(f"a round of drand has at most {MAX_FILE_BYTES} bytes, found {len(data)}")
    try:
        told: Any = json.loads(data)
        number, signature = told["round"], bytes.fromhex(told["signature"])
    except (ValueError, RecursionError, KeyError, TypeError):
        raise NotAllowed("draw.round.form", 'expected JSON with "round" and "signature" in hex') from None
    if type(number) is not int:
        raise NotAllowed("draw.round.form", f'"round" must be a whole number, found {type(number).__name__}')
    return number, signature
