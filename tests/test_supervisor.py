"""Who starts the parts: they come back when they die, end on request, and only one supervisor runs a directory."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mitschnitt.config import Config, parse_config
from mitschnitt.errors import ConfigError
from mitschnitt.supervisor import REFUSED_TO_START, Supervisor, one_serve_only

ENOUGH_SECONDS = 60.0  # far above what a start takes; only a broken test waits so long

# A part that says that it lives, and ends when it is told to.
LIVING = """
import pathlib, signal, sys
home = pathlib.Path(sys.argv[2])
name = "-".join([sys.argv[1], *sys.argv[3:]])
def end(*_):
    with (home / "ends").open("a") as file: file.write(name + "\\n")
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
with (home / "starts").open("a") as file: file.write(name + "\\n")
while True: signal.pause()
"""
REFUSING = f"import sys; sys.exit({REFUSED_TO_START} if sys.argv[1] == 'recorder' else __import__('signal').pause())"


# The first recorder dies at once, the second takes its time to end.
WAVERING = """
import os, pathlib, signal, sys, time
home = pathlib.Path(sys.argv[2])
with (home / "pids").open("a") as file: file.write(f"{os.getpid()}\\n")
if sys.argv[3:] == ["1"]: sys.exit(1)
def end(*_):
    time.sleep(2.5)
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
while True: signal.pause()
"""
ALONE = """
import asyncio, pathlib, sys
from mitschnitt.config import parse_config
from mitschnitt.supervisor import Supervisor
asyncio.run(Supervisor(parse_config("", pathlib.Path(sys.argv[1])), module="living_part").run())
"""


@pytest.fixture(name="config")
def new_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    home = tmp_path / "home"
    home.mkdir()
    (tmp_path / "living_part.py").write_text(LIVING)
    (tmp_path / "wavering_part.py").write_text(WAVERING)
    (tmp_path / "refusing_part.py").write_text(REFUSING)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    assert sys.executable
    return parse_config("[limits]\nrecorders = 2\n", home)


def lines(path: Path) -> list[str]:
    return path.read_text().split() if path.exists() else []


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(ENOUGH_SECONDS):
        while not condition():
            await asyncio.sleep(0.01)


def test_there_is_one_keeper_and_as_many_recorders_as_configured(config: Config) -> None:
    supervisor = Supervisor(config)
    assert supervisor.keeper.arguments == ("keeper", str(config.directory))
    assert [part.name for part in supervisor.recorders] == ["recorder-1", "recorder-2"]


def test_parts_are_started_started_again_and_ended_recorders_first(config: Config) -> None:
    home = config.directory

    async def live() -> int:
        supervisor = Supervisor(config, module="living_part")
        running = asyncio.create_task(supervisor.run())
        await until(lambda: len(lines(home / "starts")) == 3)
        killed = int((config.run / "recorder-1.pid").read_text())
        os.kill(killed, signal.SIGKILL)
        await until(lambda: len(lines(home / "starts")) == 4)
        assert supervisor.recorders[0].restarts == 1
        os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(ENOUGH_SECONDS):
            return await running

    assert asyncio.run(live()) == 0
    assert sorted(lines(home / "starts")) == ["keeper", "recorder-1", "recorder-1", "recorder-2"]
    assert sorted(lines(home / "ends")[:2]) == ["recorder-1", "recorder-2"]
    assert lines(home / "ends")[2:] == ["keeper"]


def test_a_part_that_refuses_its_configuration_ends_all(config: Config) -> None:
    async def live() -> int:
        async with asyncio.timeout(ENOUGH_SECONDS):
            return await Supervisor(config, module="refusing_part").run()

    assert asyncio.run(live()) == REFUSED_TO_START


# The first recorder drains when it is told to by a file; parts say that they are ready.
DRAINING = """
import pathlib, signal, sys, time
from mitschnitt.notify import DRAINED, notify
home = pathlib.Path(sys.argv[2])
name = "-".join([sys.argv[1], *sys.argv[3:]])
with (home / "starts").open("a") as file: file.write(name + "\\n")
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
notify(READY=1, X_PART=name)
while not (sys.argv[3:] and (home / f"drain-{sys.argv[3]}").exists()): time.sleep(0.01)
sys.exit(DRAINED)
"""


def test_serve_ends_when_the_last_recorder_has_drained_and_starts_none_again(config: Config, tmp_path: Path) -> None:
    (tmp_path / "draining_part.py").write_text(DRAINING)
    home = config.directory

    async def live() -> int:
        supervisor = Supervisor(config, module="draining_part")
        running = asyncio.create_task(supervisor.run())
        await until(lambda: len(lines(home / "starts")) == 3)
        (home / "drain-1").touch()
        await until(lambda: supervisor.recorders[0].has_drained)
        assert not running.done()
        (home / "drain-2").touch()
        async with asyncio.timeout(ENOUGH_SECONDS):
            return await running

    assert asyncio.run(live()) == 0
    assert sorted(lines(home / "starts")) == ["keeper", "recorder-1", "recorder-2"]


def test_a_drain_is_ended_by_a_signal_too(config: Config, tmp_path: Path) -> None:
    (tmp_path / "draining_part.py").write_text(DRAINING)

    async def live() -> int:
        supervisor = Supervisor(config, module="draining_part")
        running = asyncio.create_task(supervisor.run())
        (config.directory / "drain-1").touch()
        await until(lambda: supervisor.recorders[0].has_drained)
        os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(ENOUGH_SECONDS):
            return await running

    assert asyncio.run(live()) == 0


def test_systemd_is_told_once_that_all_are_ready_then_of_the_watch_and_of_the_end(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "draining_part.py").write_text(DRAINING)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "systemd.sock"))
        systemd.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "systemd.sock"))
        monkeypatch.setenv("WATCHDOG_USEC", "100000")
        told: list[str] = []

        def heard(word: str) -> bool:
            with contextlib.suppress(BlockingIOError):
                while True:
                    told.append(systemd.recv(1_000).decode())
            return any(message.startswith(word) for message in told)

        async def live() -> int:
            supervisor = Supervisor(config, module="draining_part")
            running = asyncio.create_task(supervisor.run())
            await until(lambda: heard("READY=1"))
            assert all(part.is_ready for part in (supervisor.keeper, *supervisor.recorders))
            os.kill(supervisor.recorders[0].process.pid, signal.SIGKILL)  # type: ignore[union-attr]  # it runs
            await until(lambda: supervisor.recorders[0].restarts == 1 and len(lines(config.directory / "starts")) == 4)
            told.clear()
            await until(lambda: heard("WATCHDOG=1"))
            os.kill(os.getpid(), signal.SIGTERM)
            return await running

        assert asyncio.run(live()) == 0
        assert heard("STOPPING=1")
        assert not heard("READY=1")


def test_a_second_serve_on_the_same_directory_is_refused(tmp_path: Path) -> None:
    lock = tmp_path / "serve.lock"
    with one_serve_only(lock), pytest.raises(ConfigError, match="another `mitschnitt serve`"), one_serve_only(lock):
        pass
    with one_serve_only(lock):
        assert lock.exists()


def test_a_part_that_waits_for_its_next_start_is_not_started_while_the_others_end(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mitschnitt.supervisor.FIRST_RETRY_SECONDS", 1.0)  # twice that is less than the others take

    async def live() -> int:
        supervisor = Supervisor(config, module="wavering_part")
        running = asyncio.create_task(supervisor.run())
        await until(lambda: supervisor.recorders[0].restarts > 0 and len(lines(config.directory / "pids")) >= 3)
        started = len(lines(config.directory / "pids"))
        os.kill(os.getpid(), signal.SIGTERM)
        code = await running
        assert len(lines(config.directory / "pids")) == started
        return code

    assert asyncio.run(live()) == 0
    assert [pid for pid in lines(config.directory / "pids") if Path(f"/proc/{pid}").exists()] == []


def test_a_system_that_gives_no_process_is_asked_again(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    real = asyncio.create_subprocess_exec
    refused: list[tuple[str, ...]] = []

    async def refusing(*command: str, **named: Any) -> asyncio.subprocess.Process:
        if not refused:
            refused.append(command)
            raise OSError(errno.EAGAIN, "no process")
        return await real(*command, **named)

    monkeypatch.setattr(asyncio, "create_subprocess_exec", refusing)

    async def live() -> int:
        running = asyncio.create_task(Supervisor(config, module="living_part").run())
        await until(lambda: len(lines(config.directory / "starts")) == 3)
        os.kill(os.getpid(), signal.SIGTERM)
        return await running

    assert asyncio.run(live()) == 0
    assert len(refused) == 1


def test_parts_that_outlive_their_supervisor_keep_a_second_one_out(config: Config) -> None:
    async def live() -> None:
        home = config.directory
        alone = await asyncio.create_subprocess_exec(sys.executable, "-c", ALONE, str(home))
        await until(lambda: len(lines(home / "starts")) == 2)
        alone.kill()
        await alone.wait()
        pids = [int((config.run / f"{name}.pid").read_text()) for name in ("keeper", "recorder-1")]
        try:
            with (
                pytest.raises(ConfigError, match="another `mitschnitt serve`"),
                one_serve_only(config.run / "serve.lock"),
            ):
                pass
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGTERM)
        await until(lambda: len(lines(home / "ends")) == 2)
        await until(lambda: not any(is_running(pid) for pid in pids))
        with one_serve_only(config.run / "serve.lock"):
            pass

    asyncio.run(live())


def is_running(pid: int) -> bool:
    """Whether it has not ended; one that nobody waited for yet has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
