"""Writes tests/vectors/udp/packets.json: IP packets put together by hand from RFC 791, 768, 1071 and 8200.

Shares no code with mitschnitt. Of each packet: its bytes from the IP header on (hex), what is captured of it, whether
somebody vouches for its checksum, and what must come out. Run: python tests/second/make_udp_vectors.py
"""

from __future__ import annotations

import json
import struct
from pathlib import Path

VECTORS = Path(__file__).parent.parent / "vectors"
HERE, THERE, ELSEWHERE = (bytes([10, 0, 0, number]) for number in (1, 2, 3))
HERE6, THERE6, ELSEWHERE6 = (bytes([0xFD] + [0] * 14 + [number]) for number in (1, 2, 3))
VOICE = b"\x80\x08" + bytes(range(170))


def ones_sum(data: bytes) -> int:
    """The checksum of RFC 1071, one pair of bytes after the other."""
    total = 0
    for at in range(0, len(data), 2):
        total += data[at] << 8 | (data[at + 1] if at + 1 < len(data) else 0)
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def datagram(
    payload: bytes, source: bytes, target: bytes, *, length: int | None = None, checksum: int | None = None
) -> bytes:
    size = 8 + len(payload) if length is None else length
    head = struct.pack(">HHHH", 40_000, 10_000, size, 0)
    pseudo = source + target
    pseudo += struct.pack(">BBH", 0, 17, size) if len(source) == 4 else struct.pack(">IHBB", size, 0, 0, 17)
    right = ones_sum(pseudo + head + payload) or 0xFFFF
    return head[:6] + struct.pack(">H", right if checksum is None else checksum) + payload


def ipv4(
    body: bytes,
    *,
    source: bytes = THERE,
    target: bytes = HERE,
    first: int = 0x45,
    fragment: int = 0,
    protocol: int = 17,
    total: int | None = None,
    options: bytes = b"",
) -> bytes:
    size = 20 + len(options) + len(body) if total is None else total
    head = struct.pack(">BBHHHBBH4s4s", first, 0, size, 7, fragment, 64, protocol, 0, source, target)
    return head[:10] + struct.pack(">H", ones_sum(head + options)) + head[12:] + options + body


def ipv6(
    body: bytes, *, source: bytes = THERE6, target: bytes = HERE6, first: int = 0x60, then: int = 17,
    length: int | None = None,
) -> bytes:  # fmt: skip
    size = len(body) if length is None else length
    return struct.pack(">BBHHBB", first, 0, 0, size, then, 64) + source + target + body


U4, U6 = datagram(VOICE, THERE, HERE), datagram(VOICE, THERE6, HERE6)
WRONG4, WRONG6 = datagram(VOICE, THERE, HERE, checksum=0x1234), datagram(VOICE, THERE6, HERE6, checksum=0x1234)
ODD4 = datagram(VOICE[:-1], THERE, HERE)
# Its checksum is computed to 0, which is sent as 0xFFFF: payload chosen so that the sum without it is all ones.
REST4 = struct.pack(">4s4sBBHHHHH", THERE, HERE, 0, 17, 10, 40_000, 10_000, 10, 0)
ZERO4 = datagram(struct.pack(">H", ones_sum(REST4)), THERE, HERE)

PACKETS: dict[str, tuple[bytes, dict[str, object]]] = {
    "sound": (ipv4(U4), {"fault": "SOUND", "length": 172}),
    "of odd length": (ipv4(ODD4), {"fault": "SOUND", "length": 171}),
    "whose checksum comes out as 0": (ipv4(ZERO4), {"fault": "SOUND", "length": 2}),
    "without payload": (ipv4(datagram(b"", THERE, HERE)), {"fault": "SOUND", "length": 0}),
    "with Ethernet's padding behind it": (
        ipv4(datagram(b"ab", THERE, HERE)) + b"\xaa" * 16,
        {"fault": "SOUND", "length": 2},
    ),
    "without a checksum": (ipv4(datagram(VOICE, THERE, HERE, checksum=0)), {"fault": "SOUND", "length": 172}),
    "with a wrong checksum": (ipv4(WRONG4), {"fault": "CHECKSUM"}),
    "with a wrong checksum that somebody vouches for": (
        ipv4(WRONG4),
        {"fault": "SOUND", "length": 172, "vouched": True},
    ),
    "not here whole": (ipv4(U4), {"fault": "SOUND", "length": 172, "captured": 100}),
    "with options": (ipv4(U4, first=0x46, options=b"\x94\x04\0\0"), {"fault": "HEADER"}),
    "of another IP version": (ipv4(U4, first=0x65), {"fault": "HEADER"}),
    "with a header of four words": (ipv4(U4, first=0x44), {"fault": "HEADER"}),
    "the first fragment": (ipv4(U4, fragment=0x2000), {"fault": "FRAGMENT"}),
    "the last fragment": (ipv4(U4, fragment=0x0019), {"fault": "FRAGMENT"}),
    "that must not be fragmented": (ipv4(U4, fragment=0x4000), {"fault": "SOUND", "length": 172}),
    "of TCP": (ipv4(U4, protocol=6), {"fault": "PROTOCOL"}),
    "to somebody else": (ipv4(datagram(VOICE, THERE, ELSEWHERE), target=ELSEWHERE), {"fault": "DESTINATION"}),
    "whose UDP length is longer than IP's": (ipv4(datagram(VOICE, THERE, HERE, length=200)), {"fault": "LENGTH"}),
    "whose UDP length is shorter than its header": (ipv4(datagram(VOICE, THERE, HERE, length=7)), {"fault": "LENGTH"}),
    "whose UDP length is shorter than IP's": (
        ipv4(datagram(VOICE[:100], THERE, HERE) + VOICE[100:]),
        {"fault": "SOUND", "length": 100},
    ),
    "that IP says is longer than what came": (ipv4(U4, total=300), {"fault": "LENGTH"}),
    "that IP says has no room for UDP": (ipv4(U4, total=24), {"fault": "LENGTH"}),
    "that ends within UDP's header": (ipv4(U4), {"fault": "SHORT", "captured": 27}),
    "that ends within IP's header": (ipv4(U4), {"fault": "SHORT", "captured": 12}),
    "of IPv6": (ipv6(U6), {"fault": "SOUND", "length": 172}),
    "of IPv6 with a traffic class": (ipv6(U6, first=0x6B), {"fault": "SOUND", "length": 172}),
    "of IPv6 with a wrong checksum": (ipv6(WRONG6), {"fault": "CHECKSUM"}),
    "of IPv6 without a checksum": (ipv6(datagram(VOICE, THERE6, HERE6, checksum=0)), {"fault": "CHECKSUM"}),
    "of IPv6 with options before UDP": (ipv6(b"\x11\0\1\4\0\0\0\0" + U6, then=0), {"fault": "PROTOCOL"}),
    "of IPv6 in a fragment": (ipv6(b"\x11\0\0\1\0\0\0\7" + U6, then=44), {"fault": "PROTOCOL"}),
    "of IPv6 to somebody else": (
        ipv6(datagram(VOICE, THERE6, ELSEWHERE6), target=ELSEWHERE6),
        {"fault": "DESTINATION"},
    ),
    "of IPv6 whose length is longer than what came": (ipv6(U6, length=400), {"fault": "LENGTH"}),
    "of IPv4 among IPv6": (b"\x45" + ipv6(U6)[1:], {"fault": "HEADER"}),
    "of IPv6 that ends within UDP's header": (ipv6(U6), {"fault": "SHORT", "captured": 47}),
}


def main() -> None:
    (VECTORS / "udp").mkdir(exist_ok=True)
    found = {
        f"a packet {name}": {
            "packet": packet.hex(),
            "captured": len(packet),
            "vouched": False,
            "address": (HERE6 if "IPv6" in name else HERE).hex(),
            **expected,
        }
        for name, (packet, expected) in PACKETS.items()
    }
    (VECTORS / "udp/packets.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
