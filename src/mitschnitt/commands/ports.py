"""Which ports of this machine are free: for `doctor`, which says so, and `demo`, which takes other ones.

Looks only; who binds a port later may still find it taken.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

from mitschnitt.errors import ConfigError

TABLES = (Path("/proc/net/udp"), Path("/proc/net/udp6"))  # proc(5): one line per bound socket, all users
ADDRESS, USER = 1, 7  # columns
TRIES = 50  # ports that the system proposes before we give up
BOTH = (socket.SOCK_STREAM, socket.SOCK_DGRAM)


def is_free(host: str, port: int, kinds: Iterable[socket.SocketKind] = BOTH) -> bool:
    """Whether we could listen there now, with every kind of socket."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for kind in kinds:
        with socket.socket(family, kind) as probe:
            if kind is socket.SOCK_STREAM:
                # As servers do: connections that ended a moment ago hold nobody up.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
                if kind is socket.SOCK_STREAM:
                    probe.listen()
            except OSError:
                return False
    return True


def free_port(host: str, wanted: int, kinds: Iterable[socket.SocketKind] = BOTH) -> int:
    """`wanted` if it is free, else one that the system proposes. ConfigError when it proposes none that is."""
    kinds = tuple(kinds)
    if is_free(host, wanted, kinds):
        return wanted
    for _ in range(TRIES):
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.bind((host, 0))
            proposed: int = probe.getsockname()[1]
        if is_free(host, proposed, kinds):
            return proposed
    raise ConfigError(f"ports: {wanted} on {host} is in use, and none of {TRIES} others is free")


def held_udp_ports(host: str, *, besides_user: int | None = None, tables: Iterable[Path] = TABLES) -> set[int]:
    """UDP ports that nobody can bind at `host` now, as sockets on it or on every address; OSError without /proc.

    `besides_user` is a user id whose sockets do not count.
    """
    address = ipaddress.ip_address(host)
    held = set()
    for found, port, user in _bound(tables):
        if (found == address or found.is_unspecified) and user != besides_user:
            held.add(port)
    return held


def _bound(tables: Iterable[Path]) -> Iterator[tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int, int]]:
    for table in tables:
        if table.name.endswith("6") and not table.exists():
            continue  # a kernel without IPv6
        for line in table.read_text(encoding="ascii").splitlines()[1:]:
            columns = line.split()
            digits, _, port = columns[ADDRESS].partition(":")
            # Words of 32 bits in the machine's own order.
            packed = b"".join(struct.pack("=I", int(digits[at : at + 8], 16)) for at in range(0, len(digits), 8))
            yield ipaddress.ip_address(packed), int(port, 16), int(columns[USER])
