"""Somebody who speaks to open ports without a pause: what a site opens is kept from its first packet.

Our scenarios for sipp send no media, and a call without a packet is not kept.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
import tomllib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from journeys.running import bound_udp_ports
from journeys.sipp_run import SippRun

PCMA = 8
EVERY_SECONDS = 0.01  # a line that is open for 50 ms hears some of it

Ports = Callable[[], Iterable[int]]


def ports_of_site(config: Path) -> Ports:
    """All ports that the site with this configuration file has bound."""
    rtp = tomllib.loads(config.read_text(encoding="utf-8"))["rtp"]
    return lambda: [port for port in bound_udp_ports() if rtp["first_port"] <= port <= rtp["last_port"]]


def ports_told(*runs: SippRun) -> Ports:
    """All ports to which these clients were asked to send."""

    def ports() -> set[int]:
        opened = [told for run in runs for told in run.told() if told.direction == "recvonly"]
        return {port for told in opened for port in told.ports if port}  # 0 refuses a line

    return ports


@contextlib.contextmanager
def speaking(ports: Ports, *, host: str = "127.0.0.1") -> Iterator[None]:
    """While this lasts, RTP comes to all of these ports."""
    quiet = threading.Event()
    thread = threading.Thread(target=_speak, args=(host, ports, quiet))
    thread.start()
    try:
        yield
    finally:
        quiet.set()
        thread.join()


def _speak(host: str, ports: Ports, quiet: threading.Event) -> None:
    sent = 0
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as mouth:
        while not quiet.is_set():
            sent += 1
            packet = struct.pack(">BBHII", 0x80, PCMA, sent & 0xFFFF, sent * 160, 0x5EA) + b"\xd5" * 160
            for port in ports():
                with contextlib.suppress(ConnectionRefusedError):
                    mouth.sendto(packet, (host, port))
            time.sleep(EVERY_SECONDS)
