"""Pages for the persons concerned: of every call the same pages, of one size, each sealed to one person or to nobody.

Derives the keys that open them: the caller's from the receipt code, an agent's from the key that signs the agent's own
acts. What a page says is not decided here; its length must never tell one outcome from another.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from mitschnitt.errors import Damaged, VaultError
from mitschnitt.vault.envelope import ENVELOPE_OVERHEAD, PUBLIC_KEY_BYTES, open_with, pad, seal_to, unpad

PAGE_BYTES = 1_024  # plaintext, padded: a draw, two questions and four acts take some 700
ENVELOPE_BYTES = PAGE_BYTES + ENVELOPE_OVERHEAD
READERS: Mapping[str, int] = {"caller": 1, "agent": 3}  # envelopes of a page: an agent, and two to whom it was handed
FIELD = (1 << 255) - 19  # of Curve25519 (RFC 7748, 4.1)
CODE_INFO = b"mitschnitt/v1/page/caller"
SEED_BYTES = 32  # of an Ed25519 private key


def page_size(person: str) -> int:
    """Bytes of a sealed page of this person, whatever it says and whoever can open it."""
    return READERS[person] * ENVELOPE_BYTES


def key_of_code(symbols: str) -> bytes:
    """The X25519 private key behind the 20 symbols of a receipt code (HKDF-SHA-256, RFC 5869)."""
    derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=CODE_INFO).derive(symbols.encode("ascii"))
    return bytes(derived)


def public_of(private_key: bytes) -> bytes:
    """The public half of an X25519 private key."""
    return X25519PrivateKey.from_private_bytes(private_key).public_key().public_bytes_raw()


def key_of_signer(seed: bytes) -> bytes:
    """The X25519 private key of whoever signs with this Ed25519 seed (RFC 8032, 5.1.5, steps 1 and 2)."""
    if len(seed) != SEED_BYTES:
        raise VaultError(f"an Ed25519 private key has {SEED_BYTES} bytes, got {len(seed)}")
    scalar = bytearray(hashlib.sha512(seed).digest()[:32])
    scalar[0] &= 248
    scalar[31] = scalar[31] & 127 | 64
    return bytes(scalar)


def public_of_signer(public_key: bytes) -> bytes:
    """The X25519 public key that belongs to an Ed25519 one: u = (1 + y) / (1 - y) (RFC 7748, 4.1).

    VaultError for what is none: another length, y outside of the field, or the point that has no u.
    """
    if len(public_key) != PUBLIC_KEY_BYTES:
        raise VaultError(f"an Ed25519 public key has {PUBLIC_KEY_BYTES} bytes, got {len(public_key)}")
    y = int.from_bytes(public_key, "little") & ((1 << 255) - 1)
    if y >= FIELD or y == 1:
        raise VaultError("this Ed25519 public key is no point that an X25519 key belongs to")
    u = (1 + y) * pow(1 - y, -1, FIELD) % FIELD
    return u.to_bytes(PUBLIC_KEY_BYTES, "little")


def seal_page(person: str, call: str, readers: Sequence[bytes], told: Mapping[str, Any]) -> bytes:
    """What is told, once for each of `readers` (X25519 public keys); envelopes that are left over open for nobody.

    A key that seals nothing is left out, and so are readers beyond READERS. VaultError for what does not fit a page.
    """
    page = pad(json.dumps(dict(told), sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode(), PAGE_BYTES)
    sealed = [_envelope(reader, page, person, call) for reader in readers[: READERS[person]]]
    sealed += [_envelope(b"", page, person, call) for _ in range(READERS[person] - len(sealed))]
    return b"".join(sealed)


def seal_for_nobody(person: str, call: str) -> bytes:
    """A page of this person that says nothing and opens with no key that anybody has."""
    return seal_page(person, call, (), {})


def open_page(private_key: bytes, person: str, call: str, sealed: bytes) -> dict[str, Any]:
    """What a page says to the holder of this key. Damaged when it is somebody else's, or of another size."""
    if len(sealed) != page_size(person):
        raise Damaged(f"a sealed page has {page_size(person)} bytes, got {len(sealed)}")
    for start in range(0, len(sealed), ENVELOPE_BYTES):
        try:
            page = open_with(private_key, sealed[start : start + ENVELOPE_BYTES], context=_context(person, call))
        except Damaged:
            continue
        opened: dict[str, Any] = json.loads(unpad(page))
        return opened
    raise Damaged("the page does not open: another key, or another call")


def _envelope(reader: bytes, page: bytes, person: str, call: str) -> bytes:
    # Sealed all the same where there is no reader: bytes that are merely random could be told from an envelope.
    try:
        return seal_to(reader or _nobody(), page, context=_context(person, call))
    except VaultError:
        return seal_to(_nobody(), page, context=_context(person, call))


@functools.cache
def _nobody() -> bytes:
    """A public key whose private half is forgotten at once; one for the life of the process."""
    return X25519PrivateKey.generate().public_key().public_bytes_raw()


def _context(person: str, call: str) -> bytes:
    return f"mitschnitt/v1/page/{person}/{call}".encode()
