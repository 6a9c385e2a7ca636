"""A recording client with one flaw: SIP and RTP are real, and where it should do one thing it does its flaw."""

from __future__ import annotations

import asyncio
import secrets
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from mitschnitt.gateways import cast, session_text
from mitschnitt.gateways.cast import Speaker
from mitschnitt.gateways.session_text import ASKS_FOR_MEDIA, Line, SessionNames, read_description
from mitschnitt.gateways.sip_client import BOUNDARY, SDP_TYPE, multipart, sdp_of
from mitschnitt.recorder.sip_server import SipServer
from mitschnitt.wire import g711
from mitschnitt.wire.sip import events as sip
from mitschnitt.wire.sip.agent import UserAgent
from mitschnitt.wire.sip.config import SRC_FEATURE, AgentConfig
from mitschnitt.wire.sip.hop import Hop

HOST = "127.0.0.1"
STEP_SECONDS = 30.0  # for each step of a call on a busy machine
ALLOW = ("INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "UPDATE")
PACKETS = 120  # of a stream that flows: more than the hold
Edit = Callable[[bytes], bytes]


def as_it_is(data: bytes) -> bytes:
    """No flaw."""
    return data


def replacing(old: bytes, new: bytes) -> Edit:
    """That text instead of this one; it must be there."""

    def edit(data: bytes) -> bytes:
        assert old in data
        return data.replace(old, new)

    return edit


@dataclass(frozen=True)
class Flaw:
    """What is wrong with a client; nothing by default."""

    sdp: Edit = as_it_is
    metadata: Edit = as_it_is
    headers: tuple[tuple[str, str], ...] = (("Require", "siprec"),)
    has_metadata: bool = True
    clock: timedelta = timedelta()
    agent: Speaker = cast.AGENTS_WITH_GRANT[0]
    allow: tuple[str, ...] = ALLOW
    offer_status: int = 200  # of its answer to our re-INVITE
    sends: bool = True  # media where it is asked for
    leaks: bool = False  # media where it is not
    answers_by: str = "post"


@dataclass
class FlawedClient:
    """One client; `open` first, then one call."""

    flaw: Flaw
    recorder_port: int
    opened: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    acknowledged: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        feature = SRC_FEATURE if self.flaw.headers else ""
        config = AgentConfig(host=HOST, user="sbc", feature=feature, product="flawed-sbc", allow=self.flaw.allow)
        self._agent = UserAgent(config, lambda: secrets.token_hex(8))
        self._server = SipServer(self._agent, self._take)
        self._dialog = ""
        self._lines: list[Line] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._version = 1
        self._sending: list[asyncio.Task[None]] = []

    async def open(self) -> int:
        """Its SIP port, UDP and TCP."""
        await self._server.start(HOST, 0)
        return self._server.port

    async def close(self) -> None:
        """Gone."""
        await self._server.stop()
        self._socket.close()

    async def dial(self, session: str) -> None:
        """An INVITE, until its answer is acknowledged."""
        people = (cast.caller(0), self.flaw.agent)
        self._lines = [
            Line(str(number), 40_000 + 2 * number, who, f"participant-{number}", f"stream-{number}")
            for number, who in enumerate(people, 1)
        ]
        names = SessionNames("session", session, 1, HOST, g711.Law.PCMA)
        self._names = names
        metadata = session_text.metadata(names, self._lines, now=datetime.now(UTC) + self.flaw.clock)
        sdp = self.flaw.sdp(self._sdp())
        body, kind = sdp, SDP_TYPE
        if self.flaw.has_metadata:
            body, kind = multipart(sdp, self.flaw.metadata(metadata)), f"multipart/mixed;boundary={BOUNDARY}"
        self._dialog = self._agent.invite(
            f"sip:recorder@{HOST}:{self.recorder_port}",
            Hop("UDP", HOST, self.recorder_port),
            now=self._server.now,
            sender=f"sip:sbc@{HOST}",
            body=body,
            content_type=kind,
            headers=self.flaw.headers,
        )
        self._server.flush()
        await asyncio.wait_for(self.acknowledged.wait(), STEP_SECONDS)

    async def hang_up(self) -> None:
        """BYE, until it is answered, unless the recorder was faster."""
        if not self.ended.is_set():
            self._agent.bye(self._dialog, now=self._server.now)
            self._server.flush()
        await asyncio.wait_for(self.ended.wait(), STEP_SECONDS)

    async def speak(self) -> None:
        """Until what was to be sent is sent."""
        while self._sending:
            await asyncio.gather(*self._sending)

    def _sdp(self) -> bytes:
        return session_text.offer(
            self._names, self._lines, version=self._version, directions=["sendonly"] * len(self._lines)
        )

    def _take(self, event: sip.SipEvent) -> None:
        if isinstance(event, sip.ResponseReceived) and event.method == "INVITE" and event.response.status == 200:
            self._aim(sdp_of(event.response.content_type, event.response.body))
            self.acknowledged.set()
        elif isinstance(event, sip.ResponseReceived) and event.method == "INVITE" and event.response.status >= 300:
            self.acknowledged.set()
            self.ended.set()
        elif isinstance(event, sip.ReinviteReceived):
            self._answer(event)
        elif isinstance(event, sip.UpdateReceived):
            self._agent.respond(event.transaction, 200, now=self._server.now)
        elif isinstance(event, sip.ByeReceived | sip.DialogEnded):
            self.ended.set()

    def _answer(self, event: sip.ReinviteReceived) -> None:
        status = self.flaw.offer_status
        body = self._sdp() if status < 300 else b""
        self._agent.respond(
            event.transaction, status, now=self._server.now, body=body, content_type=SDP_TYPE if body else ""
        )
        if status < 300:
            self._aim(sdp_of(event.request.content_type, event.request.body))
        else:
            self.opened.set()  # it was asked to

    def _aim(self, sdp: bytes) -> None:
        asked = read_description(sdp)
        wanted = all(line.direction in ASKS_FOR_MEDIA for line in asked)
        if wanted:
            self.opened.set()
        if (wanted and self.flaw.sends) or (not wanted and self.flaw.leaks):
            ports = [line.port for line in asked if line.port]
            self._sending.append(asyncio.get_running_loop().create_task(self._send(ports)))

    async def _send(self, ports: list[int]) -> None:
        for number in range(PACKETS):
            for ssrc, port in enumerate(ports, 1):
                head = struct.pack(">BBHII", 0x80, 8, number, 160 * number, ssrc)
                self._socket.sendto(head + b"\xd5" * 160, (HOST, port))
            await asyncio.sleep(0.02)
        self._sending = [task for task in self._sending if task is not asyncio.current_task()]
