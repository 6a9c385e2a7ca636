"""Open lines out of one mapped AF_PACKET ring (TPACKET_V2): no system call per packet, no copy per line.

    kernel fills frames in order of arrival --drain--> sorted by line, checked, Batch after Batch --> zeroed, given back

Holds packets of open ports only: `port_filter` keeps all else out of it. Sees what IP and UDP have not checked yet, so
`wire/udp` does. The second receiver beside `receiver`: what it hands over is the same Batch.
"""

from __future__ import annotations

import ctypes
import errno
import ipaddress
import mmap
import os
import platform
import socket
import struct
from collections import Counter
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from mitschnitt.recorder.interfaces import numbers_for
from mitschnitt.recorder.memory import PinnedBuffer
from mitschnitt.recorder.port_filter import PORTS, PortFilter
from mitschnitt.recorder.receiver import Batch, Process
from mitschnitt.wire import udp
from mitschnitt.wire.udp import Fault

FRAME_BYTES = 320  # of a packet in the ring: 80 before its IP header, then 212 of RTP over IPv4 (192 over IPv6), room
#                    for 25 ms of G.711; five cache lines. Lines with longer packets go back to their sockets
BLOCK_BYTES = 61_440  # of memory that the kernel asks for at once: whole frames and whole pages in nearly 64 KiB
RING_ROWS = 8192  # rows per batch: twice the sockets' share numpy's fixed cost among more packets. They take 3 ms and,
#                   full of payload, half a block of the hold
CHUNK_ROWS = 512  # frames copied, and later zeroed, at once: 160 KiB that stay in the second-level cache
FIRST_LOOK = 256  # frames looked at first; more, four times as many each time, while all were filled
FLOOD_PACKETS = 1_000  # of one line in one drain: 20 s of 20 ms packets. More is a flood, which must not fill the
#                        ring for all others: the line goes back to its socket, whose buffer is its own

_SOL_PACKET, _RX_RING, _STATISTICS, _VERSION, _TPACKET_V2 = 263, 5, 6, 10, 1  # linux/if_packet.h
_PROTOCOL = {4: 0x0800, 6: 0x86DD}  # never ETH_P_ALL, which shows what we send too, and VLANs not told apart
_NETWORK_AT = 80  # where a frame's IP header begins: 32 bytes of header, a socket address, room for 16 of link header
_ITEM_AT, _ITEM_BYTES = 64, 256  # what is copied of a frame, from a cache line's begin: 16 bytes, then the packet
_KERNEL, _USER = 0, 1  # tp_status: whose a frame is
_VOUCHED = 1 << 3 | 1 << 7  # checksum not computed yet (sent on this host), or found right by the network card

_HEAD = np.dtype([("status", "u4"), ("length", "u4"), ("captured", "u4"), ("mac", "u2"), ("network", "u2")])
_ITEM = np.dtype((np.void, _ITEM_BYTES))
NOBODY = 0xFFFF  # in place of a line's number: as 16 bits, for those are sorted by radix
MIB = 1 << 20
IN_ORDER = frozenset({"x86_64", "i686"})  # machines whose cores see each other's stores in order: a frame's status
#                                           word tells that the frame is filled, or zeroed, without a barrier

Rows = NDArray[np.intp]

_libc = ctypes.CDLL(None, use_errno=True)


class Ring:
    """See the module. One event loop owns it. Needs CAP_NET_RAW and CAP_BPF to be made, nothing to be used."""

    def __init__(self, address: str, *, size_mib: int, rows: int = RING_ROWS) -> None:
        """For packets to `address`. Raises OSError where the kernel gives no ring, filter or memory."""
        if platform.machine() not in IN_ORDER:
            found = f"stores come out of order on {platform.machine()}, and a ring needs them in it"
            raise OSError(errno.ENOTSUP, found)
        self.address = address
        self._packed = ipaddress.ip_address(address).packed
        version = 4 if len(self._packed) == 4 else 6
        self._filter = PortFilter(address)
        try:
            self._open(version, max(1, size_mib * MIB // BLOCK_BYTES))
        except BaseException:
            self._filter.close()
            raise
        self._lay_out(version)
        self._memory = PinnedBuffer(rows * FRAME_BYTES)
        self._arena = self._memory.bytes.reshape(rows, FRAME_BYTES)
        self._copies = np.ndarray((rows,), _ITEM, self._memory.view, 0, (FRAME_BYTES,))
        self._payload_at = _NETWORK_AT - _ITEM_AT + udp.payload_offset(version)
        self._rows = rows
        self._line_of = np.full(PORTS, NOBODY, np.uint16)
        self._tail = 0  # the oldest frame that is not the kernel's again
        self._known = 0  # frames from there on that were looked at
        self._drops = 0
        self.refused: Counter[str] = Counter()  # packets that were no sound datagrams, by fault
        self.strays = 0  # packets of lines that were shut while they came
        self.unfit: set[int] = set()  # lines whose packets are too long or too many for a ring; their owner moves them
        self.follow_interface()

    def _open(self, version: int, blocks: int) -> None:
        self._sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, 0)
        try:
            self._filter.attach(self._sock)
            self._sock.setsockopt(_SOL_PACKET, _VERSION, _TPACKET_V2)
            self.frames = blocks * (BLOCK_BYTES // FRAME_BYTES)
            request = struct.pack("=IIII", BLOCK_BYTES, blocks, FRAME_BYTES, self.frames)
            self._sock.setsockopt(_SOL_PACKET, _RX_RING, request)
            self._map = mmap.mmap(self._sock.fileno(), self.frames * FRAME_BYTES, mmap.MAP_SHARED)
            self._map.madvise(mmap.MADV_DONTDUMP)
            self._map.madvise(mmap.MADV_DONTFORK)
            # Every interface at once: which ones count is told to the filter. Nothing comes before this line.
            _bind(self._sock, _PROTOCOL[version])
        except BaseException:
            self._sock.close()
            raise

    def _lay_out(self, version: int) -> None:
        count, step = self.frames, (FRAME_BYTES,)
        port_at = _NETWORK_AT + udp.IP_HEADER_BYTES[version] + 2
        self.memory: NDArray[np.uint8] = np.frombuffer(self._map, np.uint8)
        self._status = np.ndarray((count,), np.uint32, self._map, 0, step)
        self._heads = np.ndarray((count,), np.dtype((np.void, _HEAD.itemsize)), self._map, 0, step)
        self._ports = np.ndarray((count,), np.dtype(">u2"), self._map, port_at, step)
        self._items = np.ndarray((count,), _ITEM, self._map, _ITEM_AT, step)
        self._nothing = np.zeros(1, _ITEM)
        self._head = np.zeros(count, _HEAD)  # of the frames that were looked at, and whose they are
        self._head_bytes = self._head.view(self._heads.dtype)
        self._line = np.full(count, NOBODY, np.uint16)

    @property
    def is_locked(self) -> bool:
        """Whether nothing of it can be swapped out: the ring is the kernel's own memory, the arena is ours."""
        return self._memory.is_locked

    @property
    def width(self) -> int:
        """Bytes of RTP that a frame has room for."""
        return _ITEM_BYTES - self._payload_at

    @property
    def arena(self) -> NDArray[np.uint8]:
        """Where batches lie, for tests that search it."""
        return self._arena

    # -- lines -----------------------------------------------------------------------------------

    def open(self, port: int, line: int) -> None:
        """From the next packet on, what comes to this port is the line's."""
        self._line_of[port] = line
        self._filter.table[port] = 1

    def shut(self, port: int) -> None:
        """From the next packet on, nothing that comes to this port is copied; what came before stays, for `take`."""
        self._filter.table[port] = 0
        self._look()
        self._line_of[port] = NOBODY

    def discard(self, line: int) -> int:
        """Zeroes, unread, what came for a line and was not drained; how many packets."""
        rows = self._of(line)
        self._wipe(rows)
        return int(rows.size)

    def take(self, line: int, process: Process) -> int:
        """Hands over what came for one line and was not drained; how many packets."""
        rows, count = self._of(line), 0
        for start in range(0, rows.size, self._rows):
            count += self._hand_over(rows[start : start + self._rows], process)
        return count

    def drain(self, process: Process) -> Iterator[int]:
        """Hands over all that came, grouped by line, in batches, and yields the packet count of each.

        Between two yields no packet is in the arena, and lines may be opened, shut, taken or discarded.
        """
        self._look()
        count, begin = self._known, self._tail
        span = [self._line[part] for part in self._parts(count)]
        lines = span[0] if len(span) == 1 else np.concatenate(span)
        order = np.argsort(lines, kind="stable")
        lines = lines[order]
        total = int(np.searchsorted(lines, NOBODY))
        rows = order[:total] + begin
        rows[rows >= self.frames] -= self.frames
        start = 0
        while start < total:
            stop = self._end(lines, start, total)
            mine = rows[start:stop]
            # Since they were sorted some may have been taken, or discarded with their line.
            mine = mine[self._line[mine] == lines[start:stop]]
            if mine.size and (given := self._hand_over(mine, process)):
                yield given
            start = stop
        self._give_back(count)

    def _end(self, lines: NDArray[np.uint16], start: int, total: int) -> int:
        """Where a batch ends that begins at `start`: between two lines, so that none is cut in two slices."""
        stop = start + self._rows
        if stop >= total:
            self._watch_floods(lines[start:total])
            return total
        whole = int(np.searchsorted(lines, lines[stop]))
        stop = whole if whole > start else stop
        self._watch_floods(lines[start:stop])
        return stop

    def _watch_floods(self, lines: NDArray[np.uint16]) -> None:
        if lines.size > FLOOD_PACKETS:
            ahead = lines[FLOOD_PACKETS:]
            same = ahead == lines[: ahead.size]
            if same.any():
                self.unfit.update(set(ahead[same].tolist()))

    # -- frames ----------------------------------------------------------------------------------

    def _parts(self, count: int) -> list[slice]:
        """The `count` frames from the tail on: one stretch, or two where the ring begins anew."""
        end = self._tail + count
        if end <= self.frames:
            return [slice(self._tail, end)]
        return [slice(self._tail, self.frames), slice(0, end - self.frames)]

    def _look(self) -> None:
        """Learns of all frames that the kernel has filled whose they are; each is looked at once."""
        look = FIRST_LOOK
        while self._known < self.frames:
            begin = (self._tail + self._known) % self.frames
            end = min(begin + look, self.frames, begin + self.frames - self._known)
            self._head_bytes[begin:end] = self._heads[begin:end]
            is_ours = self._head["status"][begin:end] & _USER
            filled = end - begin if is_ours.all() else int(is_ours.argmin())
            # What is in a frame was written before its status, and is read after it.
            lines = self._line_of[self._ports[begin : begin + filled]]
            self._line[begin : begin + filled] = lines
            self._known += filled
            strays = np.flatnonzero(lines == NOBODY)
            if strays.size:
                self._wipe(strays + begin)
                self.strays += strays.size
            if begin + filled < end:
                return
            look *= 4

    def _of(self, line: int) -> Rows:
        found = [np.flatnonzero(self._line[part] == line) + part.start for part in self._parts(self._known)]
        return found[0] if len(found) == 1 else np.concatenate(found)

    def _wipe(self, rows: Rows) -> None:
        for start in range(0, rows.size, CHUNK_ROWS):
            self._items[rows[start : start + CHUNK_ROWS]] = self._nothing
        self._line[rows] = NOBODY

    def _give_back(self, count: int) -> None:
        """The oldest `count` frames, all zeroed, are the kernel's again."""
        for part in self._parts(count):
            self._status[part] = _KERNEL  # last: from here on the kernel writes there
        self._tail = (self._tail + count) % self.frames
        self._known -= count

    # -- batches ---------------------------------------------------------------------------------

    def _hand_over(self, rows: Rows, process: Process) -> int:
        """At most `rows` frames become a batch; they are zeroed whatever `process` does."""
        used = rows.size
        try:
            rows, batch = self._batch(rows)
            if batch.count:
                process(batch)
        finally:
            # Agreed audio stays in memory for its hold only, audio that is not kept not even so long.
            self._memory.bytes[: used * FRAME_BYTES] = 0
        return int(rows.size)

    def _batch(self, rows: Rows) -> tuple[Rows, Batch]:
        """Copies the sound datagrams among these frames into the arena, and zeroes all of the frames."""
        stream = self._line[rows].astype(np.int32)
        heads = self._head[rows]
        self._copy(rows)
        try:
            found = self._examine(rows.size, heads)
            sound = found.sound
            if not sound.all():
                self._count(found)
                keep = np.flatnonzero(sound)
                self._copy(rows[keep])  # once more: to close the gaps in place would leave a copy somewhere
                stream, lengths, kept = stream[keep], found.lengths[keep], rows[keep]
            else:
                lengths, kept = found.lengths, rows
        finally:
            self._wipe(rows)
        too_long = lengths > self.width
        if too_long.any():
            self.unfit.update(set(stream[too_long].tolist()))
        view = self._arena[: kept.size, self._payload_at : _ITEM_BYTES]
        senders = found.senders if kept is rows else found.senders[sound]
        return kept, Batch(view, lengths, stream, int(kept.size), senders)

    def _copy(self, rows: Rows) -> None:
        for start in range(0, rows.size, CHUNK_ROWS):
            chunk = rows[start : start + CHUNK_ROWS]
            self._copies[start : start + chunk.size] = self._items[chunk]

    def _examine(self, count: int, heads: NDArray[np.void]) -> udp.Datagrams:
        packets = self._arena[:count, _NETWORK_AT - _ITEM_AT : _ITEM_BYTES]
        captured, actual = heads["captured"].astype(np.int32), heads["length"].astype(np.int32)
        captured[heads["network"] != _NETWORK_AT] = 0  # no frame as we know them
        return udp.examine(packets, captured, actual, heads["status"] & _VOUCHED != 0, address=self._packed)

    def _count(self, found: udp.Datagrams) -> None:
        counts = np.bincount(found.faults, minlength=len(Fault))
        self.refused.update({fault.name: int(counts[fault]) for fault in Fault if fault and counts[fault]})

    # -- telling ---------------------------------------------------------------------------------

    def follow_interface(self) -> bool:
        """Lets packets through from the interface that has our address now; False while none has."""
        numbers = numbers_for(self.address)
        self._filter.come_through(numbers)
        return numbers[1] != 0

    def odd(self) -> dict[str, int]:
        """Packets to open ports that the filter refused since the start, by kind."""
        return {kind.name: count for kind, count in self._filter.odd().items()}

    def drops(self) -> int:
        """Packets that found the ring full since the start."""
        data = self._sock.getsockopt(_SOL_PACKET, _STATISTICS, 8)  # asking sets it to 0
        self._drops += struct.unpack("=II", data)[1]
        return self._drops

    def close(self) -> None:
        """Shuts every port, zeroes all that is there, and gives the memory back."""
        self._filter.table[:] = 0
        self._sock.close()
        self.memory[:] = 0
        self._memory.bytes[:] = 0
        self._filter.close()


def _bind(sock: socket.socket, protocol: int) -> None:
    """Binds to all interfaces, which the socket module cannot say: it asks for the name of one."""
    name = struct.pack("=HHiHBB8x", socket.AF_PACKET, socket.htons(protocol), 0, 0, 0, 0)
    if _libc.bind(sock.fileno(), name, len(name)):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
