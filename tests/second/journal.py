"""A second, independent reading of the event journal's frames, for known answers.

The canonical spelling is made by the standard library for the plain values that the vectors use (ASCII
keys, no fractions), the checksum bit by bit. Never imports the code that it checks.
"""

from __future__ import annotations

import json
from typing import Any


def crc32(data: bytes) -> int:
    """The reflected CRC-32 of IEEE 802.3, bit by bit."""
    register = 0xFFFFFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (0xEDB88320 if register & 1 else 0)
    return register ^ 0xFFFFFFFF


def frame(entry: dict[str, Any]) -> bytes:
    """u32 length, u32 CRC-32, body."""
    body = json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    return len(body).to_bytes(4, "big") + crc32(body).to_bytes(4, "big") + body
