"""A recorder's calls with a real client agent at the other end of a wire: SIP is real on both sides, time is played.

The client answers re-INVITEs as real ones do (200, `sendonly`) unless `answers` says otherwise, and remembers what
it was told in between.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from mitschnitt.core.gate import State
from mitschnitt.recorder import calls as calls_module
from mitschnitt.recorder.calls import Calls
from mitschnitt.recorder.session import Session
from mitschnitt.recorder.sip_server import SipServer
from mitschnitt.wire.sdp import Description, parse_sdp
from mitschnitt.wire.sip import events as sip
from mitschnitt.wire.sip.config import SRC_FEATURE, AgentConfig
from mitschnitt.wire.sip.message import Request
from mitschnitt.wire.sip.recording import SDP_TYPE, build_body, read_body
from mitschnitt.wire.siprec import Metadata
from mitschnitt.wire.siprec_xml import build_metadata
from recorder_stage import CALL, PATIENCE_SECONDS, TWO, Stage, act, asked, joined, offer, stage_on, state_of
from sip_pair import CLIENT_PORT, SERVER_URI, Pair

UNTIMED = AgentConfig(port=CLIENT_PORT, feature=SRC_FEATURE, understood=frozenset({"siprec"}))  # as OpenSIPS is
KEPT = ("arrived", "track", "track", "sealed", "sealed", "closed")
AT = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)


def body(sdp: bytes, metadata: Metadata | bytes | None = TWO) -> tuple[str, bytes]:
    """(Content-Type, body) of an offer with metadata."""
    if metadata is None:
        return SDP_TYPE, sdp
    document = build_metadata(metadata, at=AT) if isinstance(metadata, Metadata) else metadata
    return build_body(sdp, document, boundary="OSS-unique-boundary-42")


class Wire:
    """Calls on one side, a client on the other; stands for the SIP server in between."""

    def __init__(self, stage: Stage, *, max_calls: int = 10, ports_checked: bool = True) -> None:
        self.stage, self.pair = stage, Pair()
        self.calls = Calls(call_header="X-Call", max_calls=max_calls)
        self.calls.start(stage.services, cast(SipServer, self))
        self.told: list[Description] = []  # every description that the client got, in order
        self.answers: list[int] = []  # statuses for the next re-INVITEs; 200 when it is empty
        self.updates: list[Request] = []
        self.ended: list[str] = []
        self.unbound: list[int] = []  # ports that were told before they were bound
        self.acks = True
        stage.media._on_digit = self.calls.on_digit
        stage.media._on_failed = self.calls.on_failed

    # -- what calls see of the server --------------------------------------------------------------

    @property
    def agent(self) -> Any:
        """The recorder's agent."""
        return self.pair.server

    @property
    def now(self) -> float:
        """Seconds of the wire's clock."""
        return self.pair.now

    def flush(self) -> None:
        """Carries everything, and what follows from it."""
        while True:
            self.pair.run()
            theirs, ours = self.pair.client.events(), self.pair.server.events()
            if not theirs and not ours:
                return
            for event in theirs:
                self._client(event)
            for event in ours:
                self.calls.on_event(event)

    # -- the client --------------------------------------------------------------------------------

    def invite(self, content: tuple[str, bytes] | None = None, *headers: tuple[str, str], plain: bool = False) -> str:
        """The client starts a session; its dialog."""
        kind, data = content or body(offer("1", "2"))
        required = () if plain else (("Require", "siprec"),)
        dialog = self.pair.client.invite(
            SERVER_URI,
            self.pair.server_hop,
            now=self.now,
            sender="sip:client@127.0.0.1",
            body=data,
            content_type=kind,
            headers=(*required, *headers),
        )
        self.flush()
        return dialog

    def reinvite(self, dialog: str, content: tuple[str, bytes]) -> Description | None:
        """The client offers anew; what it is answered."""
        before = len(self.told)
        kind, data = content
        assert self.pair.client.reinvite(dialog, now=self.now, body=data, content_type=kind) is not None
        self.flush()
        return self.told[before] if len(self.told) > before else None

    def update(self, dialog: str, content: tuple[str, bytes] = ("", b"")) -> None:
        """The client sends UPDATE."""
        assert self.pair.client.update(dialog, now=self.now, body=content[1], content_type=content[0]) is not None
        self.flush()

    def bye(self, dialog: str) -> None:
        """The client hangs up."""
        self.pair.client.bye(dialog, now=self.now)
        self.flush()

    def wait(self, seconds: float) -> None:
        """Time passes on the wire, timer by timer."""
        until = self.now + seconds
        while self.now < until:
            self.pair.wait(min(0.5, until - self.now))
            self.flush()

    def _client(self, event: sip.SipEvent) -> None:
        if isinstance(event, sip.ResponseReceived) and event.method == "INVITE" and event.response.status == 200:
            self._hear(event.response.body)
        elif isinstance(event, sip.ReinviteReceived):
            self._hear(event.request.body)
            status = self.answers.pop(0) if self.answers else 200
            answer = offer("1", "2") if status == 200 else b""
            self.pair.client.respond(
                event.transaction, status, now=self.now, body=answer, content_type=SDP_TYPE if answer else ""
            )
        elif isinstance(event, sip.UpdateReceived):
            self.updates.append(event.request)
            self.pair.client.respond(event.transaction, 200, now=self.now)
        elif isinstance(event, sip.ByeReceived):
            self.ended.append(event.dialog)

    def _hear(self, data: bytes) -> None:
        description = parse_sdp(data)
        self.told.append(description)
        for line in description.lines:
            if line.port and not is_bound(line.port):
                self.unbound.append(line.port)

    # -- looking -----------------------------------------------------------------------------------

    @property
    def session(self) -> Session:
        """The only session."""
        (session,) = self.calls
        return session

    async def answered(self) -> None:
        """Until the only session has its 200 out, and the keeper's answer in."""
        await self.until(lambda: all(branch.answered for session in self.calls for branch in session.branches))

    async def until(self, true: Callable[[], bool]) -> None:
        """Until it is so."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not true():
                await asyncio.sleep(0.002)
                self.flush()

    def requests(self, method: str) -> list[Request]:
        """All requests of that method that went over the wire."""
        return [message for message in self.pair.sent if isinstance(message, Request) and message.method == method]

    @property
    def clean(self) -> bool:
        """Whether nothing of any call is left."""
        calls = self.calls
        return not calls._dialogs and not calls._sealing and not self.stage.open_lines()


def is_bound(port: int) -> bool:
    """Whether somebody listens there already."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False


def wired(directory: Path, scene: Callable[[Wire], Awaitable[None]], *, max_calls: int = 10, **changes: Any) -> None:
    """Runs a scene on a wire of its own; the 200 comes on the next turn of the loop."""

    async def run() -> None:
        with stage_on(directory, **changes) as stage:
            before, calls_module.ANSWER_AFTER_SECONDS = calls_module.ANSWER_AFTER_SECONDS, 0.0
            try:
                await scene(Wire(stage, max_calls=max_calls))
            finally:
                calls_module.ANSWER_AFTER_SECONDS = before

    asyncio.run(run())


def snapshot_asked(request: Request) -> bool:
    """Whether this UPDATE asks for all metadata."""
    found = read_body(request)
    return found.metadata is not None and b"requestsnapshot" in found.metadata and found.sdp is None


async def keeping(wire: Wire, *, answer_by: str = "post") -> str:
    """A call in which everybody agreed; the client's dialog."""
    wire.stage.link.answers = lambda: joined(answer_by=answer_by, asked=[asked()])
    dialog = wire.invite()
    await wire.answered()
    wire.stage.seconds = 6.0
    wire.calls.fact_posted("act", {"call": CALL, **act("1", 5.5)})
    wire.flush()
    assert state_of(wire.session) is State.KEEPING
    return dialog
