"""All recording sessions of one recorder: SIP dialogs, media lines and posted facts find their session here.

Knows which dialog, line and call belongs to which session; what any of it means, the session knows.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from mitschnitt.recorder.media import Line
from mitschnitt.recorder.session import Services, Session
from mitschnitt.recorder.sip_server import SipServer
from mitschnitt.wire.sip import events as sip

ANSWER_AFTER_SECONDS = 0.020  # real clients lose a 200 that comes within about 1 ms of their INVITE
SDP_TYPE = "application/sdp"

log = logging.getLogger("mitschnitt.recorder")


class Dialog:
    """One SIP dialog as its session uses it: offers one at a time, BYE after the last."""

    def __init__(self, server: SipServer, dialog: str) -> None:
        self._server = server
        self._dialog = dialog
        self._wanted: Callable[[], bytes] | None = None
        self._running = ""
        self._bye_wanted = False
        self.gone = False

    def offer(self, make_body: Callable[[], bytes]) -> None:
        """Send a re-INVITE as soon as the dialog is free; only the newest wish counts."""
        self._wanted = make_body
        self.go_on()

    def hang_up(self) -> None:
        """BYE, after the offers that are under way."""
        self._bye_wanted = True
        self.go_on()

    def finished(self, transaction: str) -> bool:
        """Whether this was our running offer; the next one, if any, is sent."""
        if transaction != self._running:
            return False
        self._running = ""
        self.go_on()
        return True

    def go_on(self) -> None:
        """Send what waits, if the dialog is free."""
        if self.gone or self._running:
            return
        if self._wanted is not None:
            make_body, self._wanted = self._wanted, None
            transaction = self._server.reinvite(self._dialog, body=make_body(), content_type=SDP_TYPE)
            if transaction is None:
                self._wanted = make_body  # RetryDue comes when it can be sent
            else:
                self._running = transaction
        elif self._bye_wanted:
            self._bye_wanted = False
            self._server.bye(self._dialog)


class Calls:
    """The sessions of this recorder."""

    def __init__(self, services: Services, server: SipServer, *, call_header: str, max_calls: int) -> None:
        self._services = services
        self._server = server
        self._call_header = call_header
        self._max_calls = max_calls
        self._sessions: dict[str, Session] = {}
        self._dialogs: dict[str, Dialog] = {}
        self._lines: dict[Line, Session] = {}
        self._background: set[asyncio.Task[None]] = set()

    # -- what SIP brings -------------------------------------------------------------------------

    def on_event(self, event: sip.SipEvent) -> None:
        """One event of the user agent."""
        if isinstance(event, sip.InviteReceived):
            self._invite(event)
        elif isinstance(event, sip.ReinviteReceived | sip.UpdateReceived):
            self._change(event)
        elif isinstance(event, sip.AckReceived):
            self._sessions_moved(event.dialog)
        elif isinstance(event, sip.ByeReceived | sip.CancelReceived | sip.DialogTimedOut | sip.DialogEnded):
            self._over(event.dialog)
        elif isinstance(event, sip.ByeRefused):
            # The client keeps sending; its lines stay shut and count until its own BYE or our stop.
            log.info("a client refused BYE; its media is ignored", extra={"status": event.status})
        elif isinstance(event, sip.ResponseReceived | sip.TransactionTimedOut):
            self._answered(event)
        elif isinstance(event, sip.RetryDue) and event.dialog in self._dialogs:
            self._dialogs[event.dialog].go_on()
