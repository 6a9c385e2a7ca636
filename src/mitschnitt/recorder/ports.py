"""RTP ports and their sockets: which port a line gets, and how its socket is made.

A port that was given back rests for a minute, so that stale packets find nobody; before that it is only taken when no
other is left, and what its former stream still sends is known. Sockets are born behind their filter: it is attached
before `bind`, so no whole packet can slip in between.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from mitschnitt.errors import ConfigError, VaultError
from mitschnitt.recorder import filters

SO_MEMINFO = 55  # asm-generic/socket.h: nine u32 about a socket's memory
_MEMINFO_BYTES = 36
_MEMINFO_DROPS = 8  # place of the drop counter in it

RECEIVE_BUFFER_BYTES = 256 * 1024  # asked of the kernel, which doubles it for its overhead: about 400
#                                    packets of any size, that is 8 s of 20 ms packets when we are late
SPARE_FILES = 256  # open files of a recorder besides RTP and RTCP sockets: journals, blobs, SIP connections
NEVER_USED = -(1 << 63)  # of a pace: such a port has rested
REST_NS = 60_000_000_000  # before a port is given out again, while others are left: whoever missed a BYE has stopped
LOWEST_PORT = 1024  # below are privileged ports


class NoPortLeft(VaultError):  # noqa: N818 - reads as the sentence it is
    """All RTP ports are in use, here or by other programs: no new call can be taken."""


@dataclass(frozen=True, slots=True)
class Stream:
    """The newest packet that was kept of a port's former line."""

    ssrc: int
    seq: int


@dataclass(frozen=True, slots=True)
class Taken:
    """A port for a line, and what may still come to it of a former one."""

    port: int
    stale: Stream | None = None  # only when the port has not rested
    rested_at_ns: int = NEVER_USED  # when it will have, by the pace of its pool


class PortPool:
    """Even ports of a range, longest-rested first. Not thread-safe: one event loop owns it."""

    def __init__(
        self,
        first: int,
        last: int,
        *,
        receive_buffer_bytes: int = RECEIVE_BUFFER_BYTES,
        pace: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """`first` to `last`, both included. ConfigError when no even port lies in that range."""
        self.receive_buffer_bytes = receive_buffer_bytes
        self.granted_bytes = 0  # receive buffer of the newest socket, the kernel's overhead included
        self.unrested = 0  # ports that were given out again before their rest was over: the range is too small
        even = range(first + first % 2, last + 1, 2)
        if first < LOWEST_PORT or last > 65535 or not even:
            raise ConfigError(f"RTP ports are {LOWEST_PORT} to 65535 with an even one, got {first} to {last}")
        self._pace = pace
        self._free = deque(Taken(port) for port in even)
        self._taken: set[int] = set()

    def __contains__(self, port: int) -> bool:
        """Whether the port was taken from here and not given back."""
        return port in self._taken

    @property
    def free(self) -> int:
        """How many ports are not in use."""
        return len(self._free)

    @property
    def resting(self) -> int:
        """How many of them were in use a moment ago."""
        now_ns = self._pace()
        return sum(taken.rested_at_ns > now_ns for taken in self._free)

    def take(self) -> Taken:
        """The port that has rested longest. Raises NoPortLeft."""
        if not self._free:
            raise NoPortLeft(f"all {len(self._taken)} RTP ports are in use; widen [rtp] ports or add a recorder")
        taken = self._free.popleft()
        self._taken.add(taken.port)
        if self.has_rested(taken):
            return Taken(taken.port)
        self.unrested += 1
        return taken

    def has_rested(self, taken: Taken) -> bool:
        """Whether whoever sent to the port before must have stopped by now."""
        return self._pace() >= taken.rested_at_ns

    def give_back(self, port: int, newest: Stream | None = None) -> None:
        """The port rests; `newest` is the last that its line kept. ConfigError for a port that is not taken."""
        self._put_last(Taken(port, newest, self._pace() + REST_NS))

    def pass_over(self, taken: Taken) -> None:
        """Nobody could bind the port: it is asked for again when all others were."""
        self._put_last(taken)

    def _put_last(self, taken: Taken) -> None:
        if taken.port not in self._taken:
            raise ConfigError(f"port {taken.port} was not taken from this pool")
        self._taken.remove(taken.port)
        self._free.append(taken)


def open_socket(
    address: str, port: int, program: bytes, *, receive_buffer_bytes: int = RECEIVE_BUFFER_BYTES
) -> socket.socket:
    """A bound, non-blocking, close-on-exec UDP socket behind the filter `program`.

    Raises OSError, also when the system takes no filter: then there is no socket at all.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        filters.attach(sock, program)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        sock.bind((address, port))
    except BaseException:
        sock.close()
        raise
    return sock


def open_from_pool(address: str, pool: PortPool, program: bytes) -> tuple[socket.socket, Taken]:
    """A socket on the next port that nobody else on this host holds, and that port.

    Raises NoPortLeft when every port is held; OSError for other failures, with the port given back.
    """
    for _ in range(pool.free):
        taken = pool.take()
        try:
            sock = open_socket(address, taken.port, program, receive_buffer_bytes=pool.receive_buffer_bytes)
        except OSError as error:
            pool.pass_over(taken)
            if error.errno != errno.EADDRINUSE:
                raise
        else:
            pool.granted_bytes = receive_buffer(sock)
            return sock, taken
    raise NoPortLeft("every RTP port is in use by us or by other programs")


def receive_buffer(sock: socket.socket) -> int:
    """Bytes of receive buffer that the kernel granted, its own overhead included."""
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)


def deafen(sock: socket.socket) -> None:
    """From now on nothing comes to this socket, and what is queued at it is gone.

    Its descriptor stays taken until it is closed: a drain that is under way may use the number once more, and must not
    find somebody else's socket there. Raises OSError when the system has no socket to put in its place.
    """
    with socket.socket(sock.family, socket.SOCK_DGRAM) as deaf:
        os.dup2(deaf.fileno(), sock.fileno(), inheritable=False)


def kernel_drops(sock: socket.socket) -> int:
    """Packets that the kernel threw away at this socket since it was opened, because its buffer was full.

    SO_MEMINFO, asked rarely: SO_RXQ_OVFL would put a control message on every packet, and /proc/net/udp
    is one text for all sockets of the host.
    """
    info = sock.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, _MEMINFO_BYTES)
    return int(struct.unpack_from("=I", info, 4 * _MEMINFO_DROPS)[0])
