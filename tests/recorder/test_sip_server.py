"""The SIP shell on real loopback sockets: both transports, reconnects, slow and greedy peers."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import TypeVar

import pytest

from mitschnitt.errors import ConfigError
from mitschnitt.recorder import sip_server
from mitschnitt.recorder.sip_server import SipServer
from mitschnitt.wire.sip.agent import UserAgent
from mitschnitt.wire.sip.config import SRC_FEATURE, AgentConfig
from mitschnitt.wire.sip.events import (
    AckReceived,
    ByeReceived,
    DialogEnded,
    InviteReceived,
    ReinviteReceived,
    ResponseReceived,
    SipEvent,
    TransactionTimedOut,
)
from mitschnitt.wire.sip.hop import Hop

T = TypeVar("T", bound=SipEvent)
LOCALHOST = "127.0.0.1"
OPTIONS = (
    b"OPTIONS sip:a@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1:9;branch=z9hG4bK%d\r\n"
    b"From: <sip:p@127.0.0.1>;tag=1\r\nTo: <sip:a@127.0.0.1>\r\nCall-ID: o\r\nCSeq: 1 OPTIONS\r\n"
    b"Content-Length: 0\r\n\r\n"
)


class Side:
    """One shell with its agent; answers every INVITE 200 and keeps what happened."""

    def __init__(self, feature: str) -> None:
        self.events: list[SipEvent] = []
        self.heard = asyncio.Event()
        self.shell = SipServer(UserAgent(AgentConfig(feature=feature), lambda: secrets.token_hex(8)), self.take)

    def take(self, event: SipEvent) -> None:
        self.events.append(event)
        if isinstance(event, InviteReceived | ReinviteReceived):
            self.shell.agent.respond(
                event.transaction, 200, now=self.shell.now, body=b"v=0\r\n", content_type="application/sdp"
            )
        self.heard.set()

    async def hear(self, kind: type[T], *, status: int = 0) -> T:
        """The first event of that kind (and status), waiting for it at most 5 s."""
        async with asyncio.timeout(5):
            while True:
                for event in self.events:
                    right = not status or (isinstance(event, ResponseReceived) and event.response.status == status)
                    if isinstance(event, kind) and right:
                        self.events.remove(event)
                        return event
                self.heard.clear()
                await self.heard.wait()


Test = Callable[["Side", "Side"], Coroutine[None, None, None]]


def with_sides(test: Test) -> None:
    """Runs a test between a recorder and a client on free loopback ports."""

    async def run() -> None:
        recorder, client = Side("+sip.srs"), Side(SRC_FEATURE)
        await recorder.shell.start(LOCALHOST, 0)
        await client.shell.start(LOCALHOST, 0)
        try:
            await test(recorder, client)
        finally:
            await client.shell.stop()
            await recorder.shell.stop()

    asyncio.run(run())


@contextlib.asynccontextmanager
async def stream_to(side: Side) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A bare TCP connection to this side, closed at the end whatever the other did."""
    reader, writer = await asyncio.open_connection(LOCALHOST, side.shell.port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def ended(reader: asyncio.StreamReader) -> bool:
    """Whether the other side ends the connection within 5 s without a word."""
    try:
        return await asyncio.wait_for(reader.read(), 5) == b""
    except ConnectionError:
        return True


def invite(client: Side, recorder: Side, transport: str) -> str:
    """Starts a session; returns the client's dialog."""
    suffix = "" if transport == "UDP" else ";transport=tcp"
    dialog = client.shell.agent.invite(
        f"sip:r@{LOCALHOST}:{recorder.shell.port}{suffix}",
        Hop(transport, LOCALHOST, recorder.shell.port),
        now=client.shell.now,
        sender=f"sip:c@{LOCALHOST}",
        body=b"v=0\r\n" * 400,  # above one Ethernet frame
        content_type="application/sdp",
        headers=(("Require", "siprec"),),
    )
    client.shell.flush()
    return dialog


@pytest.mark.parametrize("transport", ["UDP", "TCP"])
def test_a_session_runs_over_real_sockets(transport: str) -> None:
    async def talk(recorder: Side, client: Side) -> None:
        mine = invite(client, recorder, transport)
        theirs = (await recorder.hear(InviteReceived)).dialog
        await client.hear(ResponseReceived, status=200)
        await recorder.hear(AckReceived)
        recorder.shell.agent.reinvite(theirs, now=recorder.shell.now, body=b"v=0\r\n", content_type="application/sdp")
        recorder.shell.flush()
        assert (await client.hear(ReinviteReceived)).dialog == mine
        await recorder.hear(ResponseReceived, status=200)
        client.shell.agent.bye(mine, now=client.shell.now)
        client.shell.flush()
        await recorder.hear(ByeReceived)
        assert await client.hear(DialogEnded) == DialogEnded(mine, 200)

    with_sides(talk)


def test_our_request_opens_a_new_connection_when_the_dialogs_own_is_gone() -> None:
    async def talk(recorder: Side, client: Side) -> None:
        invite(client, recorder, "TCP")
        theirs = (await recorder.hear(InviteReceived)).dialog
        await recorder.hear(AckReceived)
        for connection in list(client.shell._connections.values()):
            connection.close()
        while recorder.shell._connections:
            await asyncio.sleep(0.01)
        recorder.shell.agent.bye(theirs, now=recorder.shell.now)
        recorder.shell.flush()
        await client.hear(ByeReceived)
        assert await recorder.hear(DialogEnded) == DialogEnded(theirs, 200)

    with_sides(talk)


def test_a_peer_that_cannot_be_reached_is_told() -> None:
    async def talk(recorder: Side, client: Side) -> None:
        port = recorder.shell.port
        await recorder.shell.stop()
        client.shell.agent.invite(
            f"sip:r@{LOCALHOST}:{port};transport=tcp",
            Hop("TCP", LOCALHOST, port),
            now=client.shell.now,
            sender="sip:c@127.0.0.1",
            body=b"",
            content_type="",
        )
        client.shell.flush()
        assert (await client.hear(TransactionTimedOut)).undeliverable
        assert client.shell.refused["connect.failed"] == 1

    with_sides(talk)


def test_a_keep_alive_is_answered_and_garbage_ends_the_connection() -> None:
    async def talk(recorder: Side, client: Side) -> None:
        async with stream_to(recorder) as (reader, writer):
            writer.write(b"\r\n\r\n")
            assert await reader.readexactly(2) == b"\r\n"
            writer.write(OPTIONS % 1)
            assert (await reader.readline()).startswith(b"SIP/2.0 200")
            writer.write(b"this is no SIP\r\n\r\n")
            await reader.read()
        assert recorder.shell.refused["stream.malformed"] == 1

    with_sides(talk)


def test_a_message_that_never_ends_loses_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sip_server, "MESSAGE_SECONDS", 0.0)
    monkeypatch.setattr(sip_server, "LONGEST_SLEEP", 0.01)

    async def talk(recorder: Side, client: Side) -> None:
        async with stream_to(recorder) as (reader, writer):
            writer.write(b"INVITE sip:a SIP/2.0\r\nVia: ")
            assert await ended(reader)
        assert recorder.shell.refused["stream.slow"] == 1

    with_sides(talk)


def test_connections_per_source_and_in_total_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sip_server, "MAX_CONNECTIONS_PER_SOURCE", 1)

    async def talk(recorder: Side, client: Side) -> None:
        async with stream_to(recorder) as (reader, writer):
            writer.write(OPTIONS % 1)
            await reader.readline()
            async with stream_to(recorder) as (refused, _):
                assert await ended(refused)
            assert recorder.shell.refused["limit.connections_per_source"] == 1
            monkeypatch.setattr(sip_server, "MAX_CONNECTIONS", 1)
            async with stream_to(recorder) as (refused, _):
                assert await ended(refused)
            assert recorder.shell.refused["limit.connections"] == 1

    with_sides(talk)


def test_a_port_in_use_is_the_operators_business() -> None:
    async def talk(recorder: Side, client: Side) -> None:
        third = Side(SRC_FEATURE)
        with pytest.raises(ConfigError, match=str(recorder.shell.port)):
            await third.shell.start(LOCALHOST, recorder.shell.port)

    with_sides(talk)
