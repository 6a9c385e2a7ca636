"""Somebody who speaks to every open port of a site without a pause: what it opens is kept from its first packet.

Our scenarios for sipp send no media, and a call without a packet is not kept.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

from journeys.running import bound_udp_ports

PCMA = 8
EVERY_SECONDS = 0.01  # a line that is open for 50 ms hears some of it


@contextlib.contextmanager
def speaking(config: Path, *, host: str = "127.0.0.1") -> Iterator[None]:
    """While this lasts, RTP comes to all bound ports of the site with this configuration file."""
    rtp = tomllib.loads(config.read_text(encoding="utf-8"))["rtp"]
    quiet = threading.Event()
    thread = threading.Thread(target=_speak, args=(host, rtp["first_port"], rtp["last_port"], quiet))
    thread.start()
    try:
        yield
    finally:
        quiet.set()
        thread.join()


def _speak(host: str, first: int, last: int, quiet: threading.Event) -> None:
    sent = 0
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as mouth:
        while not quiet.is_set():
            sent += 1
            packet = struct.pack(">BBHII", 0x80, PCMA, sent & 0xFFFF, sent * 160, 0x5EA) + b"\xd5" * 160
            for port in bound_udp_ports():
                if first <= port <= last:
                    with contextlib.suppress(ConnectionRefusedError):
                        mouth.sendto(packet, (host, port))
            time.sleep(EVERY_SECONDS)
