"""The sealed file: C2SP chunked-encryption as "Cobblestone-256" (AES-256-GCM, HKDF-Expand with SHA-512).

    file = salt (24) || commitment (32) || chunk 0 || chunk 1 || ...     chunk k starts at 56 + k * 16400

Every chunk holds 16 KiB of plaintext, the last one always less (maybe nothing): a file that ends
with a full chunk was cut. Pure: the salt is an argument, bytes come from a `fetch`; no I/O, no clock.
Draft of the specification: C2SP commit 1225032; our own known answers: `tests/vectors/sealed`.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from mitschnitt.errors import Damaged, VaultError
from mitschnitt.vault.derive import KEY_BYTES

INFO_PREFIX = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\x00"  # specification, "Key derivation"
SALT_BYTES = 24  # never twice under one key; the caller draws it
COMMITMENT_BYTES = 32  # only the right key and context derive it; checked before any chunk is opened
HEADER_BYTES = SALT_BYTES + COMMITMENT_BYTES
NONCE_BYTES = 12
CHUNK_BYTES = 16_384  # plaintext of a full chunk
TAG_BYTES = 16
SEALED_CHUNK_BYTES = CHUNK_BYTES + TAG_BYTES
MAX_CHUNKS = 1 << 38  # specification, "Message chunking": 4 PiB, below the wear-out of the key

Bytes = bytes | bytearray | memoryview


class Sealer:
    """Seals one file; `header`, then every `update`, then `finish`, concatenated, are the file.

    One key and salt seal one file: a second Sealer with both the same would repeat nonces.
    """

    def __init__(self, key: bytes, *, salt: bytes, context: bytes) -> None:
        cipher_key, self._base, commitment = _message_keys(key, salt, context)
        self._cipher = AESGCM(cipher_key)
        self._header = salt + commitment
        self._number = 0  # of the next chunk
        self._rest = bytearray()  # plaintext that does not fill a chunk yet
        self._finished = False

    @property
    def header(self) -> bytes:
        """The first 56 bytes of the file."""
        return self._header

    def update(self, data: Bytes) -> bytes:
        """The full chunks that `data` completes, sealed; maybe none. VaultError after `finish`.

        Any size will do; pieces of 64 KiB to 1 MiB are the fastest.
        """
        if self._finished:
            raise VaultError("this file is finished; nothing can be sealed behind its last chunk")
        plain = memoryview(data).cast("B")
        missing = CHUNK_BYTES - len(self._rest)
        if len(plain) < missing:
            self._rest += plain
            return b""
        first = b"".join((self._rest, plain[:missing])) if self._rest else plain[:missing]
        full = 1 + (len(plain) - missing) // CHUNK_BYTES
        sealed = bytearray(full * SEALED_CHUNK_BYTES)
        out = memoryview(sealed)
        self._seal_into(first, out[:SEALED_CHUNK_BYTES])
        for chunk in range(1, full):
            start = missing + (chunk - 1) * CHUNK_BYTES
            at = chunk * SEALED_CHUNK_BYTES
            self._seal_into(plain[start : start + CHUNK_BYTES], out[at : at + SEALED_CHUNK_BYTES])
        self._rest = bytearray(plain[missing + (full - 1) * CHUNK_BYTES :])
        return bytes(sealed)

    def finish(self) -> bytes:
        """The last, short chunk; nothing may follow. VaultError when called twice."""
        if self._finished:
            raise VaultError("this file is finished already")
        self._finished = True
        out = bytearray(len(self._rest) + TAG_BYTES)
        self._seal_into(self._rest, out)
        self._rest = bytearray()
        return bytes(out)

    def _seal_into(self, plain: Bytes, out: bytearray | memoryview) -> None:
        self._cipher.encrypt_into(_nonce(self._base, self._number), plain, None, out)
        self._number += 1


class Opener:
    """Opens chunks of one file, in any order. Damaged when key or context are not the file's."""

    def __init__(self, key: bytes, *, header: Bytes, context: bytes) -> None:
        if len(header) != HEADER_BYTES:
            raise Damaged(f"a sealed file begins with {HEADER_BYTES} bytes of header, got {len(header)}")
        cipher_key, self._base, commitment = _message_keys(key, bytes(header[:SALT_BYTES]), context)
        if not hmac.compare_digest(commitment, bytes(header[SALT_BYTES:])):
            raise Damaged("the key commitment does not match: another key, context or file")
        self._cipher = AESGCM(cipher_key)

    def chunk(self, number: int, ciphertext: Bytes, *, last: bool) -> bytes:
        """The plaintext of chunk `number` (from 0): 16,384 bytes, fewer for the `last` one; else Damaged."""
        sizes = range(TAG_BYTES, SEALED_CHUNK_BYTES) if last else range(SEALED_CHUNK_BYTES, SEALED_CHUNK_BYTES + 1)
        if len(ciphertext) not in sizes:
            found = f"chunk {number} has {len(ciphertext)} bytes"
            raise Damaged(f"{found}, expected {sizes.start} to {sizes.stop - 1}")
        try:
            return self._cipher.decrypt(_nonce(self._base, number), ciphertext, None)
        except InvalidTag:
            raise Damaged(f"chunk {number} fails its tag") from None


def sealed_size(plain: int) -> int:
    """Bytes of the sealed file that holds `plain` bytes."""
    return HEADER_BYTES + plain + TAG_BYTES * (plain // CHUNK_BYTES + 1)


def plain_size(sealed: int) -> int:
    """Bytes of plaintext in a sealed file of `sealed` bytes; Damaged for a size that no whole file has."""
    full, last = divmod(sealed - HEADER_BYTES, SEALED_CHUNK_BYTES)
    if full < 0 or last < TAG_BYTES:
        raise Damaged(f"no whole sealed file has {sealed} bytes: the last chunk is cut or missing")
    return full * CHUNK_BYTES + last - TAG_BYTES


def read_range(opener: Opener, fetch: Callable[[int, int], bytes], *, size: int, start: int, stop: int) -> bytes:
    """Plaintext `[start:stop]`, cut at the end as a slice is; every chunk that it touches is authenticated.

    `size` is the sealed file's size in bytes, `fetch(start, stop)` gives bytes of the sealed file. A range
    that reaches the end authenticates the last chunk, even when that holds no byte of it, so a cut file
    cannot pass as a shorter one. Raises Damaged; VaultError for negative positions.
    """
    if start < 0 or stop < 0:
        raise VaultError(f"positions in a file are 0 or more, got {start} and {stop}")
    plain = plain_size(size)
    last = plain // CHUNK_BYTES  # number of the last chunk
    if start >= stop and stop < plain:
        return b""
    first_wanted = min(start // CHUNK_BYTES, last)
    last_wanted = last if stop >= plain else (stop - 1) // CHUNK_BYTES
    base = HEADER_BYTES + first_wanted * SEALED_CHUNK_BYTES
    end = min(HEADER_BYTES + (last_wanted + 1) * SEALED_CHUNK_BYTES, size)
    sealed = memoryview(fetch(base, end))
    if len(sealed) != end - base:
        raise Damaged(f"the file gave {len(sealed)} bytes from {base} on, expected {end - base}")
    chunks = [
        opener.chunk(number, sealed[at : at + SEALED_CHUNK_BYTES], last=number == last)
        for number, at in zip(
            range(first_wanted, last_wanted + 1), range(0, len(sealed), SEALED_CHUNK_BYTES), strict=True
        )
    ]
    skip = first_wanted * CHUNK_BYTES
    return b"".join(chunks)[max(start - skip, 0) : max(stop - skip, 0)]


def _message_keys(key: bytes, salt: bytes, context: bytes) -> tuple[bytes, int, bytes]:
    """(cipher key, base nonce as a number, commitment) of one file."""
    if len(key) != KEY_BYTES:
        raise VaultError(f"a file key has {KEY_BYTES} bytes, got {len(key)}")
    if len(salt) != SALT_BYTES:
        raise VaultError(f"a salt has {SALT_BYTES} bytes, got {len(salt)}")
    length = KEY_BYTES + NONCE_BYTES + COMMITMENT_BYTES
    derived = HKDFExpand(SHA512(), length, INFO_PREFIX + salt + context).derive(key)
    nonce = derived[KEY_BYTES : KEY_BYTES + NONCE_BYTES]
    return derived[:KEY_BYTES], int.from_bytes(nonce, "big"), derived[KEY_BYTES + NONCE_BYTES :]


def _nonce(base: int, number: int) -> bytes:
    if not 0 <= number < MAX_CHUNKS:
        raise VaultError(f"a file has at most {MAX_CHUNKS} chunks, got number {number}")
    return (base ^ number).to_bytes(NONCE_BYTES, "big")
