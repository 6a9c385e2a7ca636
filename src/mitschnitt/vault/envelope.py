"""Envelopes that only the officer opens: HPKE (RFC 9180) to an X25519 key, and padding to a fixed size.

HKDF-SHA256, AES-256-GCM, base mode: it says nothing about who sealed. The length of an envelope shows
the length of its content, so whoever seals pads first; this file never decides to which size.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from mitschnitt.errors import Damaged, VaultError

PUBLIC_KEY_BYTES = 32  # X25519
PRIVATE_KEY_BYTES = 32
ENVELOPE_OVERHEAD = 48  # encapsulated key 32, tag 16
PAD_MARK = b"\x80"  # ends the content; only zeros follow (ISO/IEC 7816-4), so content may end in zeros

SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


def seal_to(public_key: bytes, plaintext: bytes, *, context: bytes) -> bytes:
    """An envelope of `len(plaintext) + 48` bytes, another one each time; `context` must be known to open it.

    Raises VaultError for what is not a usable X25519 public key.
    """
    if len(public_key) != PUBLIC_KEY_BYTES:
        raise VaultError(f"an X25519 public key has {PUBLIC_KEY_BYTES} bytes, got {len(public_key)}")
    try:
        return SUITE.encrypt(plaintext, X25519PublicKey.from_public_bytes(public_key), context)
    except ValueError:  # a point of small order: everybody could open what is sealed to it
        raise VaultError("this X25519 public key is of small order and seals nothing") from None


def open_with(private_key: bytes, sealed: bytes, *, context: bytes) -> bytes:
    """The plaintext; Damaged when key, context or a byte is another, VaultError for a key of wrong length."""
    if len(private_key) != PRIVATE_KEY_BYTES:
        raise VaultError(f"an X25519 private key has {PRIVATE_KEY_BYTES} bytes, got {len(private_key)}")
    if len(sealed) < ENVELOPE_OVERHEAD:
        raise Damaged(f"an envelope has at least {ENVELOPE_OVERHEAD} bytes, got {len(sealed)}")
    try:
        return SUITE.decrypt(sealed, X25519PrivateKey.from_private_bytes(private_key), context)
    except (InvalidTag, ValueError):
        raise Damaged("the envelope does not open: another key, context or content") from None


def pad(plaintext: bytes, size: int) -> bytes:
    """`plaintext` made `size` bytes long; VaultError when it does not leave the one byte that ends it."""
    if len(plaintext) >= size:
        raise VaultError(f"{size} bytes of padding hold at most {size - 1}, got {len(plaintext)}")
    return (plaintext + PAD_MARK).ljust(size, b"\x00")


def unpad(padded: bytes) -> bytes:
    """The inverse of `pad`; Damaged when no mark ends the content."""
    content = padded.rstrip(b"\x00")
    if not content.endswith(PAD_MARK):
        raise Damaged("padded content ends with 0x80 and zeros; this does not")
    return content[: -len(PAD_MARK)]
