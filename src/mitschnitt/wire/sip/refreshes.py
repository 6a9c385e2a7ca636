"""Keeps the session timers of one user agent: says them in requests and answers, refreshes, ends (RFC 4028).

Carries out what the table in `session_timer` says, through whoever owns the dialogs. Makes no offer of its own.
"""

from __future__ import annotations

from typing import Protocol

from mitschnitt.wire.sip.config import AgentConfig
from mitschnitt.wire.sip.dialog import NOTHING, Content, Dialog
from mitschnitt.wire.sip.events import RefreshDue, SessionExpired, SipEvent
from mitschnitt.wire.sip.message import Request, Response
from mitschnitt.wire.sip.reasons import EXPIRED, reason_header
from mitschnitt.wire.sip.session_timer import (
    TIMER_TAG,
    SessionAction,
    SessionClock,
    SessionEvent,
    SessionInput,
    Terms,
    answer_terms,
    min_se,
    request_headers,
    session_expires,
    terms_headers,
    too_small,
)
from mitschnitt.wire.sip.timers import Timers

REFRESHING = ("INVITE", "UPDATE")  # methods whose 2xx restarts the timer

HeaderItems = tuple[tuple[str, str], ...]


class Sender(Protocol):
    """What the owner of the dialogs does for this module."""

    config: AgentConfig
    timers: Timers
    events: list[SipEvent]

    def ask(self, dialog: Dialog, method: str, content: Content, now: float) -> str:
        """Sends a request within the dialog; returns the transaction."""

    def bye(self, dialog: Dialog, content: Content, now: float) -> str | None:
        """Ends the dialog."""


class Refreshes:
    """The session timers of all dialogs of one endpoint."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    @property
    def _known(self) -> bool:
        return TIMER_TAG in self._sender.config.understood

    def _terms(self, request: Request) -> Terms | None:
        return answer_terms(request.headers, wanted=self._sender.config.session_expires_s) if self._known else None

    # --- what messages say ----------------------------------------------------------------------------

    def refusal_headers(self, request: Request) -> HeaderItems | None:
        """What a 422 to this request says; None when it is not to be refused."""
        least = self._sender.config.min_se_s
        if request.method not in REFRESHING or not self._known or not too_small(request.headers, least=least):
            return None
        return (("Min-SE", str(least)),)

    def headers_of(self, dialog: Dialog, method: str) -> HeaderItems:
        """What a request of ours within (or for) this dialog says."""
        if method not in REFRESHING or not self._known or (dialog.confirmed and not dialog.timer.runs):
            return ()
        return request_headers(dialog.timer, wanted=self._sender.config.session_expires_s)

    def answer_headers(self, request: Request) -> HeaderItems:
        """What our 2xx to this INVITE or UPDATE says."""
        terms = self._terms(request)
        return terms_headers(terms) if terms else ()

    # --- what happened --------------------------------------------------------------------------------

    def answered(self, dialog: Dialog, request: Request, now: float) -> None:
        """Our 2xx to this INVITE or UPDATE went out."""
        terms = self._terms(request)
        ours = terms is not None and terms.refresher == "uas"
        self._do(dialog, dialog.timer.agree(terms, ours=ours, now=now), now)

    def agreed(self, dialog: Dialog, request: Request, response: Response, now: float) -> None:
        """A 2xx to this INVITE or UPDATE of ours came."""
        if not self._known:
            return
        asked, terms = session_expires(request.headers), session_expires(response.headers)
        if terms is None and asked and asked.refresher == "uac":
            terms = asked  # who answers without a timer has been heard all the same: we go on alone (RFC 4028, 7.2)
        ours = terms is not None and terms.refresher != "uas"
        self._do(dialog, dialog.timer.agree(terms, ours=ours, now=now), now)

    def refused(self, dialog: Dialog, transaction: str, response: Response, now: float) -> None:
        """A request of ours was refused; only our own refresh is of interest."""
        if transaction != dialog.timer.transaction:
            return
        dialog.timer.transaction = ""
        event = SessionInput.REFUSED
        if response.status in (405, 501):
            event = SessionInput.NOT_ALLOWED
        elif response.status == 422 and dialog.timer.raise_to(min_se(response.headers)):
            event = SessionInput.TOO_SMALL
        self.feed(dialog, event, now)

    def lost(self, dialog: Dialog, transaction: str, now: float) -> None:
        """A request of ours was never answered; only our own refresh is of interest."""
        if transaction == dialog.timer.transaction:
            self.feed(dialog, SessionInput.LOST, now)

    def feed(self, dialog: Dialog, event: SessionEvent, now: float) -> None:
        """One event of a dialog's session timer, with what follows from it."""
        self._do(dialog, dialog.timer.feed(event, now), now)

    def stop(self, dialog: Dialog) -> None:
        """The dialog is gone."""
        for clock in SessionClock:
            self._sender.timers.stop((dialog.id, clock))

    def _do(self, dialog: Dialog, actions: tuple[SessionAction, ...], now: float) -> None:
        for clock in SessionClock:
            at = dialog.timer.deadlines.get(clock)
            if at is None:
                self._sender.timers.stop((dialog.id, clock))
            else:
                self._sender.timers.set((dialog.id, clock), at)
        for action in actions:
            if action is SessionAction.UPDATE:
                dialog.timer.transaction = self._sender.ask(dialog, "UPDATE", NOTHING, now)
            elif action is SessionAction.OFFER:
                self._sender.events.append(RefreshDue(dialog.id))
            else:
                self._sender.events.append(SessionExpired(dialog.id))
                self._sender.bye(dialog, Content(headers=(reason_header(EXPIRED),)), now)
