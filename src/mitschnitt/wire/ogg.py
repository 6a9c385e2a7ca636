"""Ogg pages around Opus packets (RFC 3533, RFC 7845), so that what came by RTP becomes a file as it is.

Pure: bytes in, bytes out, no file. It writes one logical stream; gaps are filled by the caller (`opus.silence`).
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field

from mitschnitt.errors import TooLarge
from mitschnitt.wire import opus

PAGE_HEAD = struct.Struct("<4sBBqIIIB")  # OggS, version, flags, granule, serial, sequence, CRC, segments
CRC_AT = 22  # byte of a page where its CRC stands
FIRST, LAST = 0x02, 0x04  # flags of a page: begins, ends its stream
MAX_SEGMENTS = 255  # of a page, up to 255 bytes each
PAGE_SAMPLES = opus.RATE  # a page is written after 1 s, so that a reader finds its place quickly
VENDOR = b"mitschnitt"
_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def crc(page: bytes) -> int:
    """The checksum of a page whose CRC field is zero (RFC 3533, section 6: polynomial 0x04c11db7, from 0)."""
    # zlib reckons the same polynomial with all bits mirrored, from ones and inverted; both are undone here.
    mirrored = zlib.crc32(page.translate(_MIRRORED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(mirrored.to_bytes(4, "little").translate(_MIRRORED), "big")


@dataclass
class OggOpus:
    """One Opus stream on its way into Ogg: `head` and `tags`, then `add` each packet, then `end`.

    `serial` tells streams of one file apart (32 bits). Several streams go into one file when all heads come first.
    """

    serial: int
    channels: int = 1  # 1 or 2: how a player decodes it, whatever the packets hold (RFC 7845, section 5.1.1)
    pre_skip: int = 0  # samples at 48 kHz that a player drops at the start
    _sequence: int = 0
    _granule: int = 0
    _paged: int = 0  # granule position at the end of the newest page
    _packets: list[bytes] = field(default_factory=list)
    _segments: int = 0

    def head(self) -> bytes:
        """The first page: OpusHead (RFC 7845, section 5.1)."""
        return self._page(
            [struct.pack("<8sBBHIhB", b"OpusHead", 1, self.channels, self.pre_skip, opus.RATE, 0, 0)], FIRST
        )

    def tags(self) -> bytes:
        """The second page: OpusTags (RFC 7845, section 5.2), which name the program and nothing else."""
        return self._page([b"OpusTags" + struct.pack(f"<I{len(VENDOR)}sI", len(VENDOR), VENDOR, 0)], 0)

    def add(self, packet: bytes, samples: int) -> bytes:
        """Pages that the packet completed, often none. `samples` is what it gives at 48 kHz.

        TooLarge for a packet that Opus does not know.
        """
        if len(packet) > opus.MAX_PACKET_BYTES:
            raise TooLarge(f"an Opus packet has at most {opus.MAX_PACKET_BYTES} bytes, got {len(packet)}")
        segments = len(packet) // 255 + 1
        pages = self._flush(0) if self._segments + segments > MAX_SEGMENTS else b""
        self._packets.append(packet)
        self._segments += segments
        self._granule += samples
        if self._granule - self._paged >= PAGE_SAMPLES:
            pages += self._flush(0)
        return pages

    def end(self) -> bytes:
        """The last page, with what is left of the packets, maybe none."""
        return self._flush(LAST)

    def _flush(self, flags: int) -> bytes:
        packets, self._packets, self._segments = self._packets, [], 0
        return self._page(packets, flags)

    def _page(self, packets: list[bytes], flags: int) -> bytes:
        """Whole packets as one page, whose granule position is the end of the last of them."""
        lacing = bytes(size for packet in packets for size in (*[255] * (len(packet) // 255), len(packet) % 255))
        head = PAGE_HEAD.pack(b"OggS", 0, flags, self._granule, self.serial, self._sequence, 0, len(lacing))
        page = head + lacing + b"".join(packets)
        self._sequence += 1
        self._paged = self._granule
        return page[:CRC_AT] + crc(page).to_bytes(4, "little") + page[CRC_AT + 4 :]
