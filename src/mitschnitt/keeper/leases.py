"""Blocks of fresh call keys for recorders: each index is handed out once, ever; what is not used is punctured.

Cannot hand out an old key: it takes no index from outside.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from sqlalchemy import Connection

from mitschnitt.errors import TooLarge
from mitschnitt.keeper.keyring import Keyring, Span
from mitschnitt.keeper.punctures import Punctures
from mitschnitt.store import queries
from mitschnitt.store.queries import Lease
from mitschnitt.store.writer import Writer

MAX_LEASE = 4_096  # keys in one block: a recorder's most calls (`sip.max_calls`); they fit one frame


@dataclass(frozen=True, slots=True)
class Block:
    """Keys on their way to a recorder."""

    number: int
    first: int
    nodes: tuple[bytes, ...] = field(repr=False)  # no key ever reaches a log line


class Leases:
    """All leases of the site; methods block and may be called from any thread. `free` comes from `settle`."""

    def __init__(self, writer: Writer, keyring: Keyring, punctures: Punctures, *, free: int) -> None:
        self._writer = writer
        self._keyring = keyring
        self._punctures = punctures
        self._next = free
        self._lock = threading.Lock()
        self._open: dict[int, Lease] = {}
        self._used: set[int] = set()  # indices of open leases that a call has
        writer.submit(self._load).result()

    def _load(self, connection: Connection) -> None:
        for lease in queries.open_leases(connection):
            self._open[lease.block] = lease
            self._used.update(queries.used_indices(connection, lease.first, lease.count))

    @property
    def open_blocks(self) -> int:
        """Blocks that are handed out and not closed."""
        return len(self._open)

    def lease(self, recorder: int, boot: str, count: int) -> Block:
        """A block of fresh keys, its row durable before the first key is derived.

        A crash after the row leaves a block that nobody got: it is punctured when its boot is over. TooLarge for
        a count outside 1 to MAX_LEASE.
        """
        if not 1 <= count <= MAX_LEASE:
            raise TooLarge(f"a lease has 1 to {MAX_LEASE} keys, asked for {count}")
        with self._lock:
            first = self._next
            self._punctures.reserve(first + count).result()
            block = self._writer.submit(
                lambda connection: queries.add_lease(connection, recorder, boot, first=first, count=count)
            ).result()
            self._next = first + count
            self._open[block] = Lease(block, recorder, boot, first, count)
        return Block(block, first, tuple(self._keyring.call_node(index) for index in range(first, first + count)))

    def claim(self, recorder: int, block: int, index: int) -> bool:
        """Whether this recorder may use this index for a new call; from now on no other call may."""
        with self._lock:
            lease = self._open.get(block)
            if lease is None or lease.recorder != recorder or index in self._used:
                return False
            if not lease.first <= index < lease.first + lease.count:
                return False
            self._used.add(index)
            return True

    def unused(self, recorder: int, boot: str) -> list[Lease]:
        """Blocks of this recorder's former lives."""
        with self._lock:
            return [lease for lease in self._open.values() if lease.recorder == recorder and lease.boot != boot]

    def retire(self, leases: list[Lease], in_use: set[int]) -> None:
        """Puncture what no call of these blocks uses, then close them.

        A crash between punctures again, which changes nothing, and closes then.
        """
        if not leases:
            return
        spans = [span for lease in leases for span in _gaps(lease, in_use)]
        self._punctures.request(spans).result()
        blocks = [lease.block for lease in leases]
        self._writer.submit(lambda connection: queries.close_leases(connection, blocks)).result()
        with self._lock:
            for lease in leases:
                self._open.pop(lease.block, None)
                self._used.difference_update(range(lease.first, lease.first + lease.count))


def _gaps(lease: Lease, in_use: set[int]) -> list[Span]:
    """The runs of indices of a block that are not in use."""
    spans, start, stop = [], lease.first, lease.first + lease.count
    for index in [*sorted(index for index in in_use if start <= index < stop), stop]:
        if index > start:
            spans.append(Span(start, index - start))
        start = index + 1
    return spans
