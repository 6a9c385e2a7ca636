"""The seeds of each fuzz target, made of our own vectors: one directory per target, written anew each time.

Imports nothing of the product: what is imported before the fuzzer instruments it is fuzzed blindly.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path

VECTORS = Path(__file__).parents[1] / "vectors"
SIP = VECTORS / "sip"
CUT = b"\xff\xfe"  # as in `targets`

_TO_OURS = (
    b"Via: SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bKt3;rport\r\nFrom: <sip:a@127.0.0.1>;tag=t1\r\n"
    b"To: <sip:b@127.0.0.1>;tag=x\r\nCall-ID: t2@127.0.0.1\r\nCSeq: 1 INVITE\r\nContact: <sip:b@127.0.0.1>\r\n\r\n"
)


def request(method: str, number: int, tag: str = "") -> bytes:
    """A request for the fuzzed agent."""
    to = f"<sip:b@127.0.0.1>{tag and ';tag='}{tag}"
    text = f"""{method} sip:b@127.0.0.1 SIP/2.0
Via: SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bK{number};rport
From: <sip:a@127.0.0.1>;tag=1
To: {to}
Call-ID: raw@127.0.0.1
CSeq: {number} {method}
Contact: <sip:a@127.0.0.1:5070>
Max-Forwards: 70
Content-Length: 0

"""
    return text.replace("\n", "\r\n").encode()


def seeds(target: str) -> Iterator[bytes]:
    """The seeds of one target; `rtp` and whatever has few files gets them made from others."""
    messages = [path.read_bytes() for path in sorted(SIP.rglob("*.sip"))]
    short = [message for message in messages if len(message) < 6_000]
    if target == "sip":
        yield from short
    elif target == "stream":
        yield from short
        yield b"\r\n\r\n" + b"".join(short[:3])
    elif target == "sdp":
        yield from (path.read_bytes() for path in sorted(SIP.rglob("*.sdp")))
    elif target == "metadata":
        yield from (path.read_bytes() for path in sorted(SIP.glob("metadata-*.xml")))
        pair = ["metadata-complete.xml", "metadata-partial-join.xml"]
        yield CUT.join((SIP / name).read_bytes() for name in pair)
    elif target == "multipart":
        yield from _bodies(short)
    elif target == "rtp":
        for path in sorted((VECTORS / "rtp").glob("*.bin")):
            data = path.read_bytes()[:64]
            yield bytes([len(data), 0]) + data.ljust(64, b"\0")
    elif target == "rtcp":
        yield from (path.read_bytes() for path in sorted((VECTORS / "rtcp").glob("*.bin")))
    elif target == "policy":
        yield from _policies()
    elif target in MEDIA_SEEDS:
        yield from MEDIA_SEEDS[target]()
    else:
        yield from _dialogues(short)


def _policies() -> Iterator[bytes]:
    example = (VECTORS.parents[1] / "docs" / "policy.example.toml").read_bytes()
    yield example
    for old, new in (
        (b"tenure_days >= 0", b"queue in ['a', 'b'] || hour % 2 == 0"),
        (b"rate = 0.02", b"rate = 1e-30"),
        (b'roles = ["coach", "officer"]', b"roles = [\n  'coach', # who\n]"),
        (b"[cells]\npeople", b"cells.people"),
    ):
        yield example.replace(old, new)


def _bodies(messages: list[bytes]) -> Iterator[bytes]:
    for message in messages:
        head, _, body = message.partition(b"\r\n\r\n")
        for line in head.split(b"\r\n"):
            if line.lower().startswith((b"content-type: multipart", b"c: multipart")):
                yield line.partition(b":")[2].strip() + b"\n" + body


def _dialogues(messages: list[bytes]) -> Iterator[bytes]:
    for status in (b"180 Ringing", b"200 OK", b"487 Gone", b"491 Later"):
        yield b"\0SIP/2.0 " + status + b"\r\n" + _TO_OURS
    for message in messages:
        yield b"\0" + message
    invite = request("INVITE", 1)
    for method in ("ACK", "BYE", "CANCEL", "UPDATE", "INVITE", "OPTIONS", "INFO"):
        inside = request(method, 2, "t5")
        yield CUT.join((b"\0" + invite, b"\1" + inside, b"\2" + inside))
    yield CUT.join((b"\0" + invite, b"\1" + request("CANCEL", 1), b"\x08" + invite))


def _records(path: Path) -> list[bytes]:
    """What a vector file holds: a length of 2 bytes before each."""
    data, found = path.read_bytes(), []
    while data:
        size = 2 + int.from_bytes(data[:2], "big")
        found.append(data[2:size])
        data = data[size:]
    return found


def _amr() -> Iterator[bytes]:
    for number, name in enumerate(("amr-bits", "amr-octets", "amr-octets-crc", "amr-wb-bits", "amr-wb-octets", "")):
        path = VECTORS / "codecs" / f"{name}.bin"
        yield from (bytes([number]) + packet for packet in (_records(path)[:3] if path.exists() else [b"\xf0\x44"]))


def _opus() -> Iterator[bytes]:
    for path in sorted((VECTORS / "codecs").glob("opus-*.bin")):
        yield CUT.join(_records(path)[:4])


def _red() -> Iterator[bytes]:
    primary, copy = bytes([8]) + bytes(20), bytes([0x88, 0x02, 0x80, 20])
    for payload in (primary, copy + primary + bytes(20), copy * 2 + primary + bytes(40), copy * 9 + primary):
        row = bytes([0x80, 97, 0, 1]) + bytes(8) + payload
        yield (bytes([12, len(payload)]) + row.ljust(64, b"\0")[:64]) * 2


def _udp() -> Iterator[bytes]:
    told = json.loads((VECTORS / "udp" / "packets.json").read_text(encoding="utf-8"))
    for row in told.values():
        packet = bytes.fromhex(row["packet"])
        head = struct.pack("<HHB", min(240, row["captured"]), len(packet), row["vouched"])
        yield bytes([len(row["address"]) > 8]) + head + packet[:240].ljust(240, b"\xee")


def _dtmf() -> Iterator[bytes]:
    for path in sorted((VECTORS / "dtmf").glob("*.bin")):
        rows = [packet for packet in _records(path) if len(packet) >= 16]
        yield b"".join(bytes([1, 0]) + packet[4:8][::-1] + packet[12:16] for packet in rows[:64])


def _timeline() -> Iterator[bytes]:
    for number, path in enumerate(sorted((VECTORS / "timeline").glob("*.bin"))):
        yield bytes([number % 4]) + path.read_bytes()[:4_064]


MEDIA_SEEDS = {"amr": _amr, "opus": _opus, "red": _red, "udp": _udp, "dtmf": _dtmf, "timeline": _timeline}


def write_seeds(target: str, folder: Path) -> Path:
    """The seeds as files in `folder`; returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds(target)):
        (folder / f"seed-{number:03}").write_bytes(seed)
    return folder
