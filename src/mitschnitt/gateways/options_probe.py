"""Asks one SIP client for its OPTIONS, as a recorder would: one request, one answer or none.

Without TLS only loopback and private addresses are called. What the answer means, `wire.sip.options` says.
"""

from __future__ import annotations

import asyncio
import ipaddress
import secrets
import socket
from dataclasses import dataclass

from mitschnitt.errors import ConfigError, MalformedPacket, PeerError
from mitschnitt.recorder.sip_server import SipServer
from mitschnitt.recorder.tls import Tls
from mitschnitt.wire.sip.agent import UserAgent
from mitschnitt.wire.sip.config import AgentConfig
from mitschnitt.wire.sip.events import ResponseReceived, SipEvent, TransactionTimedOut
from mitschnitt.wire.sip.headers import write_host
from mitschnitt.wire.sip.hop import Hop, uri_hop
from mitschnitt.wire.sip.message import Response

TRANSPORTS = ("UDP", "TCP", "TLS")  # that `SipServer` speaks
RESOLVE_SECONDS = 5.0  # for a name; the system's resolver may wait longer


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, and after how many milliseconds."""

    response: Response
    ms: int


def parse_client(text: str) -> Hop:
    """`host[:port][;transport=udp|tcp|tls]`, IPv6 in brackets. ConfigError for anything else."""
    try:
        hop = uri_hop(f"sip:{text}", "UDP")
    except MalformedPacket as error:
        raise ConfigError(f"client: expected host[:port][;transport=udp|tcp|tls], found {text!r}") from error
    if hop.transport not in TRANSPORTS or "@" in text or "?" in text:
        raise ConfigError(f"client: expected host[:port][;transport=udp|tcp|tls], found {text!r}")
    return hop


async def resolve(hop: Hop) -> Hop:
    """The same with a literal address. ConfigError for a public one without TLS; PeerError for a name that is none."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(RESOLVE_SECONDS):
            rows = await loop.getaddrinfo(hop.host, hop.port, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError, TimeoutError) as error:  # UnicodeError: no host can have that name
        raise PeerError(f"client: {hop.host} is no address and no name that is known here") from error
    address = ipaddress.ip_address(str(rows[0][4][0]).partition("%")[0])
    is_near = address.is_loopback or address.is_private
    if address.is_unspecified or not (is_near or hop.transport == "TLS"):
        raise ConfigError(f"client: {address} is neither loopback nor private; expected transport=tls for it")
    return Hop(hop.transport, str(address), hop.port)


async def ask_options(hop: Hop, *, seconds: float, tls: Tls | None = None) -> Answer | None:
    """The final answer of a literal address, None when none came in time. ConfigError without a way to it.

    Over TLS we show the recorder's certificate, and the client's must be on the allow-list, as on any call.
    """
    loop = asyncio.get_running_loop()
    host = _own_address(hop)
    final: asyncio.Future[Response | None] = loop.create_future()

    def take(event: SipEvent) -> None:
        if isinstance(event, ResponseReceived) and event.response.status >= 200 and not final.done():
            final.set_result(event.response)
        elif isinstance(event, TransactionTimedOut) and not final.done():
            final.set_result(None)

    agent = UserAgent(AgentConfig(host=host, user="doctor", product="mitschnitt-doctor"), lambda: secrets.token_hex(8))
    server = SipServer(agent, take, tls=tls)
    await server.start(host, 0)
    begun = loop.time()
    try:
        suffix = "" if hop.transport == "UDP" else f";transport={hop.transport.lower()}"
        uri = f"sip:{write_host(hop.host)}:{hop.port}{suffix}"
        agent.options(uri, hop, now=server.now, sender=f"sip:doctor@{write_host(host)}")
        server.flush()
        response = await asyncio.wait_for(final, seconds)
    except TimeoutError:
        return None
    finally:
        await server.stop()
    return None if response is None else Answer(response, round((loop.time() - begun) * 1000))


def _own_address(hop: Hop) -> str:
    """Our address towards this one; asking the routing table sends nothing."""
    family = socket.AF_INET6 if ":" in hop.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((hop.host, hop.port or 1))
        except OSError as error:
            raise ConfigError(f"client: there is no way to {hop.host}: {error.strerror}") from error
        return str(probe.getsockname()[0])
