"""The ring on networks of its own: which interfaces count, and interfaces that go and come back."""

from __future__ import annotations

import subprocess

from mitschnitt.recorder.ring import Ring
from ring_rig import ethernet, holds, in_own_network, ipv4, needs_ring, packets, ring_on, send, send_frames, udp

pytestmark = needs_ring

OURS, THEIRS, PORT = "192.0.2.1", "192.0.2.2", 9_200
OURS_BYTES, THEIRS_BYTES = bytes([192, 0, 2, 1]), bytes([192, 0, 2, 2])
NEAR = bytes([2, 0, 0, 0, 0, 1])  # hardware address of our interface
MARKER = b"MARKER-OF-AUDIO"


def ip(*commands: str) -> None:
    for command in commands:
        subprocess.run(["ip", *command.split()], check=True)


def make_pair() -> None:
    """`near` has our address; what is sent on `far` comes in there."""
    ip(
        "link set lo up",
        "link add far type veth peer name near address 02:00:00:00:00:01",
        f"addr add {OURS}/24 dev near",
        "link set far up",
        "link set near up",
    )


def voice(payload: bytes, *, target: bytes = OURS_BYTES, right: bool = True) -> bytes:
    return ipv4(udp(PORT, payload, source=THEIRS_BYTES, target=target, right=right), source=THEIRS_BYTES, target=target)


def arrive(*payloads: bytes, vlan: int = 0, target: bytes = OURS_BYTES, right: bool = True) -> None:
    send_frames(
        *[ethernet(voice(payload, target=target, right=right), target=NEAR, vlan=vlan) for payload in payloads],
        interface="far",
    )


def opened(ring: Ring) -> Ring:
    ring.open(PORT, 1)
    return ring


def test_what_comes_from_the_network_and_from_this_host_comes_in_one_ring() -> None:
    def look() -> None:
        make_pair()
        with ring_on(OURS) as ring:
            opened(ring)
            arrive(b"from there")
            send(PORT, b"from here", address=OURS)
            assert packets(ring) == [(1, b"from there"), (1, b"from here")]
            arrive(b"broken", right=False)
            assert packets(ring) == []
            assert ring.refused == {"CHECKSUM": 1}

    in_own_network(look)


def test_a_loopback_address_is_never_reached_from_the_network() -> None:
    def look() -> None:
        make_pair()
        with ring_on("127.0.0.1") as ring:
            opened(ring)
            arrive(MARKER, target=bytes([127, 0, 0, 1]))
            assert not holds(ring, MARKER)
            assert ring.odd()["ELSEWHERE"] == 1

    in_own_network(look)


def test_a_third_interface_does_not_count_and_neither_does_a_vlan_that_is_not_ours() -> None:
    def look() -> None:
        make_pair()
        ip(
            "link add away type veth peer name third address 02:00:00:00:00:01",
            "link set away up",
            "link set third up",
        )
        with ring_on(OURS) as ring:
            opened(ring)
            arrive(MARKER, vlan=8)
            send_frames(ethernet(voice(MARKER), target=NEAR), interface="away")
            assert not holds(ring, MARKER)
            assert ring.odd()["ELSEWHERE"] == 2
            ip(f"addr del {OURS}/24 dev near", f"addr add {OURS}/24 dev third")
            assert ring.follow_interface()
            send_frames(ethernet(voice(b"where the address is now"), target=NEAR), interface="away")
            arrive(MARKER)
            assert packets(ring) == [(1, b"where the address is now")]

    in_own_network(look)


def test_an_interface_that_goes_down_and_up_goes_on_and_one_that_is_new_is_followed() -> None:
    def look() -> None:
        make_pair()
        with ring_on(OURS) as ring:
            opened(ring)
            ip("link set near down")
            ip("link set near up")
            arrive(b"up again")
            assert packets(ring) == [(1, b"up again")]
            ip("link del near")
            assert not ring.follow_interface()
            make_pair()
            arrive(MARKER)
            assert not holds(ring, MARKER)
            assert ring.odd()["ELSEWHERE"] == 1
            assert ring.follow_interface()
            arrive(b"on the new one")
            assert packets(ring) == [(1, b"on the new one")]

    in_own_network(look)


def test_a_ring_hears_its_own_network_only() -> None:
    with ring_on("127.0.0.1") as ring:
        opened(ring)

        def speak() -> None:
            ip("link set lo up")
            send(PORT, MARKER)

        in_own_network(speak)
        assert not holds(ring, MARKER)
        assert packets(ring) == []
