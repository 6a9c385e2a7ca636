"""The keeper's end of `run/keeper.sock`: frames in, frames out; one task per recorder.

Decides nothing: every message is one method of the keeper. A frame that is none ends the connection; the
recorder comes again.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mitschnitt.errors import ConfigError, MalformedPacket, MitschnittError, PeerError
from mitschnitt.keeper.announced import refs_from_json
from mitschnitt.keeper.keeper import Keeper
from mitschnitt.wire.frames import FrameDecoder, pack_frame

VIEW_SECONDS = 5.0  # a view that does not come ages at the recorder: 30 s no new grants, 60 s pause
READ_BYTES = 65_536  # one read of the socket
MAX_BOOT_CHARS = 64
MAX_UNSENT_BYTES = 16 * 1_048_576  # a recorder that reads so slowly is not there
MAX_PATH_BYTES = 107  # sun_path of a Unix socket, less its final zero byte

log = logging.getLogger("mitschnitt.keeper")


def bind_private(path: Path) -> socket.socket:
    """A listening Unix socket of mode 0600. ConfigError for a path that is too long for one.

    A left-over socket of a process that died is replaced; `serve` sees to it that there is one keeper only.
    """
    if len(os.fsencode(path)) > MAX_PATH_BYTES:
        raise ConfigError(f"run: {path} is too long for a Unix socket; at most {MAX_PATH_BYTES} bytes")
    path.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        listening.bind(str(path))
    finally:
        os.umask(before)
    listening.listen()
    listening.setblocking(False)
    return listening


class Link:
    """The server. `run` until cancelled."""

    def __init__(self, keeper: Keeper, listening: socket.socket) -> None:
        self._keeper = keeper
        self._listening = listening
        self._connections: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Take recorders, and tell all of them the view every five seconds."""
        server = await asyncio.start_unix_server(self._serve, sock=self._listening)
        async with server:
            while True:
                await asyncio.sleep(VIEW_SECONDS)
                self._keeper.push_view()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Connection(self._keeper, reader, writer)
        try:
            await connection.run()
        except (PeerError, OSError, KeyError, TypeError, ValueError):
            log.exception("a recorder's connection broke; it is closed", extra={"recorder": connection.recorder})
        except MitschnittError:
            log.exception("a recorder's request failed; its connection is closed")
        finally:
            connection.detach()
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


class _Connection:
    """One recorder's connection; `recorder` is 0 until it said hello."""

    def __init__(self, keeper: Keeper, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._keeper = keeper
        self._reader = reader
        self._writer = writer
        self.recorder = 0

    def send(self, message: Mapping[str, Any]) -> None:
        """Queue a frame."""
        if self._writer.is_closing():
            return
        if self._writer.transport.get_write_buffer_size() > MAX_UNSENT_BYTES:
            self._writer.transport.abort()
            return
        self._writer.write(pack_frame(message))

    def detach(self) -> None:
        """The keeper sends no more here."""
        if self.recorder:
            self._keeper.detach(self.recorder, self.send)

    async def run(self) -> None:
        """Until the recorder hangs up. PeerError for what is no frame or comes before hello."""
        decoder = FrameDecoder()
        while data := await self._reader.read(READ_BYTES):
            for message in decoder.feed(data):
                await self._take(message)

    async def _take(self, message: Mapping[str, Any]) -> None:
        kind = message["type"]
        if kind == "hello":
            await self._hello(message)
        elif not self.recorder:
            raise MalformedPacket("the first frame must be `hello`")
        elif kind == "ack":
            self._keeper.acknowledged(self.recorder, int(message["version"]))
        elif kind == "lease":
            block = await self._keeper.lease(self.recorder, int(message["count"]))
            nodes = [base64.b64encode(node).decode() for node in block.nodes]
            self.send({"type": "keys", "block": block.number, "first": block.first, "nodes": nodes})
        elif kind == "arrived":
            joined = self._keeper.join(self.recorder, refs_from_json(message.get("refs")))
            self.send({**joined, "token": message["token"]})
        elif kind == "poke":
            self._keeper.poke(self.recorder)
        elif kind == "watched":
            self._keeper.trial_taken(self.recorder, str(message["token"]))
        elif kind == "findings":
            await self._keeper.trial_told(self.recorder, message)
        elif kind == "draining":
            self._keeper.drain.told(self.recorder, message)
        elif kind == "ended":
            self._keeper.ended(str(message["call"]), message.get("draw"))
        # Anything else is of a newer recorder, and nothing depends on it.

    async def _hello(self, message: Mapping[str, Any]) -> None:
        number, boot, live = message.get("recorder"), message.get("boot"), message.get("live")
        if type(number) is not int or not self._keeper.knows(number):
            raise MalformedPacket("hello names a recorder that is not configured")
        if not isinstance(boot, str) or not 1 <= len(boot) <= MAX_BOOT_CHARS:
            raise MalformedPacket(f"`boot` of hello must be a text of 1 to {MAX_BOOT_CHARS} characters")
        if not isinstance(live, list):
            raise MalformedPacket("`live` of hello must be a list of call ids")
        told = message.get("draws", {})
        if not isinstance(told, Mapping):
            raise MalformedPacket("`draws` of hello must be an object: a draw for each call")
        self.recorder = number
        self._keeper.attach(number, self.send)
        next_seq, facts = await self._keeper.hello(number, boot, [str(call) for call in live], told)
        drawn = await self._keeper.drawn_before(number)
        self.send({"type": "ready", "next_seq": next_seq, "drawn": drawn})
        for fact in facts:
            self.send(fact)
