"""Writes tests/vectors/artefact and tests/vectors/slices with struct, zlib and another AES-GCM.

Shares no code with mitschnitt. Run: python tests/second/make_slice_vectors.py
"""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path

from Crypto.Cipher import AES

VECTORS = Path(__file__).parent.parent / "vectors"
# arrival_ns, rtp_time, step, seq, count, length, payload_type, flags, ssrc, reserved
RUNS = [
    [1_700_000_000_000_000_000, 2**32 - 160, 160, 65535, 2, 5, 8, 1, 0xDEADBEEF, 0],
    [1_700_000_000_250_000_000, 480, 0, 1, 1, 0, 101, 2, 0xDEADBEEF, 0],
]
CALL = bytes(range(16))
KEY = bytes(range(100, 132))  # the journal key of the party, not the leaf


def run(fields: list[int]) -> bytes:
    return struct.pack("<QIIHHHBBII", *fields)


def slice_plain(payload: bytes) -> bytes:
    return struct.pack("<BBH", 1, 1, len(RUNS)) + b"".join(map(run, RUNS)) + payload


def main() -> None:
    artefact, frames = VECTORS / "artefact", VECTORS / "slices"
    artefact.mkdir(exist_ok=True)
    frames.mkdir(exist_ok=True)
    plain = slice_plain(b"helloworld")
    (artefact / "slice.bin").write_bytes(plain)
    what = {"flags": 1, "payload": b"helloworld".hex(), "runs": RUNS}
    (artefact / "slice.json").write_text(json.dumps(what, indent=1) + "\n")

    bits = f"{int(CALL.hex(), 16):0130b}"  # Crockford base 32: 26 digits of 5 bits
    header: dict[str, object] = {
        "call": "".join("0123456789ABCDEFGHJKMNPQRSTVWXYZ"[int(bits[n : n + 5], 2)] for n in range(0, 130, 5)),
        "codecs": {"8": ["PCMA", 8000]},
        "digits": True,
        "ended_at": "2026-11-23T10:03:00.000000Z",
        "octets": 10,
        "packets": 2,
        "party": 1,
        "pauses": [["2026-11-23T10:01:00.000000Z", "2026-11-23T10:02:00.000000Z"]],
        "reason": "ended",
        "started_at": "2026-11-23T10:00:00.000000Z",
        "v": 1,
    }
    text = json.dumps(header, separators=(",", ":"), sort_keys=True).encode()
    timeline = b"MTL1" + struct.pack(">I", len(text)) + text + b"".join(map(run, RUNS))
    (artefact / "timeline.bin").write_bytes(timeline)
    (artefact / "timeline.json").write_text(json.dumps(header, indent=1) + "\n")

    formats = dict(header)
    formats["codecs"] = {"8": ["PCMA", 8000], "10": ["L16", 44100], "97": ["AMR-WB", 16000]}
    formats["formats"] = {"10": [2, ""], "97": [1, "octet-align=1"]}
    text = json.dumps(formats, separators=(",", ":"), sort_keys=True).encode()
    timeline = b"MTL1" + struct.pack(">I", len(text)) + text + b"".join(map(run, RUNS))
    (artefact / "timeline_formats.bin").write_bytes(timeline)
    (artefact / "timeline_formats.json").write_text(json.dumps(formats, indent=1) + "\n")

    header["path"] = {"duplicates": 2, "expected": 9, "injected": 4, "late": 1, "other_sources": 3, "received": 8}
    header["reports"] = [
        ["1700000000100000000", 0xDEADBEEF, "1700000000000000000", 2**32 - 960],
        ["1700000005100000000", 0xDEADBEEF, "-2208988795000000000", 39040],  # a sender without a wall clock
    ]
    text = json.dumps(header, separators=(",", ":"), sort_keys=True).encode()
    timeline = b"MTL1" + struct.pack(">I", len(text)) + text + b"".join(map(run, RUNS))
    (artefact / "timeline_path.bin").write_bytes(timeline)
    (artefact / "timeline_path.json").write_text(json.dumps(header, indent=1) + "\n")

    bodies, rows, offset = b"", b"", 24 + 3 * 32
    for track, number in ((3, 7), (3, 8)):
        cipher = AES.new(KEY, AES.MODE_GCM, nonce=struct.pack("<IQ", track, number))
        sealed = b"".join(cipher.encrypt_and_digest(plain))
        rows += CALL + struct.pack("<HHIII", 1, track, number, offset + len(bodies), len(sealed))
        bodies += sealed
    rows += CALL + struct.pack("<HHIII", 1, 3, 2, 4, 0)  # takes slices 2 to 5 of track 3 back
    length = offset + len(bodies)
    head = b"MSEC" + struct.pack("<HHIIII", 1, 0, length, 3, zlib.crc32(rows), 0)
    (frames / "frame.bin").write_bytes(head + rows + bodies)
    what = {"key": KEY.hex(), "call": CALL.hex(), "party": 1, "track": 3, "slices": [7, 8], "revoked": [2, 4]}
    (frames / "frame.json").write_text(json.dumps(what, indent=1) + "\n")


if __name__ == "__main__":
    main()
