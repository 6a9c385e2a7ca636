"""Cuts a TCP byte stream into SIP messages by Content-Length (RFC 3261, 18.3; keep-alive: RFC 5626, 3.5.1).

Holds at most one message plus one read. After an error the connection has no sense left: close it.
"""

from __future__ import annotations

import re

from mitschnitt.errors import MalformedPacket, TooLarge
from mitschnitt.wire.sip.message import MAX_HEAD_BYTES, content_length, parse_head

PING = b"\r\n\r\n"  # asks for a sign of life
PONG = b"\r\n"  # the answer to it

# Half a ping, or the one line end that some send as their sign of life: no message has begun with it.
_BETWEEN = (b"\r", b"\r\n", b"\r\n\r")

_HEAD_END = re.compile(rb"\r?\n\r?\n")


class StreamFramer:
    """Feed what arrives; get whole messages. `pings` counts keep-alives that still want their PONG.

    `pongs` counts answers to pings of ours.
    """

    def __init__(self) -> None:
        self.pings = self.pongs = 0
        self._is_pinging = False  # a ping of ours has no answer yet
        self._buffer = bytearray()
        self._searched = 0  # bytes known to hold no end of head: a slow sender costs no quadratic search
        self._total = 0  # length of the message that is arriving, once its head is known

    @property
    def waiting(self) -> int:
        """Bytes of a message that is not complete yet; 0 between messages."""
        return 0 if self._is_between else len(self._buffer)

    @property
    def _is_between(self) -> bool:
        return len(self._buffer) < len(PING) and bytes(self._buffer) in _BETWEEN

    def pinged(self) -> None:
        """A ping of ours has left: the next single line end between messages is its answer."""
        self._is_pinging = True

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
            elif self._is_pinging and self._buffer.startswith(PONG) and not self._buffer.startswith(PONG + b"\r"):
                self._is_pinging = False
                self.pongs += 1
                del self._buffer[: len(PONG)]
            elif self._is_between:
                return  # may be half a ping: harmless in front of the next message
            else:
                del self._buffer[: 2 if self._buffer.startswith(b"\r\n") else 1]
            self._searched = 0

    def _body_length(self, head_end: int) -> int:
        _, headers = parse_head(bytes(self._buffer[:head_end]))
        length = content_length(headers)
        if length is None:
            raise MalformedPacket("a message over TCP has a Content-Length; found none")
        return length
