"""Two SIP shells on real sockets of this machine: one answers as a recorder, one calls."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import TypeVar

from mitschnitt.recorder.sip_server import Ports, SipServer
from mitschnitt.recorder.tls import Tls
from mitschnitt.wire.sip.agent import UserAgent
from mitschnitt.wire.sip.config import SRC_FEATURE, AgentConfig
from mitschnitt.wire.sip.events import InviteReceived, ReinviteReceived, ResponseReceived, SipEvent
from mitschnitt.wire.sip.headers import write_host
from mitschnitt.wire.sip.hop import Hop

PATIENCE_SECONDS = 60.0  # until a test gives up; nothing waits that long when it works

T = TypeVar("T", bound=SipEvent)
LOCALHOST = "127.0.0.1"
OPTIONS = (
    b"OPTIONS sip:a@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1:9;branch=z9hG4bK%d\r\n"
    b"From: <sip:p@127.0.0.1>;tag=1\r\nTo: <sip:a@127.0.0.1>\r\nCall-ID: o\r\nCSeq: 1 OPTIONS\r\n"
    b"Content-Length: 0\r\n\r\n"
)


class Side:
    """One shell with its agent; answers every INVITE 200 and keeps what happened."""

    def __init__(self, feature: str, tls: Tls | None = None) -> None:
        self.events: list[SipEvent] = []
        self.heard = asyncio.Event()
        agent = UserAgent(AgentConfig(feature=feature), lambda: secrets.token_hex(8))
        self.shell = SipServer(agent, self.take, tls=tls)

    def take(self, event: SipEvent) -> None:
        self.events.append(event)
        if isinstance(event, InviteReceived | ReinviteReceived):
            self.shell.agent.respond(
                event.transaction, 200, now=self.shell.now, body=b"v=0\r\n", content_type="application/sdp"
            )
        self.heard.set()

    async def hear(self, kind: type[T], *, status: int = 0) -> T:
        """The first event of that kind (and status), waiting for it."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                for event in self.events:
                    right = not status or (isinstance(event, ResponseReceived) and event.response.status == status)
                    if isinstance(event, kind) and right:
                        self.events.remove(event)
                        return event
                self.heard.clear()
                await self.heard.wait()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Until it holds."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not condition():
                await asyncio.sleep(0.01)


Test = Callable[["Side", "Side"], Coroutine[None, None, None]]


def with_sides(
    test: Test,
    *,
    host: str = LOCALHOST,
    ours: Tls | None = None,
    theirs: Tls | None = None,
    ports: Ports | None = None,
    run: Callable[[Coroutine[None, None, None]], None] = asyncio.run,
) -> None:
    """Runs a test between a recorder and a client on free ports; with TLS where they have it."""

    async def talking() -> None:
        recorder, client = Side("+sip.srs", ours), Side(SRC_FEATURE, theirs)
        await recorder.shell.start(host, ports or Ports(tls=0 if ours else None))
        await client.shell.start(host, Ports(tls=0 if theirs else None))
        try:
            await test(recorder, client)
        finally:
            await client.shell.stop()
            await recorder.shell.stop()

    run(talking())


@contextlib.asynccontextmanager
async def stream_to(
    side: Side, context: ssl.SSLContext | None = None, *, port: int = 0
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A bare TCP (or TLS) connection to this side, closed at the end whatever the other did."""
    wanted = port or (side.shell.tls_port if context else side.shell.port)
    reader, writer = await asyncio.open_connection(
        LOCALHOST, wanted, ssl=context, server_hostname="" if context else None
    )
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def ended(reader: asyncio.StreamReader) -> bool:
    """Whether the other side ends the connection without a word."""
    try:
        return await asyncio.wait_for(reader.read(), PATIENCE_SECONDS) == b""
    except OSError:
        return True


def invite(client: Side, recorder: Side, transport: str, *, host: str = LOCALHOST, scheme: str = "sip") -> str:
    """Starts a session; returns the client's dialog."""
    port = recorder.shell.tls_port if transport == "TLS" else recorder.shell.port
    suffix = "" if transport == "UDP" or scheme == "sips" else f";transport={transport.lower()}"
    dialog = client.shell.agent.invite(
        f"{scheme}:r@{write_host(host)}:{port}{suffix}",
        Hop(transport, host, port),
        now=client.shell.now,
        sender=f"sip:c@{write_host(host)}",
        body=b"v=0\r\n" * 400,  # above one Ethernet frame
        content_type="application/sdp",
        headers=(("Require", "siprec"),),
    )
    client.shell.flush()
    return dialog
