"""Packet rings on loopback, senders towards them, and frames put together by hand."""

from __future__ import annotations

import ctypes
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from loopback import delivered, send_all
from mitschnitt.recorder.receiver import Batch
from mitschnitt.recorder.ring import Ring

_CLONE_NEWNET = 0x4000_0000  # linux/sched.h
_SOL_PACKET, _QDISC_BYPASS = 263, 20  # linux/if_packet.h
_LOCAL, _THERE = bytes([127, 0, 0, 1]), bytes([127, 0, 0, 1])


def can_make_rings() -> bool:
    """Whether this process may."""
    with suppress(OSError):
        Ring("127.0.0.1", size_mib=1).close()
        return True
    return False


needs_ring = pytest.mark.skipif(not can_make_rings(), reason="a packet ring needs CAP_NET_RAW and CAP_BPF")


@contextmanager
def ring_on(address: str = "127.0.0.1", *, size_mib: int = 1, rows: int = 4096) -> Iterator[Ring]:
    ring = Ring(address, size_mib=size_mib, rows=rows)
    try:
        yield ring
    finally:
        ring.close()


def send(port: int, *payloads: bytes, address: str = "127.0.0.1") -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sender:
        send_all(sender, payloads, (address, port))


def drained(ring: Ring) -> list[list[tuple[int, bytes, int]]]:
    """Per batch: line, bytes in the row, length of the datagram."""
    batches: list[list[tuple[int, bytes, int]]] = []
    counts = list(ring.drain(lambda batch: batches.append(rows_of(batch))))
    assert counts == [len(batch) for batch in batches]
    return batches


def rows_of(batch: Batch) -> list[tuple[int, bytes, int]]:
    width = batch.rows.shape[1]
    assert batch.count == len(batch.rows) == len(batch.lengths) == len(batch.stream)
    return [
        (int(line), row[: min(int(length), width)].tobytes(), int(length))
        for row, length, line in zip(batch.rows, batch.lengths, batch.stream, strict=True)
    ]


def packets(ring: Ring) -> list[tuple[int, bytes]]:
    """Line and bytes of everything that a drain brings."""
    return [(line, data) for batch in drained(ring) for line, data, _ in batch]


def holds(ring: Ring, marker: bytes) -> bool:
    """Whether the marker lies anywhere in the memory of ring or arena."""
    return marker in ring.memory.tobytes() or marker in ring.arena.tobytes()


def is_clean(ring: Ring) -> bool:
    """Whether no byte of any packet is left."""
    return not ring.memory.reshape(ring.frames, -1)[:, 64:].any() and not ring.arena.any()


# Frames by hand


def checksum(data: bytes) -> int:
    """RFC 1071."""
    padded = data + b"\0" * (len(data) % 2)
    total = sum(number << 8 * (1 - at % 2) for at, number in enumerate(padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def udp(port: int, payload: bytes, *, source: bytes = _THERE, target: bytes = _LOCAL, right: bool = True) -> bytes:
    size = 8 + len(payload)
    head = struct.pack(">HHHH", 40_000, port, size, 0)
    found = checksum(source + target + struct.pack(">BBH", 0, 17, size) + head + payload) or 0xFFFF
    return head[:6] + struct.pack(">H", found if right else found ^ 0x5555) + payload


def ipv4(
    body: bytes, *, source: bytes = _THERE, target: bytes = _LOCAL, fragment: int = 0, options: bytes = b"",
    protocol: int = 17, longer: int = 0,
) -> bytes:  # fmt: skip
    first, size = 0x45 + len(options) // 4, 20 + len(options) + len(body) + longer
    head = struct.pack(">BBHHHBBH4s4s", first, 0, size, 7, fragment, 64, protocol, 0, source, target) + options
    return head[:10] + struct.pack(">H", checksum(head)) + head[12:] + body


def ethernet(packet: bytes, *, vlan: int = 0, kind: int = 0x0800, target: bytes = bytes(6)) -> bytes:
    tag = struct.pack(">HH", 0x8100, vlan) if vlan else b""
    return target + bytes(6) + tag + struct.pack(">H", kind) + packet


def send_frames(*frames: bytes, interface: str = "lo") -> None:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender, delivered():
        # An interface that just came up has no queue yet and would drop what is sent through it.
        sender.setsockopt(_SOL_PACKET, _QDISC_BYPASS, 1)
        sender.bind((interface, 0))
        for frame in frames:
            sender.send(frame)


def in_own_network(test: Callable[[], None]) -> None:
    """Runs `test` in a thread with a network of its own, where only a loopback interface exists, which is down."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNET):
                pytest.skip("a network of its own needs CAP_SYS_ADMIN")
            test()
        except BaseException as error:  # noqa: BLE001 - whatever it was is raised where the test began
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
