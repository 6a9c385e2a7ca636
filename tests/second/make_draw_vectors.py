"""Writes `tests/vectors/draw/draws.json`: keys, ids, tickets and thresholds of the draw, from hashlib alone.

    python tests/second/make_draw_vectors.py [DIRECTORY]      default: tests/vectors

Knows nothing of the code that it is compared with: HMAC is spelled out from RFC 2104. Deterministic; a change of
the committed file is a change of format.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

BLOCK = 64  # bytes of SHA-256's input block
NUMBERS = [("keeper", 1), ("keeper", 2), ("keeper", 1000), ("recorder-1", 1), ("recorder-12", 4294967295)]
RATES = [("0/1", 0, 1), ("1/1", 1, 1), ("1/2", 1, 2), ("1/3", 1, 3), ("1/50", 1, 50), ("999999/1000000", 999999, 10**6)]


def sha256(data: bytes) -> bytes:
    """SHA-256."""
    return hashlib.sha256(data).digest()


def hmac_sha256(key: bytes, data: bytes) -> bytes:
    """RFC 2104, for keys of at most one block."""
    padded = key + bytes(BLOCK - len(key))
    inner = sha256(bytes(byte ^ 0x36 for byte in padded) + data)
    return sha256(bytes(byte ^ 0x5C for byte in padded) + inner)


def draws() -> dict[str, Any]:
    """One day with its key, a week's tags, a few tickets."""
    secret, policy, beacon = (sha256(b"draw vectors: " + name) for name in (b"secret", b"policy", b"beacon"))
    day, week = "2026-11-26", "2026-W48"
    key = hmac_sha256(secret, b"mitschnitt/v1/day|" + day.encode())
    tags = hmac_sha256(secret, b"mitschnitt/v1/tag|" + week.encode())
    domain = b"mitschnitt/v1/draw" + bytes(14)
    tickets = []
    for source, n in NUMBERS:
        identifier = hmac_sha256(key, f"{source}|{n}".encode())[:16]
        found = sha256(domain + policy + beacon + identifier)
        tickets.append({"source": source, "n": n, "draw_id": identifier.hex(), "ticket": found.hex()})
    return {
        "note": "made by tests/second/make_draw_vectors.py, which imports hashlib and nothing of mitschnitt",
        "secret": secret.hex(),
        "policy_hash": policy.hex(),
        "beacon": beacon.hex(),
        "day": day,
        "day_key": key.hex(),
        "key_sha256": sha256(key).hex(),
        "week": week,
        "tag_key": tags.hex(),
        "tags": {agent: hmac_sha256(tags, agent.encode())[:8].hex() for agent in ("a", "carmen", "agent.0007")},
        "tickets": tickets,
        "thresholds": [{"rate": name, "threshold": f"{(over << 256) // under:065x}"} for name, over, under in RATES],
    }


if __name__ == "__main__":
    directory = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent / "vectors") / "draw"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "draws.json").write_text(json.dumps(draws(), indent=1) + "\n", encoding="utf-8")
