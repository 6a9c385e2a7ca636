"""One dialog: tags, numbers, the peer's address, and the messages made from them (RFC 3261, 12).

Holds state, decides nothing: what may be sent when is the user agent's business.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from mitschnitt.errors import MalformedPacket
from mitschnitt.wire.sip.headers import Address, SipUri, Via, parameter
from mitschnitt.wire.sip.hop import Destination, Hop, leaves_tls, uri_hop
from mitschnitt.wire.sip.message import Headers, Request, Response
from mitschnitt.wire.sip.session_timer import SessionTimer

MAX_FORWARDS = 70  # RFC 3261, 8.1.1.6
MAX_ROUTES = 16  # recorded proxies; real paths have one to four


@dataclass(frozen=True, slots=True)
class Content:
    """What a message carries besides what the dialog gives it."""

    body: bytes = b""
    content_type: str = ""
    headers: Sequence[tuple[str, str]] = ()


NOTHING = Content()


@dataclass(slots=True)
class Unacknowledged:
    """A 2xx of ours that waits for its ACK, and the pause before it is sent again."""

    hop: Destination
    data: bytes
    interval: float  # seconds


@dataclass(slots=True)
class Dialog:
    """A dialog from our side; `id` is our own tag."""

    id: str
    call_id: str
    local: Address
    remote: Address
    target: str  # URI that requests of ours go to
    hop: Destination
    caller: bool  # we sent the first INVITE and own the Call-ID
    source: str = ""  # host that the first INVITE came from, "" when it is ours
    local_seq: int = 0
    remote_seq: int | None = None
    routes: tuple[str, ...] = ()
    confirmed: bool = False
    invite_out: str | None = None  # our INVITE without final answer: its transaction
    invite_in: str | None = None  # theirs
    update_out: str | None = None  # our UPDATE with an offer, without final answer: its transaction
    update_in: str | None = None  # theirs
    ack_due: int | None = None  # number of an INVITE of ours whose 2xx brought an offer that waits for our answer
    cancelled: bool = False  # we gave up our INVITE
    cancel_sent: bool = False
    bye_wanted: Content | None = None  # to be sent once our 2xx is acknowledged or given up
    bye_out: str | None = None  # our BYE without final answer: its transaction
    retry_wanted: bool = False
    backing_off: bool = False
    unacknowledged: dict[int, Unacknowledged] = field(default_factory=dict)
    acks: dict[int, tuple[Destination, bytes]] = field(default_factory=dict)
    proof: tuple[tuple[str, str], ...] = ()  # credentials of our last INVITE, for its ACK
    timer: SessionTimer = field(default_factory=SessionTimer)

    @property
    def offers_out(self) -> bool:
        """Whether an offer of ours, or one that we asked for, is not answered yet."""
        return bool(self.invite_out or self.update_out or self.ack_due is not None)

    @property
    def may_offer(self) -> bool:
        """Whether an offer of ours may be sent now, by INVITE or UPDATE (RFC 3261, 14.1; RFC 3311, 5.1)."""
        theirs = self.invite_in or self.update_in
        return not (self.offers_out or theirs or self.unacknowledged or self.backing_off)

    def knows(self, message: Request) -> bool:
        """Whether the request's Call-ID and From tag are this dialog's (the To tag found it)."""
        return message.call_id == self.call_id and message.sender.tag == self.remote.tag

    def refresh(self, contact: Address | None) -> None:
        """Takes the peer's new address; a missing or malformed one changes nothing."""
        if contact is None:
            return
        try:
            SipUri.parse(contact.uri)
        except MalformedPacket:
            return
        self.target = contact.uri

    def next_hop(self) -> Destination:
        """Where a request of ours goes: first route, else target, over the dialog's connection.

        Falls back to where the dialog came from when a URI cannot be used, or would leave TLS for less.
        """
        first = Address.parse(self.routes[0]).uri if self.routes else self.target
        try:
            found = uri_hop(first, self.hop.transport, self.hop.connection)
        except MalformedPacket:
            return self.hop
        return self.hop if leaves_tls(self.hop, found) else found

    def request(self, method: str, via: Via, *, seq: int | None = None) -> Request:
        """A request within the dialog; takes the next number unless one is given (for ACK)."""
        if seq is None:
            self.local_seq += 1
            seq = self.local_seq
        uri, routes = self.target, self.routes
        if routes and parameter(_uri_parameters(Address.parse(routes[0]).uri), "lr") is None:
            # A strict router: its address becomes the Request-URI (RFC 3261, 12.2.1.1).
            uri, routes = Address.parse(routes[0]).uri, (*routes[1:], f"<{self.target}>")
        items = [("Via", str(via))]
        items += [("Route", route) for route in routes]
        items += [
            ("From", str(self.local)),
            ("To", str(self.remote)),
            ("Call-ID", self.call_id),
            ("CSeq", f"{seq} {method}"),
            ("Max-Forwards", str(MAX_FORWARDS)),
        ]
        items += self.proof if method == "ACK" else ()
        return Request(Headers.of(items), b"", method, uri)


def _uri_parameters(uri: str) -> tuple[tuple[str, str | None], ...]:
    try:
        return SipUri.parse(uri).parameters
    except MalformedPacket:
        return ()


def answered_dialog(request: Request, tag: str, hop: Hop, fallback: str) -> Dialog:
    """The dialog that our answer to this INVITE makes (RFC 3261, 12.1.1); `fallback`: no Contact."""
    dialog = Dialog(
        id=tag,
        call_id=request.call_id,
        local=request.recipient.with_tag(tag),
        remote=request.sender,
        target=fallback,
        hop=hop,
        caller=False,
        source=hop.host,
        remote_seq=request.cseq.number,
        routes=routes_of(request),
    )
    dialog.refresh(request.contact)
    return dialog


def routes_of(message: Request | Response) -> tuple[str, ...]:
    """Record-Route values in order; raises MalformedPacket for what is no address and for too many."""
    routes = message.headers.listed("Record-Route")
    if len(routes) > MAX_ROUTES:
        raise MalformedPacket(f"at most {MAX_ROUTES} recorded routes, got {len(routes)}")
    return tuple(str(Address.parse(route)) for route in routes)


def answer_to(
    request: Request,
    status: int,
    tag: str | None,
    *,
    headers: Iterable[tuple[str, str]] = (),
    body: bytes = b"",
) -> Response:
    """A response with what it must copy (RFC 3261, 8.2.6); `tag` goes into To unless there is one.

    Raises MalformedPacket when the request lacks what is copied.
    """
    sender = request.headers.get("From")
    if not sender:
        raise MalformedPacket("an answer copies From, and the request has none")
    copied = [("Via", value) for value in request.headers.listed("Via")]
    to = request.headers.get("To") or ""
    if tag and not request.recipient.tag:
        to = str(request.recipient.with_tag(tag))
    copied += [("From", sender), ("To", to)]
    copied += [("Call-ID", request.call_id), ("CSeq", str(request.cseq))]
    return Response(Headers.of([*copied, *headers]), body, status)
