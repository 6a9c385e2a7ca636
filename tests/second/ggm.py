"""A second, independent reading of the key tree, for known answers and cross checks.

State is a flat dictionary {path of bits as text: seed}; punctures walk strings. HMAC by hand (RFC 2104).
Never imports the code that it checks.
"""

from __future__ import annotations

import hashlib

Seeds = dict[str, bytes]


def hmac_sha256(key: bytes, message: bytes) -> bytes:
    """RFC 2104 for keys of at most 64 bytes."""
    block = key.ljust(64, b"\0")
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block) + message).digest()
    return hashlib.sha256(bytes(byte ^ 0x5C for byte in block) + inner).digest()


def path(number: int, depth: int) -> str:
    """The way from the seed to a node, as bits."""
    return format(number, f"0{depth}b") if depth else ""


def descend(seed: bytes, bits: str) -> bytes:
    """The node that lies `bits` below."""
    for bit in bits:
        seed = hmac_sha256(seed, b"mitschnitt/v1/node/" + bit.encode())
    return seed


def derive(seeds: Seeds, target: str) -> bytes | None:
    """The node at `target`, if any seed on the way to it is left."""
    for length in range(len(target) + 1):
        if target[:length] in seeds:
            return descend(seeds[target[:length]], target[length:])
    return None


def puncture(seeds: Seeds, target: str) -> Seeds:
    """Without the node at `target` and all below it: its ancestor falls apart into siblings of the way."""
    left = {at: seed for at, seed in seeds.items() if not at.startswith(target)}
    for length in range(len(target)):
        ancestor = left.pop(target[:length], None)
        if ancestor is None:
            continue
        for depth in range(length, len(target)):
            sibling = target[:depth] + ("1" if target[depth] == "0" else "0")
            left[sibling] = descend(ancestor, sibling[length:])
    return left


def serialise(seeds: Seeds, epoch: int, call_depth: int, leaf_depth: int) -> bytes:
    """The state: header, then the nodes from left to right."""
    out = b"MTKT" + bytes([1, call_depth, leaf_depth, 0]) + epoch.to_bytes(8, "big") + len(seeds).to_bytes(8, "big")
    for at in sorted(seeds):
        out += bytes([len(at)]) + int(at or "0", 2).to_bytes(8, "big") + seeds[at]
    return out
