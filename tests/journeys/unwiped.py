"""`serve` whose recorder keeps what reached it instead of wiping it; with `UNFILTERED=1` also without the filter.

For one test only: it shows that the search finds what reaches the process, and that the filter is what keeps it
out. Run as `python -m unwiped serve --dir DIR`; the product has no such switch.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path

from mitschnitt import processes
from mitschnitt.config import load_config
from mitschnitt.recorder import filters
from mitschnitt.recorder.receiver import Batch, Receiver
from mitschnitt.supervisor import Supervisor

HELD_BATCHES = 64

held: deque[bytes] = deque(maxlen=HELD_BATCHES)
drain = Receiver.drain


def drain_and_hold(
    receiver: Receiver,
    sockets: Iterable[tuple[int, int]],
    process: Callable[[Batch], None],
    *,
    named: Collection[int] = (),
) -> Iterator[int]:
    """As `Receiver.drain`, but a copy of every batch stays in memory."""

    def hold(batch: Batch) -> None:
        held.append(batch.rows.tobytes())
        process(batch)

    return drain(receiver, sockets, hold, named=named)


def no_attach(sock: socket.socket, program: bytes) -> None:
    """Nothing is cut."""


def main(arguments: list[str]) -> int:
    """`serve --dir DIR` supervises parts of this same module; anything else is such a part."""
    if arguments[0] == "serve":
        return asyncio.run(Supervisor(load_config(Path(arguments[2])), module="unwiped").run())
    Receiver.drain = drain_and_hold  # type: ignore[method-assign,assignment]  # the point of this module
    if os.environ.get("UNFILTERED"):
        filters.attach = no_attach
    return processes.main(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
