"""The SIP side of the simulated centre: sockets and timers around one `UserAgent` in the role of a client.

It carries bodies and statuses; what a description means is `recording_session`'s business.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, cast

from mitschnitt.errors import PeerError
from mitschnitt.gateways.recording_session import SessionListener
from mitschnitt.wire.sip.agent import UserAgent
from mitschnitt.wire.sip.config import SRC_FEATURE, AgentConfig
from mitschnitt.wire.sip.events import (
    ByeReceived,
    ByeRefused,
    DialogEnded,
    DialogTimedOut,
    InviteReceived,
    ReinviteReceived,
    ResponseReceived,
    RetryDue,
    SipEvent,
    TransactionTimedOut,
    UpdateReceived,
)
from mitschnitt.wire.sip.framing import StreamFramer
from mitschnitt.wire.sip.hop import Hop
from mitschnitt.wire.sip.message import Request

BOUNDARY = "centre-part"
SDP_TYPE = "application/sdp"
METADATA_TYPE = "application/rs-metadata+xml"  # RFC 9806
SRC_HEADERS = (("Require", "siprec"), ("MIME-Version", "1.0"))
OFFER_TRIES = 4  # a re-INVITE that meets the recorder's own is tried again after its back-off
PING_SECONDS = 2.0  # for the answer to OPTIONS before the first call
BYE_SECONDS = 5.0  # for the answer to BYE; three of its copies go out meanwhile
UNREACHABLE = 408  # the status of no answer (RFC 3261, section 8.1.3.1)


@dataclass(frozen=True)
class Recorder:
    """Where the recorder listens; `transport` is UDP or TCP."""

    host: str
    port: int
    transport: str

    @property
    def uri(self) -> str:
        """The Request-URI of every session."""
        suffix = ";transport=tcp" if self.transport == "TCP" else ""
        return f"sip:recorder@{self.host}:{self.port}{suffix}"


class _Link(Protocol):
    def send(self, hop: Hop, data: bytes) -> None: ...

    def close(self) -> None: ...


class _Datagrams(asyncio.DatagramProtocol):
    """One UDP socket for all calls."""

    def __init__(self, arrived: Callable[[bytes, Hop], None]) -> None:
        self._arrived = arrived
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Event loops give datagram transports that are no asyncio.DatagramTransport by inheritance.
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._arrived(data, Hop("UDP", addr[0], addr[1]))

    def send(self, hop: Hop, data: bytes) -> None:
        if self._transport is not None:
            self._transport.sendto(data, (hop.host, hop.port))

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


class _Connection(asyncio.Protocol):
    """One TCP connection to the recorder for all calls, in both directions (RFC 3261, section 18)."""

    def __init__(self, recorder: Recorder, arrived: Callable[[bytes, Hop], None]) -> None:
        self._source = Hop("TCP", recorder.host, recorder.port, 1)
        self._arrived = arrived
        self._framer = StreamFramer()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        try:
            for message in self._framer.feed(data):
                self._arrived(message, self._source)
        except PeerError:
            self.close()  # the stream has lost its sense

    def send(self, hop: Hop, data: bytes) -> None:
        if self._transport is not None and hop.reliable:
            self._transport.write(data)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


class SipClient:
    """All recording sessions of one centre towards one recorder; `open` first."""

    def __init__(self, recorder: Recorder, *, host: str, token: Callable[[], str] | None = None) -> None:
        self.recorder = recorder
        self._host = host
        config = AgentConfig(host=host, user="centre", feature=SRC_FEATURE, product="mitschnitt-centre")
        self._agent = UserAgent(config, token or (lambda: secrets.token_hex(8)))
        self._hop = Hop(recorder.transport, recorder.host, recorder.port, int(recorder.transport == "TCP"))
        self._link: _Link | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._listeners: dict[str, SessionListener] = {}
        self._finals: dict[tuple[str | None, str], asyncio.Future[int]] = {}
        self._retries: dict[str, asyncio.Event] = {}

    async def open(self) -> None:
        """Opens the socket; raises PeerError when the recorder takes no TCP connection."""
        loop = asyncio.get_running_loop()
        transport: asyncio.BaseTransport
        if self.recorder.transport == "TCP":
            try:
                transport, self._link = await loop.create_connection(
                    lambda: _Connection(self.recorder, self._arrived),
                    self.recorder.host,
                    self.recorder.port,
                    local_addr=(self._host, 0),
                )
            except OSError as error:
                raise PeerError(f"the recorder takes no connection: {error.strerror}") from error
        else:
            transport, self._link = await loop.create_datagram_endpoint(
                lambda: _Datagrams(self._arrived), local_addr=(self._host, 0)
            )
        self._agent.located(self._host, transport.get_extra_info("sockname")[1])

    def close(self) -> None:
        """Closes the socket; sessions should have ended."""
        if self._timer is not None:
            self._timer.cancel()
        if self._link is not None:
            self._link.close()

    async def ping(self) -> bool:
        """Whether the recorder answers OPTIONS."""
        final = self._expect(None, "OPTIONS")
        self._agent.options(self.recorder.uri, self._hop, now=self._now(), sender=self._sender)
        self._flush()
        try:
            return await asyncio.wait_for(final, PING_SECONDS) < 300
        except TimeoutError:
            return False

    async def invite(self, sdp: bytes, metadata: bytes, listener: SessionListener) -> tuple[str, int]:
        """Starts a recording session (RFC 7866, section 6.1)."""
        dialog = self._agent.invite(
            self.recorder.uri,
            self._hop,
            now=self._now(),
            sender=self._sender,
            body=multipart(sdp, metadata),
            content_type=f"multipart/mixed;boundary={BOUNDARY}",
            headers=SRC_HEADERS,
        )
        self._listeners[dialog] = listener
        final = self._expect(dialog, "INVITE")
        self._flush()
        status = await final
        if status >= 300:
            self._listeners.pop(dialog, None)
        return dialog, status

    async def reoffer(self, dialog: str, sdp: bytes, metadata: bytes) -> int:
        """re-INVITE with SDP and a complete snapshot; waits out what the recorder is offering itself."""
        status = UNREACHABLE
        for _ in range(OFFER_TRIES):
            final, retry = self._expect(dialog, "INVITE"), self._retries.setdefault(dialog, asyncio.Event())
            retry.clear()
            sent = self._agent.reinvite(
                dialog,
                now=self._now(),
                body=multipart(sdp, metadata),
                content_type=f"multipart/mixed;boundary={BOUNDARY}",
                headers=SRC_HEADERS,
            )
            self._flush()
            if sent is not None:
                status = await final
                if status != 491:
                    return status
            if dialog not in self._listeners:
                return UNREACHABLE
            await retry.wait()
        return status

    async def bye(self, dialog: str) -> int:
        """Ends the session; whoever hung up does not wait long for the answer."""
        self._listeners.pop(dialog, None)
        final = self._expect(dialog, "BYE")
        self._agent.bye(dialog, now=self._now())
        self._flush()
        try:
            return await asyncio.wait_for(final, BYE_SECONDS)
        except TimeoutError:
            return UNREACHABLE

    @property
    def _sender(self) -> str:
        return f"sip:centre@{self._host}"

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _expect(self, dialog: str | None, method: str) -> asyncio.Future[int]:
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._finals[(dialog, method)] = future
        return future

    def _settle(self, dialog: str | None, method: str, status: int) -> None:
        future = self._finals.pop((dialog, method), None)
        if future is not None and not future.done():
            future.set_result(status)

    def _arrived(self, data: bytes, source: Hop) -> None:
        self._agent.receive(data, source, self._now())
        self._flush()

    def _tick(self) -> None:
        self._agent.tick(self._now())
        self._flush()

    def _flush(self) -> None:
        """Carries events up and messages out until there are none, then waits for the next timer."""
        while events := self._agent.events():
            for event in events:
                self._take(event)
        for hop, data in self._agent.outbox():
            if self._link is not None:
                self._link.send(hop, data)
        if self._timer is not None:
            self._timer.cancel()
        due = self._agent.next_timer()
        self._timer = None if due is None else asyncio.get_running_loop().call_at(due, self._tick)

    def _take(self, event: SipEvent) -> None:
        match event:
            case ResponseReceived(dialog, _, method, response) if response.status >= 200:
                listener = self._listeners.get(dialog or "")
                if method == "INVITE" and response.status < 300 and listener is not None:
                    listener.answered(sdp_of(response.content_type, response.body))
                self._settle(dialog, method, response.status)
            case TransactionTimedOut(dialog, _, method, _):
                self._settle(dialog, method, UNREACHABLE)
            case ReinviteReceived(dialog, transaction, request) | UpdateReceived(
                dialog, transaction, request
            ):
                self._take_change(dialog, transaction, request)
            case InviteReceived(dialog, transaction, _, _):
                self._agent.respond(transaction, 403, now=self._now())  # a client is never called
            case RetryDue(dialog):
                self._retry(dialog)
            case ByeReceived(dialog, _):
                self._lost(dialog, "BYE of the recorder", 200)
            case ByeRefused(dialog, status):
                self._agent.forget(dialog)
                self._lost(dialog, f"BYE refused with {status}", status)
            case DialogEnded(dialog, status):
                self._lost(dialog, f"dialog ended with {status}", status)
            case DialogTimedOut(dialog):
                self._lost(dialog, "our answer was never acknowledged", UNREACHABLE)
            case _:
                pass

    def _retry(self, dialog: str) -> None:
        waiting = self._retries.get(dialog)
        if waiting is not None:
            waiting.set()

    def _lost(self, dialog: str, why: str, status: int) -> None:
        listener = self._listeners.pop(dialog, None)
        for method in ("INVITE", "BYE"):
            self._settle(dialog, method, status)
        self._retry(dialog)
        self._retries.pop(dialog, None)
        if listener is not None:
            listener.ended(why)

    def _take_change(self, dialog: str, transaction: str, request: Request) -> None:
        """The recorder changes the session: what it wants holds before our answer is on the wire."""
        listener = self._listeners.get(dialog)
        sdp = sdp_of(request.content_type, request.body)
        now = self._now()
        if listener is None:
            self._agent.respond(transaction, 481, now=now)
        elif sdp:
            try:
                answer = listener.offered(sdp)
            except PeerError:
                self._agent.respond(transaction, 488, now=now)
            else:
                self._agent.respond(transaction, 200, now=now, body=answer, content_type=SDP_TYPE)
        elif request.method == "UPDATE":
            self._agent.respond(transaction, 200, now=now)
            if b"requestsnapshot" in request.body:
                self._agent.update(dialog, now=now, body=listener.snapshot(), content_type=METADATA_TYPE)
        else:
            self._agent.respond(transaction, 488, now=now)  # an offer is ours to make, not to be asked for


def multipart(sdp: bytes, metadata: bytes) -> bytes:
    """Description and metadata as one body (RFC 7866, section 9.1)."""
    parts = ((SDP_TYPE, "session", sdp), (METADATA_TYPE, "recording-session", metadata))
    body = b""
    for kind, disposition, content in parts:
        head = f"--{BOUNDARY}\r\nContent-Type: {kind}\r\nContent-Disposition: {disposition}\r\n\r\n"
        body += head.encode() + content + b"\r\n"
    return body + f"--{BOUNDARY}--\r\n".encode()


def sdp_of(content_type: str, body: bytes) -> bytes:
    """The session description of a body, whole or as a part; empty when there is none."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind in (SDP_TYPE, "") and body:
        return body
    found = re.search(r'boundary="?([^";]+)"?', content_type)
    if not kind.startswith("multipart/") or found is None:
        return b""
    for part in body.split(b"--" + found[1].strip().encode()):
        head, _, content = part.partition(b"\r\n\r\n")
        if SDP_TYPE.encode() in head.lower():
            return content
    return b""
