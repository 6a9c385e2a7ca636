"""The user agent: datagrams and commands in, datagrams and events out, for servers and clients alike.

Sans-IO: no socket, no clock, no randomness; `now` is seconds of one monotonic clock, `token` makes unique
words. It keeps the rules of RFC 3261 and its kin; what to answer an INVITE is decided by whoever drains
`events()`. Nothing in it knows what is recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mitschnitt.errors import PeerError
from mitschnitt.wire.sip.accounts import Accounts
from mitschnitt.wire.sip.authentication import Authenticator
from mitschnitt.wire.sip.callee import Callee
from mitschnitt.wire.sip.caller import Caller
from mitschnitt.wire.sip.config import SRS_FEATURE, AgentConfig
from mitschnitt.wire.sip.dialog import Content, Dialog
from mitschnitt.wire.sip.endpoint import DIALOG_TIMERS, Endpoint
from mitschnitt.wire.sip.events import SipEvent
from mitschnitt.wire.sip.headers import Address, write_host
from mitschnitt.wire.sip.hop import Destination, Hop, Source, stamp_via
from mitschnitt.wire.sip.ladder import Ladder
from mitschnitt.wire.sip.message import Request, Response, parse_message
from mitschnitt.wire.sip.offers import carries_sdp
from mitschnitt.wire.sip.transaction import Action, Machine, Timer

HeaderItems = Sequence[tuple[str, str]]


class UserAgent:
    """One SIP endpoint; see `config.AgentConfig` for its names and limits."""

    def __init__(
        self,
        config: AgentConfig,
        token: Callable[[], str],
        *,
        authenticator: Authenticator | None = None,
        accounts: Accounts | None = None,
    ) -> None:
        """`authenticator`: who may speak to us, None for everybody; `accounts`: as whom we answer challenges."""
        self._end = Endpoint(config, token, authenticator, accounts)
        self._callee = Callee(self._end)
        self._caller = Caller(self._end)

    # --- what the shell calls -------------------------------------------------------------------------

    def located(self, host: str, port: int, *, tls_port: int = 0) -> None:
        """The address that peers reach us at, once the shell knows it (Contact and Via); 0: no TLS."""
        self._end.host, self._end.port, self._end.tls_port = host, port, tls_port

    @property
    def connections(self) -> frozenset[int]:
        """The connections that dialogs live on: the last that a shell should end."""
        return frozenset(dialog.hop.connection for dialog in self._end.dialogs.values())

    def receive(self, data: bytes, source: Source, now: float) -> None:
        """One datagram, or one message of a stream. Never raises for what peers send."""
        try:
            message = parse_message(data)
            self._end.ladders.came(message, source.transport, now)
            if isinstance(message, Response):
                self._caller.receive(message, now)
            else:
                self._callee.receive(stamp_via(message, source), source, now)
        except PeerError as error:
            self._end.refuse_unreadable(data, source, error)
        self._digest(source, now)

    def undeliverable(self, hop: Destination, now: float) -> None:
        """The shell could not send to this hop."""
        self._end.layer.lost(hop, now)
        self._digest(None, now)

    def events(self) -> list[SipEvent]:
        """What happened since the last call."""
        drained, self._end.events = self._end.events, []
        return drained

    def outbox(self, now: float | None = None) -> list[tuple[Destination, bytes]]:
        """What is to be sent, in order; with `now` it is noted on the ladders of its dialogs."""
        drained, self._end.layer.outbox = self._end.layer.outbox, []
        noted = [] if now is None else [(hop.transport, data) for hop, data in drained]
        self._end.ladders.went(noted, now or 0.0)
        return drained

    def ladder(self, dialog: str) -> Ladder | None:
        """The messages of a dialog that a peer opened and that has not ended."""
        found = self._end.dialogs.get(dialog)
        return self._end.ladders.of(found.call_id, found.remote.tag or "") if found else None

    def next_timer(self) -> float | None:
        """When `tick` is wanted next, None when nothing waits."""
        return self._end.timers.next()

    def tick(self, now: float) -> None:
        """Carries out every timer that is due."""
        while key := self._end.timers.pop_due(now):
            owner, name = key
            if name in DIALOG_TIMERS:
                self._end.fire(owner, name, now)
            else:
                self._end.layer.fire(owner, Timer(name), now)
            self._digest(None, now)

    @property
    def load(self) -> tuple[int, int]:
        """(dialogs, transactions) held now."""
        return len(self._end.dialogs), len(self._end.layer)

    @property
    def pressure(self) -> tuple[int, int, int]:
        """(half-open dialogs, sources with a bucket of their own, refused INVITEs remembered) held now."""
        return self._end.admission.held

    def admit_while(self, room: Callable[[], bool]) -> None:
        """New sessions are turned away, without state, while the owner of the sessions has no room for one."""
        self._end.admission.room = room

    def drain(self) -> None:
        """From now on new sessions and pings outside of them are answered 503; what runs goes on."""
        self._end.admission.draining = True

    # --- commands -------------------------------------------------------------------------------------

    def respond(
        self,
        transaction: str,
        status: int,
        *,
        now: float,
        body: bytes = b"",
        content_type: str = "",
        headers: HeaderItems = (),
    ) -> bool:
        """Answers a request; False when it has its final answer already (cancelled, answered, gone)."""
        found = self._end.layer.find(transaction)
        if not found:
            return False
        return self._end.answer(found, status, now, content=Content(body, content_type, headers))

    def invite(
        self,
        uri: str,
        hop: Destination,
        *,
        now: float,
        sender: str,
        body: bytes = b"",
        content_type: str = "",
        headers: HeaderItems = (),
    ) -> str:
        """Starts a session; returns the dialog. Answers come as ResponseReceived, ACKs go by themselves.

        Without an offer in the body the 2xx brings one: OfferReceived, and the ACK is yours (`acknowledge`). A
        recorder must begin so (RFC 7866, 7.2): with a body this raises RuntimeError.
        """
        if self._end.config.feature == SRS_FEATURE:
            if body:
                raise RuntimeError("a recorder starts a session without an offer (RFC 7866, 7.2), got a body")
            headers = (("Require", "siprec"), *headers)
        dialog = self._outside(self._end.token(), uri, hop, sender)
        self._end.add(dialog)
        self._end.ask(dialog, "INVITE", Content(body, content_type, headers), now)
        return dialog.id

    def acknowledge(self, dialog: str, *, now: float, body: bytes, content_type: str) -> bool:
        """Answers the offer of an OfferReceived; False when it is too late or nothing waits for it."""
        found = self._end.dialogs.get(dialog)
        if not found or found.ack_due is None:
            return False
        self._end.ack(found, found.ack_due, Content(body, content_type))
        self._end.go_on(found, now)
        return True

    def cancel(self, dialog: str, *, now: float) -> None:
        """Gives up an INVITE of ours; when its 200 is faster, a BYE follows by itself."""
        found = self._end.dialogs.get(dialog)
        if found:
            self._caller.cancel(found, now)

    def reinvite(
        self, dialog: str, *, now: float, body: bytes, content_type: str, headers: HeaderItems = ()
    ) -> str | None:
        """Offers anew; returns the transaction.

        None when the dialog is gone or an INVITE is under way in it: then RetryDue comes as soon as an offer
        can be sent.
        """
        found = self._end.dialogs.get(dialog)
        if not found or not found.confirmed:
            return None
        if not found.may_offer:
            found.retry_wanted = True
            return None
        return self._end.ask(found, "INVITE", Content(body, content_type, headers), now)

    def update(
        self,
        dialog: str,
        *,
        now: float,
        body: bytes = b"",
        content_type: str = "",
        headers: HeaderItems = (),
    ) -> str | None:
        """Sends UPDATE (RFC 3311): an offer, a snapshot request, or nothing but a sign of life.

        With an offer it waits like `reinvite`.
        """
        found, content = self._end.dialogs.get(dialog), Content(body, content_type, headers)
        if not found or not found.confirmed:
            return None
        if carries_sdp(content) and not found.may_offer:
            found.retry_wanted = True
            return None
        return self._end.ask(found, "UPDATE", content, now)

    def timed(self, dialog: str) -> bool:
        """Whether a session timer watches over this dialog (RFC 4028): it ends by itself when the peer is gone."""
        found = self._end.dialogs.get(dialog)
        return found is not None and found.timer.runs

    def bye(self, dialog: str, *, now: float, headers: HeaderItems = ()) -> str | None:
        """Ends a confirmed dialog; returns the transaction.

        None while our 2xx waits for its ACK: the BYE follows by itself (RFC 3261, 15). ByeRefused or
        DialogEnded tells how it went.
        """
        found = self._end.dialogs.get(dialog)
        return self._end.bye(found, Content(headers=headers), now) if found else None

    def options(self, uri: str, hop: Destination, *, now: float, sender: str) -> str:
        """Asks for a sign of life outside any dialog; returns the transaction."""
        content = Content(headers=(("Accept", self._end.config.accept),))
        return self._end.ask(self._outside("", uri, hop, sender), "OPTIONS", content, now)

    def forget(self, dialog: str) -> None:
        """Drops a dialog without a word; what still comes for it is answered 481."""
        self._end.drop(dialog)

    def _outside(self, tag: str, uri: str, hop: Hop, sender: str) -> Dialog:
        call_id = f"{self._end.token()}@{write_host(self._end.host)}"
        local = Address(sender).with_tag(tag or self._end.token())
        return Dialog(tag, call_id, local, Address(uri), uri, hop, caller=True)

    def _digest(self, source: Source | None, now: float) -> None:
        """Turns what transactions tell into dialog state and events."""
        while self._end.layer.happenings:
            happening = self._end.layer.happenings.pop(0)
            transaction, message = happening.transaction, happening.message
            if isinstance(message, Request):  # ACK to a 2xx that reuses its INVITE's branch
                dialog = self._end.dialogs.get(transaction.dialog or "")
                if dialog:
                    self._callee.acknowledge(dialog, message, now)
            elif transaction.machine in (Machine.INVITE_SERVER, Machine.SERVER):
                pass  # our failure was never acknowledged: its dialog is gone already
            elif happening.action is Action.TELL and message is not None:
                self._caller.take_response(transaction, message, source, now)
            else:
                lost = "timeout" if happening.action is Action.TIME_OUT else "undeliverable"
                self._caller.take_silence(transaction, lost, now)
