"""Which key opens what: sub-keys of a call's leaves, the context that binds a file to its place, file names.

Pure: no I/O, no clock, no randomness. It never sees the tree (`keytree`) and never encrypts (`sealed`).
Changing any byte made here makes everything that was kept unreadable; `tests/vectors/derive` pins them.
"""

from __future__ import annotations

from enum import StrEnum

from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from mitschnitt.core.call import CALL_ID_BYTES, encode_call_id
from mitschnitt.errors import VaultError

KEY_BYTES = 32  # AES-256 and every node of the tree
MAX_PARTY = 0xFFFF  # party number, u16 in every format; the tree has leaves for far fewer

PARTY_LEAVES = 12  # leaves 0..11: parties by order of appearance
SHARED_LEAF = 12  # what is made of more than one party (peaks, transcript, clips)
FACTS_LEAF = 13  # numbers, names, acts
LOG_LEAF = 14  # salts of the public log's leaves; leaf 15 is reserved


class Kind(StrEnum):
    """What a sub-key is for; the value is part of the derivation and of file names."""

    MEDIA = "media"
    TIMELINE = "timeline"
    JOURNAL = "journal"
    PEAKS = "peaks"
    FACTS = "facts"
    LEAF = "leaf"


def artefact_key(leaf: bytes, kind: Kind, party: int) -> bytes:
    """The 32-byte key of one artefact (HKDF-SHA-512, empty salt, info `mitschnitt/v1/<kind>/<party>`).

    `leaf` is the 32-byte key of one leaf of the call. Raises VaultError for another length or party.
    """
    if len(leaf) != KEY_BYTES:
        raise VaultError(f"a leaf key has {KEY_BYTES} bytes, got {len(leaf)}")
    info = f"mitschnitt/v1/{kind.value}/{_party(party)}".encode("ascii")
    return HKDF(SHA512(), KEY_BYTES, salt=None, info=info).derive(leaf)


def artefact_context(call_id: bytes, party: int, kind: Kind) -> bytes:
    """What a sealed file is bound to: a file moved to another call, party or kind no longer opens."""
    return b"mitschnitt/v1/" + kind.value.encode("ascii") + b"/" + _call(call_id) + _party(party).to_bytes(2, "big")


def artefact_name(call_id: bytes, party: int, kind: Kind) -> str:
    """The blob's name, `ab/<call>/<party>.<kind>`; `ab` are the first two characters of the call id."""
    return f"{call_prefix(call_id)}{_party(party)}.{kind.value}"


def call_prefix(call_id: bytes) -> str:
    """What the names of all blobs of a call begin with, slash included."""
    call = encode_call_id(_call(call_id))
    return f"{call[:2]}/{call}/"


def _call(call_id: bytes) -> bytes:
    if len(call_id) != CALL_ID_BYTES:
        raise VaultError(f"a call id has {CALL_ID_BYTES} bytes, got {len(call_id)}")
    return call_id


def _party(party: int) -> int:
    if not 0 <= party <= MAX_PARTY:
        raise VaultError(f"a party number is 0 to {MAX_PARTY}, got {party}")
    return party
