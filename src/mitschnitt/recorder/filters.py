"""The gate in the kernel: classic BPF on a UDP socket that cuts audio off before it enters this process.

Attaching needs no privilege. Cut, not dropped: a drop would count as loss (`SO_RXQ_OVFL`, SO_MEMINFO), and
a cut packet still tells that somebody sends. Whoever cannot attach must not listen in-band: it raises.
"""

from __future__ import annotations

import ctypes
import ipaddress
import socket
import struct
from collections.abc import Iterable

from mitschnitt.errors import ConfigError
from mitschnitt.wire import rtcp

SO_ATTACH_FILTER = 26  # asm-generic/socket.h; the socket module does not name them

UDP_HEADER_BYTES = 8  # a filter on a UDP socket sees the UDP header first
RTP_HEADER_BYTES = 12
CUT_BYTES = UDP_HEADER_BYTES + RTP_HEADER_BYTES  # what is left of everything that is not an event
MAX_EVENT_BYTES = UDP_HEADER_BYTES + 64  # an event has 4 bytes behind header and extensions; what is
#                                          larger than this is audio under a false payload type: cut
WHOLE = 0xFFFFFFFF
MAX_EVENT_TYPES = 16  # payload types in one filter; sessions negotiate one to three

_LD_B_ABS, _LD_W_LEN = 0x30, 0x80  # linux/bpf_common.h
_AND_K, _JEQ_K, _JGE_K, _JGT_K, _RET_K = 0x54, 0x15, 0x35, 0x25, 0x06

_LD_W_ABS, _LD_H_ABS = 0x20, 0x28
_NETWORK_HEADER = 0xFFF0_0000  # SKF_NET_OFF of linux/filter.h: offsets from here count from the IP header
_IPV4_SOURCE, _IPV6_SOURCE = 12, 8  # bytes into it (RFC 791, 3.1; RFC 8200, 3)

Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, constant
Source = tuple[str | None, int | None]  # who may send: literal address and port, None: any

FOREIGN_BYTES = 1  # what is left of a packet from another source
ANYBODY: Source = (None, None)
NOBODY: Source = ("", None)
_FOREIGN: Instruction = (_RET_K, 0, 0, UDP_HEADER_BYTES + FOREIGN_BYTES)


def cutting_filter(event_types: Iterable[int], source: Source | None = None) -> bytes:
    """The program: version 2 and one of these payload types passes whole, all else is cut to 12 bytes.

    `event_types` are 0 to 127; none means that nothing passes. Of what `source` did not send one byte is left, with
    None it is not asked. Raises ConfigError for other types or too many.
    """
    wanted = sorted(set(event_types))
    if len(wanted) > MAX_EVENT_TYPES or any(not 0 <= kind <= 127 for kind in wanted):
        raise ConfigError(f"a filter takes up to {MAX_EVENT_TYPES} payload types of 0 to 127, got {wanted}")
    count = len(wanted)
    cut, whole = 8 + count, 9 + count  # places of the two returns; a jump counts from the next instruction
    program: list[Instruction] = [
        (_LD_W_LEN, 0, 0, 0),  # a load behind the end of a packet would drop it, so lengths come first
        (_JGE_K, 0, cut - 2, CUT_BYTES),
        (_JGT_K, cut - 3, 0, MAX_EVENT_BYTES),
        (_LD_B_ABS, 0, 0, UDP_HEADER_BYTES),
        (_AND_K, 0, 0, 0xC0),
        (_JEQ_K, 0, cut - 6, 0x80),  # version 2
        (_LD_B_ABS, 0, 0, UDP_HEADER_BYTES + 1),
        (_AND_K, 0, 0, 0x7F),  # payload type without the marker
        *((_JEQ_K, whole - 9 - place, 0, kind) for place, kind in enumerate(wanted)),
        (_RET_K, 0, 0, CUT_BYTES),
        (_RET_K, 0, 0, WHOLE),
    ]
    return _assembled(program if source is None else _from(source) + program)


def open_filter(source: Source) -> bytes:
    """The program of a line that is kept: what `source` sent passes whole, of everything else one byte is left."""
    return _assembled([*_from(source), (_RET_K, 0, 0, WHOLE)])


def _from(source: Source) -> list[Instruction]:
    """Falls through for packets of this source with a whole header; of its shorter ones nothing is left.

    So one byte is the mark of a foreign packet, and of nothing else.
    """
    address, port = source
    if source == NOBODY:
        return [_FOREIGN]
    checks: list[tuple[int, int, int]] = []  # load, place, value
    if address is not None:
        packed = ipaddress.ip_address(address).packed
        start = _IPV4_SOURCE if len(packed) == 4 else _IPV6_SOURCE
        words = struct.unpack(f"!{len(packed) // 4}I", packed)
        checks += [(_LD_W_ABS, _NETWORK_HEADER + start + 4 * place, word) for place, word in enumerate(words)]
    if port is not None:
        checks.append((_LD_H_ABS, 0, port))  # first in the UDP header
    program: list[Instruction] = []
    for place, (load, offset, value) in enumerate(checks, 1):
        left = len(checks) - place
        program.append((load, 0, 0, offset))
        program.append((_JEQ_K, 0 if left else 1, 2 * left, value))
    if checks:
        program.append(_FOREIGN)
    return [*program, (_LD_W_LEN, 0, 0, 0), (_JGE_K, 1, 0, CUT_BYTES), (_RET_K, 0, 0, UDP_HEADER_BYTES)]


def rtcp_filter() -> bytes:
    """The program for an RTCP port: what says version 2 and a type of RTCP passes, cut to the most we read.

    Of everything else one byte is left, so that it can be counted: audio that a client sends there is not read.
    """
    first, last = rtcp.FIRST_TYPE, rtcp.LAST_TYPE
    program: list[Instruction] = [
        (_LD_W_LEN, 0, 0, 0),
        (_JGE_K, 0, 7, UDP_HEADER_BYTES + 4),
        (_LD_B_ABS, 0, 0, UDP_HEADER_BYTES),
        (_AND_K, 0, 0, 0xC0),
        (_JEQ_K, 0, 4, 0x80),
        (_LD_B_ABS, 0, 0, UDP_HEADER_BYTES + 1),
        (_JGE_K, 0, 2, first),
        (_JGT_K, 1, 0, last),
        (_RET_K, 0, 0, UDP_HEADER_BYTES + rtcp.MAX_BYTES + 1),
        (_RET_K, 0, 0, UDP_HEADER_BYTES + 1),
    ]
    return _assembled(program)


def _assembled(program: Iterable[Instruction]) -> bytes:
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)


def dropping_filter() -> bytes:
    """The program for a socket that only holds its port: nothing passes, and no sender hears that nobody listens."""
    return struct.pack("=HBBI", _RET_K, 0, 0, 0)


def attach(sock: socket.socket, program: bytes) -> None:
    """Puts `program` in force for packets that arrive from now on; replaces another in one step.

    Raises OSError when the system does not take it: the socket must not be used in-band then.
    """
    code = ctypes.create_string_buffer(program, len(program))
    descriptor = struct.pack("@HP", len(program) // 8, ctypes.addressof(code))
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, descriptor)
