"""The command line as a person or a script meets it: verbs, help, and what an error becomes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from mitschnitt import __version__, cli
from mitschnitt.commands.doctor_client import Wish
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


def test_doctor_looks_at_a_site_or_with_client_at_an_sbc(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def run(_directory: Path, wish: object, *, as_json: bool) -> int:
        asked.append((wish, as_json))
        return 0

    monkeypatch.setattr(cli.verb("doctor_client"), "run", run)
    shown("doctor", "--client", "192.0.2.1;transport=tcp", "--wait", "5", "--caller", "+49", "--json")
    shown("doctor", "--client", "192.0.2.1")
    assert asked == [(Wish("192.0.2.1;transport=tcp", 5, "+49"), True), (Wish("192.0.2.1", 60, ""), False)]


def test_serve_serves_or_ends_the_one_that_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def serve(directory: Path) -> int:
        asked.append(directory)
        return 0

    def drain(directory: Path, *, within: str, as_json: bool) -> int:
        asked.append((directory, within, as_json))
        return 0

    monkeypatch.setattr(cli.verb("serve"), "run", serve)
    monkeypatch.setattr(cli.verb("drain"), "run", drain)
    shown("serve", "--dir", "a")
    shown("serve", "--dir", "b", "--drain", "--within", "15m", "--json")
    shown("serve", "--dir", "c", "--drain")
    assert asked == [Path("a"), (Path("b"), "15m", True), (Path("c"), "", False)]


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


CALL = "0" * 25 + "1"


@pytest.mark.parametrize(
    "arguments, code, sentence",
    [
        ("call list", 3, "is `mitschnitt serve` running"),
        (f"call erase {CALL}", 3, "is `mitschnitt serve` running"),
        (f"play {CALL} --purpose training --out new.wav", 3, "is `mitschnitt serve` running"),
        ("call list --as boss", 2, "role: expected one of caller, agent, coach, officer, council, operator"),
        ("call show nonsense", 2, "call: a call id has 26 characters"),
        (f"call why {CALL} --key nowhere.pem", 2, "key: cannot read nowhere.pem: No such file or directory"),
        (f"play {CALL} --purpose training --out there.wav", 2, "play: there.wav exists"),
        (f"play {CALL} --purpose training --out no/new.wav", 2, "play: no is no directory"),
        ("serve", 2, "`mitschnitt init DIR` makes one"),
        ("init there.wav", 2, "there.wav exists; init makes a new directory"),
        ("init there.wav/new", 1, "there.wav/new: Not a directory"),
        ("demo --scene coaching", 2, "demo: there are the scenes calls and week, found 'coaching'"),
        ("demo --calls 1 --keep there.wav", 2, "there.wav exists; --keep wants a new directory"),
    ],
)
def test_a_strangers_mistakes_are_one_sentence_and_the_promised_exit_code(
    arguments: str,
    code: int,
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.wav").write_text("mine")
    monkeypatch.setattr(sys, "argv", ["mitschnitt", *arguments.split()])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == code
    told = capsys.readouterr()
    assert sentence in told.err
    assert told.err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["there.wav"]
    assert (tmp_path / "there.wav").read_text() == "mine"
