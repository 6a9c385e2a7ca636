"""Writes tests/vectors/beacon/days.json: keys, commitments and beacons of days, by another hash library.

Shares no code with mitschnitt. Run: python tests/second/make_beacon_vectors.py
"""

from __future__ import annotations

import json
from pathlib import Path

from Crypto.Hash import HMAC, SHA256

VECTORS = Path(__file__).parent.parent / "vectors" / "beacon"
ROUNDS = Path(__file__).parent.parent / "vectors" / "drand" / "quicknet.json"
SECRET = bytes(range(32))
DAYS = ("2026-11-26", "2026-11-27", "2028-02-29")


def sha256(data: bytes) -> bytes:
    return SHA256.new(data).digest()


def value_of(day: str, role: str) -> bytes:
    """Any 32 bytes; the product draws them at random."""
    return sha256(f"a value of {role} for {day}".encode())


def day_vector(day: str) -> dict[str, object]:
    values = {role: value_of(day, role) for role in ("council", "officer", "operator")}
    key = HMAC.new(SECRET, b"mitschnitt/v1/day|" + day.encode(), SHA256).digest()
    in_order = values["council"] + values["officer"] + values["operator"]
    return {
        "day": day,
        "day_key": key.hex(),
        "key_sha256": sha256(key).hex(),
        "values": {role: value.hex() for role, value in values.items()},
        "commitments": {
            role: sha256(b"mitschnitt/v1/beacon/value|" + f"{day}|{role}|".encode() + value).hex()
            for role, value in values.items()
        },
        "beacon": sha256(b"mitschnitt/v1/beacon/commit|" + day.encode() + b"|" + in_order).hex(),
    }


def round_vector(number: int, signature: bytes) -> dict[str, object]:
    beacon = sha256(b"mitschnitt/v1/beacon/drand|" + number.to_bytes(8, "big") + signature)
    return {"round": number, "signature": signature.hex(), "beacon": beacon.hex()}


def main() -> None:
    rounds = json.loads(ROUNDS.read_text())["rounds"]
    whole = {
        "secret": SECRET.hex(),
        "days": [day_vector(day) for day in DAYS],
        "rounds": [round_vector(item["round"], bytes.fromhex(item["signature"])) for item in rounds],
    }
    VECTORS.mkdir(exist_ok=True)
    (VECTORS / "days.json").write_text(json.dumps(whole, indent=1) + "\n")


if __name__ == "__main__":
    main()
