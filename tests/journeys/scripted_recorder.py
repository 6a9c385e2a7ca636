"""A recorder in a thread of this process, with a scripted session: what the sipp journeys talk to.

It answers as the design says and opens or ends when told; it receives no media. `RecorderUnderTest` is all
that the journeys know of it, so that the real `serve` can take its place.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from mitschnitt.recorder.sip_server import SipServer
from mitschnitt.wire.sdp import Description, Form, LocalLine, answer, parse_sdp, reoffer
from mitschnitt.wire.sip.agent import UserAgent
from mitschnitt.wire.sip.config import AgentConfig
from mitschnitt.wire.sip.events import (
    AckReceived,
    ByeReceived,
    CancelReceived,
    InviteReceived,
    ReinviteReceived,
    RetryDue,
    SipEvent,
    UpdateReceived,
)
from mitschnitt.wire.sip.message import Request
from mitschnitt.wire.sip.recording import InviteKind, classify_invite, read_body
from mitschnitt.wire.siprec import Binding, Metadata, Update, bind
from mitschnitt.wire.siprec_xml import read_metadata

HOST = "127.0.0.1"
ANSWER_AFTER = 0.02  # seconds between 100 and 200 (design: a faster 200 is lost by real clients)


@dataclass
class RecorderUnderTest:
    """Where the recorder is and how it is told of acts; `reference` is the metadata's sipSessionID."""

    host: str
    port: int
    agree: Callable[[str], None]
    stop: Callable[[str], None]
    bindings: dict[str, Binding]  # the newest of each session
    events: list[SipEvent]
    kinds: list[InviteKind]  # of every INVITE so far

    def reported(self, kind: type[SipEvent], count: int) -> bool:
        """Whether exactly so many events of that kind are reported, waiting for them at most 5 s."""
        until = time.monotonic() + 5
        while (found := sum(1 for e in list(self.events) if isinstance(e, kind))) < count:
            if time.monotonic() > until:
                return False
            time.sleep(0.01)
        return found == count


@dataclass
class ScriptedSession:
    """One recording session as the script sees it."""

    dialog: str
    kind: InviteKind
    metadata: Update | None = None
    labels: list[str | None] = field(default_factory=list)
    description: Description | None = None
    form: Form = Form.CLOSED


class ScriptedRecorder:
    """Answers in the form of the moment; opens on `agree` when the binding is certain; BYE on `stop`."""

    def __init__(self, answer_after: float) -> None:
        self.events: list[SipEvent] = []
        self.sessions: dict[str, ScriptedSession] = {}
        self.kinds: list[InviteKind] = []
        self.references: dict[str, str] = {}
        self.bindings: dict[str, Binding] = {}
        self.server = SipServer(UserAgent(AgentConfig(), lambda: secrets.token_hex(8)), self.take)
        self._answer_after = answer_after

    def take(self, event: SipEvent) -> None:
        self.events.append(event)
        if isinstance(event, InviteReceived):
            kind = classify_invite(event.request)
            self.kinds.append(kind)
            self.sessions[event.dialog] = ScriptedSession(event.dialog, kind)
        if isinstance(event, InviteReceived | ReinviteReceived):
            session = self.sessions[event.dialog]
            self._learn(session, event.request)
            asyncio.get_running_loop().call_later(
                self._answer_after, self._answer, session, event.request, event.transaction
            )
        elif isinstance(event, UpdateReceived):
            self._learn(self.sessions[event.dialog], event.request)
            self.server.agent.respond(event.transaction, 200, now=self.server.now)
        elif isinstance(event, RetryDue):
            self._offer(self.sessions[event.dialog])
        elif isinstance(event, ByeReceived | CancelReceived):
            self.sessions.pop(event.dialog, None)

    def _learn(self, session: ScriptedSession, request: Request) -> None:
        body = read_body(request)
        if body.sdp:
            session.labels = [line.label for line in parse_sdp(body.sdp).lines]
        if body.metadata is None:
            return
        update = read_metadata(body.metadata, charset=body.charset)
        if isinstance(update, Metadata) and isinstance(session.metadata, Metadata):
            update = session.metadata.apply(update)
        session.metadata = update
        if isinstance(update, Metadata):
            for reference in update.sip_session_ids:
                self.references[reference] = session.dialog
                self.bindings[reference] = bind(update, session.labels)

    def _answer(self, session: ScriptedSession, request: Request, transaction: str) -> None:
        offer = parse_sdp(read_body(request).sdp or b"")
        session.description = answer(
            offer,
            self._ports(len(offer.lines), session.form),
            session.form,
            address=HOST,
            session=1,
            previous=session.description,
        )
        self.server.agent.respond(
            transaction,
            200,
            now=self.server.now,
            body=bytes(session.description),
            content_type="application/sdp",
        )
        self.server.flush()

    @staticmethod
    def _ports(count: int, form: Form) -> list[LocalLine]:
        first = 20_000 if form is Form.CLOSED else 20_100  # a fresh port for what is opened
        return [LocalLine(first + 2 * index) for index in range(count)]

    def agree(self, reference: str) -> None:
        """Every party of the session has agreed."""
        session = self.sessions.get(self.references.get(reference, ""))
        if session and bind(session.metadata, session.labels).certain:
            session.form = Form.OPEN
            self._offer(session)
            self.server.flush()

    def _offer(self, session: ScriptedSession) -> None:
        if session.description is None:
            return
        ports = self._ports(len(session.description.lines), session.form)
        offered = reoffer(session.description, ports, session.form, address=HOST)
        sent = self.server.agent.reinvite(
            session.dialog, now=self.server.now, body=bytes(offered), content_type="application/sdp"
        )
        if sent:
            session.description = offered

    def stop(self, reference: str) -> None:
        """The session is to end from our side."""
        self.server.agent.bye(self.references.get(reference, ""), now=self.server.now)
        self.server.flush()


@contextlib.contextmanager
def running_recorder(*, answer_after: float = ANSWER_AFTER) -> Iterator[RecorderUnderTest]:
    """A scripted recorder on free loopback ports, in a thread with a loop of its own."""
    loop = asyncio.new_event_loop()
    recorder = ScriptedRecorder(answer_after)
    thread = threading.Thread(target=loop.run_forever, name="scripted recorder")
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(recorder.server.start(HOST, 0), loop).result(5)
        yield RecorderUnderTest(
            HOST,
            recorder.server.port,
            lambda reference: _when_established(recorder, loop, reference, recorder.agree),
            lambda reference: _when_established(recorder, loop, reference, recorder.stop),
            recorder.bindings,
            recorder.events,
            recorder.kinds,
        )
    finally:
        asyncio.run_coroutine_threadsafe(recorder.server.stop(), loop).result(5)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
        loop.close()


def _when_established(
    recorder: ScriptedRecorder,
    loop: asyncio.AbstractEventLoop,
    reference: str,
    act: Callable[[str], None],
) -> None:
    """Acts once the session of that reference is acknowledged; AssertionError after 10 s."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        dialog = recorder.references.get(reference)
        if dialog and any(isinstance(e, AckReceived) and e.dialog == dialog for e in list(recorder.events)):
            loop.call_soon_threadsafe(act, reference)
            return
        time.sleep(0.01)
    raise AssertionError(f"no session {reference} was established")
