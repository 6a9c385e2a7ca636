"""`policy check`: what it prints and how it exits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mitschnitt import cli
from mitschnitt.commands.init import policy_text
from mitschnitt.commands.policy_check import run
from mitschnitt.gateways.speech import prompt, prompt_entries
from source import ROOT

EXAMPLE = ROOT / "docs" / "policy.example.toml"


def changed(tmp_path: Path, old: str, new: str) -> str:
    text = EXAMPLE.read_text()
    assert old in text
    path = tmp_path / "new.toml"
    path.write_text(text.replace(old, new))
    return str(path)


def test_the_example_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(str(EXAMPLE), tmp_path, as_json=False) == 0
    assert capsys.readouterr().out.endswith("…: 0 errors, 0 warnings\n")


def test_the_policy_that_init_writes_has_warnings_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "init.toml"
    path.write_bytes(policy_text([prompt(entry["name"], entry["language"]) for entry in prompt_entries()]))
    assert run(str(path), tmp_path, as_json=False) == 0
    told = capsys.readouterr().out
    assert "warning: caps: no cap limits how much of anybody's work is recorded" in told
    assert "error" not in told.replace("0 errors", "")


def test_an_error_is_printed_with_line_rule_and_article(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(changed(tmp_path, 'caller = "consent"', 'caller = "contract"'), tmp_path, as_json=False) == 1
    first, last = capsys.readouterr().out.splitlines()
    assert first == (
        "error: line 21, [[purpose]] 1 caller: training: a clause in the caller's contract is a notice, never a grant "
        "(Art. 7(2), 7(4) GDPR, recital 43) [policy.basis.contract]"
    )
    assert last.endswith("…: 1 error, 0 warnings")


def test_json_says_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(changed(tmp_path, '"P30D"', '"P60D"'), tmp_path, as_json=True) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["errors"], told["warnings"]) == (0, 1)
    assert told["findings"] == [
        {
            "rule": "policy.retention.long",
            "article": "Art. 5(1)(e) GDPR",
            "where": "[[purpose]] 1 retention",
            "line": 20,
            "sentence": "training: P60D is longer than the usual P30D (CNIL: 6 months; CNPD 629/2010: 30 days)",
            "error": False,
        }
    ]


@pytest.mark.parametrize("old, new, code", [("#", "#", 0), ('"P30D"', '"P60D"', 0), ('"P30D"', '"P9Y"', 1)])
def test_the_command_exits_by_what_it_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], old: str, new: str, code: int
) -> None:
    monkeypatch.setattr("sys.argv", ["mitschnitt", "policy", "check", changed(tmp_path, old, new)])
    with pytest.raises(SystemExit) as exited:
        cli.main()
    assert exited.value.code == code
    assert capsys.readouterr().err == ""


def test_a_file_that_is_no_policy_is_wrong_usage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = changed(tmp_path, "people = 5", "people = five")
    monkeypatch.setattr("sys.argv", ["mitschnitt", "policy", "check", path])
    with pytest.raises(SystemExit) as exited:
        cli.main()
    assert exited.value.code == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err == f"mitschnitt: {path}: not TOML: Invalid value (at line 68, column 10)\n"
