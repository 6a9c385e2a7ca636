"""Which network interface an address of this host belongs to. Only asks the system; changes and decides nothing."""

from __future__ import annotations

import ctypes
import ipaddress
import socket
import struct

LOOPBACK = "lo"


class _Entry(ctypes.Structure):
    """struct ifaddrs (getifaddrs(3))."""


_Entry._fields_ = [
    ("next", ctypes.POINTER(_Entry)),
    ("name", ctypes.c_char_p),
    ("flags", ctypes.c_uint),
    ("address", ctypes.c_void_p),
    ("netmask", ctypes.c_void_p),
    ("other", ctypes.c_void_p),
    ("data", ctypes.c_void_p),
]

_libc = ctypes.CDLL(None, use_errno=True)
_ADDRESS = {socket.AF_INET: (4, 4), socket.AF_INET6: (8, 16)}  # where it lies in a socket address, and its bytes


def interface_of(address: str) -> str | None:
    """Name of the interface that has this address now; None when none has. OSError when the system does not say."""
    wanted = ipaddress.ip_address(address)
    if wanted.version == 4 and wanted.is_loopback:
        return LOOPBACK  # all of 127.0.0.0/8 is, whatever of it is configured
    first = ctypes.POINTER(_Entry)()
    if _libc.getifaddrs(ctypes.byref(first)):
        raise OSError(ctypes.get_errno(), "getifaddrs")
    try:
        entry = first
        while entry:
            found = entry.contents
            if found.address and _packed(found.address) == wanted.packed:
                return str(found.name, "ascii")
            entry = found.next
    finally:
        _libc.freeifaddrs(first)
    return None


def numbers_for(address: str) -> tuple[int, int]:
    """Numbers of the interfaces that packets to this address may come through: from this host, and from others.

    The second is 0 while no interface has the address.
    """
    local = socket.if_nametoindex(LOOPBACK)
    name = interface_of(address)
    try:
        return local, 0 if name is None else socket.if_nametoindex(name)
    except OSError:  # it went away this moment
        return local, 0


def _packed(at: int) -> bytes | None:
    """The address in the socket address at this place; None when it is none of IP."""
    (family,) = struct.unpack("=H", ctypes.string_at(at, 2))
    if family not in _ADDRESS:
        return None
    offset, size = _ADDRESS[family]
    return ctypes.string_at(at + offset, size)
