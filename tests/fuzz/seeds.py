"""The seeds of each fuzz target, made of our own vectors: one directory per target, written anew each time.

Imports nothing of the product: what is imported before the fuzzer instruments it is fuzzed blindly.
"""

from __future__ import annotations

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
    else:
        yield from _dialogues(short)


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


def write_seeds(target: str, folder: Path) -> Path:
    """The seeds as files in `folder`; returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds(target)):
        (folder / f"seed-{number:03}").write_bytes(seed)
    return folder
