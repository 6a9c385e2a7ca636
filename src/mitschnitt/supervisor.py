"""`serve`: starts keeper and recorders, starts them again when they die, ends them sealed on SIGTERM or when drained.

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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mitschnitt.config import Config
from mitschnitt.errors import ConfigError
from mitschnitt.notify import DRAINED, VARIABLE, hearing, notify, watchdog_seconds

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
    is_ready: bool = False  # it said so
    has_drained: bool = False  # it has no calls any more and takes none: it is not started again
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
        heard = self._config.run / "serve.sock"
        with one_serve_only(self._config.run / "serve.lock") as self._lock, hearing(heard, self._told):
            for part in self._parts:
                part.task = asyncio.create_task(self._keep_running(part))
            petting = asyncio.create_task(_pet(watchdog_seconds()))
            code = await self._until_over(asyncio.create_task(stop.wait()))
            notify(STOPPING=1)
            await self._stop()
            petting.cancel()
            return code

    @property
    def _parts(self) -> list[Part]:
        return [self.keeper, *self.recorders]

    async def _until_over(self, stopped: asyncio.Task[bool]) -> int:
        """Until somebody ends us, every recorder has drained, or a part will not be started again; its exit code."""
        while True:
            running = [part.task for part in self._parts if part.task is not None and not part.has_drained]
            done, _ = await asyncio.wait([stopped, *running], return_when=asyncio.FIRST_COMPLETED)
            refused = [part for part in self._parts if part.task in done and not part.has_drained]
            if stopped in done or refused or all(part.has_drained for part in self.recorders):
                stopped.cancel()
                return next((part.task.result() for part in refused if part.task is not None), 0)

    def _told(self, fields: Mapping[str, str]) -> None:
        """A part is ready, and maybe it was the last; systemd wants to hear of the first time only."""
        waiting = [part for part in self._parts if not part.is_ready]
        for part in waiting:
            part.is_ready = fields.get("READY") == "1" and fields.get("X_PART") == part.name
        if waiting and all(part.is_ready for part in self._parts):
            notify(READY=1, STATUS=f"keeper and {len(self.recorders)} recorders")
            log.info("keeper and recorders are ready", extra={"count": len(self.recorders)})

    async def _keep_running(self, part: Part) -> int:
        wait = FIRST_RETRY_SECONDS
        while not self._stopping.is_set():
            started = time.monotonic()
            code = await self._live(part)
            if self._stopping.is_set():
                break
            if code == REFUSED_TO_START:
                log.error("a part refused to start; its reason stands above", extra={"which": part.name})
                return code
            if code == DRAINED:
                part.has_drained = True
                log.info("a recorder has drained and ended", extra={"which": part.name})
                return 0
            part.restarts += 1
            log.warning("a part ended; it is started again", extra={"which": part.name, "code": code})
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
            part.process = await asyncio.create_subprocess_exec(*command, pass_fds=(self._lock,), env=self._environment)
        except OSError as error:
            log.error("a part could not be started", extra={"which": part.name, "errno": error.errno})
            return NOT_STARTED
        (self._config.run / f"{part.name}.pid").write_text(f"{part.process.pid}\n")
        if self._stopping.is_set():  # it was being made when the others were told to end
            part.process.terminate()
        return await part.process.wait()

    @property
    def _environment(self) -> dict[str, str]:
        """Parts tell us, not systemd, when they are ready."""
        return {**os.environ, VARIABLE: str(self._config.run / "serve.sock")}

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
                told = {"which": part.name, "seconds": SEAL_SECONDS}
                log.error("a part did not end in time; it is killed, its calls close as truncated", extra=told)
                _signal(part, signal.SIGKILL)
        if late:
            await asyncio.wait(late)


async def _pet(every: float | None) -> None:
    """Tells systemd's watchdog that this loop turns, twice as often as it wants to hear."""
    while every is not None:
        notify(WATCHDOG=1)
        await asyncio.sleep(every / 2)


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
