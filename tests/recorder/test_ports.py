from __future__ import annotations

import fcntl
import os
import socket

import pytest

from loopback import send_all
from mitschnitt.errors import ConfigError
from mitschnitt.recorder import filters, ports
from mitschnitt.recorder.ports import REST_NS, NoPortLeft, PortPool, Stream, Taken

CUT = filters.cutting_filter([])


def test_only_even_ports_are_given_and_the_first_first() -> None:
    pool = PortPool(10001, 10007)
    assert [pool.take().port for _ in range(pool.free)] == [10002, 10004, 10006]


def test_a_port_that_was_given_back_rests_longest() -> None:
    pool = PortPool(10000, 10004)
    first = pool.take().port
    pool.give_back(first)
    assert [pool.take().port for _ in range(3)] == [10002, 10004, first]


def test_a_port_that_has_not_rested_is_taken_when_no_other_is_left_and_that_is_counted() -> None:
    now = [5]
    pool = PortPool(10000, 10002, pace=lambda: now[0])
    stream = Stream(7, 65_535)
    for _ in range(2):
        pool.give_back(pool.take().port, stream)
        now[0] += REST_NS // 2
    assert (pool.free, pool.resting, pool.unrested) == (2, 1, 0)
    assert pool.take() == Taken(10000)
    assert not pool.unrested
    early = pool.take()
    assert (early.port, early.stale) == (10002, stream)
    assert (pool.unrested, pool.resting, pool.has_rested(early)) == (1, 0, False)
    now[0] += REST_NS // 2
    assert pool.has_rested(early)


def test_a_port_that_another_program_holds_has_not_been_in_use() -> None:
    pool = PortPool(10000, 10000)
    pool.pass_over(pool.take())
    assert (pool.resting, pool.take(), pool.unrested) == (0, Taken(10000), 0)


def test_an_empty_pool_says_so() -> None:
    pool = PortPool(10000, 10000)
    pool.take()
    with pytest.raises(NoPortLeft, match="all 1 RTP ports are in use"):
        pool.take()


def test_only_what_was_taken_can_be_given_back() -> None:
    pool = PortPool(10000, 10010)
    with pytest.raises(ConfigError, match="was not taken"):
        pool.give_back(10000)


@pytest.mark.parametrize(("first", "last"), [(10001, 10001), (10002, 10000), (80, 90), (65534, 70000)])
def test_ranges_without_a_usable_even_port_are_refused(first: int, last: int) -> None:
    with pytest.raises(ConfigError, match="RTP ports are 1024 to 65535"):
        PortPool(first, last)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_socket_is_bound_non_blocking_not_inherited_and_behind_its_filter(address: str) -> None:
    sock = ports.open_socket(address, 0, CUT)
    with sock, socket.socket(sock.family, socket.SOCK_DGRAM) as sender:
        assert not os.get_inheritable(sock.fileno())
        assert fcntl.fcntl(sock.fileno(), fcntl.F_GETFL) & os.O_NONBLOCK
        assert ports.receive_buffer(sock) >= ports.RECEIVE_BUFFER_BYTES
        send_all(sender, [b"\x80\x08" + bytes(10) + b"marker"], sock.getsockname())
        assert sock.recv(100) == b"\x80\x08" + bytes(10)


def test_without_a_filter_there_is_no_socket() -> None:
    with pytest.raises(OSError, match="Invalid argument"):
        ports.open_socket("127.0.0.1", 0, b"\xff" * 8)


def hold_an_even_port(sock: socket.socket) -> int:
    for port in range(30000, 32000, 2):
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            continue
        return port
    raise AssertionError("no even port is free")


def test_ports_that_other_programs_hold_are_passed_over() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        held = hold_an_even_port(other)
        sock, taken = ports.open_from_pool("127.0.0.1", PortPool(held, held + 60), CUT)
        with sock:
            assert taken.port != held
            assert sock.getsockname()[1] == taken.port


def test_when_others_hold_all_ports_none_is_left() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        held = hold_an_even_port(other)
        pool = PortPool(held, held)
        with pytest.raises(NoPortLeft, match="other programs"):
            ports.open_from_pool("127.0.0.1", pool, CUT)
        assert pool.free == 1


def test_another_failure_gives_the_port_back() -> None:
    pool = PortPool(10000, 10010)
    with pytest.raises(OSError, match="annot assign requested address"):
        ports.open_from_pool("192.0.2.1", pool, CUT)
    assert pool.free == 6


def test_packets_that_the_kernel_dropped_are_counted() -> None:
    sock = ports.open_socket("127.0.0.1", 0, CUT)
    with sock, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        send_all(sender, [bytes(172)] * 100, sock.getsockname())
        received = 0
        while True:
            try:
                sock.recv(2000)
                received += 1
            except BlockingIOError:
                break
        assert ports.kernel_drops(sock) == 100 - received > 0


def test_the_receive_buffer_is_as_the_pool_says() -> None:
    small = ports.PortPool(20_000, 29_999, receive_buffer_bytes=16 * 1024)
    sock, _ = ports.open_from_pool("127.0.0.1", small, filters.cutting_filter(()))
    with sock:
        assert 16 * 1024 <= ports.receive_buffer(sock) < ports.RECEIVE_BUFFER_BYTES
        assert small.granted_bytes == ports.receive_buffer(sock)


def test_a_deaf_socket_keeps_its_descriptor_and_has_no_port() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        descriptor = sock.fileno()
        ports.deafen(sock)
        assert sock.fileno() == descriptor
        assert sock.getsockname()[1] == 0
        assert ports.kernel_drops(sock) == 0
