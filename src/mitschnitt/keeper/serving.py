"""HTTP servers on the keeper's loop, and one that is opened again when its listening socket is lost.

Wiring only: which application answers, and where it listens, the process says. Signals are the keeper's.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Iterator

import uvicorn
from starlette.types import ASGIApp

from mitschnitt.errors import ConfigError

LOOK_SECONDS = 1.0  # between two looks at the listening socket, and two tries to have a new one

log = logging.getLogger("mitschnitt.keeper")


class Server(uvicorn.Server):
    """One of several servers on one loop."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the handlers alone."""
        yield


def server(app: ASGIApp) -> Server:
    """A server that writes no log of its own; it ends within five seconds of `should_exit`."""
    return Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            date_header=False,
            timeout_graceful_shutdown=5,
        )
    )


async def serve_always(
    app: ASGIApp, listening: socket.socket, bind: Callable[[], socket.socket], stop: asyncio.Event
) -> None:
    """Until `stop`: `app` answers at `listening`, and at a new socket from `bind` when that one listens no longer.

    Nothing else waits for it: recorders have their own socket, and a withdrawal by key needs no control API.
    """
    while not stop.is_set():
        serving = server(app)
        task = asyncio.create_task(serving.serve(sockets=[listening]))
        while not stop.is_set() and not task.done() and _listens(listening):
            await _pause(stop)
        serving.should_exit = True
        await task
        if not stop.is_set():
            log.error("the control API is gone; calls go on, and it is opened again")
            listening = await _again(bind, listening, stop)


async def _again(bind: Callable[[], socket.socket], lost: socket.socket, stop: asyncio.Event) -> socket.socket:
    lost.close()
    while not stop.is_set():
        with contextlib.suppress(ConfigError):  # somebody else has the port, or no descriptor is left
            listening = bind()
            log.warning("the control API is there again")
            return listening
        await _pause(stop)
    return lost


async def _pause(stop: asyncio.Event) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), LOOK_SECONDS)


def _listens(listening: socket.socket) -> bool:
    try:
        return bool(listening.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    except OSError:
        return False
