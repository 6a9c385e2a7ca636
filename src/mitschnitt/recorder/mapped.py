"""Which open lines a packet ring serves instead of their sockets, and how a line gets there and back.

    gated: socket behind the cutting filter --enter--> open: in the ring, socket holds the port and drops all
    --leave--> gated again, or open on its socket, where the ring does not suit it

A line is in one of both, never in two. Knows nobody's consent: `lines` says what is open.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping

from mitschnitt.recorder import filters, ports
from mitschnitt.recorder.ports import PortPool
from mitschnitt.recorder.ring import Ring
from mitschnitt.vault.artefact import Coded

LONG_CODECS = frozenset({"L16"})  # encodings whose usual packets do not fit a frame of the ring; others that turn
#                                   out longer go back to their sockets when the first one comes


class Mapped:
    """See the module. `pool` has the ports that are opened in the ring; lines on others never enter it."""

    def __init__(self, ring: Ring, pool: PortPool) -> None:
        self.ring = ring
        self.pool = pool
        self._inside: dict[int, int] = {}  # line: what its socket had dropped when it went in
        self._dropped: dict[int, int] = {}  # line: what its socket dropped because the ring had it

    def __contains__(self, number: int) -> bool:
        return number in self._inside

    def suits(self, port: int, codecs: Mapping[int, Coded]) -> bool:
        """Whether a line on this port with these codecs may be opened in the ring."""
        return port in self.pool and not any(coded[0].upper() in LONG_CODECS for coded in codecs.values())

    def enter(self, number: int, port: int, sock: socket.socket) -> None:
        """Opens the line in the ring; its socket only holds the port. OSError, and it stays where it is."""
        filters.attach(sock, filters.dropping_filter())
        self._inside[number] = ports.kernel_drops(sock)
        self.ring.open(port, number)

    def leave(self, number: int, port: int, sock: socket.socket) -> None:
        """Shuts the line in the ring; what it brought until now stays for `take` or `discard`.

        Its socket drops all until it gets another filter.
        """
        self.ring.shut(port)
        before = self._inside.pop(number)
        if sock.fileno() >= 0:
            self._dropped[number] = self._dropped.get(number, 0) + ports.kernel_drops(sock) - before

    def forget(self, number: int) -> None:
        """The line is gone."""
        self._dropped.pop(number, None)

    def kernel_drops(self, number: int, sock: socket.socket) -> int:
        """Packets that the kernel lost at the line's socket, without those that the ring had instead."""
        count = self._inside[number] if number in self._inside else ports.kernel_drops(sock)
        return count - self._dropped.get(number, 0)
