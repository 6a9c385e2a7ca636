"""A network of the bench's own: loopback that no other load shares, on which datagrams sent together arrive one by one.

On the host's loopback a datagram of many segments (UDP_SEGMENT) stays in one piece until it reaches a socket; a network
card would have split it before. Here the kernel splits it before loopback delivers, so both receivers see what they
would see of a network. Needs CAP_SYS_ADMIN and leaves the host's own network alone.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import ipaddress
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

from mitschnitt.recorder.interfaces import LOOPBACK

_CLONE_NEWNET = 0x4000_0000  # sched.h
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 1  # linux/sockios.h, linux/if.h
_SIOCETHTOOL = 0x8946
_GSTRINGS, _GSSET_INFO, _GFEATURES, _SFEATURES = 0x1B, 0x37, 0x3A, 0x3B  # linux/ethtool.h
_FEATURES = 4  # the set of names that are features
_NAME_BYTES = 32
SPLIT_LATE = "tx-udp-segmentation"  # the feature that leaves splitting to whoever comes behind

_libc = ctypes.CDLL(None, use_errno=True)


@contextlib.contextmanager
def own_network(address: str) -> Iterator[str]:
    """Processes started by this thread meanwhile are in it; yields why they are not, or "".

    Only for a loopback address: no other is to be had there.
    """
    if not ipaddress.ip_address(address).is_loopback:
        yield f"{address} is not a loopback address"
        return
    with Path("/proc/self/ns/net").open("rb") as host:
        if _libc.unshare(_CLONE_NEWNET):
            yield os.strerror(ctypes.get_errno())
            return
        try:
            yield _prepare()
        finally:
            if _libc.setns(host.fileno(), _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns: the thread cannot go back to the host's network")


def _prepare() -> str:
    """Loopback up, and splitting early; why not, or ""."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack("16sh22x", LOOPBACK.encode(), _IFF_UP))
        try:
            _switch_off(sock, SPLIT_LATE)
        except (OSError, ValueError) as error:
            return str(error)
        return "" if not is_on(sock, SPLIT_LATE) else f"{SPLIT_LATE} cannot be switched off"


def _ethtool(sock: socket.socket, told: bytes, room: int) -> bytes:
    """One ethtool command about loopback: the same block as the kernel left it. OSError."""
    block = ctypes.create_string_buffer(told, len(told) + room)
    fcntl.ioctl(sock, _SIOCETHTOOL, struct.pack("16sQ16x", LOOPBACK.encode(), ctypes.addressof(block)))
    return block.raw


def _place(sock: socket.socket, feature: str) -> tuple[int, int]:
    """(number of the feature, how many there are). ValueError where the kernel does not know it."""
    (count,) = struct.unpack_from("=I", _ethtool(sock, struct.pack("=IIQ", _GSSET_INFO, 0, 1 << _FEATURES), 4), 16)
    found = _ethtool(sock, struct.pack("=III", _GSTRINGS, _FEATURES, count), _NAME_BYTES * count)[12:]
    names = [found[at : at + _NAME_BYTES].partition(b"\0")[0].decode() for at in range(0, len(found), _NAME_BYTES)]
    return names.index(feature), count


def is_on(sock: socket.socket, feature: str) -> bool:
    """Whether loopback of this thread's network has the feature switched on."""
    number, count = _place(sock, feature)
    words = -(-count // 32)
    found = _ethtool(sock, struct.pack("=II", _GFEATURES, words), 16 * words)
    # Of each word: what may be set, what is asked for, what is so, what never changes.
    (active,) = struct.unpack_from("=I", found, 8 + 16 * (number // 32) + 8)
    return bool(active >> number % 32 & 1)


def _switch_off(sock: socket.socket, feature: str) -> None:
    number, count = _place(sock, feature)
    words = [0] * -(-count // 32)
    words[number // 32] = 1 << number % 32
    told = b"".join(struct.pack("=II", valid, 0) for valid in words)
    _ethtool(sock, struct.pack("=II", _SFEATURES, len(words)) + told, 0)
