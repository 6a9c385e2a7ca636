"""Datagrams and ports of loopback that depend on nobody else: what was sent has arrived, a port is one test's alone."""

from __future__ import annotations

import ctypes
import os
import socket
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from itertools import islice

HOST = "127.0.0.1"
AT_ONCE = 200  # datagrams; what the kernel queues for one CPU ends at 1,000
ARRIVES_SECONDS = 30.0  # until a test goes on all the same; it takes microseconds on an idle machine

# Below the ports of packet rings (9,000) and far below those that the system gives to whoever asks for any port.
FIRST_PORT, LAST_PORT = 2_000, 8_999
TOGETHER = 8  # ports of one lease: a site's second recorder takes the port after the first one's
LEASES = 64  # of one process at a time; no test has so many ports
# RTP ports of the lines of one process; rings see what is sent to a port by whoever.
FIRST_RTP_PORT, RTP_PORTS, SHARES = 10_000, 2_000, 11
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])

_libc = ctypes.CDLL(None)
_leases: deque[socket.socket] = deque()
_kept: list[socket.socket] = []
_next = FIRST_PORT


@contextmanager
def delivered() -> Iterator[None]:
    """What this thread sends inside has been delivered on leaving it, on a busy machine, too.

    A sender delivers its own packets as a rule; when the machine is busy a thread of the kernel does so later, and
    in turn for each CPU. So one datagram more is sent from the same CPU and waited for.
    """
    allowed, here = os.sched_getaffinity(0), _libc.sched_getcpu()
    os.sched_setaffinity(0, {here if here in allowed else min(allowed)})
    try:
        yield
        _wait_for_last()
    finally:
        os.sched_setaffinity(0, allowed)


def all_delivered() -> None:
    """Whatever anybody sent on loopback before this has been delivered, from whichever CPU."""
    allowed = os.sched_getaffinity(0)
    try:
        for cpu in allowed:
            os.sched_setaffinity(0, {cpu})
            _wait_for_last()
    finally:
        os.sched_setaffinity(0, allowed)


def send_all(sender: socket.socket, datagrams: Iterable[bytes], to: tuple[str, int] | None = None) -> None:
    """Sends them in this order; all have arrived when it returns. To where the socket is connected, or to `to`."""
    rest = iter(datagrams)
    while some := list(islice(rest, AT_ONCE)):
        with delivered():
            for datagram in some:
                if to is None:
                    sender.send(datagram)
                else:
                    sender.sendto(datagram, to)


def _wait_for_last() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last, suppress(OSError):  # loopback may be down
        last.bind((HOST, 0))
        last.settimeout(ARRIVES_SECONDS)
        last.sendto(b"last", last.getsockname())
        last.recv(4)


def own_port(*, for_good: bool = False) -> int:
    """A port of loopback, for TCP and UDP, with the seven after it: nobody has them, and no other test gets them.

    That a port is free now says nothing of the moment in which a process that is started takes it. So it is none that
    the system gives away, and as long as this process has it leased no other process of tests leases it: the lease is a
    name in the kernel, which goes with the process; or after LEASES newer ones, if it is not `for_good`.
    """
    global _next  # noqa: PLW0603 - the place in a range, of one process
    for _ in range((LAST_PORT + 1 - FIRST_PORT) // TOGETHER):
        first = _next
        _next = first + TOGETHER if first + 2 * TOGETHER - 1 <= LAST_PORT else FIRST_PORT
        lease = _leased(f"port-{first}")
        if lease is None:
            continue
        if all(_is_free(port) for port in range(first, first + TOGETHER)):
            (_kept if for_good else _leases).append(lease)
            if len(_leases) > LEASES:
                _leases.popleft().close()
            return first
        lease.close()
    raise AssertionError(f"none of the ports {FIRST_PORT} to {LAST_PORT} is free")


@cache
def rtp_ports() -> tuple[int, int]:
    """First and last of the RTP ports that lines of this process get, and those of no other process of tests."""
    for number in range(WORKER, WORKER + SHARES):
        first = FIRST_RTP_PORT + number % SHARES * RTP_PORTS
        if (lease := _leased(f"share-{first}")) is not None:
            _kept.append(lease)
            return first, first + RTP_PORTS - 1
    return (
        FIRST_RTP_PORT,
        FIRST_RTP_PORT + SHARES * RTP_PORTS - 1,
    )


def _leased(name: str) -> socket.socket | None:
    """A name in the kernel that one process has at a time, until the socket is closed or the process is gone."""
    lease = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        lease.bind(f"\0mitschnitt-test-{name}")
    except OSError:
        lease.close()
        return None
    return lease


def _is_free(port: int) -> bool:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            try:
                probe.bind(("", port))
            except OSError:
                return False
    return True
