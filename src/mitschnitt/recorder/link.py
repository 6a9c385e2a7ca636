"""The recorder's end of `run/keeper.sock`: views and facts come down, leased keys are asked for.

Decides nothing. When the keeper is gone it tries again every half second; calls go on without it.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from mitschnitt.errors import KeyGone, MalformedPacket, MitschnittError, PeerError
from mitschnitt.wire.frames import FrameDecoder, pack_frame

RETRY_SECONDS = 0.5  # between two attempts to reach the keeper
ANSWER_SECONDS = 2.0  # how long an INVITE waits to be joined to an announced call
READ_BYTES = 65_536  # one read of the socket
LOW_WATER = 0.5  # share of a block below which the next one is asked for
NODE_BYTES = 32  # of a call's node in the key tree

Then = Callable[[Mapping[str, Any] | None], None]


@dataclass(frozen=True, slots=True)
class LeasedKey:
    """A fresh call key: the tree index it stands for, and the node that nobody else was given."""

    index: int
    block: int
    node: bytes


class LinkEvents(Protocol):
    """What the recorder does with what comes down."""

    def view_changed(self, data: Mapping[str, Any]) -> None:
        """A `view` frame came; it is to be checked before it is believed."""

    def fact_posted(self, kind: str, data: Mapping[str, Any]) -> None:
        """An `asked`, `act`, `party` or `withdraw` frame for one of our calls came."""

    def trial_wanted(self, data: Mapping[str, Any]) -> None:
        """A `watch` frame came: the next call from a host is a test call, or is one no longer."""

    def drain_wanted(self, within_s: float) -> None:
        """A `drain` frame came: no new calls, and those that run are ended after so many seconds."""

    def drawn_before(self, data: Mapping[str, Any]) -> None:
        """What former lives of this recorder numbered and took, before anything is drawn."""

    def live_draws(self) -> Mapping[str, Mapping[str, Any]]:
        """The draws of these calls; only a keeper that was started anew does not know them."""

    def live_calls(self) -> Sequence[str]:
        """The calls of this recorder, told again after each reconnect."""


class KeeperLink:
    """One connection to the keeper, kept up for the life of the recorder."""

    def __init__(
        self, path: Path, events: LinkEvents, *, recorder: int, boot: str, lease_block: int, on_bad: Callable[[], None]
    ) -> None:
        self._path = path
        self._events = events
        self._recorder = recorder
        self._boot = boot
        self._lease_block = lease_block
        self._on_bad = on_bad
        self._writer: asyncio.StreamWriter | None = None
        self._keys: deque[LeasedKey] = deque()
        self._asked_for_keys = False
        self._tokens = itertools.count(1)
        self._waiting: dict[str, tuple[Then, asyncio.TimerHandle]] = {}
        self.ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    @property
    def connected(self) -> bool:
        """Whether the keeper is there right now."""
        return self._writer is not None

    async def run(self) -> None:
        """Connect, read, and connect again, until cancelled."""
        while True:
            with contextlib.suppress(OSError):
                reader, self._writer = await asyncio.open_unix_connection(str(self._path))
                self._asked_for_keys = False
                live = list(self._events.live_calls())
                hello = {"type": "hello", "recorder": self._recorder, "boot": self._boot, "live": live}
                self.send(hello | {"draws": dict(self._events.live_draws())})
                try:
                    await self._read(reader)
                finally:
                    writer, self._writer = self._writer, None
                    writer.close()
                    self.take_back()
            await asyncio.sleep(RETRY_SECONDS)

    async def _read(self, reader: asyncio.StreamReader) -> None:
        decoder = FrameDecoder()
        while data := await reader.read(READ_BYTES):
            try:
                messages = decoder.feed(data)
            except PeerError:
                self._on_bad()
                return  # where the next frame begins is not known: connect anew
            for message in messages:
                try:
                    self._take(message)
                except (MitschnittError, KeyError, TypeError, ValueError):
                    # One bad frame must not end the link; without it the old view ages, and ageing closes gates.
                    self._on_bad()

    def _take(self, message: Mapping[str, Any]) -> None:
        kind = message["type"]
        if kind == "ready":
            self._events.drawn_before(message["drawn"])
            if not self.ready.done():
                self.ready.set_result(int(message["next_seq"]))
            self._top_up()
        elif kind == "view":
            self._events.view_changed(message)
            self.send({"type": "ack", "version": message["version"]})
        elif kind == "keys":
            self._asked_for_keys = False
            self._keys.extend(_leased(message))
        elif kind == "joined":
            if message["token"] in self._waiting:
                self._answer(message["token"], message)
            elif message.get("call"):
                # It came too late: its call is closed here, and nobody else can join the announced one.
                self.send({"type": "ended", "call": message["call"]})
        elif kind == "watch":
            self._events.trial_wanted(message)
        elif kind == "drain":
            self._events.drain_wanted(float(message["within_s"]))
        else:
            self._events.fact_posted(kind, message)

    def send(self, message: Mapping[str, Any]) -> bool:
        """Queue one frame; False when the keeper is gone (the journal still tells it everything)."""
        if self._writer is None or self._writer.is_closing():
            return False
        self._writer.write(pack_frame(message))
        return True

    async def drained(self) -> None:
        """What was sent has left this process."""
        if self._writer is not None:
            with contextlib.suppress(OSError):
                await self._writer.drain()

    def poke(self) -> None:
        """The journal has new synced entries."""
        self.send({"type": "poke"})

    def _top_up(self) -> None:
        if not self._asked_for_keys and len(self._keys) < self._lease_block * LOW_WATER:
            self._asked_for_keys = self.send({"type": "lease", "count": self._lease_block})

    def take_key(self) -> LeasedKey:
        """A key that was never used. KeyGone when the keeper has given none: then nothing can be kept."""
        if not self._keys:
            self._top_up()
            raise KeyGone("no leased call key is left; the keeper gives new ones when it is back")
        key = self._keys.popleft()
        self._top_up()
        return key

    def join(self, refs: Sequence[Mapping[str, str]], then: Then) -> None:
        """Ask which announced call these references mean; `then` hears it, or None when no answer came in time.

        It is called before any later frame is looked at: a fact that follows finds its call.
        """
        token = f"{self._boot}-{next(self._tokens)}"
        loop = asyncio.get_running_loop()
        if not self.send({"type": "arrived", "token": token, "refs": list(refs)}):
            loop.call_soon(then, None)
            return
        timer = loop.call_later(ANSWER_SECONDS, self._answer, token, None)
        self._waiting[token] = (then, timer)

    def _answer(self, token: str, message: Mapping[str, Any] | None) -> None:
        then, timer = self._waiting.pop(token, (None, None))
        if then is not None and timer is not None:
            timer.cancel()
            then(message)

    def take_back(self) -> None:
        """The connection is gone: whoever waits for an answer hears that none will come."""
        for token in list(self._waiting):
            self._answer(token, None)


def _leased(message: Mapping[str, Any]) -> list[LeasedKey]:
    """The keys of a `keys` frame, all or none."""
    first, block = int(message["first"]), int(message["block"])
    nodes = [base64.b64decode(node, validate=True) for node in message["nodes"]]
    if any(len(node) != NODE_BYTES for node in nodes):
        raise MalformedPacket(f"a leased key has {NODE_BYTES} bytes; one of this block has not")
    return [LeasedKey(first + offset, block, node) for offset, node in enumerate(nodes)]
