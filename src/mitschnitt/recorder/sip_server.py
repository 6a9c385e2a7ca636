"""The asyncio shell around one UserAgent: UDP, TCP and TLS sockets, its timers, limits per source and in total.

Also the client's shell (the simulator brings its own agent). Decides nothing: bytes in, events to `on_event`,
bytes out. `on_event` is called on the loop and must return at once; commands that it gives to the agent are
sent by themselves, commands from elsewhere need a `flush`.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from mitschnitt.errors import ConfigError
from mitschnitt.recorder.sip_streams import CONNECT_SECONDS, Streams
from mitschnitt.recorder.tls import Tls
from mitschnitt.wire.sip.agent import UserAgent
from mitschnitt.wire.sip.config import METHODS
from mitschnitt.wire.sip.events import SipEvent
from mitschnitt.wire.sip.hop import Destination, Hop, is_address

LONGEST_SLEEP = 1.0  # seconds between looks at the timers; bounds what a missed wake-up could cost
LONGEST_METHOD = 12  # bytes looked at to count a request: SUBSCRIBE is the longest word that anybody sends us
RESPONSE = "SIP/2.0"  # stands where a request has its method
STATUS_LINE = b"SIP/2.0 "


@dataclass(frozen=True, slots=True)
class Ports:
    """Where a shell listens; 0 for any free port, None for not at all."""

    plain: int | None = 0  # UDP and TCP
    tls: int | None = None


class SipServer:
    """One agent on the network. `port` is the bound port after `start`."""

    def __init__(
        self,
        agent: UserAgent,
        on_event: Callable[[SipEvent], None],
        *,
        clock: Callable[[], float] = time.monotonic,
        tls: Tls | None = None,
    ) -> None:
        self.agent = agent
        self.port = self.tls_port = 0
        self.refused: Counter[str] = Counter()  # connections and messages turned away, by cause
        self.requests: Counter[str] = Counter()  # that came, by method
        self.responses: Counter[str] = Counter()  # that we sent, by class
        self.shed = 0  # 503s of ours
        self.streams = Streams(self, tls)
        self._on_event = on_event
        self._clock = clock
        self._host = ""
        self._swept_at = clock()
        self._flushing = False
        self._is_started = False
        self._udp: asyncio.DatagramTransport | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def now(self) -> float:
        """Seconds of the clock that the agent lives by."""
        return self._clock()

    @property
    def in_use(self) -> frozenset[int]:
        """Numbers of connections that dialogs live on."""
        return self.agent.connections

    async def start(self, host: str, ports: Ports | int, *, advertised: str = "") -> None:
        """Binds UDP and TCP on the same port, and TLS on its own. Raises ConfigError when that fails.

        `advertised` is the address that peers reach us at, where it is not `host`. A bare number is `Ports.plain`.
        """
        wanted = Ports(ports) if isinstance(ports, int) else ports
        try:
            await self._bind(host, wanted)
        except OSError as error:
            await self.stop()
            named = [str(port) for port in (wanted.plain, wanted.tls) if port is not None]
            raise ConfigError(
                f"SIP cannot be bound to {host} port {' or '.join(named)}: {error.strerror or error}"
            ) from error
        self._host, self._is_started = host, True
        self.agent.located(advertised or host, self.port, tls_port=self.tls_port)
        self._arm()

    async def _bind(self, host: str, ports: Ports) -> None:
        loop = asyncio.get_running_loop()
        if ports.plain is not None:
            self.port = await self.streams.listen("TCP", host, ports.plain)
            self._udp, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self), local_addr=(host, self.port))
        if ports.tls is not None:
            self.tls_port = await self.streams.listen("TLS", host, ports.tls)

    async def stop(self) -> None:
        """Sends what waits, then closes every socket."""
        self._send_outbox()
        self._is_started = False
        if self._timer:
            self._timer.cancel()
        if self._udp:
            self._udp.close()
        await self.streams.stop()
        self._udp = self._timer = None

    def flush(self) -> None:
        """Hands out events and sends what commands have left in the agent.

        Call it after commands; within `on_event` it does nothing, for the events still to come go first.
        """
        if self._flushing:
            return
        self._flushing = True
        try:
            self._send_outbox()
            while events := self.agent.events():
                for event in events:
                    self._on_event(event)
                self._send_outbox()
        finally:
            self._flushing = False
            self._arm()

    def received(self, data: bytes, source: Hop) -> None:
        """One datagram or one whole message of a stream."""
        method = data[:LONGEST_METHOD].partition(b" ")[0].decode("ascii", "replace")
        if method != RESPONSE:
            self.requests[method if method in METHODS else "other"] += 1
        self.agent.receive(data, source, self.now)
        self.flush()

    # --- sending --------------------------------------------------------------------------------------

    def _send_outbox(self) -> None:
        for hop, data in self.agent.outbox(self.now):
            if data.startswith(STATUS_LINE):
                self.responses[f"{data[8:9].decode()}xx"] += 1
                self.shed += data[8:11] == b"503"
            if hop.transport == "UDP":
                self._send_datagram(hop, data)
            elif hop.transport in ("TCP", "TLS"):
                self.streams.send(hop, data)
            else:
                self.refused["transport.unknown"] += 1
                asyncio.get_running_loop().call_soon(self.undeliverable, hop)

    def _send_datagram(self, hop: Destination, data: bytes) -> None:
        if not self._udp or self._udp.is_closing():
            if self._is_started:
                asyncio.get_running_loop().call_soon(self.undeliverable, hop)
            return
        if is_address(hop.host):
            self._udp.sendto(data, (hop.host, hop.port))
        else:  # sendto itself would look the name up on the loop and hold up every call
            self.streams.spawn(self._send_by_name(hop, data))

    async def _send_by_name(self, hop: Destination, data: bytes) -> None:
        loop = asyncio.get_running_loop()
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        found: list[tuple[str, int]] = []
        with contextlib.suppress(OSError, UnicodeError, TimeoutError):  # UnicodeError: no host can have that name
            async with asyncio.timeout(CONNECT_SECONDS):
                rows = await loop.getaddrinfo(hop.host, hop.port, family=family, type=socket.SOCK_DGRAM)
                found = [(str(row[4][0]), int(row[4][1])) for row in rows]
        if found and self._udp:
            self._udp.sendto(data, found[0])
        else:
            self.refused["host.unknown"] += 1
            self.undeliverable(hop)

    def undeliverable(self, hop: Destination) -> None:
        """Nothing can be sent to this hop now: whoever waits for an answer from there is told."""
        self.agent.undeliverable(hop, self.now)
        self.flush()

    # --- timers ---------------------------------------------------------------------------------------

    def _arm(self) -> None:
        if self._timer:
            self._timer.cancel()
        if not self._is_started:
            return
        due = self.agent.next_timer()
        wait = LONGEST_SLEEP if due is None else min(LONGEST_SLEEP, max(0.0, due - self.now))
        self._timer = asyncio.get_running_loop().call_later(wait, self._tick)

    def _tick(self) -> None:
        now = self.now
        if now - self._swept_at >= LONGEST_SLEEP:
            self._swept_at = now
            self.streams.sweep(now)
            self.streams.renew()
        self.agent.tick(now)
        self.flush()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: SipServer) -> None:
        self._server = server

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if data.strip(b"\r\n\0"):  # keep-alives of NAT helpers carry nothing
            self._server.received(data, Hop("UDP", addr[0], addr[1]))
