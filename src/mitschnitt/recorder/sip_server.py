"""The asyncio shell around one UserAgent: UDP and TCP sockets, its timers, limits per source and in total.

Also the client's shell (the simulator brings its own agent). Decides nothing: bytes in, events to `on_event`,
bytes out. `on_event` is called on the loop and must return at once; commands that it gives to the agent are
sent by themselves, commands from elsewhere need a `flush`.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from itertools import count
from typing import cast

from mitschnitt.errors import ConfigError, PeerError
from mitschnitt.wire.sip.agent import UserAgent
from mitschnitt.wire.sip.events import SipEvent
from mitschnitt.wire.sip.framing import PONG, StreamFramer
from mitschnitt.wire.sip.hop import Destination, Hop
from mitschnitt.wire.sip.message import MAX_BODY_BYTES, MAX_HEAD_BYTES

MAX_CONNECTIONS = 1_024  # TCP connections in total; an SBC keeps one to a few dozen open
MAX_CONNECTIONS_PER_SOURCE = 64  # per address: several SBC instances behind one address still fit
MESSAGE_SECONDS = 10.0  # a message that has begun must be complete by then: slow senders lose the connection
IDLE_SECONDS = 3_600.0  # a connection without traffic; dialogs behind it re-open one when they need it
CONNECT_SECONDS = 5.0  # to open a connection of ours; 64 * T1 would block a withdrawal for too long
STOP_SECONDS = 0.5  # for last words to leave; a peer that does not read must not hold up the end
MAX_UNSENT_BYTES = 1_048_576  # per connection: a peer that does not read loses it
LONGEST_SLEEP = 1.0  # seconds between looks at the timers; bounds what a missed wake-up could cost


class SipServer:
    """One agent on the network. `port` is the bound port after `start`."""

    def __init__(
        self,
        agent: UserAgent,
        on_event: Callable[[SipEvent], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.agent = agent
        self.port = 0
        self.refused: Counter[str] = Counter()  # connections and messages turned away, by cause
        self._on_event = on_event
        self._clock = clock
        self._host = ""
        self._swept_at = clock()
        self._flushing = False
        self._udp: asyncio.DatagramTransport | None = None
        self._tcp: asyncio.Server | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._numbers = count(1)
        self._connections: dict[int, _Connection] = {}
        self._opened: dict[tuple[str, int], int] = {}  # connections of ours by where they lead
        self._opening: dict[tuple[str, int], list[tuple[Hop, bytes]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def now(self) -> float:
        """Seconds of the clock that the agent lives by."""
        return self._clock()

    async def start(self, host: str, port: int, *, advertised: str = "") -> None:
        """Binds UDP and TCP on the same port (0: any free one). Raises ConfigError when that fails.

        `advertised` is the address that peers reach us at, where it is not `host`.
        """
        loop = asyncio.get_running_loop()
        try:
            self._tcp = await loop.create_server(lambda: _Connection(self, Hop("TCP", "", 0)), host, port)
            self.port = self._tcp.sockets[0].getsockname()[1]
            self._udp, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self), local_addr=(host, self.port))
        except OSError as error:
            await self.stop()
            raise ConfigError(f"SIP cannot be bound to {host} port {port}: {error.strerror or error}") from error
        self._host = host
        self.agent.located(advertised or host, self.port)
        self._arm()

    async def stop(self) -> None:
        """Sends what waits, then closes every socket."""
        self._send_outbox()
        if self._timer:
            self._timer.cancel()
        for task in list(self._tasks):
            task.cancel()
        if self._tcp:
            self._tcp.close()
        for connection in list(self._connections.values()):
            connection.close()
        if self._udp:
            self._udp.close()
        if self._tasks:
            await asyncio.wait(self._tasks)
        deadline = self.now + STOP_SECONDS
        while self._connections and self.now < deadline:
            await asyncio.sleep(0)  # transports report their end on a later turn of the loop
        for connection in list(self._connections.values()):
            connection.abort()
        self._udp = self._tcp = self._timer = None

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
        self.agent.receive(data, source, self.now)
        self.flush()

    # --- sending --------------------------------------------------------------------------------------

    def _send_outbox(self) -> None:
        for hop, data in self.agent.outbox():
            if hop.transport == "UDP":
                self._send_datagram(hop, data)
            elif hop.transport == "TCP":
                self._send_stream(hop, data)
            else:
                self.refused["transport.unknown"] += 1
                asyncio.get_running_loop().call_soon(self._undeliverable, hop)

    def _send_datagram(self, hop: Destination, data: bytes) -> None:
        if not self._udp or self._udp.is_closing():
            return
        if _is_address(hop.host):
            self._udp.sendto(data, (hop.host, hop.port))
        else:  # sendto itself would look the name up on the loop and hold up every call
            self._spawn(self._send_by_name(hop, data))

    async def _send_by_name(self, hop: Destination, data: bytes) -> None:
        loop = asyncio.get_running_loop()
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        found: list[tuple[str, int]] = []
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(CONNECT_SECONDS):
                rows = await loop.getaddrinfo(hop.host, hop.port, family=family, type=socket.SOCK_DGRAM)
                found = [(str(row[4][0]), int(row[4][1])) for row in rows]
        if found and self._udp:
            self._udp.sendto(data, found[0])
        else:
            self.refused["host.unknown"] += 1
            self._undeliverable(hop)

    def _send_stream(self, hop: Destination, data: bytes) -> None:
        address = (hop.host, hop.port)
        connection = self._connections.get(hop.connection) or self._connections.get(self._opened.get(address, 0))
        if connection:
            connection.send(data)
        elif address in self._opening:
            self._opening[address].append((hop, data))
        else:
            self._opening[address] = [(hop, data)]
            self._spawn(self._open(address))

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _open(self, address: tuple[str, int]) -> None:
        loop = asyncio.get_running_loop()
        connection: _Connection | None = None
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(CONNECT_SECONDS):
                _, connection = await loop.create_connection(lambda: _Connection(self, Hop("TCP", *address)), *address)
        waiting = self._opening.pop(address)
        if connection and connection.number:
            self._opened[address] = connection.number
            for _, data in waiting:
                connection.send(data)
            return
        self.refused["connect.failed"] += 1
        for hop in {hop for hop, _ in waiting}:
            self.agent.undeliverable(hop, self.now)
        self.flush()

    def _undeliverable(self, hop: Destination) -> None:
        self.agent.undeliverable(hop, self.now)
        self.flush()

    # --- timers ---------------------------------------------------------------------------------------

    def _arm(self) -> None:
        if self._timer:
            self._timer.cancel()
        if not self._udp:
            return
        due = self.agent.next_timer()
        wait = LONGEST_SLEEP if due is None else min(LONGEST_SLEEP, max(0.0, due - self.now))
        self._timer = asyncio.get_running_loop().call_later(wait, self._tick)

    def _tick(self) -> None:
        now = self.now
        if now - self._swept_at >= LONGEST_SLEEP:
            self._swept_at = now
            for connection in list(self._connections.values()):
                connection.drop_when_late(now)
        self.agent.tick(now)
        self.flush()

    # --- connections ----------------------------------------------------------------------------------

    def admit(self, connection: _Connection) -> int:
        """A number for a new connection, 0 when a limit refuses it."""
        host = connection.peer.host
        same = sum(1 for other in self._connections.values() if other.peer.host == host)
        if len(self._connections) >= MAX_CONNECTIONS:
            self.refused["limit.connections"] += 1
            return 0
        if same >= MAX_CONNECTIONS_PER_SOURCE:
            self.refused["limit.connections_per_source"] += 1
            return 0
        number = next(self._numbers)
        self._connections[number] = connection
        return number

    def gone(self, connection: _Connection) -> None:
        """A connection has ended."""
        self._connections.pop(connection.number, None)
        for address in [a for a, number in self._opened.items() if number == connection.number]:
            del self._opened[address]


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: SipServer) -> None:
        self._server = server

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if data.strip(b"\r\n\0"):  # keep-alives of NAT helpers carry nothing
            self._server.received(data, Hop("UDP", addr[0], addr[1]))


class _Connection(asyncio.Protocol):
    def __init__(self, server: SipServer, peer: Hop) -> None:
        self.peer = peer
        self.number = 0
        self._server = server
        self._framer = StreamFramer()
        self._transport: asyncio.Transport | None = None
        self._begun_at: float | None = None  # when the message that is arriving began
        self._heard_at = server.now

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are asyncio's by behaviour, not by class.
        self._transport = transport = cast(asyncio.Transport, transport)
        name = transport.get_extra_info("peername")
        self.peer = Hop("TCP", name[0], name[1]) if name else self.peer
        transport.set_write_buffer_limits(high=MAX_UNSENT_BYTES)
        self.number = self._server.admit(self)
        if not self.number:
            transport.abort()
            return
        self.peer = Hop("TCP", self.peer.host, self.peer.port, self.number)

    def data_received(self, data: bytes) -> None:
        now = self._heard_at = self._server.now
        try:
            for step in range(0, len(data), MAX_HEAD_BYTES + MAX_BODY_BYTES):
                for message in self._framer.feed(data[step : step + MAX_HEAD_BYTES + MAX_BODY_BYTES]):
                    self._begun_at = None
                    self._server.received(message, self.peer)
        except PeerError:
            self._server.refused["stream.malformed"] += 1
            self.close()
            return
        if self._framer.pings:
            self._framer.pings = 0
            self.send(PONG)
        if not self._framer.waiting:
            self._begun_at = None
        elif self._begun_at is None:
            self._begun_at = now

    def connection_lost(self, _exc: Exception | None) -> None:
        self._server.gone(self)

    def pause_writing(self) -> None:
        self._server.refused["stream.unread"] += 1
        if self._transport:
            self._transport.abort()

    def send(self, data: bytes) -> None:
        if self._transport and not self._transport.is_closing():
            self._transport.write(data)

    def drop_when_late(self, now: float) -> None:
        late = self._begun_at is not None and now - self._begun_at > MESSAGE_SECONDS
        if late or now - self._heard_at > IDLE_SECONDS:
            self._server.refused["stream.slow" if late else "stream.idle"] += 1
            self.close()

    def close(self) -> None:
        if self._transport:
            self._transport.close()

    def abort(self) -> None:
        if self._transport:
            self._transport.abort()
