"""The gate of the packet ring: a program in the kernel that passes exactly the ports that are open at this moment.

    table of 65,536 bytes, shared with the kernel; byte of a port: 0 shut, 1 open

Opening and shutting is one store into the table, in force with the next packet, and everything is shut at the start.
What the program does not pass is never copied; what is odd about a packet to an open port is counted beside the table.
"""

from __future__ import annotations

import ctypes
import ipaddress
import mmap
import os
import platform
import socket
import struct
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

PORTS = 65_536

_BPF_CALL = {"x86_64": 321, "aarch64": 280}  # number of bpf(2); glibc has no function for it
_MAP_CREATE, _PROG_LOAD = 0, 5
_ARRAY, _MMAPABLE, _SOCKET_FILTER = 2, 1 << 10, 1
_SO_ATTACH_BPF = 50  # asm-generic/socket.h
_ATTR_BYTES = 128  # of union bpf_attr, as far as we fill it

_libc = ctypes.CDLL(None, use_errno=True)


class Odd(IntEnum):
    """Packets to an open port that were not passed, as places of their counters."""

    FRAGMENT = 0  # the first piece of a datagram; the others name no port, and are never passed
    HEADER = 1  # IPv4 options; with IPv6 any packet to our address that has extension headers
    ELSEWHERE = 2  # through another interface, another host's, with a VLAN tag, or to many


_COUNTERS_AT = PORTS  # u64 each
_INTERFACES_AT = PORTS + 8 * len(Odd)  # two u32: the numbers of the interfaces that packets may come through
_TABLE_BYTES = _INTERFACES_AT + 8

_PACKET_TYPE, _VLAN_PRESENT, _INTERFACE = 4, 20, 40  # places in struct __sk_buff
_IPV6_EXTENSIONS = (0, 43, 44, 51, 60)  # hop by hop, routing, fragment, authentication, destination options
_UDP = 17
_WHOLE = 0xFFFF

# Registers: 0 result, 1-5 scratch (a packet load forgets them), 6 packet, 7 table, 8 bytes of IP header, 9 fragment
_LOAD_BYTE, _LOAD_HALF, _LOAD_WORD, _LOAD_HALF_BEHIND = 0x30, 0x28, 0x20, 0x48
_MOVE, _MOVE_K, _ADD, _AND_K, _LEFT_K, _RIGHT_K = 0xBF, 0xB7, 0x0F, 0x57, 0x67, 0x77
_JUMP, _IF_EQUAL_K, _IF_OTHER_K, _IF_EQUAL, _IF_OTHER32_K = 0x05, 0x15, 0x55, 0x1D, 0x56
_READ_BYTE, _READ_WORD, _COUNT_UP, _EXIT = 0x71, 0x61, 0xDB, 0x95


class _Program:
    """Instructions with jumps by name; names are places further down."""

    def __init__(self) -> None:
        self._code: list[tuple[int, int, int, int | str, int]] = []
        self._places: dict[str, int] = {}

    def add(self, code: int, dst: int = 0, src: int = 0, off: int | str = 0, imm: int = 0) -> None:
        self._code.append((code, dst, src, off, imm))

    def here(self, name: str) -> None:
        self._places[name] = len(self._code)

    def bytes(self) -> bytes:
        done = b""
        for number, (code, dst, src, off, imm) in enumerate(self._code):
            step = off if isinstance(off, int) else self._places[off] - number - 1
            done += struct.pack("=BBhI", code, src << 4 | dst, step, imm & 0xFFFFFFFF)
        return done


def program(table: int, address: bytes) -> bytes:
    """The program for packets to `address` (4 or 16 bytes), with the table behind descriptor `table`.

    It sees packets from the IP header on, and passes a UDP datagram whole or not at all.
    """
    make = _Program()
    add = make.add
    add(_MOVE, 6, 1)
    add(0x18, 7, 2, 0, table)  # address of the table's first byte: two instructions wide
    add(0, 0, 0, 0, 0)
    (_ipv4 if len(address) == 4 else _ipv6)(make, address)
    add(_AND_K, 0, 0, 0, PORTS - 1)
    add(_MOVE, 1, 7)
    add(_ADD, 1, 0)
    add(_READ_BYTE, 1, 1)
    add(_IF_EQUAL_K, 1, 0, "drop", 0)
    for field in (_PACKET_TYPE, _VLAN_PRESENT):
        add(_READ_WORD, 0, 6, field)
        add(_IF_OTHER_K, 0, 0, "elsewhere", 0)
    add(_MOVE, 3, 7)  # the table's end lies beyond the 15 bits of an offset
    add(0x07, 3, 0, 0, _INTERFACES_AT)
    add(_READ_WORD, 0, 6, _INTERFACE)
    add(_READ_WORD, 2, 3, 0)
    add(_IF_EQUAL, 0, 2, "known")
    add(_READ_WORD, 2, 3, 4)
    add(_IF_EQUAL, 0, 2, "known")
    add(_JUMP, 0, 0, "elsewhere")
    make.here("known")
    add(_IF_OTHER_K, 9, 0, "fragment", 0)
    add(_IF_OTHER_K, 8, 0, "header", 20 if len(address) == 4 else 40)
    add(_MOVE_K, 0, 0, 0, _WHOLE)
    add(_EXIT)
    for odd in Odd:
        make.here(odd.name.lower())
        add(_MOVE_K, 2, 0, 0, 8 * odd)
        add(_JUMP, 0, 0, "count")
    make.here("count")
    add(0x07, 7, 0, 0, _COUNTERS_AT)
    add(_ADD, 7, 2)
    add(_MOVE_K, 2, 0, 0, 1)
    add(_COUNT_UP, 7, 2)
    make.here("drop")
    add(_MOVE_K, 0, 0, 0, 0)
    add(_EXIT)
    return make.bytes()


def _ipv4(make: _Program, address: bytes) -> None:
    """Leaves the port in register 0, header bytes in 8, and in 9 whether more fragments follow."""
    add = make.add
    add(_LOAD_BYTE, imm=0)
    add(_MOVE, 8, 0)
    add(_AND_K, 8, 0, 0, 0x0F)
    add(_LEFT_K, 8, 0, 0, 2)
    add(_RIGHT_K, 0, 0, 0, 4)
    add(_IF_OTHER_K, 0, 0, "drop", 4)
    add(_LOAD_BYTE, imm=9)
    add(_IF_OTHER_K, 0, 0, "drop", _UDP)
    add(_LOAD_WORD, imm=16)
    add(_IF_OTHER32_K, 0, 0, "drop", int.from_bytes(address, "big"))
    add(_LOAD_HALF, imm=6)
    add(_MOVE, 9, 0)
    add(_AND_K, 9, 0, 0, 0x2000)
    add(_AND_K, 0, 0, 0, 0x1FFF)
    add(_IF_OTHER_K, 0, 0, "drop", 0)
    add(_LOAD_HALF_BEHIND, 0, 8, 0, 2)


def _ipv6(make: _Program, address: bytes) -> None:
    add = make.add
    add(_LOAD_BYTE, imm=0)
    add(_RIGHT_K, 0, 0, 0, 4)
    add(_IF_OTHER_K, 0, 0, "drop", 6)
    for word in range(4):
        add(_LOAD_WORD, imm=24 + 4 * word)
        add(_IF_OTHER32_K, 0, 0, "drop", int.from_bytes(address[4 * word : 4 * word + 4], "big"))
    add(_MOVE_K, 8, 0, 0, 40)
    add(_MOVE_K, 9, 0, 0, 0)
    add(_LOAD_BYTE, imm=6)
    add(_IF_EQUAL_K, 0, 0, "udp", _UDP)
    for extension in _IPV6_EXTENSIONS:
        add(_IF_EQUAL_K, 0, 0, "header", extension)
    add(_JUMP, 0, 0, "drop")
    make.here("udp")
    add(_LOAD_HALF, imm=42)


class PortFilter:
    """See the module. Needs CAP_BPF to be made, nothing to be used."""

    def __init__(self, address: str) -> None:
        """For packets to this address. Raises OSError when the kernel takes no such table or program."""
        packed = ipaddress.ip_address(address).packed
        self._map = _bpf(_MAP_CREATE, struct.pack("=IIIII", _ARRAY, 4, _TABLE_BYTES, 1, _MMAPABLE))
        try:
            self._memory = mmap.mmap(self._map, _TABLE_BYTES, mmap.MAP_SHARED)
            self._memory.madvise(mmap.MADV_DONTFORK)
            self._program = _load(program(self._map, packed))
        except BaseException:
            os.close(self._map)
            raise
        self._is_closed = False
        whole: NDArray[np.uint8] = np.frombuffer(self._memory, np.uint8, _TABLE_BYTES)
        self.table = whole[:PORTS]
        self._counters = whole[_COUNTERS_AT:_INTERFACES_AT].view(np.uint64)
        self._interfaces = whole[_INTERFACES_AT:_TABLE_BYTES].view(np.uint32)

    def attach(self, sock: socket.socket) -> None:
        """Puts the program in force on a packet socket. OSError when the system does not take it."""
        sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_BPF, self._program)

    def come_through(self, interfaces: tuple[int, int]) -> None:
        """Only packets through these interfaces (by number) are passed from now on."""
        self._interfaces[:] = interfaces

    def odd(self) -> dict[Odd, int]:
        """How many packets of each odd kind came since the start."""
        return {kind: int(self._counters[kind]) for kind in Odd}

    def close(self) -> None:
        """Shuts every port and gives table and program back; a socket that has the program passes nothing more."""
        self.table[:] = 0
        if not self._is_closed:
            self._is_closed = True
            os.close(self._program)
            os.close(self._map)


def _bpf(command: int, attributes: bytes) -> int:
    """bpf(2): a descriptor. Raises OSError."""
    number = _BPF_CALL.get(platform.machine())
    if number is None:
        raise OSError(f"the number of bpf(2) on {platform.machine()} is not known")
    block = ctypes.create_string_buffer(attributes, _ATTR_BYTES)
    found = int(_libc.syscall(ctypes.c_long(number), ctypes.c_int(command), block, ctypes.c_uint(_ATTR_BYTES)))
    if found < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return found


def _load(code: bytes) -> int:
    """The descriptor of a program that the kernel has verified."""
    source, license_name = ctypes.create_string_buffer(code, len(code)), ctypes.create_string_buffer(b"")
    parts = (_SOCKET_FILTER, len(code) // 8, ctypes.addressof(source), ctypes.addressof(license_name))
    return _bpf(_PROG_LOAD, struct.pack("=IIQQ", *parts))
