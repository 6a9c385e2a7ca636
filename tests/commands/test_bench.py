"""`bench`: which there are, whose help is shown, and what is missing."""

from __future__ import annotations

import shutil
import sys
import tomllib

import pytest

from mitschnitt import cli
from mitschnitt.commands import bench
from mitschnitt.errors import ConfigError
from source import PACKAGE, ROOT


def test_a_bench_that_does_not_exist_is_wrong_usage_and_the_others_are_named() -> None:
    with pytest.raises(ConfigError, match="there is calls, capture, curve, draw, play, silence, soak, found 'speed'"):
        bench.run("speed", [])


def test_arguments_and_exit_code_are_the_benchs_own(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []

    def measure(arguments: list[str]) -> int:
        seen.append(arguments)
        return 1

    monkeypatch.setitem(bench.BENCHES, "capture", measure)
    monkeypatch.setattr(shutil, "which", lambda _: "/usr/bin/cc")
    assert bench.run("capture", ["--streams", "6"]) == 1
    assert seen == [["--streams", "6"]]


def test_without_a_compiler_nothing_is_measured_but_help_is_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(ConfigError, match="no C compiler `cc` on PATH"):
        bench.run("capture", ["--streams", "6"])
    with pytest.raises(SystemExit) as ended:
        bench.run("capture", ["--help"])
    assert ended.value.code == 0
    assert "--streams" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments, code, words",
    [
        (["bench", "capture", "--help"], 0, "--finish-threads"),
        (["bench", "calls", "--help"], 0, "--overload"),
        (["bench", "draw", "--help"], 0, "--uniform"),
        (["bench", "play", "--help"], 0, "--ranges"),
        (["bench", "--help"], 0, "capture"),
        (["bench", "capture", "--nonsense"], 2, "unrecognized arguments: --nonsense"),
        (["bench", "nonsense"], 2, "nonsense"),
        (["bench", "capture", "--streams", "many"], 2, "such as 500,1000; found 'many'"),
        (["bench", "capture", "--streams", "500,0"], 2, "found '500,0'"),
        (["bench", "capture", "--dir", "/nowhere"], 2, "expected a directory that exists, found '/nowhere'"),
    ],
)
def test_the_command_line_hands_options_on(
    arguments: list[str], code: int, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["mitschnitt", *arguments])
    monkeypatch.setattr(shutil, "which", lambda _: "/usr/bin/cc")
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == code
    told = capsys.readouterr()
    assert words in told.out + told.err


def test_the_c_programs_are_shipped_with_the_package() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert "**/*.c" in settings["tool"]["setuptools"]["package-data"]["mitschnitt"]
    assert {path.name for path in (PACKAGE / "gateways" / "bench").glob("*.c")} == {"capture_floor.c", "generator.c"}
