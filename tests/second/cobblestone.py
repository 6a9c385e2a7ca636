"""A second, independent reading of the sealed format, for known answers and cross checks.

Written from the C2SP chunked-encryption text (commit 1225032) and RFC 5869 alone: HKDF by hand on hashlib,
AES-GCM of another library, whole messages instead of streams. Never imports the code that it checks.
"""

from __future__ import annotations

import hashlib
import hmac

from Crypto.Cipher import AES

CHUNK = 16 * 1024


class Refused(Exception):  # noqa: N818 - it is what the specification tells an implementation to do
    """The message is not one that the key, salt and context seal."""


def hkdf_extract(hash_name: str, salt: bytes, key: bytes) -> bytes:
    """RFC 5869, section 2.2; an empty salt means as many zero bytes as the hash has."""
    return hmac.new(salt or bytes(hashlib.new(hash_name).digest_size), key, hash_name).digest()


def hkdf_expand(hash_name: str, key: bytes, info: bytes, length: int) -> bytes:
    """RFC 5869, section 2.3: T(n) = HMAC(key, T(n-1) || info || n)."""
    output, block, counter = b"", b"", 1
    while len(output) < length:
        block = hmac.new(key, block + info + bytes([counter]), hash_name).digest()
        output += block
        counter += 1
    return output[:length]


def sub_key(leaf: bytes, kind: str, party: int) -> bytes:
    """The key of an artefact: HKDF-SHA-512, empty salt, 32 bytes."""
    pseudo_random = hkdf_extract("sha512", b"", leaf)
    return hkdf_expand("sha512", pseudo_random, f"mitschnitt/v1/{kind}/{party}".encode(), 32)


def context_of(call: bytes, party: int, kind: str) -> bytes:
    """What a file is bound to."""
    return b"".join([b"mitschnitt/v1/", kind.encode(), b"/", call, bytes(divmod(party, 256))])


def _tuple(key: bytes, salt: bytes, context: bytes) -> tuple[bytes, bytes, bytes]:
    label = b"c2sp.org/chunked-encryption@v1+" + b"AEAD_AES_256_GCM" + b"\0"
    derived = hkdf_expand("sha512", key, label + salt + context, 32 + 12 + 32)
    return derived[:32], derived[32:44], derived[44:]


def _nonce(base: bytes, counter: int) -> bytes:
    wide = counter.to_bytes(12, "big")
    return bytes(a ^ b for a, b in zip(base, wide, strict=True))


def seal(key: bytes, salt: bytes, context: bytes, message: bytes) -> bytes:
    """The whole ciphertext of a whole message."""
    cipher_key, base, commitment = _tuple(key, salt, context)
    pieces = [message[at : at + CHUNK] for at in range(0, len(message), CHUNK)]
    if not pieces or len(pieces[-1]) == CHUNK:
        pieces.append(b"")
    out = [salt, commitment]
    for counter, piece in enumerate(pieces):
        ciphertext, tag = AES.new(cipher_key, AES.MODE_GCM, nonce=_nonce(base, counter)).encrypt_and_digest(piece)
        out += [ciphertext, tag]
    return b"".join(out)


def unseal(key: bytes, context: bytes, sealed: bytes) -> bytes:
    """The whole message; Refused for anything but a whole ciphertext."""
    salt, commitment, body = sealed[:24], sealed[24:56], sealed[56:]
    cipher_key, base, expected = _tuple(key, salt, context)
    if commitment != expected:
        raise Refused("commitment")
    message, counter, ended = [], 0, False
    while not ended:
        piece, body = body[: CHUNK + 16], body[CHUNK + 16 :]
        ended = len(piece) < CHUNK + 16
        if len(piece) < 16:
            raise Refused("truncated")
        cipher = AES.new(cipher_key, AES.MODE_GCM, nonce=_nonce(base, counter))
        try:
            message.append(cipher.decrypt_and_verify(piece[:-16], piece[-16:]))
        except ValueError:
            raise Refused(f"chunk {counter}") from None
        counter += 1
    return b"".join(message)
