"""Makes tests/vectors/pseudonym/names.json with `openssl` for the HMAC and a table of all 65,536 words.

python tests/second/make_pseudonym_vectors.py
"""

from __future__ import annotations

import itertools
import json
import subprocess
from pathlib import Path

# The words in their order, as the proquint paper tells it: consonants b d f g h j k l m n p r s t v z, vowels a i o u.
C, V = tuple("bdfghjklmnprstvz"), tuple("aiou")
WORDS = ["".join(letters) for letters in itertools.product(C, V, C, V, C)]
CASES = [
    (bytes(32), "0" * 26, "jens.albers"),
    (bytes(range(32)), "0" * 26, "jens.albers"),
    (bytes(range(32)), "0" * 25 + "1", "jens.albers"),
    (bytes(range(32)), "7" + "Z" * 25, "nora.feld"),
]


def main() -> None:
    rows = []
    for key, call, agent in CASES:
        told = subprocess.run(
            ["openssl", "dgst", "-sha256", "-mac", "HMAC", "-macopt", f"hexkey:{key.hex()}"],
            input=f"mitschnitt/v1/pseudonym|{call}|{agent}".encode(),
            capture_output=True,
            check=True,
        )
        digest = told.stdout.split()[-1].decode()
        name = "-".join(WORDS[int(digest[at : at + 4], 16)] for at in (0, 4, 8))
        rows.append({"key": key.hex(), "call": call, "agent": agent, "name": name})
    target = Path(__file__).parent.parent / "vectors" / "pseudonym" / "names.json"
    target.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
