"""What a call is called, and who is on its line. Names only: no state, no I/O."""

from __future__ import annotations

from mitschnitt.errors import MalformedPacket

CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # no I, L, O, U: read aloud without mistakes
CALL_ID_BYTES = 16
CALL_ID_CHARS = 26  # 128 bits in base 32, two zero bits on top


def encode_call_id(raw: bytes) -> str:
    """The 26 characters, upper case, by which people and files name a call (Crockford base 32)."""
    if len(raw) != CALL_ID_BYTES:
        raise MalformedPacket(f"a call id has {CALL_ID_BYTES} bytes, got {len(raw)}")
    number = int.from_bytes(raw, "big")
    return "".join(CROCKFORD[(number >> shift) & 31] for shift in range(5 * (CALL_ID_CHARS - 1), -1, -5))


def decode_call_id(text: str) -> bytes:
    """The 16 bytes behind a call id; only the canonical spelling is taken (MalformedPacket otherwise)."""
    if len(text) != CALL_ID_CHARS or any(char not in CROCKFORD for char in text):
        raise MalformedPacket(f"a call id has {CALL_ID_CHARS} characters of {CROCKFORD}")
    number = 0
    for char in text:
        number = number << 5 | CROCKFORD.index(char)
    if number >> (8 * CALL_ID_BYTES):
        raise MalformedPacket("a call id has 128 bits; this one is larger")
    return number.to_bytes(CALL_ID_BYTES, "big")
