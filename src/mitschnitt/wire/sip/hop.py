"""Where messages come from and go to, as the messages say it (RFC 3261, 18; RFC 3581).

Names and numbers only: nothing is resolved or opened here, and a transport is never guessed.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from mitschnitt.errors import PeerError
from mitschnitt.wire.sip.headers import Address, SipUri, Via, parameter, parse_port
from mitschnitt.wire.sip.message import Headers, Request

SIP_PORT = 5060  # RFC 3261, 19.1.2
SIPS_PORT = 5061


@dataclass(frozen=True, slots=True)
class Hop:
    """A transport address; over TCP also the connection to prefer while it lives (0: none known)."""

    transport: str
    host: str
    port: int
    connection: int = 0

    @property
    def reliable(self) -> bool:
        """Whether the transport itself resends (RFC 3261, 17.1)."""
        return self.transport != "UDP"


Source = Hop
Destination = Hop


def stamp_via(request: Request, source: Source) -> Request:
    """The request with `received` and `rport` in its topmost Via (RFC 3261, 18.2.1; RFC 3581, 4)."""
    via = request.via
    stamps: dict[str, str] = {}
    wants_port = parameter(via.parameters, "rport") is not None
    if via.host != source.host or wants_port:
        stamps["received"] = source.host
    if wants_port:
        stamps["rport"] = str(source.port)
    if not stamps:
        return request
    vias = request.headers.listed("Via")
    others = tuple(("Via", value) for value in vias[1:])
    rest = request.headers.without("Via").items
    stamped = ("Via", str(via.replaced(**stamps)))
    return request.with_headers(Headers((stamped, *others, *rest)))


def response_hop(via: Via, source: Source) -> Destination:
    """Where the answer to a request goes that carried this (stamped) Via (RFC 3261, 18.2.2)."""
    port = via.port or (SIPS_PORT if via.transport == "TLS" else SIP_PORT)
    if not source.reliable:
        named = parameter(via.parameters, "maddr") or ""
        # A name would have to be looked up, for every stranger who sends one: the source does as well.
        host = named if is_address(named) else source.host
        rport = parameter(via.parameters, "rport")
        return Hop(source.transport, host, parse_port(rport) if rport else port)
    return Hop(source.transport, source.host, port, source.connection)


def uri_hop(uri: str, transport: str, connection: int = 0) -> Destination:
    """Where a request to this URI goes; `transport` holds when the URI names none.

    Raises MalformedPacket for a URI that is not sip: or sips:.
    """
    parsed = SipUri.parse(uri)
    # sips: is TLS whatever it names: `transport=tcp` in it says what lies below (RFC 3261, 26.2.2).
    chosen = "TLS" if parsed.scheme == "sips" else parsed.transport or transport
    port = parsed.port or (SIPS_PORT if chosen == "TLS" else SIP_PORT)
    return Hop(chosen, parsed.host, port, connection if chosen == transport else 0)


def reached_by(request: Request) -> tuple[str, ...]:
    """The URIs that say whether our Contact must be sips: (RFC 3261, 12.1.1).

    Where the request went, and its first route, else its Contact when it has one that can be read.
    """
    try:
        first = request.headers.listed("Record-Route") or request.headers.listed("Contact")
        return (request.uri, *(Address.parse(value).uri for value in first[:1]))
    except PeerError:
        return (request.uri,)


def leaves_tls(hop: Hop, other: Hop) -> bool:
    """Whether what began over TLS, at `hop`, would go on without it at the other."""
    return hop.transport == "TLS" != other.transport


def is_address(host: str) -> bool:
    """Whether this is an IP address and not a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
