"""All recording sessions of one recorder: SIP dialogs, media lines and posted facts find their session here.

Knows which dialog, line and call belongs to which session; what any of it means, the session knows.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

from mitschnitt.errors import NoSpace, PeerError, TooLarge
from mitschnitt.recorder.clock import rfc3339
from mitschnitt.recorder.media import Line, Track
from mitschnitt.recorder.reception import Loss
from mitschnitt.recorder.session import Services, Session
from mitschnitt.recorder.sip_server import SipServer
from mitschnitt.recorder.trial import Trials
from mitschnitt.wire.sdp import parse_sdp, refusal
from mitschnitt.wire.sip import events as sip
from mitschnitt.wire.sip.ladder import Ladder
from mitschnitt.wire.sip.message import Request
from mitschnitt.wire.sip.recording import SDP_TYPE, RecordingBody, is_recording_invite, read_body
from mitschnitt.wire.siprec import Metadata, MetadataBroken, Update
from mitschnitt.wire.siprec_xml import DISPOSITION, MAX_METADATA_BYTES, METADATA_TYPE, SNAPSHOT_REQUEST, read_metadata

ANSWER_AFTER_SECONDS = 0.020  # real clients lose a 200 that comes within about 1 ms of their INVITE
REFUSED_BYE_SECONDS = 3_600.0  # how long a dialog whose client refused our BYE is remembered for its own
GONE_STATUSES = (408, 481)  # to a request within a dialog: the client no longer knows it (RFC 3261, 12.2.1.2)
RETRY_AFTER = ("Retry-After", "10")  # seconds; an SBC takes the next recorder at once
MAX_SNAPSHOT_REQUESTS = 3  # in one session: a client that cannot tell the whole is not asked for ever
SILENT_SECONDS = 300.0  # without any message of a dialog: its client is asked whether it is still there
MAX_REFS = 16  # references of one INVITE that are looked up; a call has two or three
MAX_REF_CHARS = 512  # of one reference: a session id has 73 at most, a Call-ID rarely 100
MAX_PUT_OFF = 3  # refusals for now of the last offer: then the BYE goes without it, for it must go

LOSSES = (sip.DialogTimedOut, sip.DialogEnded, sip.SessionExpired)  # of a client that did not say goodbye
ENDS = (sip.ByeReceived, *LOSSES)

log = logging.getLogger("mitschnitt.recorder")


class Dialog:
    """One SIP dialog as its branch uses it: offers one at a time, BYE after the last."""

    def __init__(self, server: SipServer, dialog: str, session: Session, *, began_at: str) -> None:
        self._server = server
        self._dialog = dialog
        self.ladder = server.agent.ladder(dialog) or Ladder()
        self.ladder.began_at = began_at
        self._session = session
        self.branch = session.add(self)
        self._wanted: Callable[[], bytes] | None = None
        self._sent: Callable[[], bytes] | None = None
        self._running = ""
        self._put_off = 0  # how often in a row the client said: later
        self._is_held = False
        self._bye_wanted = False
        self._snapshots = 0
        self.heard_at = server.now

    @property
    def session(self) -> Session:
        """The call that this is a recording session of; it may join a running one after its INVITE."""
        return self._session.heir

    def ask_snapshot(self) -> None:
        """UPDATE that asks the client for all of its metadata (RFC 7866, 9.2)."""
        if self._snapshots < MAX_SNAPSHOT_REQUESTS:
            self._snapshots += 1
            self._server.agent.update(
                self._dialog,
                now=self._server.now,
                body=SNAPSHOT_REQUEST,
                content_type=METADATA_TYPE,
                headers=(("Content-Disposition", DISPOSITION),),
            )
            self._server.flush()

    def ask_alive(self) -> None:
        """UPDATE without a body when nothing was heard for long; any answer will do.

        Not where a session timer runs: it ends the session by itself when the client is gone (RFC 4028).
        """
        now = self._server.now
        if now - self.heard_at > SILENT_SECONDS and not self._server.agent.timed(self._dialog):
            self.heard_at = now
            self._server.agent.update(self._dialog, now=now)
            self._server.flush()

    def offer(self, make_body: Callable[[], bytes]) -> None:
        """Send a re-INVITE as soon as the dialog is free; only the newest wish counts."""
        self._wanted = make_body
        self.go_on()

    def hang_up(self) -> None:
        """BYE, after the offers that are under way."""
        self._bye_wanted = True
        self.go_on()

    def told(self) -> Callable[[], bytes] | None:
        """An answer to the client's own offer says what this waiting offer would say; it waits no longer."""
        wanted, self._wanted = self._wanted, None
        return wanted

    def hold(self) -> None:
        """The client's own request is answered first; offers wait until `release`."""
        self._is_held = True

    def release(self) -> None:
        """The answer is out."""
        self._is_held = False
        self.go_on()

    def finished(self, transaction: str, status: int, *, retry_due: bool) -> bool:
        """Whether this was our running offer. If a RetryDue follows, the same wish waits for it (RFC 3261, 14.1)."""
        if transaction != self._running:
            return False
        self._running = ""
        if status < 300:
            self.branch.agreed()
        if not retry_due:
            self._concluded(status)  # before the next offer, for that is not answered yet
        self._put_off = self._put_off + 1 if retry_due else 0
        if retry_due and not (self._bye_wanted and self._put_off >= MAX_PUT_OFF):
            self._wanted = self._wanted or self._sent
        else:
            self.go_on()
        return True

    def _concluded(self, status: int) -> None:
        self.branch.moved()
        if status >= 300 and status not in GONE_STATUSES:
            self.session.refused(self.branch)

    def go_on(self) -> None:
        """Send what waits, if the dialog is free."""
        if self._running or self._is_held:
            return
        agent, now = self._server.agent, self._server.now
        if self._wanted is not None:
            make_body, self._wanted = self._wanted, None
            body = make_body()
            transaction = agent.reinvite(self._dialog, now=now, body=body, content_type=SDP_TYPE) if body else ""
            if transaction is None:
                self._wanted = make_body  # RetryDue comes when it can be sent
            elif transaction:
                self._running, self._sent = transaction, make_body
        if self._bye_wanted and not self._running and self._wanted is None:
            self._bye_wanted = False
            agent.bye(self._dialog, now=now)
        self._server.flush()


def _body(request: Request) -> RecordingBody:
    """What the request carries for recording; TooLarge also for metadata that would not be read anyway."""
    body = read_body(request)
    if body.metadata is not None and len(body.metadata) > MAX_METADATA_BYTES:
        raise TooLarge(f"metadata has at most {MAX_METADATA_BYTES} bytes, got {len(body.metadata)}")
    return body


def _status_of(error: PeerError) -> int:
    """What a request is answered that could not be taken: 413 above a limit, else 400."""
    return 413 if isinstance(error, TooLarge) else 400


class Calls:
    """The sessions of this recorder."""

    def __init__(self, *, call_header: str, max_calls: int) -> None:
        self._call_header = call_header
        self.limit = max_calls
        self._dialogs: dict[str, Dialog] = {}
        self._sealing: dict[asyncio.Task[None], Session] = {}  # over, and their files are being written
        self._stopping = False
        self.is_draining = False
        self._services: Services | None = None
        self._server: SipServer | None = None
        self.counts: Counter[str] = Counter()
        self.trials = Trials(lambda message: self.services.link.send(message))

    def start(self, services: Services, server: SipServer) -> None:
        """What could not be there yet when this was made: they call back into it."""
        self._services, self._server = services, server
        server.agent.admit_while(self._has_room)
        if self.is_draining:
            server.agent.drain()

    @property
    def services(self) -> Services:
        """Only after `start`."""
        if self._services is None:
            raise RuntimeError("Calls.start was not called")
        return self._services

    @property
    def server(self) -> SipServer:
        """Only after `start`."""
        if self._server is None:
            raise RuntimeError("Calls.start was not called")
        return self._server

    @property
    def running(self) -> int:
        """Recording sessions that stand now."""
        return len(self._dialogs)

    @property
    def is_idle(self) -> bool:
        """Whether none stands, and the files of all that did are written."""
        return not self._dialogs and not self._sealing

    def drain(self) -> None:
        """No new session from now on; those that stand go on to their ends."""
        self.is_draining = True
        if self._server is not None:
            self._server.agent.drain()

    def __iter__(self) -> Iterator[Session]:
        return iter(list(dict.fromkeys(dialog.session for dialog in self._dialogs.values())))

    def live_calls(self) -> list[str]:
        """The calls that the keeper must know us to hold."""
        return [session.call for session in self if session.call]

    def live_draws(self) -> dict[str, dict[str, Any]]:
        """Their draws, for a keeper that was started anew."""
        return {session.call: session.draw.told.to_json() for session in self if session.call}

    # -- what SIP brings -------------------------------------------------------------------------

    def on_event(self, event: sip.SipEvent) -> None:
        """One event of the user agent. Never raises: what fails shuts the call that it was about."""
        dialog = getattr(event, "dialog", None) or ""
        if dialog in self._dialogs:
            self._dialogs[dialog].heard_at = self.server.now
            self.trials.saw(event)
        try:
            self._take(event)
        except Exception:  # noqa: BLE001 - the other calls go on, and this one must not stay open
            self._failed(dialog)
            if isinstance(event, sip.InviteReceived):
                self._over(dialog)
            if isinstance(event, sip.InviteReceived | sip.ReinviteReceived | sip.UpdateReceived):
                self._respond(event.transaction, 500)

    def _failed(self, dialog: str) -> None:
        self.counts["event_failed"] += 1
        log.exception("a SIP event could not be dealt with; its call is shut")
        if dialog in self._dialogs:
            self._dialogs[dialog].session.failed("recorder.failed")

    def _take(self, event: sip.SipEvent) -> None:
        if isinstance(event, sip.InviteReceived):
            self._invite(event)
            if event.dialog not in self._dialogs:
                self.trials.turned_away(event, self.services.clock.now())
        elif isinstance(event, sip.ReinviteReceived | sip.UpdateReceived):
            self._change(event)
        elif isinstance(event, sip.AckReceived):
            self._acknowledged(event.dialog)
        elif isinstance(event, ENDS) or (isinstance(event, sip.CancelReceived) and event.ends):
            self._over(event.dialog, lost=isinstance(event, LOSSES))
        elif isinstance(event, sip.ByeRefused):
            self._bye_refused(event.dialog)
        elif isinstance(event, sip.ResponseReceived):
            self._answered(event)
        elif isinstance(event, sip.TransactionTimedOut):
            self._unanswered(event.dialog or "", event.method)
        elif isinstance(event, sip.RetryDue) and event.dialog in self._dialogs:
            self._dialogs[event.dialog].go_on()
        elif isinstance(event, sip.RefreshDue) and event.dialog in self._dialogs:
            dialog = self._dialogs[event.dialog]
            dialog.session.refresh(dialog.branch)

    def _has_room(self) -> bool:
        return not self._stopping and len(self._dialogs) < self.limit

    def _invite(self, event: sip.InviteReceived) -> None:
        try:
            body = _body(event.request)
            offer = parse_sdp(body.sdp) if body.sdp is not None else None
        except PeerError as error:
            self._respond(event.transaction, _status_of(error))
            return
        if offer is None:
            self._respond(event.transaction, 488)  # an INVITE without offer is how a recorder would begin, not a client
            return
        if not any(refusal(offer, number) is None for number in range(len(offer.lines))):
            self._respond(event.transaction, 488)  # nothing of it could ever be recorded: SRTP, video, no codec
            return
        update = read_metadata(body.metadata, charset=body.charset) if body.metadata is not None else None
        session = Session(self.services, self._refs(event.request, update))
        now = self.services.clock.now()
        dialog = self._dialogs[event.dialog] = Dialog(self.server, event.dialog, session, began_at=rfc3339(now))
        if not session.take_offer(dialog.branch, offer, at=now):
            self.counts["no_port"] += 1
            log.error("no RTP port is free; a call is turned away")
            self._over(event.dialog)
            self._respond(event.transaction, 503, headers=(RETRY_AFTER,))
            return
        if update is not None:
            session.take_metadata(dialog.branch, update)
        self.counts["calls"] += 1
        self.trials.began(event, dialog, now)
        if is_recording_invite(event.request):
            session.join()  # anything else is a telephone call for nobody: closed until its BYE
        loop = asyncio.get_running_loop()
        loop.call_later(ANSWER_AFTER_SECONDS, self._answer, event.dialog, event.transaction)

    def _refs(self, request: Request, update: Update | None) -> list[dict[str, str]]:
        named = request.headers.get(self._call_header)
        refs = [("sip_call_id", request.call_id), *([("header", named)] if named else ())]
        refs += [("sip_session_id", name) for name in (update.sip_session_ids if isinstance(update, Metadata) else ())]
        # What is no UTF-8 names no call, and would not fit a frame.
        return [
            {"kind": kind, "value": value.encode("utf-8", "replace").decode()[:MAX_REF_CHARS]}
            for kind, value in refs[:MAX_REFS]
        ]

    def _answer(self, name: str, transaction: str) -> None:
        dialog = self._dialogs.get(name)
        if dialog is None:
            return
        try:
            dialog.branch.answered = self._respond(transaction, 200, body=dialog.session.body(dialog.branch))
            if dialog.branch.answered:
                dialog.branch.agreed()
        except Exception:  # noqa: BLE001 - nobody else would end this session
            self._failed(name)
            self._over(name)
            self._respond(transaction, 500)

    def _change(self, event: sip.ReinviteReceived | sip.UpdateReceived) -> None:
        dialog, now = self._dialogs.get(event.dialog), self.services.clock.now()
        if dialog is None:
            self._respond(event.transaction, 481)
            return
        dialog.hold()
        try:
            self._take_change(event, dialog, now)
        finally:
            dialog.release()
        if isinstance(event, sip.UpdateReceived):
            self._ask_snapshot(dialog)  # after a re-INVITE its ACK comes first

    def _take_change(self, event: sip.ReinviteReceived | sip.UpdateReceived, dialog: Dialog, now: datetime) -> None:
        session, branch = dialog.session, dialog.branch
        try:
            body = _body(event.request)
            if body.sdp is not None:
                session.take_offer(branch, parse_sdp(body.sdp), at=now)
            if body.metadata is not None:
                session.take_metadata(branch, read_metadata(body.metadata, charset=body.charset))
        except PeerError as error:
            # What the client now has on the line is unknown: shut first, then say no.
            session.take_metadata(branch, MetadataBroken(str(error)))
            session.look(since=now)
            self._respond(event.transaction, _status_of(error))
            return
        session.look(since=now)
        offered = isinstance(event, sip.ReinviteReceived) or body.sdp is not None
        if offered:
            self._answer_offer(event, dialog)
        else:
            self._respond(event.transaction, 200)

    def _answer_offer(self, event: sip.ReinviteReceived | sip.UpdateReceived, dialog: Dialog) -> None:
        waiting = dialog.told()
        sent = self._respond(event.transaction, 200, body=dialog.session.body(dialog.branch))
        if sent:
            dialog.branch.agreed()
        if sent and isinstance(event, sip.UpdateReceived):
            dialog.branch.moved()
        elif not sent and waiting is not None:
            dialog.offer(waiting)  # the client took its offer back before it was answered

    def _ask_snapshot(self, dialog: Dialog) -> None:
        if dialog.session.needs_snapshot(dialog.branch):
            dialog.ask_snapshot()

    def _answered(self, event: sip.ResponseReceived) -> None:
        known = self._dialogs.get(event.dialog or "")
        if known is None or event.response.status < 200:
            return
        known.finished(event.transaction, event.response.status, retry_due=event.retry_due)

    def _unanswered(self, dialog: str, method: str) -> None:
        if dialog in self._dialogs and method in ("INVITE", "UPDATE"):
            # The client is gone (RFC 3261, 14.1); its BYE will never come.
            self.server.agent.bye(dialog, now=self.server.now)
            self._over(dialog, lost=True)
            self.server.flush()

    def _acknowledged(self, name: str) -> None:
        dialog = self._dialogs.get(name)
        if dialog is not None:
            dialog.branch.moved()
            self._ask_snapshot(dialog)

    def _bye_refused(self, dialog: str) -> None:
        # Its media goes on and no BYE of its own need ever come: close the ports and remember the dialog for a while.
        # Not logged: in mid-call we send a BYE after a withdrawal only.
        self._over(dialog)
        asyncio.get_running_loop().call_later(REFUSED_BYE_SECONDS, self.server.agent.forget, dialog)

    def _over(self, name: str, *, lost: bool = False) -> None:
        dialog = self._dialogs.pop(name, None)
        if dialog is not None:
            session = dialog.session
            self.trials.over(name)
            if not session.leave(dialog.branch, lost=lost):
                return
            task = asyncio.get_running_loop().create_task(session.sealed())
            self._sealing[task] = session
            task.add_done_callback(self._sealed)

    def _sealed(self, task: asyncio.Task[None]) -> None:
        self._sealing.pop(task, None)
        if not task.cancelled() and task.exception() is not None:
            self.counts["seal_failed"] += 1
            log.error("seal_failed", exc_info=task.exception())

    def _respond(
        self, transaction: str, status: int, *, body: bytes = b"", headers: tuple[tuple[str, str], ...] = ()
    ) -> bool:
        sent = self.server.agent.respond(
            transaction,
            status,
            now=self.server.now,
            body=body,
            content_type=SDP_TYPE if body else "",
            headers=headers,
        )
        self.server.flush()
        return sent

    # -- what media and keeper bring -------------------------------------------------------------

    def on_digit(self, line: Line, digit: str, at_ns: int) -> None:
        """A key was pressed in the stream of this line."""
        owner = self.services.owners.get(line)
        if owner is not None:
            owner.digit(line, digit, at_ns)

    def on_leak(self, line: Line, packets: int) -> None:
        """Packets came while the gate was closed: cut in the kernel, counted here, an alarm for the operator."""
        self.counts["cut_packets"] += packets
        owner = self.services.owners.get(line)
        if owner is not None and owner.leak(line, packets):
            log.warning("leak")

    def on_doubt(self, line: Line, rule: str, since_ns: int) -> None:
        """A stream contradicts its binding: its call is shut, and what came since then is taken back."""
        self.counts["doubted_streams"] += 1
        owner = self.services.owners.get(line)
        if owner is not None:
            owner.doubt(line, rule, since_ns=since_ns)

    def on_named(self, line: Line) -> None:
        """The source on this line told its CNAME."""
        owner = self.services.owners.get(line)
        if owner is not None:
            owner.confirm(line)

    def on_loss(self, line: Line, loss: Loss) -> None:
        """A line loses much: once per call a word for the operator."""
        self.counts["lossy_lines"] += 1
        owner = self.services.owners.get(line)
        if owner is not None and owner.loses():
            log.warning("a call loses packets on their way here; percent", extra={"count": round(100 * loss.share)})

    def on_failed(self, track: Track, _error: NoSpace) -> None:
        """The disk took no more for this track."""
        for session in self:
            if session.has(track):
                log.error("the disk takes no more; a call is closed")
                session.failed("vault.no_space")

    def fact_posted(self, kind: str, data: Mapping[str, Any]) -> None:
        """A fact for one of our calls; what is broken is dropped and counted."""
        for session in [*self, *self._sealing.values()]:
            if session.call and session.call == data.get("call"):
                try:
                    session.post(kind, data)
                except (PeerError, AttributeError, TypeError, ValueError):
                    self.counts["bad_facts"] += 1

    def look_at_all(self) -> None:
        """Something that holds for all calls has changed: view, clock, age of the view."""
        for session in [*self, *self._sealing.values()]:
            session.look()

    def ask_silent(self) -> None:
        """Ask the clients of dialogs that were silent for long whether they are still there; about once a second."""
        for dialog in list(self._dialogs.values()):
            dialog.ask_alive()

    async def stop(self) -> None:
        """End every call sealed, tell the clients, and wait until the files are written."""
        self._stopping = True
        for session in self:
            session.ended()
        for dialog in list(self._dialogs):
            self.server.agent.bye(dialog, now=self.server.now)
            self._over(dialog)
        self.server.flush()
        if self._sealing:
            await asyncio.wait(self._sealing)
