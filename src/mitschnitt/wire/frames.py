"""Frames of `run/keeper.sock`: u32 length, big endian, then one JSON object with a `type` (design section 11).

Bytes in, objects out: opens no socket, knows no message by name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from mitschnitt.errors import MalformedPacket, TooLarge

LENGTH_BYTES = 4  # u32, big endian; counts the body only
MAX_FRAME_BYTES = 1_048_576  # a view of some ten thousand agents; more is a mistake or an attack


def pack_frame(message: Mapping[str, Any]) -> bytes:
    """The bytes of one message. TooLarge above `MAX_FRAME_BYTES`, MalformedPacket without a `type`."""
    if not isinstance(message.get("type"), str):
        raise MalformedPacket("a frame needs a text `type`")
    body = json.dumps(message, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    if len(body) > MAX_FRAME_BYTES:
        raise TooLarge(f"a frame of {len(body)} bytes; at most {MAX_FRAME_BYTES} are sent")
    return len(body).to_bytes(LENGTH_BYTES, "big") + body


def _refuse_constant(name: str) -> Any:
    raise MalformedPacket(f"{name} is no JSON number")


def _message(body: bytes) -> dict[str, Any]:
    try:
        message = json.loads(body.decode(), parse_constant=_refuse_constant)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise MalformedPacket(f"a frame of {len(body)} bytes is not JSON in UTF-8") from error
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise MalformedPacket("a frame must be a JSON object with a text `type`")
    return message


class FrameDecoder:
    """Takes bytes as the socket gives them, gives whole messages. After an error it takes no more."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._broken = False

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """The messages that are complete now. TooLarge or MalformedPacket: the stream is lost, hang up."""
        if self._broken:
            raise MalformedPacket("this stream of frames broke before; its position is lost")
        self._buffer += data
        messages = []
        try:
            while (message := self._next()) is not None:
                messages.append(message)
        except (TooLarge, MalformedPacket):
            self._broken = True
            raise
        return messages

    def _next(self) -> dict[str, Any] | None:
        if len(self._buffer) < LENGTH_BYTES:
            return None
        length = int.from_bytes(self._buffer[:LENGTH_BYTES], "big")
        if length > MAX_FRAME_BYTES:
            raise TooLarge(f"a frame announces {length} bytes; at most {MAX_FRAME_BYTES} are read")
        stop = LENGTH_BYTES + length
        if len(self._buffer) < stop:
            return None
        body = bytes(self._buffer[LENGTH_BYTES:stop])
        del self._buffer[:stop]
        return _message(body)
