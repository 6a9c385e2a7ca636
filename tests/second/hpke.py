"""A second, independent reading of HPKE base mode (RFC 9180), for known answers of the envelope.

X25519 by hand (RFC 7748, section 5), HKDF by hand, AES-GCM of another library. The sender's ephemeral key
is an argument, so that answers repeat; production code never does that. Not constant time: tests only.
"""

from __future__ import annotations

from Crypto.Cipher import AES

from second.cobblestone import hkdf_expand, hkdf_extract

P = 2**255 - 19
KEM_SUITE = b"KEM" + (0x0020).to_bytes(2, "big")  # DHKEM(X25519, HKDF-SHA256)
SUITE = b"HPKE" + bytes.fromhex("002000010002")  # with HKDF-SHA256 and AES-256-GCM


def x25519(scalar: bytes, point: bytes) -> bytes:
    """The Montgomery ladder of RFC 7748, section 5."""
    k = int.from_bytes(scalar, "little")
    k = (k & ~7 & ~(1 << 255)) | (1 << 254)
    x1 = int.from_bytes(point, "little") & ((1 << 255) - 1)
    x2, z2, x3, z3 = 1, 0, x1, 1
    for t in range(254, -1, -1):
        if k >> t & 1:
            (x2, z2), (x3, z3) = _step(x1, x3, z3, x2, z2)[::-1]
        else:
            (x2, z2), (x3, z3) = _step(x1, x2, z2, x3, z3)
    return (x2 * pow(z2, P - 2, P) % P).to_bytes(32, "little")


def _step(x1: int, x2: int, z2: int, x3: int, z3: int) -> tuple[tuple[int, int], tuple[int, int]]:
    a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
    aa, bb, da, cb = a * a % P, b * b % P, d * a % P, c * b % P
    e = aa - bb
    doubled = (aa * bb % P, e * (aa + 121665 * e) % P)
    added = ((da + cb) ** 2 % P, x1 * (da - cb) ** 2 % P)
    return doubled, added


def public_key(private: bytes) -> bytes:
    """The public half of an X25519 key."""
    return x25519(private, (9).to_bytes(32, "little"))


def _extract(suite: bytes, salt: bytes, label: bytes, key: bytes) -> bytes:
    return hkdf_extract("sha256", salt, b"HPKE-v1" + suite + label + key)


def _expand(suite: bytes, key: bytes, label: bytes, info: bytes, length: int) -> bytes:
    return hkdf_expand("sha256", key, length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info, length)


def seal(public: bytes, ephemeral: bytes, info: bytes, plaintext: bytes) -> bytes:
    """enc || ciphertext of one message, empty AAD (RFC 9180, sections 4.1, 5.1, 6.1)."""
    enc = public_key(ephemeral)
    shared = _extract(KEM_SUITE, b"", b"eae_prk", x25519(ephemeral, public))
    shared = _expand(KEM_SUITE, shared, b"shared_secret", enc + public, 32)
    schedule = b"\0" + _extract(SUITE, b"", b"psk_id_hash", b"") + _extract(SUITE, b"", b"info_hash", info)
    secret = _extract(SUITE, shared, b"secret", b"")
    key = _expand(SUITE, secret, b"key", schedule, 32)
    nonce = _expand(SUITE, secret, b"base_nonce", schedule, 12)
    ciphertext, tag = AES.new(key, AES.MODE_GCM, nonce=nonce).encrypt_and_digest(plaintext)
    return enc + ciphertext + tag
