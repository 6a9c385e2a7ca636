"""The source lock as arrays; what real sockets make of it is in test_source_lock."""

from __future__ import annotations

import socket

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitschnitt.recorder.filters import ANYBODY, NOBODY
from mitschnitt.recorder.sources import FIRST_LINES, MAX_OTHERS, Keys, Lock, Sources, Sourcing, key_of, source_of

CLARA, STRANGER = "192.0.2.7", "192.0.2.66"


def keys(version: int, *sources: tuple[str, int]) -> Keys:
    return np.array([key_of(*source)[: 1 if version == 4 else 3] for source in sources], np.uint64)


def admitted(sources: Sources, *rows: tuple[int, str, int], version: int = 4, noise: int = 0) -> list[bool]:
    """Rows of (line, address, port); the first `noise` of them are no media."""
    stream = np.array([line for line, _, _ in rows], np.int32)
    is_media = np.arange(len(rows)) >= noise
    fits, _ = sources.admit(stream, keys(version, *[(address, port) for _, address, port in rows]), is_media)
    return [bool(one) for one in fits]


def of(rule: Sourcing, lines: int = 2, version: int = 4) -> Sources:
    sources = Sources(rule, version=version)
    for number in range(lines):
        sources.begin(number)
    return sources


def test_a_line_of_which_nobody_said_where_its_client_is_takes_nothing() -> None:
    sources = of(Sourcing.SIGNALLED)
    assert sources.allowed(0) == NOBODY
    assert sources.named == set()
    assert admitted(sources, (0, CLARA, 4000), (0, "0.0.0.0", 0)) == [False, False]  # noqa: S104 - a source, not ours


def test_the_first_packet_from_the_signalled_address_locks_its_port() -> None:
    sources = of(Sourcing.SIGNALLED)
    assert sources.aim(0, (CLARA, 5000))
    assert (sources.allowed(0), sources.named) == ((CLARA, None), {0})
    rows = [(0, STRANGER, 4000), (0, CLARA, 4000), (0, CLARA, 4002), (0, CLARA, 4000)]
    assert admitted(sources, *rows) == [False, True, False, True]
    assert (sources.lock[0], sources.allowed(0)) == (Lock.LOCKED, (CLARA, 4000))
    assert admitted(sources, *rows) == [False, True, False, True]


def test_what_is_no_media_teaches_no_port() -> None:
    sources = of(Sourcing.SIGNALLED)
    sources.aim(0, (CLARA, 5000))
    assert admitted(sources, (0, CLARA, 4000), (0, CLARA, 4002), noise=1) == [False, True]
    assert sources.allowed(0) == (CLARA, 4002)


def test_two_lines_behind_one_address_have_a_lock_each() -> None:
    sources = of(Sourcing.SIGNALLED)
    for line in (0, 1):
        sources.aim(line, (CLARA, 5000 + line))
    assert admitted(sources, (0, CLARA, 4000), (0, CLARA, 4001), (1, CLARA, 4001)) == [True, False, True]
    assert admitted(sources, (0, CLARA, 4001), (1, CLARA, 4000), (1, CLARA, 4001)) == [False, False, True]


def test_only_another_signalled_address_or_port_takes_the_lock_off() -> None:
    sources = of(Sourcing.SIGNALLED)
    sources.aim(0, (CLARA, 5000))
    admitted(sources, (0, CLARA, 4000))
    assert not sources.aim(0, (CLARA, 5000))
    assert admitted(sources, (0, CLARA, 4002)) == [False]
    assert sources.aim(0, (CLARA, 5002))
    assert admitted(sources, (0, CLARA, 4002), (0, CLARA, 4000)) == [True, False]
    assert sources.aim(0, None)
    assert admitted(sources, (0, CLARA, 4002)) == [False]
    assert not sources.aim(0, None)


def test_first_believes_whoever_sends_first_and_nobody_behind_it() -> None:
    sources = of(Sourcing.FIRST)
    assert sources.allowed(0) == ANYBODY
    assert admitted(sources, (0, STRANGER, 1), (0, CLARA, 2), (1, CLARA, 3)) == [True, False, True]
    sources.reopen(0)
    assert admitted(sources, (0, CLARA, 2), (0, STRANGER, 1)) == [True, False]


@pytest.mark.parametrize("rule", Sourcing)
def test_ipv6_is_told_apart_by_its_whole_address(rule: Sourcing) -> None:
    sources = of(rule, version=6)
    sources.aim(0, ("2001:db8::7", 5000))
    rows = [(0, "2001:db8::7", 4000), (0, "2001:db8::8", 4000), (0, "2001:db8:1::7", 4000), (0, "2001:db8::7", 4002)]
    assert admitted(sources, *rows, version=6) == [True, False, False, False]
    labelled = keys(6, ("2001:db8::7", 4000))
    labelled[0, 0] |= np.uint64(0x12345 << 32)
    assert sources.admit(np.zeros(1, np.int32), labelled, np.ones(1, np.bool_))[0].all()  # a flow label says nothing


def test_a_learned_line_is_asked_for_names_until_one_whole_drain_was_short() -> None:
    sources = of(Sourcing.SIGNALLED)
    sources.aim(0, (CLARA, 5000))
    admitted(sources, (0, CLARA, 4000))
    for rows in (3, 2):
        pending = sources.pending({0, 1}.__contains__)
        assert pending == {0}
        assert sources.named == {0}
        admitted(sources, *[(0, CLARA, 4000)] * rows)
        sources.drained(pending, most=3)
    assert (sources.pending({0, 1}.__contains__), sources.named) == (frozenset(), set())


def test_foreign_packets_are_counted_and_their_senders_told_apart_up_to_a_limit() -> None:
    sources = of(Sourcing.SIGNALLED)
    sources.count_foreign(np.array([1, 1, 0], np.int32), None)
    assert (sources.injected[:2].tolist(), sources.others(0), sources.others(1)) == ([1, 2], 1, 1)
    assert sources.named == {0, 1}  # once: who was it
    many = keys(4, *[(STRANGER, 1000 + number) for number in range(MAX_OTHERS + 5)])
    for _ in range(2):
        sources.count_foreign(np.ones(len(many), np.int32), many)
    sources.count_foreign(np.ones(1, np.int32), keys(4, (STRANGER, 1)))
    assert (sources.others(0), sources.others(1)) == (1, MAX_OTHERS)
    assert sources.told(1).injected == 2 + 2 * len(many) + 1
    sources.drained(sources.pending({0, 1}.__contains__), most=9)
    sources.count_foreign(np.ones(1, np.int32), None)
    assert sources.named == set()  # nothing is asked any more
    sources.forget_others(1)
    assert (sources.others(1), sources.told(1).injected) == (0, 0)


def test_a_number_that_is_used_again_knows_nothing_of_before_and_tables_grow() -> None:
    sources = of(Sourcing.SIGNALLED)
    sources.aim(0, (CLARA, 5000))
    admitted(sources, (0, CLARA, 4000))
    sources.begin(FIRST_LINES)
    assert admitted(sources, (0, CLARA, 4000), (FIRST_LINES, CLARA, 4000)) == [True, False]
    sources.forget(0)
    sources.begin(0)
    assert (sources.allowed(0), sources.named) == (NOBODY, set())


@given(st.ip_addresses(), st.integers(0, 65_535))
def test_a_source_and_its_numbers_say_the_same(address: object, port: int) -> None:
    assert source_of(key_of(str(address), port)) == (str(address), port)


def test_numbers_are_those_of_a_socket_address() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", 0))
        one.sendto(b"", one.getsockname())
        _, (address, port) = one.recvfrom(1)
    first, high, low = key_of(address, port)
    assert first.to_bytes(8, "little") == b"\2\0" + port.to_bytes(2, "big") + bytes((127, 0, 0, 1))
    assert (high, low) == (0, 0)
