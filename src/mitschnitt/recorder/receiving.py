"""By which way a recorder receives: its share of the ports, and the packet ring where it is wanted and can be had.

The ring is made before the first call, and what it needed to be made is given up at once. Where it cannot be had the
sockets take its place, as always, and one line in the log and a file in `run/` say so.
"""

from __future__ import annotations

import ctypes
import logging
import struct
from dataclasses import dataclass
from pathlib import Path

from mitschnitt.config import Config, Receiving
from mitschnitt.recorder.mapped import Mapped
from mitschnitt.recorder.ports import PortPool
from mitschnitt.recorder.ring import Ring

CAP_NET_RAW, CAP_BPF = 13, 39  # linux/capability.h
NEEDED = "CAP_NET_RAW and CAP_BPF"
_CAPABILITY_VERSION = 0x20080522  # version 3: two words of 32 bits for each set
_AMBIENT, _AMBIENT_CLEAR_ALL = 47, 4  # linux/prctl.h

_libc = ctypes.CDLL(None, use_errno=True)

log = logging.getLogger("mitschnitt.recorder")


@dataclass(frozen=True)
class Way:
    """Ports for lines on sockets, and the ring with its own."""

    pool: PortPool
    mapped: Mapped | None
    lacking: str = ""  # why there is no ring although one is wanted

    @property
    def free(self) -> int:
        """Ports that nobody uses, of both."""
        return self.pool.free + (self.mapped.pool.free if self.mapped else 0)

    @property
    def told(self) -> str:
        """One line for people: how open lines are received."""
        return Receiving.RING if self.mapped else f"{Receiving.SOCKETS}{': ' * bool(self.lacking)}{self.lacking}"


def ports_of(config: Config, number: int) -> range:
    """The share of the RTP ports that recorder `number` (from 1) has to itself."""
    first, last = config.rtp.first_port, config.rtp.last_port
    share = (last - first + 1) // config.limits.recorders
    begin = first + share * (number - 1)
    return range(begin, begin + share)


def open_ports(share: range) -> range:
    """The half of a share that is only ever told to a client whose line is opened: the ring's."""
    return share[(len(share) // 4) * 2 :]


def way_for(config: Config, number: int) -> Way:
    """What recorder `number` receives with; falls back to sockets where there is no ring. Never raises for that."""
    share, buffer = ports_of(config, number), config.rtp.receive_buffer_bytes

    def pool(ports: range) -> PortPool:
        return PortPool(ports.start, ports.stop - 1, receive_buffer_bytes=buffer)

    if config.rtp.receiver == Receiving.SOCKETS:
        return Way(pool(share), None)
    try:
        ring = Ring(config.rtp.host, size_mib=config.rtp.ring_mib)
    except OSError as error:
        lacking = f"the packet ring cannot be had: {error.strerror or error}"
        log.warning("%s; open lines are received by sockets, which costs more of a core", lacking)
        return Way(pool(share), None, lacking)
    finally:
        give_up_capabilities()
    opened = open_ports(share)
    return Way(pool(range(share.start, opened.start)), Mapped(ring, pool(opened)))


def give_up_capabilities() -> None:
    """This thread, and those that it starts, may make no ring any more. Does nothing where it never might."""
    header = struct.pack("=Ii", _CAPABILITY_VERSION, 0)
    sets = ctypes.create_string_buffer(24)
    if _libc.capget(header, sets):
        return
    words = list(struct.unpack("=6I", sets.raw))  # effective, permitted, inheritable; then their high halves
    for capability in (CAP_NET_RAW, CAP_BPF):
        word, bit = divmod(capability, 32)
        for kind in range(3):
            words[3 * word + kind] &= ~(1 << bit)
    _libc.prctl(_AMBIENT, _AMBIENT_CLEAR_ALL, 0, 0, 0)
    _libc.capset(header, struct.pack("=6I", *words))


def told_at(config: Config, number: int) -> Path:
    """The file in which a recorder says how it receives, for `doctor`."""
    return config.run / f"recorder-{number}.receiver"
