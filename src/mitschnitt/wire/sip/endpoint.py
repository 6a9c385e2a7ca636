"""What both sides of a user agent share: dialogs, sending, waiting. See `agent.UserAgent` for the whole.

Builds and sends our requests and answers, resends what is not acknowledged, holds back what may not be sent
yet. Reads nothing from the wire: `callee` and `caller` do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from zlib import crc32

from mitschnitt.errors import PeerError
from mitschnitt.wire.sip.accounts import Accounts
from mitschnitt.wire.sip.admission import Admission
from mitschnitt.wire.sip.authentication import Authenticator
from mitschnitt.wire.sip.config import AgentConfig
from mitschnitt.wire.sip.dialog import NOTHING, Content, Dialog, Unacknowledged, answer_to
from mitschnitt.wire.sip.events import DialogEnded, DialogTimedOut, MessageRefused, RetryDue, SipEvent
from mitschnitt.wire.sip.headers import Via, write_host
from mitschnitt.wire.sip.hop import Destination, Source, reached_by, response_hop
from mitschnitt.wire.sip.ladder import Ladders
from mitschnitt.wire.sip.layer import MAGIC, TransactionLayer
from mitschnitt.wire.sip.message import Request, Response
from mitschnitt.wire.sip.offers import carries_sdp
from mitschnitt.wire.sip.reasons import NORMAL, NOT_ACKNOWLEDGED, UNANSWERED, UNDECIDED, EndReason, reason_header
from mitschnitt.wire.sip.refreshes import REFRESHING, Refreshes
from mitschnitt.wire.sip.session_timer import SessionClock, SessionInput
from mitschnitt.wire.sip.timers import Timers
from mitschnitt.wire.sip.transaction import Transaction
from mitschnitt.wire.sip.unreadable import answer_unreadable

RESEND = "2xx again"
GIVE_UP = "2xx given up"
BACK_OFF = "back-off"
ANSWER = "answer to the 2xx given up"
DIALOG_TIMERS = frozenset({RESEND, GIVE_UP, BACK_OFF, ANSWER, *SessionClock})

# For the answer to an offer that a 2xx brought; the peer sends its 2xx again meanwhile, and hangs up after 32 s.
ANSWER_SECONDS = 5.0


class Endpoint:
    """State and sending of one user agent."""

    def __init__(
        self,
        config: AgentConfig,
        token: Callable[[], str],
        authenticator: Authenticator | None = None,
        accounts: Accounts | None = None,
    ) -> None:
        self.config = config
        self.token = token
        self.timers = Timers()
        self.layer = TransactionLayer(config.durations, self.timers)
        self.dialogs: dict[str, Dialog] = {}
        self.admission = Admission(config)
        self.authenticator = authenticator
        self.accounts = accounts or Accounts()
        self.ladders = Ladders()
        self.events: list[SipEvent] = []
        self.refreshes = Refreshes(self)
        self.host, self.port = config.host, config.port
        self.tls_port = 0  # where we listen with TLS; 0: not at all

    # --- requests of ours -----------------------------------------------------------------------------

    def ask(self, dialog: Dialog, method: str, content: Content, now: float) -> str:
        """Sends a request within the dialog; returns the transaction."""
        hop = dialog.next_hop() if dialog.confirmed else dialog.hop
        request = dialog.request(method, self.via(hop))
        items = [("User-Agent", self.config.product)]
        if method != "BYE":
            items.append(("Contact", self.contact(hop.transport, request.uri)))
            items += self.config.capability_headers.items
            named = any(name == "Session-Expires" for name, _ in content.headers)  # by whoever drives us
            items += () if named else self.refreshes.headers_of(dialog, method)
        if content.body:
            items.append(("Content-Type", content.content_type))
        request = Request(request.headers.plus(*items, *content.headers), content.body, method, request.uri)
        name = self.token()
        if method == "INVITE":
            dialog.invite_out, dialog.cancelled, dialog.cancel_sent = name, False, False
        elif method == "UPDATE" and carries_sdp(request):
            dialog.update_out = name
        self.layer.ask(request, name, hop, now, dialog.id or None)
        return name

    def bye(self, dialog: Dialog, content: Content, now: float) -> str | None:
        """Sends BYE, or remembers to do so once our 2xx is acknowledged or given up (RFC 3261, 15).

        One at a time: a BYE that is under way is not sent twice. Without a Reason it is `reasons.NORMAL`.
        """
        if not dialog.confirmed or dialog.bye_out:
            return dialog.bye_out
        if "Reason" not in dict(content.headers):
            content = because(NORMAL, content)
        if dialog.unacknowledged:
            dialog.bye_wanted = dialog.bye_wanted or content
            return None
        if dialog.ack_due is not None:
            self.ack(dialog, dialog.ack_due, NOTHING)
        self.refreshes.feed(dialog, SessionInput.CLOSED, now)
        dialog.bye_out = self.ask(dialog, "BYE", content, now)
        return dialog.bye_out

    def ack(self, dialog: Dialog, number: int, content: Content) -> None:
        """Acknowledges the 2xx to an INVITE of ours; copies of the 2xx get the same ACK (RFC 3261, 13.2.2.4)."""
        dialog.ack_due = None
        self.timers.stop((dialog.id, ANSWER))
        hop = dialog.next_hop()
        request = dialog.request("ACK", self.via(hop), seq=number)
        items = [("Content-Type", content.content_type)] if content.body else []
        request = Request(request.headers.plus(*items, *content.headers), content.body, "ACK", request.uri)
        dialog.acks = {number: (hop, self.layer.send(hop, request))}

    def await_answer(self, dialog: Dialog, number: int, now: float) -> None:
        """The 2xx to our INVITE brought an offer: its ACK waits for the answer, but not for long."""
        dialog.ack_due = number
        self.timers.set((dialog.id, ANSWER), now + ANSWER_SECONDS)

    def via(self, hop: Destination) -> Via:
        """A Via of ours with a fresh branch."""
        parameters = (("branch", MAGIC + self.token()), ("rport", None))
        return Via(hop.transport, self.host, self._port(hop.transport), parameters)

    def contact(self, transport: str, *beside: str) -> str:
        """Our Contact, with the feature that says what we are (RFC 7866, 6).

        Over TLS it is a sips: URI when one of the URIs `beside` it is (RFC 3261, 8.1.1.8 and 12.1.1).
        """
        scheme = "sips" if transport == "TLS" and any(uri[:5].lower() == "sips:" for uri in beside) else "sip"
        suffix = "" if transport == "UDP" or scheme == "sips" else f";transport={transport.lower()}"
        user = f"{self.config.user}@" if self.config.user else ""
        feature = f";{self.config.feature}" if self.config.feature else ""
        return f"<{scheme}:{user}{write_host(self.host)}:{self._port(transport)}{suffix}>{feature}"

    def _port(self, transport: str) -> int:
        return self.tls_port if transport == "TLS" and self.tls_port else self.port

    # --- answers of ours ------------------------------------------------------------------------------

    def answer(
        self,
        transaction: Transaction,
        status: int,
        now: float,
        *headers: tuple[str, str],
        content: Content = NOTHING,
    ) -> bool:
        """Answers a request; False when it has its final answer already."""
        request, dialog = transaction.request, self.dialogs.get(transaction.dialog or "")
        tag = None if status == 100 else (dialog.id if dialog else self.token())
        items = list(headers)
        if 100 < status < 300 and request.method in (*REFRESHING, "OPTIONS"):
            items.append(("Contact", self.contact(request.via.transport, *reached_by(request))))
        if 100 < status < 300 and request.method in REFRESHING:
            items += [("Record-Route", value) for value in request.headers.all("Record-Route")]
            items += self.config.capability_headers.items
            items += self.refreshes.answer_headers(request) if status >= 200 else ()
        if status > 100:
            items.append(("Server", self.config.product))
        if content.body:
            items.append(("Content-Type", content.content_type))
        items += content.headers
        response = answer_to(request, status, tag, headers=items, body=content.body)
        hop = self.layer.hop(transaction)
        if not hop or not self.layer.answer(transaction, response, now):
            return False
        if dialog and status >= 200:
            self._answered(dialog, transaction, response, hop, now)
        return True

    def _answered(
        self, dialog: Dialog, transaction: Transaction, response: Response, hop: Destination, now: float
    ) -> None:
        """What our final answer to a request within a dialog changes."""
        if response.status < 300 and transaction.request.method in REFRESHING:
            self.refreshes.answered(dialog, transaction.request, now)
        if transaction.id == dialog.update_in:
            dialog.update_in = None
            self.go_on(dialog, now)
        elif transaction.id == dialog.invite_in:
            dialog.invite_in = None
            if response.status < 300:
                self._await_ack(dialog, response.cseq.number, hop, bytes(response), now)
            elif not dialog.confirmed:
                self.drop(dialog.id)
            self.go_on(dialog, now)

    def refuse(self, request: Request, source: Source, status: int, why: str, *headers: tuple[str, str]) -> None:
        """An answer that costs no state, the same for every copy (RFC 3261, 8.2.7); an ACK gets none."""
        if request.method != "ACK":
            response = answer_to(request, status, stateless_tag(request), headers=headers)
            self.layer.send(response_hop(request.via, source), response)
        self.events.append(MessageRefused(source, why, status))

    def overloaded(self, request: Request, source: Source, why: str) -> None:
        """503 at once and without state; `why` names the limit (RFC 3261, 21.5.4)."""
        dice = crc32(stateless_tag(request).encode()) / 2**32
        self.refuse(request, source, 503, why, self.config.retry_after(dice))

    def refuse_unreadable(self, data: bytes, source: Source, error: PeerError) -> None:
        """An answer to what cannot be read, if there is anybody to answer; costs no state."""
        answer = answer_unreadable(data, source, error, self.token())
        if answer:
            self.layer.send(*answer)
        self.events.append(MessageRefused(source, str(error), answer[1].status if answer else 0))

    def _await_ack(self, dialog: Dialog, number: int, hop: Destination, data: bytes, now: float) -> None:
        """The 2xx is sent again until its ACK comes (RFC 3261, 13.3.1.4)."""
        dialog.confirmed = True
        times = self.config.durations
        dialog.unacknowledged[number] = Unacknowledged(hop, data, times.t1)
        self.timers.set((f"{dialog.id}/{number}", RESEND), now + times.t1)
        self.timers.set((f"{dialog.id}/{number}", GIVE_UP), now + times.patience)

    def acknowledge(self, dialog: Dialog, number: int) -> bool:
        """Whether a 2xx of that number still waited for its ACK; it does no longer."""
        if dialog.unacknowledged.pop(number, None) is None:
            return False
        self._stop_resending(dialog, number)
        self.admission.acknowledged(dialog)
        return True

    # --- waiting --------------------------------------------------------------------------------------

    def fire(self, owner: str, name: str, now: float) -> None:
        """A timer of a dialog (DIALOG_TIMERS) has fallen due."""
        tag, _, number = owner.partition("/")
        dialog = self.dialogs.get(tag)
        if not dialog:
            return
        if name in set(SessionClock):
            self.refreshes.feed(dialog, SessionClock(name), now)
        elif name == BACK_OFF:
            dialog.backing_off = False
        elif name == ANSWER:
            self.bye(dialog, because(UNDECIDED), now)
        elif name == RESEND:
            waiting = dialog.unacknowledged[int(number)]
            self.layer.outbox.append((waiting.hop, waiting.data))
            waiting.interval = min(2 * waiting.interval, self.config.durations.t2)
            self.timers.set((owner, RESEND), now + waiting.interval)
        elif self.acknowledge(dialog, int(number)):
            self.events.append(DialogTimedOut(dialog.id))
            dialog.bye_wanted = dialog.bye_wanted or because(NOT_ACKNOWLEDGED)
        self.go_on(dialog, now)

    def go_on(self, dialog: Dialog, now: float) -> None:
        """Sends what had to wait: a BYE for the last ACK; tells when a held offer may go."""
        if dialog.bye_wanted and not dialog.unacknowledged:
            content, dialog.bye_wanted = dialog.bye_wanted, None
            self.bye(dialog, content, now)
        elif dialog.retry_wanted and dialog.may_offer and dialog.id in self.dialogs:
            dialog.retry_wanted = False
            self.events.append(RetryDue(dialog.id))

    def back_off(self, dialog: Dialog, wait: float, now: float) -> None:
        """The next offer waits so many seconds; RetryDue tells when they are over."""
        dialog.backing_off = dialog.retry_wanted = True
        self.timers.set((dialog.id, BACK_OFF), now + wait)

    def fraction(self) -> float:
        """A number in [0, 1) out of the injected randomness."""
        return crc32(self.token().encode()) / 2**32

    # --- dialogs --------------------------------------------------------------------------------------

    def dialog_of(self, request: Request) -> Dialog | None:
        """The dialog that a request with a To tag belongs to (RFC 3261, 12.2.2)."""
        dialog = self.dialogs.get(request.recipient.tag or "")
        return dialog if dialog and dialog.knows(request) else None

    def add(self, dialog: Dialog) -> None:
        """A dialog begins."""
        self.dialogs[dialog.id] = dialog
        self.admission.opened(dialog)
        if not dialog.caller:
            self.ladders.begin(dialog.call_id, dialog.remote.tag or "")

    def end(self, dialog: Dialog, status: int) -> None:
        """The dialog is gone, and its session must hear of it."""
        self.drop(dialog.id)
        self.events.append(DialogEnded(dialog.id, status))

    def part(self, dialog: Dialog, status: int, now: float) -> None:
        """The peer does not know the dialog, or is gone: it ends, with a last BYE in case that it will know it.

        Nobody waits for its answer (RFC 3261, 12.2.1.2).
        """
        hop = dialog.next_hop()
        request = dialog.request("BYE", self.via(hop))
        named = request.headers.plus(("User-Agent", self.config.product), reason_header(UNANSWERED))
        self.layer.ask(request.with_headers(named), self.token(), hop, now, None)
        self.end(dialog, status)

    def drop(self, tag: str) -> None:
        """Forgets a dialog and all it waits for."""
        dialog = self.dialogs.pop(tag, None)
        if dialog:
            self.admission.closed(dialog)
            self.ladders.end(dialog.call_id, dialog.remote.tag or "")
            self.timers.stop((tag, BACK_OFF))
            self.timers.stop((tag, ANSWER))
            self.refreshes.stop(dialog)
            for number in dialog.unacknowledged:
                self._stop_resending(dialog, number)

    def _stop_resending(self, dialog: Dialog, number: int) -> None:
        self.timers.stop((f"{dialog.id}/{number}", RESEND))
        self.timers.stop((f"{dialog.id}/{number}", GIVE_UP))


def stateless_tag(request: Request) -> str:
    """A To tag that copies of a request share without anything being remembered (RFC 3261, 8.2.7)."""
    named = "\0".join(request.headers.get(name) or "" for name in ("Via", "From", "Call-ID", "CSeq"))
    return sha256(named.encode("utf-8", "surrogateescape")).hexdigest()[:24]


def because(reason: EndReason, content: Content = NOTHING) -> Content:
    """The content with this reason among its headers."""
    return replace(content, headers=(*content.headers, reason_header(reason)))
