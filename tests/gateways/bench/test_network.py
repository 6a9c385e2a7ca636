from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from mitschnitt.gateways.bench import network
from mitschnitt.gateways.bench.network import SPLIT_LATE, is_on, own_network

IPPROTO_UDP, UDP_SEGMENT = 17, 103
PIECE, PIECES = 172, 10


def number_of_network() -> str:
    return str(Path("/proc/thread-self/ns/net").readlink())


@pytest.mark.skipif(os.geteuid() != 0, reason="a network of its own needs CAP_SYS_ADMIN")
def test_datagrams_sent_together_are_split_before_loopback_delivers_them_and_the_host_is_left_alone() -> None:
    before = number_of_network()
    with own_network("127.0.0.1") as lacking:
        if lacking:
            pytest.skip(lacking)
        assert number_of_network() != before
        with (
            socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800)) as watching,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
        ):
            watching.bind(("lo", 0x0800))
            receiver.bind(("127.0.0.1", 0))
            sender.setsockopt(IPPROTO_UDP, UDP_SEGMENT, PIECE)
            sender.sendto(bytes(PIECE * PIECES), receiver.getsockname())
            sizes = [len(watching.recv(4096)) for _ in range(PIECES)]
            assert not is_on(sender, SPLIT_LATE)
    assert sizes == [20 + 8 + PIECE] * PIECES
    assert number_of_network() == before


def test_an_address_of_a_real_network_stays_in_it() -> None:
    before = number_of_network()
    with own_network("192.0.2.1") as lacking:
        assert number_of_network() == before
    assert lacking == "192.0.2.1 is not a loopback address"


def test_who_may_not_have_a_network_is_told_why(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing:
        @staticmethod
        def unshare(_: int) -> int:
            return -1

    monkeypatch.setattr(network, "_libc", Refusing())
    monkeypatch.setattr("ctypes.get_errno", lambda: 1)
    with own_network("127.0.0.1") as lacking:
        assert lacking == "Operation not permitted"
