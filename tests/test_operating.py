"""docs/operating.md names every command, every exit code, everything that `init` makes and that `doctor` looks at."""

from __future__ import annotations

import hashlib
import re
import subprocess
from pathlib import Path
from typing import Any

import typer.main

from mitschnitt import cli, exit_codes
from mitschnitt.commands import doctor
from mitschnitt.commands.init import provision
from mitschnitt.recorder.sip_accounts import read_secrets
from mitschnitt.wire.sip.accounts import Secret
from mitschnitt.wire.sip.digest import Algorithm
from source import ROOT

PAGE = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")


def commands(command: Any, path: str) -> list[str]:
    subs = getattr(command, "commands", None)
    return [found for name, sub in subs.items() for found in commands(sub, f"{path} {name}")] if subs else [path]


def test_every_command_is_on_the_page() -> None:
    there = commands(typer.main.get_command(cli.app), "mitschnitt")
    assert "mitschnitt call why" in there
    assert [command for command in there if f"`{command}" not in PAGE] == []


def test_every_command_on_the_page_exists() -> None:
    there = commands(typer.main.get_command(cli.app), "mitschnitt")
    named = re.findall(
        r"^(?:\| )?`?(mitschnitt (?:(?:call|bench|policy|draw|figures|agents(?: consent)?) )?[a-z]+)\b",
        PAGE,
        re.MULTILINE,
    )
    assert len(named) >= len(there) - 1  # one row is for two commands
    assert [command for command in named if command not in there] == []


def test_every_exit_code_has_its_row() -> None:
    codes = [value for name, value in vars(exit_codes).items() if name.isupper()]
    assert sorted(codes) == [int(code) for code in re.findall(r"^\| (\d) \|", PAGE, re.MULTILINE)]


def test_everything_that_init_makes_has_its_row(tmp_path: Path) -> None:
    provision(tmp_path / "site", allow_unsigned_policy=False)
    made = {path.name for path in (tmp_path / "site").iterdir()}
    rows = set(re.findall(r"^\| `([a-z.]+)", PAGE, re.MULTILINE))
    assert made - rows == set()
    assert {path.name.replace("site", "<DIR>") for path in tmp_path.iterdir()} - {"<DIR>"} == set(
        re.findall(r"^\| `(<DIR>[a-z.]+)/`", PAGE, re.MULTILINE)
    )


def test_everything_that_doctor_looks_at_has_its_row(tmp_path: Path) -> None:
    provision(tmp_path / "site", allow_unsigned_policy=True)
    looked_at = {finding.subject for finding in doctor.examine(tmp_path / "site")}
    assert [subject for subject in looked_at if subject not in PAGE] == []


def test_the_line_that_adds_a_sip_user_makes_one_that_is_read(tmp_path: Path) -> None:
    (line,) = [row for row in PAGE.splitlines() if row.startswith("umask 077; read")]
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    script = line.replace("/srv/site", str(tmp_path))
    subprocess.run(["bash", "-c", script], input=b"pass word\n", check=True, capture_output=True)
    (found,) = read_secrets(secrets / "sip-users")
    assert found == Secret("sbc-1", "mitschnitt", Algorithm.SHA256, found.ha1)
    assert found.ha1 == hashlib.sha256(b"sbc-1:mitschnitt:pass word").hexdigest()
