"""The TCP and TLS connections of one SIP shell: limits, slow and greedy peers, handshakes, reconnects.

Cuts what arrives into messages and hands them to its owner; decides nothing about them. Over TLS nothing is read
before the peer has proved who it is and stands on the list.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Coroutine
from itertools import count
from typing import Protocol, cast

from mitschnitt.errors import PeerError
from mitschnitt.recorder.tls import Tls
from mitschnitt.wire.sip.framing import PING, PONG, StreamFramer
from mitschnitt.wire.sip.hop import Destination, Hop
from mitschnitt.wire.sip.message import MAX_BODY_BYTES, MAX_HEAD_BYTES

MAX_CONNECTIONS = 1_024  # in total; an SBC keeps one to a few dozen open
MAX_CONNECTIONS_PER_SOURCE = 64  # per address: several SBC instances behind one address still fit
MESSAGE_SECONDS = 10.0  # a message that has begun must be complete by then: slow senders lose the connection
IDLE_SECONDS = 3_600.0  # a connection without traffic; dialogs behind it re-open one when they need it
CONNECT_SECONDS = 5.0  # to open a connection of ours; 64 * T1 would block a withdrawal for too long
HANDSHAKE_SECONDS = 5.0  # of TLS, from the first byte to the last; whoever dribbles loses the connection
BACKLOG = 100  # connections that the kernel holds until we take them, as asyncio's own servers
ACCEPT_PAUSE_SECONDS = 1.0  # without a descriptor to spare
STOP_SECONDS = 0.5  # for last words to leave; a peer that does not read must not hold up the end
PING_SECONDS = 120.0  # of silence on a connection with dialogs before we ask (RFC 5626, 4.4.1)
PONG_SECONDS = 10.0  # for the answer (RFC 5626, 4.4.1)
TELL_SECONDS = 10.0  # between lines of the log about who was refused: a flood must not fill it
MAX_UNSENT_BYTES = 1_048_576  # per connection: a peer that does not read loses it
# TCP's own keep-alive finds peers that are gone without a word, whatever their SIP can do (RFC 9293, 3.8.4).
KEEPALIVE = ((socket.TCP_KEEPIDLE, 60), (socket.TCP_KEEPINTVL, 15), (socket.TCP_KEEPCNT, 4))

Address = tuple[str, str, int]  # transport, host, port

log = logging.getLogger("mitschnitt.recorder")


class Owner(Protocol):
    """What connections ask of the shell that they belong to."""

    refused: Counter[str]

    @property
    def now(self) -> float:
        """Seconds of the shell's clock."""

    @property
    def in_use(self) -> frozenset[int]:
        """Numbers of connections that dialogs live on."""

    def received(self, data: bytes, source: Hop) -> None:
        """One whole message."""

    def undeliverable(self, hop: Destination) -> None:
        """Nothing can be sent to this hop now."""


class Streams:
    """All connections of one shell, taken and opened."""

    def __init__(self, owner: Owner, tls: Tls | None) -> None:
        self.connections: dict[int, Connection] = {}
        self._owner = owner
        self._tls = tls
        self._numbers = count(1)
        self._opened: dict[Address, int] = {}  # connections of ours by where they lead
        self._opening: dict[Address, list[tuple[Hop, bytes]]] = {}
        self._servers: list[asyncio.Server] = []
        self._listeners: list[socket.socket] = []  # for TLS
        self._tasks: set[asyncio.Task[None]] = set()
        self._told: Counter[str] = Counter()  # of those refused, how many the log knows
        self._told_at = 0.0

    async def listen(self, transport: str, host: str, port: int) -> int:
        """Takes connections on this port (0: any free one); the bound port. OSError when that fails."""
        loop = asyncio.get_running_loop()
        if transport == "TLS":
            return await self._listen_secured(host, port)
        server = await loop.create_server(lambda: Connection(self, self._owner, Hop(transport, "", 0)), host, port)
        self._servers.append(server)
        bound: int = server.sockets[0].getsockname()[1]
        return bound

    async def _listen_secured(self, host: str, port: int) -> int:
        """Takes connections ourselves: limits come before the handshake, and each begins with the files of its time.

        Not by `start_tls`: what a fast client sends before that is called would be lost (uvloop reads at once).
        """
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        listener = socket.create_server(found[0][4][:2], family=found[0][0], backlog=BACKLOG)
        listener.setblocking(False)
        self._listeners.append(listener)
        loop.add_reader(listener, self._accept, listener)
        bound: int = listener.getsockname()[1]
        return bound

    def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            taken, address = listener.accept()
        except (BlockingIOError, ConnectionError):  # gone again
            return
        except OSError:  # no descriptor left: without a pause this would be asked for ever
            self._owner.refused["limit.files"] += 1
            loop.remove_reader(listener)
            loop.call_later(ACCEPT_PAUSE_SECONDS, self._accept_again, listener)
            return
        taken.setblocking(False)
        connection = Connection(self, self._owner, Hop("TLS", *address[:2]))
        if connection.enter():
            connection.handshake = self.spawn(self._handshake(connection, taken))
            # One that is cancelled before its first step has handed the socket to nobody.
            connection.handshake.add_done_callback(lambda done: taken.close() if done.cancelled() else None)
        else:
            taken.close()

    def _accept_again(self, listener: socket.socket) -> None:
        if listener in self._listeners:
            asyncio.get_running_loop().add_reader(listener, self._accept, listener)

    def spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Work of this shell that ends with it."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def stop(self) -> None:
        """Closes all; a peer that does not read cannot hold it up."""
        for task in list(self._tasks):
            task.cancel()
        for server in self._servers:
            server.close()
        for listener in self._listeners:
            asyncio.get_running_loop().remove_reader(listener)
            listener.close()
        self._listeners.clear()
        for connection in list(self.connections.values()):
            connection.close()
        if self._tasks:
            await asyncio.wait(self._tasks)
        deadline = self._owner.now + STOP_SECONDS
        while self.connections and self._owner.now < deadline:
            await asyncio.sleep(0)  # transports report their end on a later turn of the loop
        for connection in list(self.connections.values()):
            connection.abort()
        self._servers.clear()

    def sweep(self, now: float) -> None:
        """Ends what is late or was silent for long, asks after peers with calls, and tells who was refused."""
        in_use = self._owner.in_use
        for connection in list(self.connections.values()):
            connection.drop_when_late(now)
            if connection.number in in_use:
                connection.ask_after(now)
        if now - self._told_at >= TELL_SECONDS:
            self._tell(now)

    def _tell(self, now: float) -> None:
        """Logs causes and numbers only: nothing that came from whoever was refused."""
        fresh = self._owner.refused - self._told
        self._told, self._told_at = self._owner.refused.copy(), now
        for cause, number in sorted(fresh.items()):
            log.warning("SIP turned away: " + cause, extra={"count": number})

    def renew(self) -> None:
        """Exchanged TLS files come into force, and whoever is not on the new list loses the connection."""
        if self._tls is None or not self._tls.renew():
            return
        for connection in list(self.connections.values()):
            # One that is still shaking hands is looked at when it is done.
            is_tls = connection.peer.transport == "TLS" and connection.is_open
            if is_tls and not self.admits(connection):
                connection.abort()

    # --- sending --------------------------------------------------------------------------------------

    def send(self, hop: Destination, data: bytes) -> None:
        """Over the hop's connection while it lives, else over one of ours to there, opened if there is none."""
        address = (hop.transport, hop.host, hop.port)
        connection = self.connections.get(hop.connection) or self.connections.get(self._opened.get(address, 0))
        if connection and connection.peer.transport == hop.transport:
            connection.send(data)
        elif address in self._opening:
            self._opening[address].append((hop, data))
        else:
            self._opening[address] = [(hop, data)]
            self.spawn(self._open(address))

    async def _open(self, address: Address) -> None:
        connection: Connection | None = None
        with contextlib.suppress(OSError, UnicodeError, TimeoutError):  # UnicodeError: no host can have that name
            async with asyncio.timeout(CONNECT_SECONDS):
                connection = await self._connect(address)
        waiting = self._opening.pop(address)
        if connection and connection.number:
            self._opened[address] = connection.number
            for _, data in waiting:
                connection.send(data)
            return
        self._owner.refused["connect.failed"] += 1
        for hop in {hop for hop, _ in waiting}:
            self._owner.undeliverable(hop)

    async def _connect(self, address: Address) -> Connection | None:
        transport, host, port = address
        if transport == "TLS" and self._tls is None:
            return None
        # Whom we speak to is told by the list, not by the name that we looked up.
        context = self._tls.current.client if transport == "TLS" and self._tls else None
        connection = Connection(self, self._owner, Hop(*address))
        await asyncio.get_running_loop().create_connection(
            lambda: connection, host, port, ssl=context, server_hostname="" if context else None
        )
        return connection

    # --- taking ---------------------------------------------------------------------------------------

    def admit(self, connection: Connection) -> int:
        """A number for a new connection, 0 when a limit refuses it.

        At a limit the longest-silent connection that carries no dialog makes room: a flood of idle ones locks
        nobody out who has calls.
        """
        host = connection.peer.host
        same = [other for other in self.connections.values() if other.peer.host == host]
        crowd, cause = (same, "limit.connections_per_source") if len(same) >= MAX_CONNECTIONS_PER_SOURCE else (None, "")
        if crowd is None and len(self.connections) >= MAX_CONNECTIONS:
            crowd, cause = list(self.connections.values()), "limit.connections"
        if crowd is not None:
            self._owner.refused[cause] += 1
            in_use = self._owner.in_use
            idle = [other for other in crowd if other.number not in in_use]
            if not idle:
                return 0
            oldest = min(idle, key=lambda other: other.heard_at)
            self.gone(oldest)
            oldest.abort()
        number = next(self._numbers)
        self.connections[number] = connection
        return number

    async def _handshake(self, connection: Connection, taken: socket.socket) -> None:
        try:
            if self._tls is None:
                raise ConnectionError
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: connection,
                taken,
                ssl=self._tls.current.server,
                ssl_handshake_timeout=HANDSHAKE_SECONDS,
            )
        except (OSError, TimeoutError) as error:  # ssl.SSLError is an OSError
            self._owner.refused[_cause(error)] += 1
            self.gone(connection)
        except asyncio.CancelledError:
            self.gone(connection)
            raise
        finally:
            connection.handshake = None

    def admits(self, connection: Connection) -> bool:
        """Whether the peer behind a finished handshake is on the list."""
        listed = self._tls is not None and self._tls.current.admits(connection.certificate)
        if not listed:
            self._owner.refused["tls.not_listed"] += 1
        return listed

    def gone(self, connection: Connection) -> None:
        """A connection has ended."""
        self.connections.pop(connection.number, None)
        for address in [a for a, number in self._opened.items() if number == connection.number]:
            del self._opened[address]


def _cause(error: Exception) -> str:
    """Why a handshake failed, in one of a few words: what a stranger sends is no key of a counter."""
    if isinstance(error, TimeoutError | ConnectionError) and not isinstance(error, ssl.SSLError):
        return "tls.broken_off"
    reason = str(getattr(error, "reason", "") or "")
    if isinstance(error, ssl.SSLCertVerificationError) or "CERTIFICATE" in reason:
        return "tls.certificate"
    return "tls.version" if "VERSION" in reason or "PROTOCOL" in reason else "tls.handshake"


class Connection(asyncio.Protocol):
    """One connection; its number is 0 until it is admitted, and TLS peers are read only once they are secured."""

    def __init__(self, streams: Streams, owner: Owner, peer: Hop) -> None:
        self.peer = peer
        self.number = 0
        self.certificate: bytes | None = None  # of the peer, DER
        self.heard_at = owner.now
        self._streams = streams
        self._owner = owner
        self._framer = StreamFramer()
        self._transport: asyncio.Transport | None = None
        self.is_open = False  # what arrives may be read
        self.handshake: asyncio.Task[None] | None = None  # while it lasts there is no transport
        self._begun_at: float | None = None  # when the message that is arriving began
        self._pinged_at: float | None = None  # when we asked; None once anything came

    def enter(self) -> bool:
        """Takes a place among the connections; False when there is none."""
        self.number = self._streams.admit(self)
        self.peer = Hop(self.peer.transport, self.peer.host, self.peer.port, self.number)
        return bool(self.number)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The transport is there; over TLS, its handshake is over."""
        # uvloop's transports are asyncio's by behaviour, not by class.
        self._transport = found = cast(asyncio.Transport, transport)
        if not self.number:
            name = found.get_extra_info("peername")
            self.peer = Hop(self.peer.transport, *name[:2]) if name else self.peer
            if not self.enter():
                found.abort()
                return
        keep_alive(found)
        if self.peer.transport == "TLS":
            self.secured(found)
        else:
            self._open()

    def secured(self, transport: asyncio.Transport) -> None:
        """The handshake is over; whoever is not on the list is gone before a byte is read."""
        self._transport = transport
        secured = transport.get_extra_info("ssl_object")
        self.certificate = secured.getpeercert(binary_form=True) if secured is not None else None
        if not self._streams.admits(self):
            self._streams.gone(self)
            self.number = 0
            transport.abort()
            return
        self._open()

    def _open(self) -> None:
        self.is_open = True
        if self._transport is not None:
            self._transport.set_write_buffer_limits(high=MAX_UNSENT_BYTES)

    def data_received(self, data: bytes) -> None:
        """Bytes of the peer."""
        if not self.is_open:
            return  # refused, and on its way out
        now = self.heard_at = self._owner.now
        self._pinged_at = None  # whatever comes is a sign of life
        try:
            for step in range(0, len(data), MAX_HEAD_BYTES + MAX_BODY_BYTES):
                for message in self._framer.feed(data[step : step + MAX_HEAD_BYTES + MAX_BODY_BYTES]):
                    self._begun_at = None
                    self._owner.received(message, self.peer)
        except PeerError:
            self._owner.refused["stream.malformed"] += 1
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
        """The transport is gone."""
        self._streams.gone(self)

    def pause_writing(self) -> None:
        """The peer does not read."""
        self._owner.refused["stream.unread"] += 1
        self.abort()

    def send(self, data: bytes) -> None:
        """As much as the peer takes; above MAX_UNSENT_BYTES it loses the connection."""
        if self._transport and not self._transport.is_closing():
            self._transport.write(data)

    def drop_when_late(self, now: float) -> None:
        """Ends the connection if a message is not complete in time, or nothing came for very long."""
        late = self._begun_at is not None and now - self._begun_at > MESSAGE_SECONDS
        if late or now - self.heard_at > IDLE_SECONDS:
            self._owner.refused["stream.slow" if late else "stream.idle"] += 1
            self.close()

    def ask_after(self, now: float) -> None:
        """Pings a peer that was silent; one that answered such a ping before and now does not is gone.

        Whoever never answered one (older clients do not) keeps the connection.
        """
        if self._pinged_at is not None and self._framer.pongs and now - self._pinged_at > PONG_SECONDS:
            self._owner.refused["stream.no_pong"] += 1
            self.abort()
        elif self.is_open and now - max(self.heard_at, self._pinged_at or self.heard_at) >= PING_SECONDS:
            self._pinged_at = now
            self._framer.pinged()
            self.send(PING)

    def close(self) -> None:
        """After what was written; a handshake at once."""
        if self.handshake:
            self.handshake.cancel()
        if self._transport:
            self._transport.close()

    def abort(self) -> None:
        """At once."""
        if self.handshake:
            self.handshake.cancel()
        if self._transport:
            self._transport.abort()


def keep_alive(transport: asyncio.Transport) -> None:
    """Lets the kernel look after a silent peer."""
    sock = transport.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in KEEPALIVE:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
