"""A tiny recorder for tests of the client: answers closed, opens and closes when told, counts what arrives.

It never decides anything; the test does. A control API beside it remembers what the gateway posted.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
import struct
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import httpx

from loopback import all_delivered
from mitschnitt.gateways import speech
from mitschnitt.gateways.sip_client import sdp_of
from mitschnitt.recorder.sip_server import SipServer
from mitschnitt.wire.sip.agent import UserAgent
from mitschnitt.wire.sip.authentication import Authenticator
from mitschnitt.wire.sip.config import AgentConfig
from mitschnitt.wire.sip.events import (
    AckReceived,
    ByeReceived,
    InviteReceived,
    ReinviteReceived,
    ResponseReceived,
    RetryDue,
    SipEvent,
)

NOTHING: Mapping[str, speech.Prompt] = MappingProxyType({})


@dataclass(frozen=True)
class Heard:
    """One RTP packet; `epoch` counts how often the session had been opened or closed when it came."""

    epoch: int
    port: int
    payload_type: int
    time: int
    payload: bytes


@dataclass
class Session:
    """One recording session: its sockets by line, what arrived, and what it is told to ask for."""

    dialog: str
    lines: int
    body: bytes
    state: str = "closed"
    epoch: int = 0
    sockets: list[socket.socket] = field(default_factory=list)
    heard: list[Heard] = field(default_factory=list)
    answers: list[bytes] = field(default_factory=list)
    ports: list[int] = field(default_factory=list)  # of the newest sockets, one per line
    acknowledged: bool = False  # its first answer
    refused: int = 0  # offers of ours
    ended: bool = False


class FakeRecorder:
    """SIP over UDP or TCP on a free port; `at_start` is the form of its first answer."""

    def __init__(self, *, at_start: str = "closed", authenticator: Authenticator | None = None) -> None:
        self.at_start = at_start
        self.sessions: dict[str, Session] = {}
        self.on_session: Callable[[Session], None] = lambda session: None
        words = (f"w{number}" for number in itertools.count(int(time.time_ns())))
        self.agent = UserAgent(AgentConfig(user="rec"), lambda: next(words), authenticator=authenticator)
        self.shell = SipServer(self.agent, self._take)

    @property
    def port(self) -> int:
        return self.shell.port

    async def open(self) -> None:
        await self.shell.start("127.0.0.1", 0)

    async def close(self) -> None:
        await self.shell.stop()
        for session in self.sessions.values():
            for sock in session.sockets:
                asyncio.get_running_loop().remove_reader(sock)
                sock.close()

    async def hear_rest(self) -> None:
        """What was sent has arrived, and every session that begins to end has ended."""
        async with asyncio.timeout(60):
            while not all(session.ended for session in self.sessions.values()):
                await asyncio.sleep(0.01)
        all_delivered()
        for session in self.sessions.values():
            for sock in session.sockets:
                self._read(session, sock)

    def turn(self, session: Session, state: str) -> None:
        """Asks the client for another state by re-INVITE: "open" on fresh ports, "closed" or "gated"."""
        session.state = state
        session.epoch += 1
        if state == "open":
            self._bind(session)
        self._offer(session)
        self.shell.flush()

    def _offer(self, session: Session) -> None:
        self.agent.reinvite(session.dialog, now=self.shell.now, body=self._sdp(session), content_type="application/sdp")

    def _bind(self, session: Session) -> None:
        for _ in range(session.lines):
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.bind(("127.0.0.1", 0))
            sock.setblocking(False)
            session.sockets.append(sock)
            session.ports = [*session.ports, sock.getsockname()[1]][-session.lines :]
            asyncio.get_running_loop().add_reader(sock, self._read, session, sock)

    def _read(self, session: Session, sock: socket.socket) -> None:
        while True:
            try:
                data = sock.recv(2048)
            except BlockingIOError:
                return
            _, second, _, rtp_time, _ = struct.unpack(">BBHII", data[:12])
            port = sock.getsockname()[1]
            session.heard.append(Heard(session.epoch, port, second & 0x7F, rtp_time, data[12:]))

    def _sdp(self, session: Session) -> bytes:
        host = "0.0.0.0" if session.state == "closed" else "127.0.0.1"
        direction = "inactive" if session.state == "closed" else "recvonly"
        text = f"v=0\r\no=rec 1 {session.epoch + 1} IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\n"
        for number, port in enumerate(session.ports, 1):
            text += f"m=audio {port} RTP/AVP 8 101\r\na=label:{number}\r\na={direction}\r\n"
        return text.encode()

    def _take(self, event: SipEvent) -> None:
        match event:
            case InviteReceived(dialog, transaction, request, _):
                lines = sdp_of(request.content_type, request.body).count(b"m=audio")
                session = self.sessions[dialog] = Session(dialog, lines, request.body, self.at_start)
                self._bind(session)
                self._respond(session, transaction)
            case ReinviteReceived(dialog, transaction, request):
                session = self.sessions[dialog]
                more = sdp_of(request.content_type, request.body).count(b"m=audio") - session.lines
                session.lines, session.body = session.lines + more, request.body
                session.epoch += 1
                session.state = "closed"
                self._bind(session)
                self._respond(session, transaction)
            case AckReceived(dialog, _):
                session = self.sessions[dialog]
                session.acknowledged = True
                if session.epoch == 0:
                    self.on_session(session)
            case ResponseReceived(dialog, _, "INVITE", response) if dialog and response.status == 200:
                self.sessions[dialog].answers.append(response.body)
            case ResponseReceived(dialog, _, "INVITE", response) if dialog and response.status > 299:
                self.sessions[dialog].refused += 1
            case RetryDue(dialog):
                self._offer(self.sessions[dialog])
            case ByeReceived(dialog, _):
                self.sessions[dialog].ended = True
            case _:
                pass

    def _respond(self, session: Session, transaction: str) -> None:
        self.agent.respond(
            transaction,
            200,
            now=self.shell.now,
            body=self._sdp(session),
            content_type="application/sdp",
        )


class FakeControl:
    """A control API in memory; `on_post` hears each request as (what, body) and may tell the recorder."""

    def __init__(self, prompt: speech.Prompt | None, *, further: Mapping[str, speech.Prompt] = NOTHING) -> None:
        self.prompt, self.further = prompt, further  # further questions by purpose
        self.posted: list[tuple[str, dict[str, object]]] = []
        self.on_post: Callable[[str, dict[str, object]], None] = lambda what, body: None

    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self._answer)

    def whats(self) -> list[str]:
        return [what for what, _ in self.posted]

    def _answer(self, request: httpx.Request) -> httpx.Response:
        what, body = request.url.path.rsplit("/", 1)[1], json.loads(request.content)
        self.posted.append((what, body))
        self.on_post(what, body)
        if what != "calls":
            return httpx.Response(200, json={})
        further = [{"purpose": purpose} | _told(prompt) for purpose, prompt in self.further.items()]
        ask = _told(self.prompt) if self.prompt else None
        return httpx.Response(200, json={"call": "C" * 26, "ask": ask, "further": further, "receipt_code": "R"})


def _told(prompt: speech.Prompt) -> dict[str, str]:
    told = {"prompt": prompt.name, "language": prompt.language, "sha256": prompt.sha256}
    return {**told, "yes": prompt.yes, "no": prompt.no, "window_s": "12"}
