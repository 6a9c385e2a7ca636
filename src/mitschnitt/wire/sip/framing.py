"""Cuts a TCP byte stream into SIP messages by Content-Length (RFC 3261, 18.3; keep-alive: RFC 5626, 3.5.1).

Holds at most one message plus one read. After an error the connection has no sense left: close it.
"""

from __future__ import annotations

import re

from mitschnitt.errors import MalformedPacket, TooLarge
from mitschnitt.wire.sip.message import MAX_HEAD_BYTES, content_length, parse_head

PING = b"\r\n\r\n"  # asks for a sign of life
PONG = b"\r\n"  # the answer to it

_HEAD_END = re.compile(rb"\r?\n\r?\n")


class StreamFramer:
    """Feed what arrives; get whole messages. `pings` counts keep-alives that still want their PONG."""

    def __init__(self) -> None:
        self.pings = 0
        self._buffer = bytearray()
        self._searched = 0  # bytes known to hold no end of head: a slow sender costs no quadratic search
        self._total = 0  # length of the message that is arriving, once its head is known

    @property
    def waiting(self) -> int:
        """Bytes of a message that is not complete yet; 0 between messages."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        """Messages completed by these bytes; raises MalformedPacket or TooLarge when the stream is lost."""
        self._buffer += data
        messages: list[bytes] = []
        while True:
            self._take_keepalives()
            end = _HEAD_END.search(self._buffer, self._searched)
            if not end:
                self._searched = max(0, len(self._buffer) - 3)
                if len(self._buffer) > MAX_HEAD_BYTES:
                    raise TooLarge(f"headers have at most {MAX_HEAD_BYTES} bytes, got {len(self._buffer)}")
                return messages
            if end.start() > MAX_HEAD_BYTES:
                raise TooLarge(f"headers have at most {MAX_HEAD_BYTES} bytes, got {end.start()}")
            if not self._total:
                self._total = end.end() + self._body_length(end.start())
            if len(self._buffer) < self._total:
                self._searched = end.start()
                return messages
            messages.append(bytes(self._buffer[: self._total]))
            del self._buffer[: self._total]
            self._searched = self._total = 0

    def _take_keepalives(self) -> None:
        while self._buffer.startswith(b"\r\n") or self._buffer.startswith(b"\n"):
            if self._buffer.startswith(PING):
                self.pings += 1
                del self._buffer[: len(PING)]
            elif len(self._buffer) < len(PING) and bytes(self._buffer) in (b"\r\n", b"\r\n\r"):
                return  # may be half a ping, or a peer's PONG: harmless in front of the next message
            else:
                del self._buffer[: 2 if self._buffer.startswith(b"\r\n") else 1]
            self._searched = 0

    def _body_length(self, head_end: int) -> int:
        _, headers = parse_head(bytes(self._buffer[:head_end]))
        length = content_length(headers)
        if length is None:
            raise MalformedPacket("a message over TCP has a Content-Length; found none")
        return length
