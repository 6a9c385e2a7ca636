"""What other tests rest on: datagrams that have arrived, and ports that nobody else gets."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

from loopback import HOST, LEASES, TOGETHER, _leased, own_port, rtp_ports, send_all

MANY = 300  # more than are sent at once


def test_whatever_was_sent_has_arrived_in_its_order() -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as here,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        here.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        here.bind((HOST, 0))
        here.setblocking(False)
        sent = [number.to_bytes(2, "big") for number in range(MANY)]
        send_all(sender, sent, here.getsockname())
        assert [here.recv(2) for _ in range(MANY)] == sent


def test_another_process_gets_other_ports_even_while_ours_are_unused() -> None:
    look = "from loopback import own_port, rtp_ports; print(own_port(), rtp_ports()[0])"
    ours, lines = own_port(), rtp_ports()[0]
    told = subprocess.run([sys.executable, "-c", look], cwd=Path(__file__).parent, capture_output=True, check=True)
    theirs, their_lines = (int(word) for word in told.stdout.split())
    assert abs(theirs - ours) >= TOGETHER
    assert their_lines != lines


def test_a_port_that_somebody_holds_is_passed_over() -> None:
    held = own_port() + TOGETHER + 1
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind((HOST, held))
        first = own_port()
    assert not first <= held < first + TOGETHER


def test_a_port_that_is_kept_for_good_stays_ours_however_many_come_after_it() -> None:
    kept = own_port(for_good=True)
    others = [own_port() for _ in range(LEASES + 1)]
    given_back = _leased(f"port-{others[0]}")
    assert given_back is not None
    given_back.close()
    assert _leased(f"port-{kept}") is None
