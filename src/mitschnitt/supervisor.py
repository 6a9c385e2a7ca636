"""`serve`: starts keeper and recorders, starts them again when they die, ends them sealed on SIGTERM.

Holds no key and no audio; knows process ids and exit codes only.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mitschnitt.config import Config
from mitschnitt.errors import ConfigError

FIRST_RETRY_SECONDS = 0.1  # a killed part is back before its callers notice
LAST_RETRY_SECONDS = 5.0  # a part that cannot start must not eat the machine
STEADY_SECONDS = 10.0  # a part that lived this long starts again at once
SEAL_SECONDS = 30.0  # how long recorders may take to seal running calls
REFUSED_TO_START = 2  # exit code of a part whose configuration is wrong: starting it again would not help
NOT_STARTED = -1  # in place of an exit code: the system gave no process

log = logging.getLogger("mitschnitt.serve")


@dataclass(slots=True)
class Part:
    """One supervised process."""

    name: str
    arguments: Sequence[str]
    process: asyncio.subprocess.Process | None = None
    restarts: int = 0
    task: asyncio.Task[int] | None = field(default=None)


class Supervisor:
    """Runs the parts of one directory until told to stop."""

    def __init__(self, config: Config, *, module: str = "mitschnitt.processes") -> None:
        self._config = config
        self._module = module
        self._stopping = asyncio.Event()
        self._lock = -1
        here = str(config.directory)
        recorders = range(1, config.limits.recorders + 1)
        self.keeper = Part("keeper", ("keeper", here))
        self.recorders = [Part(f"recorder-{n}", ("recorder", here, str(n))) for n in recorders]

    async def run(self) -> int:
        """Until SIGTERM or SIGINT (0), or until a part refuses its configuration (its exit code)."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        os.umask(0o077)
        self._config.run.mkdir(mode=0o700, exist_ok=True)
        with one_serve_only(self._config.run / "serve.lock") as self._lock:
            parts = [self.keeper, *self.recorders]
            for part in parts:
                part.task = asyncio.create_task(self._keep_running(part))
            stopped = asyncio.create_task(stop.wait())
            tasks = [part.task for part in parts if part.task is not None]
            await asyncio.wait([stopped, *tasks], return_when=asyncio.FIRST_COMPLETED)
            code = next((task.result() for task in tasks if task.done()), 0)
            await self._stop()
            stopped.cancel()
            return code

    async def _keep_running(self, part: Part) -> int:
        wait = FIRST_RETRY_SECONDS
        while not self._stopping.is_set():
            started = time.monotonic()
            code = await self._live(part)
            if self._stopping.is_set():
                break
            if code == REFUSED_TO_START:
                log.error("%s refused to start; its reason stands above", part.name)
                return code
            part.restarts += 1
            log.warning("%s ended with code %d; it is started again", part.name, code)
            wait = (
                FIRST_RETRY_SECONDS
                if time.monotonic() - started > STEADY_SECONDS
                else min(wait * 2, LAST_RETRY_SECONDS)
            )
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), wait)
        return 0

    async def _live(self, part: Part) -> int:
        """One life of a part; its exit code."""
        command = (sys.executable, "-m", self._module, *part.arguments)
        try:
            # The lock goes along: as long as a part lives, even without us, no second serve may answer its calls.
            part.process = await asyncio.create_subprocess_exec(*command, pass_fds=(self._lock,))
        except OSError as error:
            log.error("%s could not be started: %s", part.name, error.strerror)
            return NOT_STARTED
        (self._config.run / f"{part.name}.pid").write_text(f"{part.process.pid}\n")
        if self._stopping.is_set():  # it was being made when the others were told to end
            part.process.terminate()
        return await part.process.wait()

    async def _stop(self) -> None:
        # Recorders first: what they seal on the way out, the keeper must still take.
        self._stopping.set()
        await self._end(self.recorders)
        await self._end([self.keeper])

    async def _end(self, parts: Sequence[Part]) -> None:
        for part in parts:
            _signal(part, signal.SIGTERM)
        tasks = [part.task for part in parts if part.task is not None]
        _, late = await asyncio.wait(tasks, timeout=SEAL_SECONDS)
        for part in parts:
            if part.task in late:
                log.error("%s did not end within %d s; killed, its calls close as truncated", part.name, SEAL_SECONDS)
                _signal(part, signal.SIGKILL)
        if late:
            await asyncio.wait(late)


def _signal(part: Part, number: signal.Signals) -> None:
    if part.process is not None and part.process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            part.process.send_signal(number)


@contextlib.contextmanager
def one_serve_only(path: Path) -> Iterator[int]:
    """Hold the lock of this directory, the descriptor of which is given; ConfigError when another process does."""
    handle = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        raise ConfigError(f"serve: another `mitschnitt serve` holds {path}; two would answer the same calls") from error
    try:
        yield handle
    finally:
        os.close(handle)
