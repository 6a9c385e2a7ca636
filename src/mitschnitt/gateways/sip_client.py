"""The SIP side of the simulated centre: one `UserAgent` in the role of a client, in the recorder's shell.

It carries bodies and statuses; what a description means is `recording_session`'s business.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from mitschnitt.errors import PeerError
from mitschnitt.gateways.recording_session import SessionListener
from mitschnitt.recorder.sip_server import SipServer
from mitschnitt.recorder.tls import Tls
from mitschnitt.wire.sip.accounts import Accounts
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
from mitschnitt.wire.sip.headers import write_host
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
    """Where the recorder listens; `transport` is UDP, TCP or TLS."""

    host: str
    port: int
    transport: str

    @property
    def uri(self) -> str:
        """The Request-URI of every session."""
        suffix = "" if self.transport == "UDP" else f";transport={self.transport.lower()}"
        return f"sip:recorder@{write_host(self.host)}:{self.port}{suffix}"


class SipClient:
    """All recording sessions of one centre towards one recorder; `open` first."""

    def __init__(
        self,
        recorder: Recorder,
        *,
        host: str,
        token: Callable[[], str] | None = None,
        tls: Tls | None = None,
        accounts: Accounts | None = None,
    ) -> None:
        """`accounts`: as whom we answer a recorder that challenges us."""
        self.recorder = recorder
        self._host = host
        config = AgentConfig(host=host, user="centre", feature=SRC_FEATURE, product="mitschnitt-centre")
        self._agent = UserAgent(config, token or (lambda: secrets.token_hex(8)), accounts=accounts)
        self._hop = Hop(recorder.transport, recorder.host, recorder.port)
        self._shell = SipServer(self._agent, self._take, tls=tls)
        self._listeners: dict[str, SessionListener] = {}
        self._finals: dict[tuple[str | None, str], asyncio.Future[int]] = {}
        self._retries: dict[str, asyncio.Event] = {}

    async def open(self) -> None:
        """Opens our own sockets; raises ConfigError when they cannot be bound."""
        await self._shell.start(self._host, 0)

    async def close(self) -> None:
        """Sends what waits and closes the sockets; sessions should have ended."""
        await self._shell.stop()

    async def ping(self) -> bool:
        """Whether the recorder answers OPTIONS."""
        final = self._expect(None, "OPTIONS")
        self._agent.options(self.recorder.uri, self._hop, now=self._shell.now, sender=self._sender)
        self._shell.flush()
        try:
            return await asyncio.wait_for(final, PING_SECONDS) < 300
        except TimeoutError:
            return False

    async def invite(self, sdp: bytes, metadata: bytes, listener: SessionListener) -> tuple[str, int]:
        """Starts a recording session (RFC 7866, section 6.1)."""
        dialog = self._agent.invite(
            self.recorder.uri,
            self._hop,
            now=self._shell.now,
            sender=self._sender,
            body=multipart(sdp, metadata),
            content_type=f"multipart/mixed;boundary={BOUNDARY}",
            headers=SRC_HEADERS,
        )
        self._listeners[dialog] = listener
        final = self._expect(dialog, "INVITE")
        self._shell.flush()
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
                now=self._shell.now,
                body=multipart(sdp, metadata),
                content_type=f"multipart/mixed;boundary={BOUNDARY}",
                headers=SRC_HEADERS,
            )
            self._shell.flush()
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
        self._agent.bye(dialog, now=self._shell.now)
        self._shell.flush()
        try:
            return await asyncio.wait_for(final, BYE_SECONDS)
        except TimeoutError:
            return UNREACHABLE

    @property
    def _sender(self) -> str:
        return f"sip:centre@{write_host(self._host)}"

    def _expect(self, dialog: str | None, method: str) -> asyncio.Future[int]:
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._finals[(dialog, method)] = future
        return future

    def _settle(self, dialog: str | None, method: str, status: int) -> None:
        future = self._finals.pop((dialog, method), None)
        if future is not None and not future.done():
            future.set_result(status)

    def _take(self, event: SipEvent) -> None:
        match event:
            case ResponseReceived(dialog, _, method, response) if response.status >= 200:
                listener = self._listeners.get(dialog or "")
                if method == "INVITE" and response.status < 300 and listener is not None:
                    listener.answered(sdp_of(response.content_type, response.body))
                self._settle(dialog, method, response.status)
            case TransactionTimedOut(dialog, _, method, _):
                self._settle(dialog, method, UNREACHABLE)
            case ReinviteReceived(dialog, transaction, request) | UpdateReceived(dialog, transaction, request):
                self._take_change(dialog, transaction, request)
            case InviteReceived(dialog, transaction, _, _):
                self._agent.respond(transaction, 403, now=self._shell.now)  # a client is never called
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
        now = self._shell.now
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
    for part in body.split(b"--" + found[1].strip().encode())[1:]:  # before it: preamble
        head, _, content = part.partition(b"\r\n\r\n")
        if SDP_TYPE.encode() in head.lower():
            return content
    return b""
