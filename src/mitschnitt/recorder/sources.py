"""Who may send to each line: the source lock (RFC 3550, 8.2; RFC 4961), as arrays that any receiver can read.

    signalled address --first packet from there--> locked on its address and port --only signalling--> another

Knows addresses and lines, no packets and no sockets. Whoever receives asks `admit` for the rows whose source it knows;
what does not fit is counted and never read. A line of which nobody said where its client is takes nothing.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Callable
from enum import IntEnum, StrEnum

import numpy as np
from numpy.typing import NDArray

from mitschnitt.recorder.filters import ANYBODY, NOBODY, Source
from mitschnitt.vault.artefact import PathCounts

FIRST_LINES = 256  # rows of the tables at the start; they double
MAX_OTHERS = 16  # foreign sources of one line that are told apart; more are only counted

# A source is a row of numbers, as it lies in a socket address on a little-endian machine: in the first family (bits 0
# to 15), port (16 to 31, network order) and IPv4 address (32 to 63); for IPv6 two more with the 16 bytes of address.
WIDTHS = {4: 1, 6: 3}  # numbers of a row, by IP version
_ALL = 0xFFFF_FFFF_FFFF_FFFF
_NO_PORT = 0xFFFF_FFFF_0000_FFFF
_NO_FLOW = 0x0000_0000_FFFF_FFFF  # an IPv6 socket address has its flow label where IPv4 has the address

Keys = NDArray[np.uint64]  # (rows, width)
Flags = NDArray[np.bool_]


class Sourcing(StrEnum):
    """Whom a line believes to be its client; `[rtp] source`."""

    SIGNALLED = "signalled"  # who sends from the address that the offer names
    FIRST = "first"  # who sends first after the line was opened: for clients behind a NAT


class Lock(IntEnum):
    """How much is known of a line's source."""

    NOBODY = 0  # nothing was signalled: nothing is taken
    FIRST = 1  # whoever sends first
    ADDRESS = 2  # the signalled address; its port comes with the first packet
    LOCKED = 3  # this address and port


def key_of(address: str, port: int) -> tuple[int, int, int]:
    """The row of numbers of a source; 0 behind those that its IP version needs."""
    known = ipaddress.ip_address(address)
    if known.version == 4:
        return struct.unpack("<Q", struct.pack("<H", socket.AF_INET) + struct.pack("!H", port) + known.packed)[0], 0, 0
    head = struct.pack("<H", socket.AF_INET6) + struct.pack("!HI", port, 0)
    first, high, low = struct.unpack("<QQQ", head + known.packed)
    return first, high, low


def source_of(key: tuple[int, int, int]) -> tuple[str, int]:
    """(address, port) of a row of numbers."""
    first, high, low = key
    family, port, rest = struct.unpack("<H2s4s", struct.pack("<Q", first))
    packed = rest if family == socket.AF_INET else struct.pack("<QQ", high, low)
    return str(ipaddress.ip_address(packed)), int.from_bytes(port, "big")


class Sources:
    """See the module. `key`, `mask` and `lock` have one row per line number; they are read by receivers, never written.

    A row fits when its numbers, the first taken with `mask`, are those of `key`.
    """

    def __init__(self, rule: Sourcing, *, version: int) -> None:
        self.width = WIDTHS[version]
        self.key: Keys = np.zeros((FIRST_LINES, self.width), np.uint64)
        self.mask = np.full(FIRST_LINES, _ALL, np.uint64)
        self.lock = np.zeros(FIRST_LINES, np.uint8)
        self.injected = np.zeros(FIRST_LINES, np.int64)  # packets of other sources since `begin` or `forget_others`
        self.named: set[int] = set()  # lines whose packets must come with their source
        self._rows = np.zeros(FIRST_LINES, np.int64)  # that came with their source in this drain
        self._rule = rule
        self._everything = _ALL if version == 4 else _NO_FLOW
        self._signalled: dict[int, tuple[str, int]] = {}
        self._once_more: set[int] = set()  # named for one more whole drain
        self._others: dict[int, set[bytes]] = {}

    def begin(self, number: int) -> None:
        """A new line; nothing was signalled for it yet."""
        while number >= self.lock.size:
            self.key, self.mask = np.concatenate([self.key] * 2), np.concatenate([self.mask] * 2)
            self._rows = np.concatenate([self._rows] * 2)
            self.lock, self.injected = np.concatenate([self.lock] * 2), np.concatenate([self.injected] * 2)
        self.forget(number)
        self.reopen(number)

    def forget(self, number: int) -> None:
        """The line is gone."""
        self._signalled.pop(number, None)
        self._set(number, Lock.NOBODY, (0, 0, 0), self._everything)
        self.named.discard(number)
        self._once_more.discard(number)
        self.forget_others(number)

    def forget_others(self, number: int) -> None:
        """Counts foreign packets of the line anew."""
        self.injected[number] = 0
        self._others.pop(number, None)

    def aim(self, number: int, signalled: tuple[str, int] | None) -> bool:
        """Where the client is by signalling, None for nowhere; whether that is news, which unlocks the line."""
        if self._signalled.get(number) == signalled:
            return False
        if signalled is None:
            del self._signalled[number]
        else:
            self._signalled[number] = signalled
        self.reopen(number)
        return True

    def reopen(self, number: int) -> None:
        """The line's port is to be learned anew."""
        self._once_more.discard(number)
        signalled = self._signalled.get(number)
        if self._rule is Sourcing.FIRST:
            self._set(number, Lock.FIRST, (0, 0, 0), 0)
        elif signalled is None:
            self._set(number, Lock.NOBODY, (0, 0, 0), self._everything)
        else:
            self._set(number, Lock.ADDRESS, key_of(signalled[0], 0), self._everything & _NO_PORT)
        (self.named.discard if self.lock[number] == Lock.NOBODY else self.named.add)(number)

    def allowed(self, number: int) -> Source:
        """Whom the line's filter may let pass."""
        lock = self.lock[number]
        if lock in (Lock.NOBODY, Lock.FIRST):
            return NOBODY if lock == Lock.NOBODY else ANYBODY
        first, *rest = self.key[number].tolist()
        address, port = source_of((first, *rest, *[0] * (3 - self.width)))
        return address, port if lock == Lock.LOCKED else None

    # -- packets ---------------------------------------------------------------------------------

    def admit(self, stream: NDArray[np.int32], sources: Keys, is_media: Flags) -> tuple[Flags, list[int]]:
        """Which rows come from their line's source, and the lines that are locked from now on, by these rows.

        `sources` as in the module; `is_media` says which rows may teach a port. Rows lie in order of arrival.
        """
        self._rows += np.bincount(stream, minlength=self._rows.size)
        lock = self.lock.take(stream)
        if (lock == Lock.LOCKED).all():
            return self._match(stream, sources), []  # nearly every batch
        fits = self._fits(stream, sources)
        teaching = np.flatnonzero(fits & is_media & ((lock == Lock.ADDRESS) | (lock == Lock.FIRST)))
        if not teaching.size:
            return fits, []
        learned: dict[int, int] = {}
        for row, number in zip(teaching.tolist(), stream[teaching].tolist(), strict=True):
            learned.setdefault(number, row)
        for number, row in learned.items():
            first, *rest = sources[row].tolist()
            self._set(number, Lock.LOCKED, (first & self._everything, *rest), self._everything)
            self._once_more.add(number)
        return self._fits(stream, sources), list(learned)

    def count_foreign(self, stream: NDArray[np.int32], sources: Keys | None) -> None:
        """Rows of other sources, for the figures; `sources` where they are known."""
        counts = np.bincount(stream, minlength=self.injected.size)
        self.injected += counts
        for number in np.flatnonzero(counts).tolist():
            others = self._others.setdefault(number, set())
            if sources is not None:
                for key in {row.tobytes() for row in sources[stream == number][:MAX_OTHERS]}:
                    if len(others) < MAX_OTHERS:
                        others.add(key)
            elif len(others) < MAX_OTHERS:  # the kernel cut them: asked once by name who it was
                self.named.add(number)
                self._once_more.add(number)

    def others(self, number: int) -> int:
        """How many foreign sources the line has had, as far as they were told apart: at least 1 if one came."""
        return max(len(self._others.get(number, ())), int(self.injected[number] > 0))

    def told(self, number: int) -> PathCounts:
        """The same for a timeline."""
        return PathCounts(injected=int(self.injected[number]), other_sources=self.others(number))

    def pending(self, among: Callable[[int], bool]) -> frozenset[int]:
        """Lines that need their packets' sources for one more drain: what came before their filter is still queued.

        A drain that is about to begin asks for its own lines, and tells `drained` when it is done.
        """
        pending = frozenset(number for number in self._once_more if among(number))
        for number in pending:
            self._rows[number] = 0
        return pending

    def drained(self, numbers: frozenset[int], *, most: int) -> None:
        """A drain over these lines, out of `pending`, is done; one that brought `most` rows left some in the socket."""
        for number in numbers & self._once_more:
            if self._rows[number] < most:
                self._once_more.discard(number)
                if self.lock[number] in (Lock.LOCKED, Lock.NOBODY):
                    self.named.discard(number)

    def _fits(self, stream: NDArray[np.int32], sources: Keys) -> Flags:
        found: Flags = self._match(stream, sources) | (self.lock.take(stream) == Lock.FIRST)
        return found

    def _match(self, stream: NDArray[np.int32], sources: Keys) -> Flags:
        fits: Flags = (sources[:, 0] & self.mask.take(stream)) == self.key[:, 0].take(stream)
        for column in range(1, self.width):
            fits &= sources[:, column] == self.key[:, column].take(stream)
        return fits

    def _set(self, number: int, lock: Lock, key: tuple[int, ...], mask: int) -> None:
        self.lock[number], self.mask[number] = lock, mask
        self.key[number] = key[: self.width]
