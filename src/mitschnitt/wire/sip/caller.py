"""Answers from peers to requests of ours: acknowledges, resends, backs off, ends (RFC 3261, 8.1.3, 13.2.2).

Sends through `endpoint`; tells sessions by events.
"""

from __future__ import annotations

from mitschnitt.wire.sip.accounts import ASKING, MAX_ATTEMPTS, proof_of
from mitschnitt.wire.sip.dialog import Dialog, routes_of
from mitschnitt.wire.sip.endpoint import NOTHING, Endpoint
from mitschnitt.wire.sip.events import ByeRefused, ResponseReceived, TransactionTimedOut
from mitschnitt.wire.sip.hop import Source
from mitschnitt.wire.sip.message import Headers, Request, Response
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
        copied.append(("CSeq", f"{running.request.cseq.number} CANCEL"))
        request = Request(Headers.of(copied), b"", "CANCEL", running.request.uri)
        hop = self._end.layer.hop(running) or dialog.hop
        self._end.layer.ask(request, self._end.token(), hop, now, None)

    def take_response(self, transaction: Transaction, response: Response, source: Source | None, now: float) -> None:
        """What a response that its transaction passed up changes."""
        method, dialog = transaction.request.method, self._end.dialogs.get(transaction.dialog or "")
        if method == "CANCEL":
            return
        if response.status in ASKING and self._answer_challenge(dialog, transaction, response, now):
            return  # the same request is on its way with credentials; its answer will be told
        told = ResponseReceived(transaction.dialog, transaction.id, method, response)
        success = 200 <= response.status < 300
        if dialog and method == "INVITE" and success:
            if source and source.reliable:
                dialog.hop = source
            dialog.proof = proof_of(transaction.request)
            self._take_success(dialog, transaction.request.cseq.number, told, now)
            return
        self._end.events.append(told)
        if not dialog or response.status < 200:
            if dialog and dialog.cancelled:
                self.cancel(dialog, now)
        elif method == "BYE":
            self._take_bye(dialog, response.status)
        else:
            self._take_failure(dialog, transaction, response.status, now)

    def _take_success(self, dialog: Dialog, number: int, told: ResponseReceived, now: float) -> None:
        end, response = self._end, told.response
        if dialog.confirmed and response.recipient.tag != dialog.remote.tag:
            self._end_fork(dialog, response, now)
            return
        if number in dialog.acks:  # our ACK was lost
            end.layer.outbox.append(dialog.acks[number])
            return
        if not dialog.confirmed:
            dialog.confirmed = True
            dialog.remote = response.recipient
            dialog.routes = tuple(reversed(routes_of(response)))
        dialog.refresh(response.contact)
        dialog.invite_out = None
        hop = dialog.next_hop()
        ack = dialog.request("ACK", end.via(hop), seq=number)
        dialog.acks = {number: (hop, end.layer.send(hop, ack))}
        end.events.append(told)
        if dialog.cancelled:  # the 200 was faster than our CANCEL
            end.bye(dialog, NOTHING, now)
        end.go_on(dialog, now)

    def _end_fork(self, dialog: Dialog, response: Response, now: float) -> None:
        """A second answerer of our INVITE: acknowledged and ended at once (RFC 3261, 13.2.2.4)."""
        end = self._end
        local, remote = dialog.local, response.recipient
        fork = Dialog("", dialog.call_id, local, remote, dialog.target, dialog.hop, caller=True)
        fork.proof = dialog.proof
        fork.local_seq, fork.routes = dialog.local_seq, tuple(reversed(routes_of(response)))
        fork.refresh(response.contact)
        hop = fork.next_hop()
        end.layer.send(hop, fork.request("ACK", end.via(hop), seq=response.cseq.number))
        end.layer.ask(fork.request("BYE", end.via(hop)), end.token(), hop, now, None)

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

    def _take_failure(self, dialog: Dialog, transaction: Transaction, status: int, now: float) -> None:
        """A final answer to INVITE, UPDATE or OPTIONS; 2xx only of the latter two."""
        end = self._end
        if dialog.invite_out == transaction.id:
            dialog.invite_out = None
        if not dialog.confirmed:
            end.drop(dialog.id)
        elif status == 481 and dialog.unacknowledged:
            end.go_on(dialog, now)  # our request was faster than our 2xx: the peer is about to know the dialog
        elif status == 481 or (status == 408 and transaction.request.method == "INVITE"):
            self._part(dialog, status, now)
        else:
            if status == 491:
                end.back_off(dialog, now)
            end.go_on(dialog, now)

    def _part(self, dialog: Dialog, status: int, now: float) -> None:
        """The peer does not know the dialog: it ends, with a last BYE in case that it will (RFC 3261, 12.2.1.2)."""
        hop = dialog.next_hop()
        self._end.layer.ask(dialog.request("BYE", self._end.via(hop)), self._end.token(), hop, now, None)
        self._end.end(dialog, status)

    def _take_bye(self, dialog: Dialog, status: int) -> None:
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
        if dialog and method == "BYE":
            end.end(dialog, 408)
        elif dialog and method == "INVITE":
            dialog.invite_out = None
            if not dialog.confirmed:
                end.drop(dialog.id)
            else:
                end.go_on(dialog, now)
