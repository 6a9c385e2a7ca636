from __future__ import annotations

import socket
import subprocess

import pytest

from mitschnitt.recorder.interfaces import interface_of, numbers_for
from ring_rig import in_own_network, needs_ring


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.8.7", "::1"])
def test_loopback_addresses_are_the_loopbacks(address: str) -> None:
    assert interface_of(address) == "lo"
    number = socket.if_nametoindex("lo")
    assert numbers_for(address) == (number, number)


@pytest.mark.parametrize("address", ["192.0.2.77", "2001:db8::77"])
def test_an_address_that_nobody_has_is_no_interfaces(address: str) -> None:
    assert interface_of(address) is None
    assert numbers_for(address)[1] == 0


@needs_ring
def test_second_addresses_of_an_interface_are_found_and_are_gone_with_it() -> None:
    def look() -> None:
        for command in (
            "link add far type veth peer name near",
            "addr add 192.0.2.1/24 dev near",
            "addr add 192.0.2.77/24 dev near",
            "addr add 2001:db8::77/64 dev near",
        ):
            subprocess.run(["ip", *command.split()], check=True)
        for address in ("192.0.2.77", "2001:db8::77"):
            assert interface_of(address) == "near"
            assert numbers_for(address)[1] == socket.if_nametoindex("near")
        subprocess.run(["ip", "link", "del", "near"], check=True)
        assert interface_of("192.0.2.77") is None

    in_own_network(look)
