"""What the supervisor starts: the right part, with its configuration, or a refusal that is not tried again."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mitschnitt import processes
from mitschnitt.config import Config
from mitschnitt.errors import ConfigError
from mitschnitt.supervisor import REFUSED_TO_START


@pytest.fixture(name="site")
def directory_with_a_port(tmp_path: Path) -> Path:
    (tmp_path / "config.toml").write_text("[sip]\nport = 15099\n", encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("part, numbers", [("keeper", []), ("recorder", ["3"])])
def test_a_part_runs_with_the_directorys_configuration(
    part: str, numbers: list[str], site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, name = processes.PARTS[part]
    seen: list[tuple[int, tuple[int, ...]]] = []

    def run(config: Config, *given: int) -> int:
        seen.append((config.sip.port, given))
        return 7

    monkeypatch.setattr(importlib.import_module(module), name, run)
    assert processes.main([part, str(site), *numbers]) == 7
    assert seen == [(15099, tuple(int(number) for number in numbers))]


def test_a_wrong_configuration_is_told_and_not_tried_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert processes.main(["keeper", str(tmp_path)]) == REFUSED_TO_START
    assert capsys.readouterr().err.startswith("mitschnitt keeper: config: cannot read ")


def test_a_part_that_refuses_on_its_own_is_not_tried_again(
    site: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(_config: Config, _number: int) -> int:
        raise ConfigError("rtp: no port is free")

    monkeypatch.setattr(importlib.import_module("mitschnitt.recorder.process"), "run_recorder", run)
    assert processes.main(["recorder", str(site), "1"]) == REFUSED_TO_START
    assert capsys.readouterr().err == "mitschnitt recorder: rtp: no port is free\n"


CHILD = """
import signal, sys, time
from mitschnitt.processes import end_with_parent
end_with_parent()
signal.signal(signal.SIGTERM, lambda *_: (print(2, flush=True), sys.exit()))
print(1, flush=True)
time.sleep(30)
"""
PARENT = """
import os, subprocess, sys
subprocess.Popen([sys.executable, "-c", sys.argv[1]])
os.read(0, 1)
os.kill(os.getpid(), 9)
"""


def test_a_part_whose_supervisor_is_killed_is_told_to_end() -> None:
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", PARENT, CHILD]
    with subprocess.Popen(command, env=paths, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"1\n"
        parent.stdin.write(b"x")
        parent.stdin.flush()
        assert parent.stdout.read() == b"2\n"  # until the child is gone, and with it its end of the pipe
