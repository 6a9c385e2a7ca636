"""The command line as a person or a script meets it: verbs, help, and what an error becomes."""

from __future__ import annotations

import re
import subprocess
import sys
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from mitschnitt import __version__, cli
from mitschnitt.errors import ConfigError, KeyGone, MalformedPacket, MitschnittError, NotAllowed
from source import PACKAGE

VERBS = ("init", "serve", "demo", "call", "play", "bench", "doctor")


def shown(*arguments: str) -> str:
    result = CliRunner().invoke(cli.app, arguments, env={"NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "120"})
    assert result.exit_code == 0, result.output
    return result.output


def test_help_names_every_verb_and_nothing_heavy_is_loaded() -> None:
    text = shown("--help")
    assert [verb for verb in VERBS if not re.search(rf"\b{verb}\b", text)] == []


HEAVY = {"numpy", "sqlalchemy", "cryptography", "httpx", "fastapi", "uvicorn", "uvloop"}


@pytest.mark.parametrize("arguments", [("--help",), ("--version",), ("call", "--help"), ("bench", "--help")])
def test_help_imports_nothing_that_takes_long(arguments: tuple[str, ...]) -> None:
    environment = {"PYTHONPATH": str(PACKAGE.parent)}
    command = [sys.executable, "-X", "importtime", "-m", "mitschnitt", *arguments]
    told = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    imported = {line.rpartition("|")[2].strip() for line in told.stderr.splitlines() if "import time:" in line}
    assert "mitschnitt.cli" in imported
    assert {name.partition(".")[0] for name in imported} & HEAVY == set()
    assert [name for name in imported if name.startswith("mitschnitt.commands.")] == []


JSON_VERBS = ("init", "call list", "call show", "call why", "call erase", "play", "doctor")


@pytest.mark.parametrize("verb", JSON_VERBS)
def test_every_verb_that_prints_facts_prints_json_too(verb: str) -> None:
    assert "--json" in shown(*verb.split(), "--help")


def test_calls_are_listed_shown_explained_and_erased() -> None:
    text = shown("call", "--help")
    assert [verb for verb in ("list", "show", "why", "erase") if not re.search(rf"\b{verb}\b", text)] == []


def test_the_version_is_the_packages() -> None:
    assert shown("--version").strip() == f"mitschnitt {__version__}"


def test_a_verb_is_loaded_when_it_is_called_and_not_before() -> None:
    assert cli.verb("serve").__name__ == "mitschnitt.commands.serve"


@pytest.mark.parametrize(
    "error, code, sentence",
    [
        (NotAllowed("access.role.purpose", "the coach hears, you do not"), 1, "refused: .*access.role.purpose"),
        (ConfigError("config: no such key"), 2, "mitschnitt: config: no such key"),
        (MalformedPacket("the keeper sent nothing"), 3, "mitschnitt: the keeper sent nothing"),
        (KeyGone("no key opens this"), 1, "mitschnitt: no key opens this"),
    ],
)
def test_an_error_becomes_one_sentence_and_an_exit_code(
    error: MitschnittError,
    code: int,
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(cli, "verb", lambda _: SimpleNamespace(run=refuse))
    monkeypatch.setattr(sys, "argv", ["mitschnitt", "doctor"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == code
    told = capsys.readouterr()
    assert re.fullmatch(rf"{sentence}.*\n", told.err)
    assert told.out == ""


def test_a_wrong_switch_is_wrong_usage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["mitschnitt", "doctor", "--nonsense"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2


def test_the_verbs_exit_code_is_the_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "verb", lambda _: SimpleNamespace(run=lambda *_, **__: 4))
    monkeypatch.setattr(sys, "argv", ["mitschnitt", "doctor"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 4
