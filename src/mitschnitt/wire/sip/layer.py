"""All running transactions: matches messages to them, carries out their actions, keeps their timers.

Bytes go to `outbox`, what their user must know to `happenings`. Knows no dialogs and takes no decisions.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from mitschnitt.wire.sip.hop import Destination, Hop
from mitschnitt.wire.sip.message import Headers, Request, Response
from mitschnitt.wire.sip.timers import Timers
from mitschnitt.wire.sip.transaction import (
    Action,
    Durations,
    Event,
    Input,
    Machine,
    State,
    Timer,
    Transaction,
    status_input,
)

MAGIC = "z9hG4bK"  # marks branches that are unique (RFC 3261, 8.1.1.7)

Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Happening:
    """A transaction has something to tell: a message came (TELL), none came (TIME_OUT), or FAIL."""

    transaction: Transaction
    action: Action
    message: Request | Response | None


@dataclass(slots=True)
class _Entry:
    transaction: Transaction
    key: Key
    hop: Destination
    last: bytes = b""
    merge: Key = ()
    scheduled: dict[Timer, float] = field(default_factory=dict)


class TransactionLayer:
    """Owns the transactions of one user agent."""

    def __init__(self, durations: Durations, timers: Timers) -> None:
        self.outbox: list[tuple[Destination, bytes]] = []
        self.happenings: list[Happening] = []
        self._durations = durations
        self._timers = timers
        self._entries: dict[str, _Entry] = {}
        self._servers: dict[Key, _Entry] = {}
        self._clients: dict[Key, _Entry] = {}
        self._first: dict[Key, _Entry] = {}  # of requests outside dialogs: whichever way a copy comes, it is one

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, transaction: str) -> Transaction | None:
        """The transaction of that id while it runs."""
        entry = self._entries.get(transaction)
        return entry.transaction if entry else None

    def hop(self, transaction: Transaction) -> Destination | None:
        """Where the messages of this transaction go, None once it is over."""
        entry = self._entries.get(transaction.id)
        return entry.hop if entry else None

    def absorb(self, request: Request, now: float) -> bool:
        """Whether the request (or ACK) belongs to a running server transaction, which has dealt with it."""
        entry = self._servers.get(server_key(request))
        if not entry:
            return False
        self._feed(entry, Input.ACK if request.method == "ACK" else Input.REQUEST, request, now)
        return True

    def merges(self, request: Request) -> bool:
        """Whether this request came another way already and runs (RFC 3261, 8.2.2.2); `absorb` knows its copies."""
        return not request.recipient.tag and merge_key(request) in self._first

    def cancelled_invite(self, cancel: Request) -> Transaction | None:
        """The INVITE transaction that this CANCEL is about (RFC 3261, 9.2)."""
        entry = self._servers.get(server_key(cancel, method="INVITE"))
        return entry.transaction if entry else None

    def serve(self, request: Request, name: str, hop: Destination, now: float) -> Transaction:
        """A new server transaction; the caller has made sure that `absorb` does not know the request."""
        machine = Machine.INVITE_SERVER if request.method == "INVITE" else Machine.SERVER
        transaction = Transaction(name, machine, request, hop.reliable, self._durations)
        entry = _Entry(transaction, server_key(request), hop)
        self._servers[entry.key] = self._entries[name] = entry
        if not request.recipient.tag:
            entry.merge = merge_key(request)
            self._first.setdefault(entry.merge, entry)
        transaction.start(now)
        self._schedule(entry)
        return transaction

    def answer(self, transaction: Transaction, response: Response, now: float) -> bool:
        """Sends a response; False when the transaction has its final answer already."""
        entry = self._entries.get(transaction.id)
        if not entry or transaction.state not in (State.TRYING, State.PROCEEDING):
            return False
        self._feed(entry, status_input(response.status), response, now)
        if response.status >= 200:  # waits 32 s for copies: the answer is kept, the offer is not
            transaction.request = replace(transaction.request, body=b"")
        return True

    def ask(self, request: Request, name: str, hop: Destination, now: float, dialog: str | None) -> Transaction:
        """Sends a request of ours as a new client transaction."""
        machine = Machine.INVITE_CLIENT if request.method == "INVITE" else Machine.CLIENT
        transaction = Transaction(name, machine, request, hop.reliable, self._durations, dialog)
        entry = _Entry(transaction, (request.via.branch, request.method), hop)
        self._clients[entry.key] = self._entries[name] = entry
        self._carry_out(entry, transaction.start(now), request)
        return transaction

    def ask_again(self, transaction: Transaction, request: Request, spare: str, now: float) -> None:
        """Sends another form of a refused request under the same id; the refused one, as `spare`, awaits copies."""
        name, entry = transaction.id, self._entries.pop(transaction.id)
        for timer in entry.scheduled:
            self._timers.stop((name, timer))
        entry.scheduled.clear()
        transaction.id, self._entries[spare] = spare, entry
        self._schedule(entry)
        self.ask(request, name, entry.hop, now, transaction.dialog).attempts = transaction.attempts + 1
        transaction.dialog = None  # what still becomes of it is nobody's business

    def receive_response(self, response: Response, now: float) -> bool:
        """Whether the response belongs to a request of ours, which has dealt with it."""
        entry = self._clients.get((response.via.branch, response.cseq.method))
        if not entry:
            return False
        self._feed(entry, status_input(response.status), response, now)
        return True

    def fire(self, transaction: str, timer: Timer, now: float) -> None:
        """A timer of a transaction has fallen due."""
        entry = self._entries.get(transaction)
        if entry:
            entry.scheduled.pop(timer, None)
            self._feed(entry, timer, None, now)

    def hasten(self, transaction: Transaction, at: float) -> None:
        """A cancelled INVITE is given up by then, whatever else it was granted (RFC 3261, 9.1)."""
        entry = self._entries.get(transaction.id)
        if entry and Timer.C in transaction.deadlines:
            transaction.deadlines[Timer.C] = min(at, transaction.deadlines[Timer.C])
            self._schedule(entry)

    def lost(self, hop: Hop, now: float) -> None:
        """Nothing can be delivered to this hop now (RFC 3261, 17.1.4)."""
        for entry in [entry for entry in self._entries.values() if entry.hop == hop]:
            self._feed(entry, Input.LOST, None, now)

    def send(self, hop: Destination, message: Request | Response) -> bytes:
        """Sends outside any transaction: ACK to a 2xx, stateless answers. Returns the bytes."""
        data = bytes(message)
        self.outbox.append((hop, data))
        return data

    def _feed(self, entry: _Entry, event: Event, message: Request | Response | None, now: float) -> None:
        self._carry_out(entry, entry.transaction.feed(event, now), message)

    def _carry_out(self, entry: _Entry, actions: tuple[Action, ...], message: Request | Response | None) -> None:
        for action in actions:
            if action is Action.SEND and message is not None:
                entry.last = self.send(entry.hop, message)
            elif action is Action.RESEND and entry.last:
                self.outbox.append((entry.hop, entry.last))
            elif action is Action.SEND_ACK and isinstance(message, Response):
                self.send(entry.hop, failure_ack(entry.transaction.request, message))
            elif action in (Action.TELL, Action.TIME_OUT, Action.FAIL):
                self.happenings.append(Happening(entry.transaction, action, message))
        self._schedule(entry)

    def _schedule(self, entry: _Entry) -> None:
        transaction = entry.transaction
        for timer in [timer for timer in entry.scheduled if timer not in transaction.deadlines]:
            self._timers.stop((transaction.id, timer))
            del entry.scheduled[timer]
        for timer, at in transaction.deadlines.items():
            if entry.scheduled.get(timer) != at:
                entry.scheduled[timer] = at
                self._timers.set((transaction.id, timer), at)
        if transaction.state is State.TERMINATED:
            self._entries.pop(transaction.id, None)
            owner = self._servers if self._servers.get(entry.key) is entry else self._clients
            owner.pop(entry.key, None)
            if self._first.get(entry.merge) is entry:
                del self._first[entry.merge]


def server_key(request: Request, method: str | None = None) -> Key:
    """What makes two requests the same transaction (RFC 3261, 17.2.3); ACK matches its INVITE."""
    via = request.via
    name = method or ("INVITE" if request.method == "ACK" else request.method)
    if via.branch.startswith(MAGIC) and len(via.branch) > len(MAGIC):
        return via.branch, via.host.lower(), str(via.port), name
    # Clients from before RFC 3261: no unique branch. The To tag stays out, so that an ACK matches too.
    sender = request.sender.tag or ""
    return request.call_id, sender, str(request.cseq.number), via.host, str(via.port), name


def merge_key(request: Request) -> Key:
    """What requests have in common that a proxy on the way has doubled (RFC 3261, 8.2.2.2)."""
    return request.call_id, request.sender.tag or "", str(request.cseq)


def failure_ack(invite: Request, response: Response) -> Request:
    """The ACK to a 3xx-6xx: the INVITE's own way, the response's To (RFC 3261, 17.1.1.3)."""
    taken = [("Via", invite.headers.listed("Via")[0])]
    taken += [("Route", value) for value in invite.headers.all("Route")]
    for name in ("From", "Call-ID", "Max-Forwards"):
        taken += [(name, value) for value in invite.headers.all(name)[:1]]
    taken += [("To", response.headers.get("To") or invite.headers.get("To") or "")]
    taken += [("CSeq", f"{invite.cseq.number} ACK")]
    return Request(Headers.of(taken), b"", "ACK", invite.uri)
