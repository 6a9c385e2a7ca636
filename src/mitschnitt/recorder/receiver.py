"""Sockets to batches: timer-driven recvmmsg into one arena, no Python per packet.

    open sockets --drain--> Batch(rows, lengths, stream, count) --process--> arena wiped, next batch

What is longer than a slot runs on into a tail of its own, and its batch is handed over in wide rows; tails cost no
memory until then.
Looks at no byte of a packet. A batch is valid only until `process` returns. This is the interface at which
another receiver (a mapped AF_PACKET ring) can take the place of this one.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mitschnitt.recorder.memory import PinnedBuffer
from mitschnitt.recorder.sources import WIDTHS, Keys

SLOT_BYTES = 704  # 12 header + 692: 60 ms of G.711 (480), 20 ms of L16/16000 (640) with CSRCs or extension;
#                   11 cache lines, an odd number, so that rows do not compete for the same cache sets
WIDE_BYTES = 4032  # of a row with its tail: 20 ms of stereo L16/48000 (3,852), 200 ms of G.711, 60 ms of Opus at its
#                    highest rate (3,837); above one Ethernet frame the kernel has joined fragments. 63 cache lines
WIDE_ROWS = 256  # of a batch in wide rows: 1 MB
BATCH_ROWS = 4096  # rows per batch: numpy's fixed cost per call is spread (512 rows: 543 ns of judging and
#                    copying per packet; 1024: 309, 2048: 198, 4096: 144, 8192: 113), and the 800 kB that
#                    G.711 touches of it still fit a 1 MiB second-level cache
SOCKET_BUDGET = 64  # packets per socket and round: a quarter second of 5 ms packets; the rest of a flooded
#                     socket waits until all others had their turn
ROUNDS = 4  # per drain; what a flooded socket holds beyond is left to the kernel, which drops and counts

NAME_BYTES = {4: 16, 6: 28}  # of a socket address, by IP version
NAME_NUMBERS = 4  # of 8 bytes, in which the longer one has room

MSG_DONTWAIT = 0x40
MSG_TRUNC = 0x20  # as input: report the datagram's real length, so that cut ones show

_IOVEC = np.dtype([("base", np.uintp), ("length", np.uintp)])
_MMSGHDR = np.dtype(
    [
        ("name", np.uintp),
        ("name_length", np.uint32),
        ("_pad1", np.uint32),
        ("iov", np.uintp),
        ("iov_count", np.uintp),
        ("control", np.uintp),
        ("control_length", np.uintp),
        ("flags", np.int32),
        ("_pad2", np.uint32),
        ("length", np.uint32),
        ("_pad3", np.uint32),
    ]
)  # struct mmsghdr on 64-bit Linux

# PyDLL keeps the interpreter lock: the call never blocks, and giving the lock away thousands of times
# per drain would let sealing threads in between each two sockets. Without `argtypes`, which cost a third of
# the call: the only address among the arguments comes as a pointer that is made once per row.
_recvmmsg = ctypes.PyDLL(None).recvmmsg


@dataclass(frozen=True)
class Batch:
    """What one step of a drain received, grouped by stream, each stream in order of arrival."""

    rows: NDArray[np.uint8]  # (count, slot or more): the datagrams; bytes behind their length are not theirs
    lengths: NDArray[np.int32]  # of the datagrams, may exceed the slot
    stream: NDArray[np.int32]  # index of the socket, as given to `drain`
    count: int
    sources: Keys | None = None  # who sent each row, as `sources` has it; None: nobody asked for these streams


Process = Callable[[Batch], None]


class Receiver:
    """The arena and its prepared message headers. One drain at a time."""

    def __init__(self, *, rows: int = BATCH_ROWS, slot: int = SLOT_BYTES, version: int = 4) -> None:
        """`slot` is the bytes of a row of the usual batch, `version` that of IP on the sockets."""
        self._memory = PinnedBuffer(rows * slot)
        self.arena: NDArray[np.uint8] = self._memory.bytes.reshape(rows, slot)
        self._rows = rows
        tail = WIDE_BYTES - slot
        self._tail_memory = PinnedBuffer(rows * tail)
        self._tails = self._tail_memory.bytes.reshape(rows, tail)
        self._wide_memory = PinnedBuffer(WIDE_ROWS * WIDE_BYTES)
        self._wide_rows = self._wide_memory.bytes.reshape(WIDE_ROWS, WIDE_BYTES)
        self._wide: set[int] = set()  # streams whose newest packets had a tail: they come last, in batches of their own
        place = np.arange(rows, dtype=np.uintp)
        self._vectors = np.zeros((rows, 2), _IOVEC)  # a second one costs a hundredth
        self._vectors["base"][:, 0] = self._memory.address + place * np.uintp(slot)
        self._vectors["base"][:, 1] = self._tail_memory.address + place * np.uintp(tail)
        self._vectors["length"] = slot, tail
        self._headers = np.zeros(rows, _MMSGHDR)
        self._headers["iov"] = self._vectors.ctypes.data + place * np.uintp(self._vectors.strides[0])
        self._headers["iov_count"] = 2
        # The same rows with a place for each sender. Asked of few streams: it costs an eighth more per packet.
        self._names = np.zeros((rows, NAME_NUMBERS), np.uint64)
        self._named_headers = self._headers.copy()
        places = np.arange(rows, dtype=np.uintp) * np.uintp(self._names.strides[0])
        self._named_headers["name"] = self._names.ctypes.data + places
        self._places, self._named_places = _pointers(self._headers), _pointers(self._named_headers)
        self._name_bytes = NAME_BYTES[version]
        self._width = WIDTHS[version]

    @property
    def is_locked(self) -> bool:
        """Whether whatever packets lie in is kept out of swap."""
        return all(memory.is_locked for memory in (self._memory, self._tail_memory, self._wide_memory))

    @property
    def places(self) -> list[NDArray[np.uint8]]:
        """Everything that packets lie in, for tests that search it."""
        return [self.arena, self._tails, self._wide_rows]

    def drain(
        self, sockets: Iterable[tuple[int, int]], process: Process, *, named: Collection[int] = ()
    ) -> Iterator[int]:
        """Receives from (file descriptor, stream index) pairs until they are empty or had their rounds.

        The streams in `named` come first, in batches of their own that tell who sent each row. Hands every batch to
        `process`, wipes it, and yields its packet count; between two yields no packet is in the arena, so the caller
        may change its sockets there. A descriptor that was closed meanwhile simply has nothing to give.
        """
        waiting = list(sockets)
        if named:
            asked = [pair for pair in waiting if pair[1] in named]
            waiting = [pair for pair in waiting if pair[1] not in named]
            self._named_headers["name_length"] = self._name_bytes  # the kernel writes there how much it needed
            yield from self._drain(asked, process, self._named_headers, ())
        yield from self._drain(waiting, process, self._headers, named)

    def _drain(
        self, sockets: list[tuple[int, int]], process: Process, headers: NDArray[Any], left_out: Collection[int]
    ) -> Iterator[int]:
        if self._wide:
            wide = self._wide.copy()
            yield from self._rounds([pair for pair in sockets if pair[1] not in wide], process, headers, left_out)
            sockets = [pair for pair in sockets if pair[1] in wide]
        yield from self._rounds(sockets, process, headers, left_out)

    def _rounds(
        self, waiting: list[tuple[int, int]], process: Process, headers: NDArray[Any], left_out: Collection[int]
    ) -> Iterator[int]:
        """`left_out` is looked at before each socket: who is named only now has to wait for the next drain."""
        places = self._places if headers is self._headers else self._named_places
        for _ in range(ROUNDS):
            flooded: list[tuple[int, int]] = []
            place = 0
            while place < len(waiting):
                place, streams, counts = self._fill(waiting, place, flooded, places, left_out)
                if counts:
                    yield self._hand_over(streams, counts, process, headers)
            if not flooded:
                return
            waiting = flooded

    def _fill(
        self,
        sockets: list[tuple[int, int]],
        place: int,
        flooded: list[tuple[int, int]],
        places: Sequence[ctypes.c_void_p],
        left_out: Collection[int],
    ) -> tuple[int, list[int], list[int]]:
        """Receives from `sockets[place:]` until the arena is full: (next place, streams, their counts)."""
        streams: list[int] = []
        counts: list[int] = []
        receive, budget, row = _recvmmsg, min(SOCKET_BUDGET, self._rows), 0
        last = self._rows - budget
        for place in range(place, len(sockets)):  # noqa: B020, PLR1704 - goes on where the last batch ended
            if row > last:
                return place, streams, counts
            descriptor, stream = sockets[place]
            if stream in left_out:
                continue
            got = receive(descriptor, places[row], budget, MSG_DONTWAIT | MSG_TRUNC, None)
            if got > 0:
                row += got
                streams.append(stream)
                counts.append(got)
                if got == budget:
                    flooded.append((descriptor, stream))
        return len(sockets), streams, counts

    def _hand_over(self, streams: list[int], counts: list[int], process: Process, headers: NDArray[Any]) -> int:
        count = sum(counts)
        stream = np.repeat(np.array(streams, np.int32), counts)
        lengths = headers["length"][:count].astype(np.int32)
        sources = self._names[:count, : self._width] if headers is self._named_headers else None
        most = int(lengths.max())
        slot = self.arena.shape[1]
        if most > slot or self._wide:
            self._wide.difference_update(streams)
            self._wide.update(stream[lengths > slot].tolist())
        try:
            if most > slot:
                self._process_wide(Batch(self.arena[:count], lengths, stream, count, sources), process)
            else:
                process(Batch(self.arena[:count], lengths, stream, count, sources))
        finally:
            # Agreed audio stays in memory for its hold only, audio that is not kept not even so long.
            self.arena[:count, :most] = 0
            if most > slot:
                self._tails[:count, : most - slot] = 0
        return count

    def _process_wide(self, narrow: Batch, process: Process) -> None:
        """Hands the rows over with their tails, in as many batches as it takes."""
        slot = self.arena.shape[1]
        for start in range(0, narrow.count, WIDE_ROWS):
            part = slice(start, min(start + WIDE_ROWS, narrow.count))
            count = part.stop - start
            lengths = narrow.lengths[part]
            most = min(int(lengths.max()), WIDE_BYTES)
            rows = self._wide_rows[:count]
            rows[:, :slot] = narrow.rows[part]
            if most > slot:
                rows[:, slot:most] = self._tails[part, : most - slot]
            sources = None if narrow.sources is None else narrow.sources[part]
            try:
                process(Batch(rows, lengths, narrow.stream[part], count, sources))
            finally:
                rows[:, : max(most, slot)] = 0


def _pointers(headers: NDArray[Any]) -> list[ctypes.c_void_p]:
    """The address of each message header."""
    start = headers.ctypes.data
    return [ctypes.c_void_p(start + row * headers.itemsize) for row in range(headers.size)]
