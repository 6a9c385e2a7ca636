from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from loopback import own_port
from mitschnitt.recorder.port_filter import PORTS, Odd, PortFilter, program
from ring_rig import needs_ring, send

PORT = own_port(for_good=True)

pytestmark = needs_ring


@pytest.fixture
def gate() -> Iterator[PortFilter]:
    gate = PortFilter("127.0.0.1")
    local = socket.if_nametoindex("lo")
    gate.come_through((local, local))
    yield gate
    gate.close()


@pytest.fixture
def tap(gate: PortFilter) -> Iterator[socket.socket]:
    """A packet socket behind the filter."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM) as tap:
        gate.attach(tap)
        tap.bind(("lo", 0x0800))
        tap.settimeout(0)
        yield tap


def heard(tap: socket.socket) -> list[bytes]:
    """Payloads of all that came so far."""
    found = []
    while True:
        try:
            found.append(tap.recv(2_000)[28:])
        except BlockingIOError:
            return found


def test_everything_is_shut_at_the_start(gate: PortFilter, tap: socket.socket) -> None:
    assert not gate.table.any()
    send(PORT, b"x")
    assert heard(tap) == []


def test_exactly_the_ports_that_are_open_are_passed(gate: PortFilter, tap: socket.socket) -> None:
    gate.table[[PORT, PORT + 4]] = 1
    for port in range(PORT - 2, PORT + 8):
        send(port, b"%d" % port)
    assert heard(tap) == [b"%d" % PORT, b"%d" % (PORT + 4)]


def test_one_store_shuts_a_port_for_the_next_packet(gate: PortFilter, tap: socket.socket) -> None:
    gate.table[PORT] = 1
    send(PORT, b"before")
    gate.table[PORT] = 0
    send(PORT, b"after")
    assert heard(tap) == [b"before"]


@pytest.mark.parametrize("port", [2, 255, 256, 0x7FFF, 0x8000, PORTS - 1])
def test_the_table_has_a_place_for_every_port(gate: PortFilter, tap: socket.socket, port: int) -> None:
    gate.table[port] = 1
    send(port, b"x")
    send(port ^ 1, b"y")
    assert heard(tap) == [b"x"]


def test_what_comes_through_another_interface_is_counted_and_not_passed(gate: PortFilter, tap: socket.socket) -> None:
    gate.come_through((0, 0))
    gate.table[PORT] = 1
    send(PORT, b"x")
    assert heard(tap) == []
    assert gate.odd() == {Odd.FRAGMENT: 0, Odd.HEADER: 0, Odd.ELSEWHERE: 1}


def test_a_filter_that_is_given_back_passes_nothing_more() -> None:
    gate = PortFilter("127.0.0.1")
    gate.come_through((1, 1))
    gate.table[PORT] = 1
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM) as tap:
        gate.attach(tap)
        tap.bind(("lo", 0x0800))
        tap.settimeout(0)
        gate.close()
        send(PORT, b"x")
        assert heard(tap) == []


def test_a_program_is_whole_instructions_for_either_address() -> None:
    for address in (bytes([10, 0, 0, 1]), bytes(16)):
        code = program(7, address)
        assert len(code) % 8 == 0
        assert code[-8] == 0x95, "it ends by ending"
