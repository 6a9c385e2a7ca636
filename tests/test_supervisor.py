"""Who starts the parts: they come back when they die, end on request, and only one supervisor runs a directory."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mitschnitt.config import Config, parse_config
from mitschnitt.errors import ConfigError
from mitschnitt.supervisor import REFUSED_TO_START, Supervisor, one_serve_only

ENOUGH_SECONDS = 20.0  # far above what a start takes; only a broken test waits so long

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


@pytest.fixture(name="config")
def new_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    home = tmp_path / "home"
    home.mkdir()
    (tmp_path / "living_part.py").write_text(LIVING)
    (tmp_path / "refusing_part.py").write_text(REFUSING)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
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


def test_a_second_serve_on_the_same_directory_is_refused(tmp_path: Path) -> None:
    lock = tmp_path / "serve.lock"
    with one_serve_only(lock), pytest.raises(ConfigError, match="another `mitschnitt serve`"), one_serve_only(lock):
        pass
    with one_serve_only(lock):
        assert lock.exists()
