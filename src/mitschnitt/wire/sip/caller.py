"""Answers from peers to requests of ours: acknowledges, resends, backs off, ends (RFC 3261, 8.1.3, 13.2.2).

Sends through `endpoint`; tells sessions by events.
"""

from __future__ import annotations

from mitschnitt.wire.sip.accounts import ASKING, MAX_ATTEMPTS, proof_of
from mitschnitt.wire.sip.dialog import NOTHING, Dialog, routes_of
from mitschnitt.wire.sip.endpoint import Endpoint
from mitschnitt.wire.sip.events import ByeRefused, OfferReceived, ResponseReceived, TransactionTimedOut
from mitschnitt.wire.sip.hop import Source, leaves_tls
from mitschnitt.wire.sip.message import Headers, Request, Response
from mitschnitt.wire.sip.offers import MIN_WAIT_SECONDS, carries_sdp, offer_wait
from mitschnitt.wire.sip.reasons import NORMAL, OTHER_FORK, reason_header
from mitschnitt.wire.sip.refreshes import REFRESHING
from mitschnitt.wire.sip.session_timer import min_se
from mitschnitt.wire.sip.transaction import State, Transaction


class Caller:
    """The asking side of an endpoint."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._end = endpoint

    def receive(self, response: Response, now: float) -> None:
        """Hands a response to its transaction; raises MalformedPacket for one that cannot be used."""
        _ = response.sender, response.recipient, routes_of(response)
        if self._end.layer.receive_response(response, now):
            return
        # A 2xx whose transaction is over still wants its ACK; anything else is dropped.
        dialog = self._end.dialogs.get(response.sender.tag or "")
        sent = dialog.acks.get(response.cseq.number) if dialog else None
        if sent and response.cseq.method == "INVITE" and 200 <= response.status < 300:
            self._end.layer.outbox.append(sent)

    def cancel(self, dialog: Dialog, now: float) -> None:
        """Gives up our INVITE that has no final answer yet (RFC 3261, 9.1)."""
        running = self._end.layer.find(dialog.invite_out) if dialog.invite_out else None
        if not running:
            return
        dialog.cancelled = True
        if running.state is State.CALLING or dialog.cancel_sent:
            return  # a CANCEL may overtake its INVITE until something came back
        dialog.cancel_sent = True
        headers = running.request.headers
        copied = [("Via", headers.listed("Via")[0])]
        for name in ("Route", "From", "To", "Call-ID", "Max-Forwards"):
            copied += [(name, value) for value in headers.all(name)]
        copied += [("CSeq", f"{running.request.cseq.number} CANCEL"), reason_header(NORMAL)]
        request = Request(Headers.of(copied), b"", "CANCEL", running.request.uri)
        hop = self._end.layer.hop(running) or dialog.hop
        self._end.layer.ask(request, self._end.token(), hop, now, None)
        self._end.layer.hasten(running, now + self._end.config.durations.patience)

    def take_response(self, transaction: Transaction, response: Response, source: Source | None, now: float) -> None:
        """What a response that its transaction passed up changes."""
        method, dialog = transaction.request.method, self._end.dialogs.get(transaction.dialog or "")
        if method == "CANCEL":
            return
        if response.status in ASKING and self._answer_challenge(dialog, transaction, response, now):
            return  # the same request is on its way with credentials; its answer will be told
        success = 200 <= response.status < 300
        if method == "INVITE" and success:
            if dialog and source and source.reliable and not leaves_tls(dialog.hop, source):
                dialog.hop = source
            if dialog:
                dialog.proof = proof_of(transaction.request)
            self._take_success(dialog, transaction, response, now)
        elif dialog and response.status == 422 and self._ask_again(dialog, transaction, response, now):
            pass  # the longer interval is on its way; nobody else need know
        else:
            wait = self._wait_after(dialog, transaction, response) if dialog else None
            told = ResponseReceived(transaction.dialog, transaction.id, method, response, retry_due=wait is not None)
            self._end.events.append(told)
            if dialog and response.status < 200:
                if dialog.cancelled:
                    self.cancel(dialog, now)
            elif dialog and method == "BYE":
                self._take_bye(dialog, response.status)
            elif dialog:
                self._take_final(dialog, transaction, response, wait, now)

    def _take_success(self, dialog: Dialog | None, transaction: Transaction, response: Response, now: float) -> None:
        """A 2xx to our INVITE: acknowledged at once, or by the answer to the offer that it brings."""
        end, number = self._end, transaction.request.cseq.number
        first = not transaction.request.recipient.tag
        fork = first and dialog and dialog.confirmed and response.recipient.tag != dialog.remote.tag
        if not dialog or fork or dialog.invite_out != transaction.id:
            self._take_again(None if fork else dialog, transaction, response, now)
            if not dialog and not transaction.told:
                end.events.append(ResponseReceived(transaction.dialog, transaction.id, "INVITE", response))
                transaction.told = True
            return
        transaction.told = True
        if not dialog.confirmed:
            dialog.confirmed = True
            dialog.remote = response.recipient
            dialog.routes = tuple(reversed(routes_of(response)))
        dialog.refresh(response.contact)
        dialog.invite_out = None
        end.refreshes.agreed(dialog, transaction.request, response, now)
        given_up = dialog.cancelled and first  # the 200 was faster than our CANCEL
        if carries_sdp(transaction.request) or given_up or not carries_sdp(response):
            end.ack(dialog, number, NOTHING)
            end.events.append(ResponseReceived(dialog.id, transaction.id, "INVITE", response))
        else:
            end.await_answer(dialog, number, now)
            end.events.append(OfferReceived(dialog.id, transaction.id, response))
        dialog.cancelled = False  # a re-INVITE that was accepted after all has changed the session, which goes on
        if given_up:
            end.bye(dialog, NOTHING, now)
        end.go_on(dialog, now)

    def _answer_challenge(
        self, dialog: Dialog | None, transaction: Transaction, response: Response, now: float
    ) -> bool:
        """Sends a request again with the credentials that its 401 or 407 asks for, if we have them."""
        end, request = self._end, transaction.request
        hop = end.layer.hop(transaction)
        gone = dialog.cancelled if dialog else transaction.dialog is not None
        if gone or not hop or transaction.attempts >= MAX_ATTEMPTS:
            return False
        again = end.accounts.answered(request, response, end.token())
        if not again:
            return False
        number = request.cseq.number + 1
        if dialog:
            dialog.local_seq = number = max(dialog.local_seq + 1, number)
        # Another number and branch: it is another transaction (RFC 3261, 22.2).
        head = Headers.of([("Via", str(end.via(hop))), ("CSeq", f"{number} {request.method}")])
        again = again.with_headers(head.plus(*again.headers.without("Via", "CSeq")))
        end.layer.ask_again(transaction, again, end.token(), now)
        return True

    def _take_again(self, dialog: Dialog | None, transaction: Transaction, response: Response, now: float) -> None:
        """A 2xx that changes nothing: acknowledged, or it would come for 32 s (RFC 3261, 13.2.2.4).

        It is a copy, or comes for no dialog of ours: to a first INVITE from a second answerer, which is ended; to a
        re-INVITE behind the end, or across a BYE: both sides know that it is over.
        """
        end, invite = self._end, transaction.request
        number, hop = invite.cseq.number, end.layer.hop(transaction)
        if dialog and number in dialog.acks:  # our ACK was lost
            end.layer.outbox.append(dialog.acks[number])
        if not hop or (dialog and (number in dialog.acks or number == dialog.ack_due)):
            return
        stray = Dialog("", invite.call_id, invite.sender, response.recipient, invite.uri, hop, caller=True)
        first = not invite.recipient.tag
        stray.local_seq, stray.proof = number, proof_of(invite)
        stray.routes = tuple(reversed(routes_of(response))) if first else invite.headers.listed("Route")
        stray.refresh(response.contact)
        hop = stray.next_hop()
        end.layer.send(hop, stray.request("ACK", end.via(hop), seq=number))
        if first and not dialog:
            bye = stray.request("BYE", end.via(hop))
            end.layer.ask(bye.with_headers(bye.headers.plus(reason_header(OTHER_FORK))), end.token(), hop, now, None)

    def _ask_again(self, dialog: Dialog, transaction: Transaction, response: Response, now: float) -> bool:
        """Sends a first INVITE again with the session interval that its 422 asks for (RFC 4028, 7.3)."""
        end, invite = self._end, transaction.request
        if dialog.confirmed or dialog.cancelled or not dialog.timer.raise_to(min_se(response.headers)):
            return False
        dialog.local_seq += 1
        hop = end.layer.hop(transaction) or dialog.hop
        rest = invite.headers.without("Via", "CSeq", "Session-Expires", "Min-SE")
        headers = Headers.of([("Via", str(end.via(hop))), ("CSeq", f"{dialog.local_seq} INVITE")]).plus(*rest)
        again = invite.with_headers(headers.plus(*end.refreshes.headers_of(dialog, "INVITE")))
        dialog.invite_out = end.token()
        end.layer.ask(again, dialog.invite_out, hop, now, dialog.id)
        return True

    def _wait_after(self, dialog: Dialog, transaction: Transaction, response: Response) -> float | None:
        """Seconds until this refused offer may go again, None when it may not or was none."""
        if transaction.id not in (dialog.invite_out, dialog.update_out) or not dialog.confirmed:
            return None
        if response.status == 422:
            return MIN_WAIT_SECONDS if dialog.timer.raise_to(min_se(response.headers)) else None
        return offer_wait(response, owner=dialog.caller, dice=self._end.fraction())

    def _take_final(
        self, dialog: Dialog, transaction: Transaction, response: Response, wait: float | None, now: float
    ) -> None:
        """A final answer to INVITE, UPDATE or OPTIONS; 2xx only of the latter two."""
        end, status = self._end, response.status
        self._free(dialog, transaction)
        if not dialog.confirmed:
            end.drop(dialog.id)
        elif status == 481 and dialog.unacknowledged:
            # Our request was faster than our 2xx: the peer is about to know the dialog.
            end.refreshes.refused(dialog, transaction.id, response, now)
            end.go_on(dialog, now)
        elif status in (408, 481):
            end.part(dialog, status, now)
        elif status < 300 and transaction.request.method in REFRESHING:
            dialog.refresh(response.contact)
            end.refreshes.agreed(dialog, transaction.request, response, now)
            end.go_on(dialog, now)
        else:
            end.refreshes.refused(dialog, transaction.id, response, now)
            if wait is not None:
                end.back_off(dialog, wait, now)
            end.go_on(dialog, now)

    @staticmethod
    def _free(dialog: Dialog, transaction: Transaction) -> None:
        """Whatever came of it: an offer is no longer under way by this transaction."""
        if dialog.invite_out == transaction.id:
            dialog.invite_out = None
        if dialog.update_out == transaction.id:
            dialog.update_out = None

    def _take_bye(self, dialog: Dialog, status: int) -> None:
        dialog.bye_out = None
        if status < 300 or status in (408, 481):
            self._end.end(dialog, status)
        else:
            self._end.events.append(ByeRefused(dialog.id, status))

    def take_silence(self, transaction: Transaction, lost: str, now: float) -> None:
        """No final answer came; `lost` names why: "timeout" or "undeliverable"."""
        end, method = self._end, transaction.request.method
        if method == "CANCEL":
            return
        undeliverable = lost == "undeliverable"
        end.events.append(TransactionTimedOut(transaction.dialog, transaction.id, method, undeliverable))
        dialog = end.dialogs.get(transaction.dialog or "")
        if not dialog:
            return
        self._free(dialog, transaction)
        if method == "BYE":
            end.end(dialog, 408)
        elif not dialog.confirmed:
            end.drop(dialog.id)
        else:
            end.refreshes.lost(dialog, transaction.id, now)
            end.go_on(dialog, now)
