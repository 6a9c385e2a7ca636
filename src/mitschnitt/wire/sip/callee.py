"""Requests from peers: which are refused by rule, which change a dialog, which a session must answer.

Follows RFC 3261, 8.2, 9.2, 12.2.2, 14.2 and RFC 3311. Sends through `endpoint`; takes no decision that is
about recording.
"""

from __future__ import annotations

import re

from mitschnitt.errors import PeerError
from mitschnitt.wire.sip.config import METHODS
from mitschnitt.wire.sip.dialog import Dialog, answered_dialog, routes_of
from mitschnitt.wire.sip.endpoint import Endpoint, stateless_tag
from mitschnitt.wire.sip.events import (
    AckReceived,
    ByeReceived,
    CancelReceived,
    InfoReceived,
    InviteReceived,
    MessageRefused,
    OptionsReceived,
    ReinviteReceived,
    UpdateReceived,
)
from mitschnitt.wire.sip.headers import write_host
from mitschnitt.wire.sip.hop import Source, leaves_tls, response_hop
from mitschnitt.wire.sip.message import Request
from mitschnitt.wire.sip.offers import Refusal, carries_sdp, collision
from mitschnitt.wire.sip.reasons import end_reason
from mitschnitt.wire.sip.transaction import State, Transaction


class Callee:
    """The answering side of an endpoint."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._end = endpoint

    def receive(self, request: Request, source: Source, now: float) -> None:
        """Deals with one request whose Via is stamped. Raises PeerError when nobody can be answered."""
        end = self._end
        if end.layer.absorb(request, now):
            return
        if request.method == "ACK":
            dialog = end.dialog_of(request)
            if dialog:
                self.acknowledge(dialog, request, now)
            return
        inside = end.dialog_of(request)
        if self._shed(request, inside, source, now):
            return
        try:
            refusal = self._refusal(request, inside)
        except PeerError:
            end.refuse(request, source, 400, "request.malformed")
            return
        if request.method == "CANCEL" and not self._cancelled(request, source):
            # Needs no credentials, so it must cost no state (RFC 3261, 22.1).
            status, why, headers = refusal or (481, "cancel.unknown", ())
            end.refuse(request, source, status, why, *headers)
            return
        begins = request.method == "INVITE" and not inside and not refusal
        full = end.admission.refusal(stateless_tag(request), source.host, now) if begins else None
        if full:
            end.overloaded(request, source, full)
            return
        self._serve(request, refusal, inside, source, now)

    def _shed(self, request: Request, inside: Dialog | None, source: Source, now: float) -> bool:
        """Answers, without state, what is refused before it is read: copies of what was refused, strangers."""
        end, name = self._end, stateless_tag(request)
        begins = request.method == "INVITE" and not inside
        why = end.admission.refused_before(name, now) if begins else None
        if not why and len(end.layer) >= end.config.max_transactions * (2 if inside else 1):
            why = "limit.transactions"  # running calls keep a reserve
            if begins:
                end.admission.remember(name, why, now)
        if why:
            end.overloaded(request, source, why)
            return True
        asked = end.authenticator and end.authenticator.refusal(request, source, now, inside=inside is not None)
        if asked:
            status, why, headers = asked
            end.refuse(request, source, status, why, *headers)
        return bool(asked)

    def _serve(
        self, request: Request, refusal: Refusal | None, inside: Dialog | None, source: Source, now: float
    ) -> None:
        end, hop = self._end, response_hop(request.via, source)
        transaction = end.layer.serve(request, end.token(), hop, now)
        try:
            self._dispatch(transaction, refusal, inside, source, now)
        except PeerError:
            # Whatever could not be read after all: an unanswered transaction would stay for ever.
            self._turn_down(transaction, source, now, 400, "request.malformed")

    def _dispatch(
        self,
        transaction: Transaction,
        refusal: Refusal | None,
        inside: Dialog | None,
        source: Source,
        now: float,
    ) -> None:
        request = transaction.request
        invite = self._cancelled(request, source) if request.method == "CANCEL" else None
        if refusal:
            self._turn_down(transaction, source, now, *refusal)
        elif invite:
            self._receive_cancel(transaction, invite, now)
        elif inside:
            transaction.dialog = inside.id
            self._receive_inside(inside, transaction, source, now)
        else:
            self._receive_outside(transaction, source, now)

    def acknowledge(self, dialog: Dialog, ack: Request, now: float) -> None:
        """An ACK to a 2xx of ours; copies and late ones change nothing."""
        if self._end.acknowledge(dialog, ack.cseq.number):
            self._end.events.append(AckReceived(dialog.id, ack))
            self._end.go_on(dialog, now)

    def _refusal(self, request: Request, inside: Dialog | None) -> Refusal | None:
        """The first rule of RFC 3261, 8.2, that this request breaks; raises PeerError."""
        config = self._end.config
        _ = request.sender, request.call_id, routes_of(request)
        if request.cseq.method != request.method:
            return 400, "request.cseq", ()
        hops = {value.strip() for value in request.headers.all("Max-Forwards")} or {"70"}
        if len(hops) > 1 or not all(re.fullmatch("[0-9]{1,9}", value) and int(value) < 256 for value in hops):
            return 400, "request.max_forwards", ()
        if {int(value) for value in hops} == {0}:
            return 483, "request.max_forwards", ()
        if request.method not in config.allow:
            status = 405 if request.method in METHODS else 501
            return status, "request.method", config.allow_headers.items
        if request.method == "CANCEL":
            return None  # carries no Require (RFC 3261, 9.1) and belongs to its INVITE, not to a dialog
        if self._end.layer.merges(request):
            return 482, "request.merged", ()
        unknown = request.headers.tokens("Require") - config.understood
        if unknown:
            return 420, "request.require", (("Unsupported", ", ".join(sorted(unknown))),)
        if request.method == "INFO":
            return self._info_refusal(request, inside)
        if request.body and not config.takes(request.content_type):
            return 415, "request.content_type", (("Accept", config.accept),)
        if request.recipient.tag and not inside:
            return 481, "dialog.unknown", ()
        too_small = self._end.refreshes.refusal_headers(request)
        return None if too_small is None else (422, "request.session_expires", too_small)

    def _info_refusal(self, request: Request, inside: Dialog | None) -> Refusal | None:
        """INFO of the old kind is taken, whatever its body; packages were never offered by us (RFC 6086, 4.2.2)."""
        if not inside:
            return 481, "dialog.unknown", ()
        if request.headers.get("Info-Package") is not None:
            return 469, "request.info_package", (("Recv-Info", ""),)
        return None

    def _turn_down(
        self,
        transaction: Transaction,
        source: Source,
        now: float,
        status: int,
        why: str,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        self._end.answer(transaction, status, now, *headers)
        self._end.events.append(MessageRefused(source, why, status))

    def _receive_outside(self, transaction: Transaction, source: Source, now: float) -> None:
        end, request = self._end, transaction.request
        if request.method == "OPTIONS" and end.admission.draining:
            # Whoever pings us to learn where calls may go takes us out (RFC 3261, 11.2: as an INVITE would be).
            self._turn_down(transaction, source, now, 503, "draining", (end.config.retry_after(end.fraction()),))
        elif request.method == "OPTIONS":
            end.answer(transaction, 200, now, *end.config.options_headers)
            end.events.append(OptionsReceived(None, source))
        elif request.method != "INVITE":
            self._turn_down(transaction, source, now, 481, "dialog.unknown")
        else:
            fallback = f"sip:{write_host(source.host)}:{source.port}"
            dialog = answered_dialog(request, end.token(), source, fallback)
            dialog.invite_in, transaction.dialog = transaction.id, dialog.id
            end.add(dialog)
            end.answer(transaction, 100, now)
            end.events.append(InviteReceived(dialog.id, transaction.id, request, source))

    def _receive_inside(self, dialog: Dialog, transaction: Transaction, source: Source, now: float) -> None:
        end, request = self._end, transaction.request
        if leaves_tls(dialog.hop, source):
            # Who knows the tags but shows no certificate is nobody of this dialog, and does not move it off TLS.
            self._turn_down(transaction, source, now, 481, "dialog.downgraded")
            return
        number = request.cseq.number
        if dialog.remote_seq is not None and number <= dialog.remote_seq:
            self._turn_down(transaction, source, now, 500, "request.out_of_order")
            return
        dialog.remote_seq = number
        if source.reliable:
            dialog.hop = source  # the newest connection of the peer
        if request.method == "BYE":
            end.answer(transaction, 200, now)
            pending = end.layer.find(dialog.invite_in) if dialog.invite_in else None
            if pending:
                end.answer(pending, 487, now)  # RFC 3261, 15.1.2
            end.drop(dialog.id)
            end.events.append(ByeReceived(dialog.id, request, end_reason(request.headers)))
        elif request.method == "OPTIONS":
            end.answer(transaction, 200, now, *end.config.options_headers)
            end.events.append(OptionsReceived(dialog.id, source))
        elif request.method == "INFO":
            end.answer(transaction, 200, now)
            end.events.append(InfoReceived(dialog.id))
        else:
            self._receive_change(dialog, transaction, source, now)

    def _receive_change(self, dialog: Dialog, transaction: Transaction, source: Source, now: float) -> None:
        """A re-INVITE or UPDATE: one offer at a time (RFC 3261, 14.2; RFC 3311, 5.2)."""
        end, request = self._end, transaction.request
        refusal = collision(dialog, request, dice=end.fraction())
        if refusal:
            self._turn_down(transaction, source, now, *refusal)
            return
        dialog.refresh(request.contact)
        if request.method == "INVITE":
            dialog.invite_in = transaction.id
            end.answer(transaction, 100, now)
            end.events.append(ReinviteReceived(dialog.id, transaction.id, request))
        else:
            dialog.update_in = transaction.id if carries_sdp(request) else dialog.update_in
            end.events.append(UpdateReceived(dialog.id, transaction.id, request))

    def _cancelled(self, cancel: Request, source: Source) -> Transaction | None:
        """The INVITE that this CANCEL is about; one that came over TLS is cancelled over TLS only."""
        invite = self._end.layer.cancelled_invite(cancel)
        hop = self._end.layer.hop(invite) if invite else None
        return invite if hop and not leaves_tls(hop, source) else None

    def _receive_cancel(self, transaction: Transaction, invite: Transaction, now: float) -> None:
        end = self._end
        transaction.dialog = invite.dialog
        dialog = end.dialogs.get(invite.dialog or "")
        opening = dialog is None or not dialog.confirmed
        end.answer(transaction, 200, now)
        # Once a final answer is out, a CANCEL has no effect (RFC 3261, 9.2).
        if invite.state is State.PROCEEDING and invite.dialog:
            end.answer(invite, 487, now)
            reason = end_reason(transaction.request.headers)
            end.events.append(CancelReceived(invite.dialog, invite.id, ends=opening, reason=reason))
