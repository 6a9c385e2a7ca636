"""Writes `tests/vectors/{derive,sealed,keytree,journal,envelope}` with the second implementation only.

    python tests/second/make_vectors.py [DIRECTORY]      default: tests/vectors

Deterministic: every byte follows from the names below. A change of a committed vector is a change of format.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from second import cobblestone, ggm, hpke, journal  # noqa: E402 - found by the line above when run as a script

SIZES = (0, 1, 16_383, 16_384, 16_385, 32_768, 40_000)
SMALL = 64  # plaintext bytes up to which the whole ciphertext is written out as hex
CALL = hashlib.sha256(b"mitschnitt vectors: call").digest()[:16]


def stream(name: str, length: int) -> bytes:
    """The first `length` bytes of SHA-256(name || u32 0) || SHA-256(name || u32 1) || ..."""
    blocks = (hashlib.sha256(name.encode() + n.to_bytes(4, "big")).digest() for n in range(length // 32 + 1))
    return b"".join(blocks)[:length]


def derive_files() -> dict[str, Any]:
    """Sub-keys, contexts and names."""
    leaf = stream("derive leaf", 32)
    kinds = ("media", "timeline", "journal", "peaks", "facts", "leaf")
    cases = [
        {
            "kind": kind,
            "party": party,
            "key": cobblestone.sub_key(leaf, kind, party).hex(),
            "context": cobblestone.context_of(CALL, party, kind).hex(),
        }
        for kind in kinds
        for party in (0, 1, 11, 256, 65_535)
    ]
    return {"derive/keys.json": {"leaf": leaf.hex(), "call": CALL.hex(), "cases": cases}}


def sealed_files() -> dict[str, Any]:
    """One file per size; plaintext is `stream(name, size)`."""
    files: dict[str, Any] = {}
    for size in SIZES:
        name = f"sealed {size}"
        key, salt = stream(f"{name} key", 32), stream(f"{name} salt", 24)
        context = cobblestone.context_of(CALL, 1, "media")
        sealed = cobblestone.seal(key, salt, context, stream(name, size))
        files[f"sealed/{size}.json"] = {
            "key": key.hex(),
            "salt": salt.hex(),
            "context": context.hex(),
            "plaintext": {"stream": name, "bytes": size},
            "header": sealed[:56].hex(),
            "sealed_bytes": len(sealed),
            "sealed_sha256": hashlib.sha256(sealed).hexdigest(),
            **({"sealed": sealed.hex()} if size <= SMALL else {"last_tag": sealed[-16:].hex()}),
        }
    return files


def keytree_files() -> dict[str, Any]:
    """Keys of a fresh tree, and states after named punctures at the real depths."""
    seed = stream("tree seed", 32)
    indices = (0, 1, 5, 1_000_000, 2**32 - 1)
    keys = [
        {
            "index": index,
            "call_node": ggm.descend(seed, ggm.path(index, 32)).hex(),
            "leaves": [ggm.descend(seed, ggm.path(index << 4 | leaf, 36)).hex() for leaf in range(16)],
        }
        for index in indices
    ]
    punctures: dict[str, list[list[int]]] = {  # [depth, prefix]
        "nothing": [],
        "one_call": [[32, 5]],
        "one_leaf": [[36, 5 << 4 | 3]],
        "everything": [[0, 0]],
        "mixed": [[32, 1], [36, 7 << 4], [36, 7 << 4 | 15], [22, 3], [32, 2**32 - 1]],
    }
    states = []
    for epoch, (name, cuts) in enumerate(punctures.items()):
        seeds: ggm.Seeds = {"": seed}
        for depth, prefix in cuts:
            seeds = ggm.puncture(seeds, ggm.path(prefix, depth))
        state = ggm.serialise(seeds, epoch, 32, 4)
        states.append({"name": name, "punctured": cuts, "epoch": epoch, "nodes": len(seeds), "state": state.hex()})
    return {
        "keytree/keys.json": {"seed": seed.hex(), "calls": keys},
        "keytree/states.json": {"seed": seed.hex(), "states": states},
    }


def journal_files() -> dict[str, Any]:
    """Three entries as JSON and as the file that holds them, and that file with a torn tail."""
    call = "3M5T0A6ZV4Q9H2W7XKJDR8CBNE"
    at = "2026-03-01T09:00:0{}.000{}00Z"
    entries = [
        {
            "v": 1,
            "seq": 41,
            "at": at.format(0, 1),
            "call": call,
            "type": "arrived",
            "data": {"block": 2, "index": 77, "sealed": "qrvM"},
        },
        {
            "v": 1,
            "seq": 42,
            "at": at.format(1, 2),
            "call": call,
            "type": "track",
            "data": {
                "codecs": {"8": ["PCMA", 8000]},
                "party": 0,
                "started_at": "2026-03-01T09:00:01.000000Z",
                "track": 0,
            },
        },
        {"v": 1, "seq": 43, "at": at.format(2, 3), "call": call, "type": "shred", "data": {"party": None}},
    ]
    frames = [journal.frame(entry) for entry in entries]
    whole = b"".join(frames)
    return {
        "journal/three.json": {
            "entries": entries,
            "ends": [sum(map(len, frames[: n + 1])) for n in range(3)],
        },
        "journal/three.jnl": whole,
        "journal/torn.jnl": whole[:-5],
    }


def envelope_files() -> dict[str, Any]:
    """Envelopes to a fixed key; the plaintext is padded with 0x80 and zeros."""
    private = stream("officer private key", 32)
    public = hpke.public_key(private)
    cases = []
    for name, text, size in (
        ("empty", b"", 16),
        ("short", b"rule: consent.refused", 64),
        ("full", b"x" * 1023, 1024),
    ):
        padded = text + b"\x80" + bytes(size - len(text) - 1)
        context = b"mitschnitt/v1/decision/" + CALL
        sealed = hpke.seal(public, stream(f"ephemeral {name}", 32), context, padded)
        cases.append(
            {
                "name": name,
                "plaintext": text.hex(),
                "padded": size,
                "context": context.hex(),
                "sealed": sealed.hex(),
            }
        )
    return {"envelope/officer.json": {"private_key": private.hex(), "public_key": public.hex(), "cases": cases}}


def all_files() -> dict[str, bytes]:
    """Relative name -> bytes of every vector."""
    files: dict[str, Any] = {}
    for make in (derive_files, sealed_files, keytree_files, journal_files, envelope_files):
        files |= make()
    return {
        name: body if isinstance(body, bytes) else (json.dumps(body, indent=1) + "\n").encode()
        for name, body in files.items()
    }


def main(directory: Path) -> None:
    """Writes all files below `directory`."""
    for name, body in all_files().items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent / "vectors")
