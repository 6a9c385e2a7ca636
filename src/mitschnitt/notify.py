"""How a process tells the one that started it that it is ready: sd_notify(3), in a few lines.

`serve` hears its parts by the same datagrams and tells systemd, if systemd is there. Nobody to tell is no error.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

DRAINED = 10  # exit code of a recorder that has no calls any more and takes none: it is not started again
VARIABLE = "NOTIFY_SOCKET"
MAX_MESSAGE_BYTES = 4_096  # of one datagram; ours have 60
MICROSECONDS = 1_000_000


def notify(**fields: object) -> bool:
    """Tell `READY=1` and the like; whether anybody was there to hear it."""
    place = os.environ.get(VARIABLE, "")
    if not place:
        return False
    address = f"\0{place[1:]}" if place.startswith("@") else place  # an abstract socket (unix(7))
    text = "\n".join(f"{name}={value}" for name, value in fields.items()).encode()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        sock.setblocking(False)  # whoever does not read must not hold us up
        try:
            sock.sendto(text, address)
        except OSError:
            return False
    return True


def watchdog_seconds(environment: Mapping[str, str] = os.environ) -> float | None:
    """How often at least systemd wants to hear from this process; None when it does not watch (sd_watchdog_enabled)."""
    wanted, pid = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    if not wanted.isdigit() or int(wanted) == 0 or (pid and pid != str(os.getpid())):
        return None
    return int(wanted) / MICROSECONDS


@contextlib.contextmanager
def hearing(path: Path, heard: Callable[[Mapping[str, str]], None]) -> Iterator[None]:
    """Within, what is told at `path` goes to `heard`, on the running loop. The directory keeps strangers out."""
    loop = asyncio.get_running_loop()
    # A name that an earlier life left behind: whoever holds the lock of the directory may take its place.
    fresh = path.with_suffix(".new")  # no longer than the name itself: a socket's has room for 107 bytes
    with contextlib.suppress(FileNotFoundError):
        fresh.unlink()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        sock.bind(str(fresh))
        fresh.replace(path)
        sock.setblocking(False)

        def read() -> None:
            with contextlib.suppress(BlockingIOError):
                while True:
                    heard(_fields(sock.recv(MAX_MESSAGE_BYTES)))

        loop.add_reader(sock, read)
        try:
            yield
        finally:
            loop.remove_reader(sock)


def _fields(data: bytes) -> dict[str, str]:
    pairs = (line.partition("=") for line in data.decode("utf-8", "replace").splitlines())
    return {name: value for name, sign, value in pairs if sign}
