"""`policy key` says what it made, the fingerprint to compare, and no secret."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mitschnitt.commands.policy_key import run
from mitschnitt.keeper.role_keys import fingerprint, load_public


@pytest.fixture(name="site")
def a_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "site"
    directory.mkdir(mode=0o700)
    (directory / "config.toml").touch()
    monkeypatch.setenv("MITSCHNITT_ROLE_PASSWORD", "correct-horse-7")
    return directory


def test_it_prints_the_fingerprint_and_no_secret(
    site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(site, "council", out=tmp_path / "k.pem", password_file=None, replace=False, as_json=False)
    said = capsys.readouterr().out
    assert fingerprint(load_public(site, "council")) in said
    assert "counts no longer" not in said
    assert "correct-horse-7" not in said
    assert "PRIVATE" not in said


def test_replacing_says_what_it_means(site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(site, "council", out=tmp_path / "1.pem", password_file=None, replace=False, as_json=False)
    capsys.readouterr()
    run(site, "council", out=tmp_path / "2.pem", password_file=None, replace=True, as_json=False)
    assert "former key signed counts no longer" in capsys.readouterr().out


def test_json_tells_role_file_and_fingerprint(site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(site, "officer", out=tmp_path / "k.pem", password_file=None, replace=False, as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert told == {
        "role": "officer",
        "private_key": str(tmp_path / "k.pem"),
        "fingerprint": fingerprint(load_public(site, "officer")),
    }
