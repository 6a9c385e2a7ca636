"""`agents list` says who works here and never who agreed; `agents key` shows the public half alone."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from commands.keeper_stub import StubDoor
from mitschnitt.commands import agents
from mitschnitt.errors import ConfigError, NotAllowed
from mitschnitt.keeper.role_keys import load_private

LISTED = [
    {"id": "anna", "team": "north", "started": "2024-02-01"},
    {"id": "ben.long", "team": "", "started": ""},
]
PASSWORD = "correct-horse-7"  # noqa: S105 - of a key that this test makes
HERE = Path("/nowhere")


@pytest.fixture
def door(monkeypatch: pytest.MonkeyPatch) -> StubDoor:
    stub = StubDoor({("GET", "/agents"): {"agents": LISTED}})
    stub.behind(monkeypatch, agents)
    return stub


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MITSCHNITT_ROLE_PASSWORD", PASSWORD)
    directory = tmp_path / "site"
    directory.mkdir(mode=0o700)
    return directory


def test_the_list_has_three_columns(door: StubDoor, capsys: pytest.CaptureFixture[str]) -> None:
    agents.list_agents(HERE, role="operator", as_json=False)
    assert capsys.readouterr().out == "anna      2024-02-01  north\nben.long  -           -\n"
    assert door.asked == [("GET", "/agents", {"as": "operator"})]


def test_the_list_as_json_is_what_the_door_said(door: StubDoor, capsys: pytest.CaptureFixture[str]) -> None:
    agents.list_agents(HERE, role="operator", as_json=True)
    assert json.loads(capsys.readouterr().out) == LISTED


def test_an_empty_list_says_what_to_do(door: StubDoor, capsys: pytest.CaptureFixture[str]) -> None:
    door.answers["GET", "/agents"] = {"agents": []}
    agents.list_agents(HERE, role="operator", as_json=False)
    assert "write them into agents.toml" in capsys.readouterr().out


def test_a_role_that_may_not_see_the_list_is_refused(door: StubDoor) -> None:
    door.answers["GET", "/agents"] = NotAllowed("access.agents.role", "no")
    with pytest.raises(NotAllowed, match=r"access\.agents\.role"):
        agents.list_agents(HERE, role="coach", as_json=False)


def test_the_key_that_is_made_opens_with_its_password_and_its_line_fits_agents_toml(
    site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "anna.pem"
    agents.make_key(site, "anna", out=out, password_file=None, as_json=False)
    said = capsys.readouterr().out
    public = base64.b64encode(load_private(out, PASSWORD.encode()).public_key().public_bytes_raw()).decode()
    assert f'\nkey = "{public}"\n' in said
    assert out.stat().st_mode & 0o777 == 0o600
    assert PASSWORD not in said
    assert "PRIVATE" not in said
    assert list(site.iterdir()) == []


def test_the_key_as_json(site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    agents.make_key(site, "anna", out=tmp_path / "k.pem", password_file=None, as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert (told["agent"], told["private_key"]) == ("anna", str(tmp_path / "k.pem"))
    assert len(base64.b64decode(told["key"])) == 32


@pytest.mark.parametrize("name", ["", "Anna", "../anna", "a b", "x" * 65])
def test_what_is_no_id_makes_no_key(site: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="agent: an id has lower-case letters"):
        agents.make_key(site, name, out=tmp_path / "k.pem", password_file=None, as_json=False)
    assert not (tmp_path / "k.pem").exists()


def test_a_key_lies_never_in_the_data_directory(site: Path) -> None:
    with pytest.raises(ConfigError, match="lies inside"):
        agents.make_key(site, "anna", out=site / "k.pem", password_file=None, as_json=False)
    assert list(site.iterdir()) == []
