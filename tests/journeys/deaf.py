"""`serve` whose keeper loses the listening socket of its control API on SIGUSR1, and cannot have another on SIGUSR2.

For one test only: what is left of a control API that was killed alone. Run as `python -m deaf serve --dir DIR`.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
from pathlib import Path

from mitschnitt import processes
from mitschnitt.config import Config, load_config
from mitschnitt.errors import ConfigError
from mitschnitt.keeper import process
from mitschnitt.supervisor import Supervisor

bind = process._bind_control
listening: list[socket.socket] = []
is_refused = False


def bind_or_not(config: Config) -> socket.socket:
    """As the keeper's own, unless it is to fail."""
    if is_refused:
        raise ConfigError("control: this test takes the port away")
    listening.append(bind(config))
    return listening[-1]


def lose(_number: int, _frame: object) -> None:
    """The socket listens no longer, and there is no other."""
    global is_refused  # noqa: PLW0603 - a signal handler has no other way to tell
    is_refused = True
    with contextlib.suppress(OSError):
        listening[-1].shutdown(socket.SHUT_RDWR)


def allow(_number: int, _frame: object) -> None:
    """It may be opened again."""
    global is_refused  # noqa: PLW0603 - see above
    is_refused = False


def main(arguments: list[str]) -> int:
    """`serve --dir DIR` supervises parts of this same module; anything else is such a part."""
    if arguments[0] == "serve":
        return asyncio.run(Supervisor(load_config(Path(arguments[2])), module="deaf").run())
    if arguments[0] == "keeper":
        process._bind_control = bind_or_not
        signal.signal(signal.SIGUSR1, lose)
        signal.signal(signal.SIGUSR2, allow)
    return processes.main(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
