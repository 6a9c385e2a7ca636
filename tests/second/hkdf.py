"""HKDF-SHA-256 (RFC 5869) in its own words, for one block of output."""

from __future__ import annotations

import hashlib
import hmac


def hkdf_one_block(secret: bytes, info: bytes) -> bytes:
    """The first 32 bytes, without a salt."""
    extracted = hmac.new(bytes(32), secret, hashlib.sha256).digest()
    return hmac.new(extracted, info + b"\x01", hashlib.sha256).digest()
