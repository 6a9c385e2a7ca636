"""UDP datagrams in captured IP packets, by the batch: which of them the host's own stack would have taken.

    packets (n x width bytes, from the IP header on), captured lengths --examine--> Datagrams(lengths, faults, senders)

A packet ring shows packets before IP and UDP have looked at them, so what they check is checked here: version, header
length, fragments, protocol, destination, both lengths, checksum (RFC 791, 768, 8200). Pure numpy, nothing is copied
but header fields, and no Python statement is executed per packet.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from mitschnitt.errors import MalformedPacket

UDP_HEADER_BYTES = 8
IP_HEADER_BYTES = {4: 20, 6: 40}  # without options and extension headers, which are refused
ADDRESS_BYTES = {4: 4, 6: 16}
FAMILY = {4: 2, 6: 10}  # AF_INET, AF_INET6
PROTOCOL = 17  # UDP

_VERSION_AND_LENGTH = {4: 0x45, 6: 0x60}  # first byte: version; with IPv4 also five words of header
_VERSION_MASK = {4: 0xFF, 6: 0xF0}  # with IPv6 the traffic class begins in the same byte
_PROTOCOL_AT = {4: 9, 6: 6}
_SOURCE_AT = {4: 12, 6: 8}
_FRAGMENT_AT, _FRAGMENT_MASK = 6, 0x3FFF  # more fragments, or an offset
_UDP_PORTS, _UDP_LENGTH, _UDP_CHECKSUM = 0, 4, 6  # bytes behind the IP header

Bytes2 = NDArray[np.uint8]
Flags = NDArray[np.bool_]


class Fault(IntEnum):
    """Why a packet is no sound datagram for us; SOUND is 0. Of several the highest is told."""

    SOUND = 0
    CHECKSUM = 1  # wrong; or none, which IPv6 does not allow
    LENGTH = 2  # of IP or UDP reaches behind what came, or is shorter than its header
    DESTINATION = 3  # another address than ours
    PROTOCOL = 4  # not UDP; with IPv6 also UDP behind extension headers
    FRAGMENT = 5
    HEADER = 6  # another IP version, or IPv4 options
    SHORT = 7  # ends within IP's or UDP's header


@dataclass(frozen=True)
class Datagrams:
    """One entry per packet; of one with a fault only the fault means something."""

    lengths: NDArray[np.int32]  # of the UDP payload in bytes; may exceed what was captured
    faults: NDArray[np.uint8]
    senders: NDArray[
        np.uint64
    ]  # (n, 1 or 3): who sent it, as socket addresses lie in memory of a little-endian machine

    @property
    def sound(self) -> Flags:
        """True where the packet holds a datagram for us."""
        return np.equal(self.faults, np.uint8(Fault.SOUND))


def payload_offset(version: int) -> int:
    """Bytes from the IP header to the UDP payload of a packet that `examine` finds sound."""
    return IP_HEADER_BYTES[version] + UDP_HEADER_BYTES


def examine(
    packets: Bytes2, captured: NDArray[np.int32], actual: NDArray[np.int32], vouched: Flags, *, address: bytes
) -> Datagrams:
    """What these packets are to the host with this `address` (4 or 16 bytes, which names the IP version).

    `captured` bytes of each are here, of `actual` on the wire; `vouched`: somebody else has seen to its checksum.
    The checksum of a packet that is not here whole cannot be seen to. MalformedPacket only for arrays that do
    not belong together.
    """
    count, width = packets.shape
    version = 4 if len(address) == ADDRESS_BYTES[4] else 6
    head = payload_offset(version)
    if width < head or not captured.shape == actual.shape == vouched.shape == (count,):
        raise MalformedPacket(f"{count} packets of at least {head} bytes need as many lengths, got {captured.shape}")
    ip = IP_HEADER_BYTES[version]
    # The packets lie far apart: their headers are fetched once, and all looks are at the copy.
    heads = np.zeros((count, -(-head // 8) * 8), np.uint8)
    whole = np.dtype((np.void, head))
    heads[:, :head].view(whole)[:, 0] = packets[:, :head].view(whole)[:, 0]
    faults = np.zeros(count, np.uint8)
    udp_length = _field(heads, ip + _UDP_LENGTH)
    total = _field(heads, 2) if version == 4 else _field(heads, 4) + np.int32(ip)
    wrong_length = (udp_length < UDP_HEADER_BYTES) | (udp_length > total - ip) | (total > actual)
    _mark(faults, wrong_length, Fault.LENGTH)
    if not _are_usual(heads, address):
        _mark_unusual(faults, heads, address)
    _mark(faults, captured < head, Fault.SHORT)
    lengths = udp_length - np.int32(UDP_HEADER_BYTES)
    if not vouched.all():
        open_ones = np.flatnonzero((faults == Fault.SOUND) & ~vouched & (ip + udp_length <= captured))
        if open_ones.size:
            wrong = _sums(packets, open_ones, udp_length[open_ones], version)
            faults[open_ones[wrong]] = Fault.CHECKSUM
    return Datagrams(lengths, faults, _senders(heads, version))


@lru_cache
def _usual(address: bytes) -> list[tuple[int, int]]:
    """What the IP header of a datagram to `address` has in each 8 bytes: (the bits that are told, their values)."""
    version = 4 if len(address) == ADDRESS_BYTES[4] else 6
    ip, destination_at = IP_HEADER_BYTES[version], _SOURCE_AT[version] + len(address)
    told, values = bytearray(-(-ip // 8) * 8), bytearray(-(-ip // 8) * 8)
    told[0], values[0] = _VERSION_MASK[version], _VERSION_AND_LENGTH[version]
    told[_PROTOCOL_AT[version]], values[_PROTOCOL_AT[version]] = 0xFF, PROTOCOL
    if version == 4:
        told[_FRAGMENT_AT : _FRAGMENT_AT + 2] = _FRAGMENT_MASK.to_bytes(2, "big")
    told[destination_at : destination_at + len(address)] = b"\xff" * len(address)
    values[destination_at : destination_at + len(address)] = address
    return list(zip(np.frombuffer(told, np.uint64).tolist(), np.frombuffer(values, np.uint64).tolist(), strict=True))


def _are_usual(heads: Bytes2, address: bytes) -> bool:
    """Whether no packet has any fault that `_mark_unusual` knows: so it is nearly always, and costs a few looks."""
    words = heads.view(np.uint64)
    return not any(
        ((words[:, number] & np.uint64(told)) != np.uint64(values)).any()
        for number, (told, values) in enumerate(_usual(address))
        if told
    )


def _mark_unusual(faults: NDArray[np.uint8], heads: Bytes2, address: bytes) -> None:
    """Another destination, protocol or header than of a datagram to `address`, or a fragment."""
    version = 4 if len(address) == ADDRESS_BYTES[4] else 6
    destination_at = _SOURCE_AT[version] + len(address)
    _mark(faults, _differs(heads[:, destination_at : destination_at + len(address)], address), Fault.DESTINATION)
    _mark(faults, heads[:, _PROTOCOL_AT[version]] != PROTOCOL, Fault.PROTOCOL)
    if version == 4:
        _mark(faults, _field(heads, _FRAGMENT_AT) & _FRAGMENT_MASK != 0, Fault.FRAGMENT)
    first = heads[:, 0] & np.uint8(_VERSION_MASK[version])
    _mark(faults, first != _VERSION_AND_LENGTH[version], Fault.HEADER)


def _senders(heads: Bytes2, version: int) -> NDArray[np.uint64]:
    """Family, port and address of each packet's source: one number with IPv4; with IPv6 three, flow label 0."""
    ip, at = IP_HEADER_BYTES[version], _SOURCE_AT[version]
    found = np.empty((len(heads), 1 if version == 4 else 3), np.uint64)
    found[:, 0] = heads.view("<u2")[:, ip // 2]
    found[:, 0] <<= np.uint64(16)
    found[:, 0] |= np.uint64(FAMILY[version])
    if version == 4:
        found[:, 0] |= heads.view("<u4")[:, at // 4].astype(np.uint64) << np.uint64(32)
    else:
        found[:, 1:] = heads.view("<u8")[:, at // 8 : at // 8 + 2]
    return found


def _mark(faults: NDArray[np.uint8], where: Flags, fault: Fault) -> None:
    if where.any():
        faults[where] = fault


def _field(packets: Bytes2, at: int) -> NDArray[np.int32]:
    """A 16-bit field in network order."""
    found: NDArray[np.int32] = packets[:, at].astype(np.int32)
    found <<= np.int32(8)
    found |= packets[:, at + 1]
    return found


def _differs(addresses: Bytes2, address: bytes) -> Flags:
    """Where an address is another one; compared as numbers, for a comparison by bytes costs four to sixteen times."""
    width = np.dtype(np.uint32) if len(address) == ADDRESS_BYTES[4] else np.dtype(np.uint64)
    found = np.ascontiguousarray(addresses).view(width)
    differs: Flags = (found != np.frombuffer(address, width)).any(axis=1)
    return differs


def _sums(packets: Bytes2, at: NDArray[np.intp], udp_length: NDArray[np.int32], version: int) -> Flags:
    """Which of the packets `at` have a wrong UDP checksum (RFC 768; RFC 8200, 8.1: there it must be given)."""
    ip = IP_HEADER_BYTES[version]
    given = _field(packets[at], ip + _UDP_CHECKSUM)
    covered = (int(udp_length.max()) + 1) & ~1
    data = np.zeros((at.size, covered), np.uint8)
    data[:, : min(covered, packets.shape[1] - ip)] = packets[at, ip : ip + covered]
    data[np.arange(covered) >= udp_length[:, None]] = 0  # what lies behind the datagram is not summed
    source_at = _SOURCE_AT[version]
    addresses = np.ascontiguousarray(packets[at, source_at : source_at + 2 * ADDRESS_BYTES[version]])
    # The sum is the same in either order of bytes, but for the order of its own (RFC 1071, 2): kept in memory's.
    total = data.view(np.uint16).sum(axis=1, dtype=np.uint64) + addresses.view(np.uint16).sum(axis=1, dtype=np.uint64)
    pseudo = (udp_length.astype(np.uint32) + PROTOCOL).astype(">u4").view(np.uint16).reshape(-1, 2)
    total += pseudo.sum(axis=1, dtype=np.uint64)
    while (total >> np.uint64(16)).any():
        total = (total & np.uint64(0xFFFF)) + (total >> np.uint64(16))
    wrong: Flags = (total != 0xFFFF) & (given != 0) if version == 4 else (total != 0xFFFF) | (given == 0)
    return wrong
