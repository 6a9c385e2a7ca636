"""agents.toml: what is refused, in which words, and how a change of it counts."""

from __future__ import annotations

import base64
import logging
import os
from pathlib import Path

import pytest

from mitschnitt.errors import ConfigError
from mitschnitt.keeper import agents_file
from mitschnitt.keeper.agents_file import AgentsFile, load_agents

NO_TEAMS: frozenset[str] = frozenset()


def table(name: str, **fields: object) -> str:
    lines: dict[str, object] = {"id": name, "patterns": [f"sip:{name}@example.org"], **fields}
    return "[[agent]]\n" + "".join(f"{key} = {value!r}\n" for key, value in lines.items())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "agents.toml"
    made.write_text(table("anna"))
    return made


@pytest.mark.parametrize(
    "text, says",
    [
        ("[[agent", "is not TOML"),
        ("x = 1", "holds \\[\\[agent\\]\\] tables only, found x"),
        ("agent = 3", "found another kind"),
        ('[[agent]]\nid = "a"\npatterns = ["sip:a@b"]\nconsent = true', "unknown key `consent`"),
        ('[[agent]]\nid = "a"\npatterns = ["sip:a@b"]\n' * 2, "`a` is there twice"),
    ],
)
def test_agents_that_are_none_are_refused(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "agents.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=says):
        load_agents(path)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        load_agents(tmp_path / "none.toml")
    path.write_bytes(b"# \xff")
    with pytest.raises(ConfigError, match="is not UTF-8: .* at byte 2"):
        load_agents(path)
    monkeypatch.setattr(agents_file, "MAX_FILE_BYTES", 2)
    with pytest.raises(ConfigError, match="has more than 2 bytes"):
        load_agents(path)


def test_more_agents_than_a_view_holds_are_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agents_file, "MAX_AGENTS", 1)
    assert len(load_agents(path)) == 1
    path.write_text(table("anna") + table("ben"))
    with pytest.raises(ConfigError, match="2 agents, at most 1"):
        load_agents(path)


def test_what_collides_is_told_with_the_lines_where_both_begin(path: Path) -> None:
    path.write_text("# who works here\n\n" + table("anna") + "\n" + table("ben", patterns=["sip:*"]))
    with pytest.raises(ConfigError, match="line 3: anna and line 7: ben are both known by sip:anna@example.org"):
        load_agents(path)
    key = base64.b64encode(bytes(32)).decode()
    path.write_text(table("anna", key=key) + " [[ agent ]]\n" + table("ben", key=key).partition("\n")[2])
    with pytest.raises(ConfigError, match="line 5: ben and line 1: anna have one `key`"):
        load_agents(path)


def test_where_headings_mislead_the_names_alone_are_told(path: Path) -> None:
    path.write_text(table("anna", team="x").replace("'x'", "'''\n[[agent]]\n'''") + table("ben"))
    assert len(load_agents(path)) == 2
    with pytest.raises(ConfigError, match="agents: anna: `team` must be one"):
        load_agents(path, teams=frozenset({"north"}))


def test_a_team_that_no_group_of_the_policy_has_is_refused(path: Path) -> None:
    path.write_text(table("anna", team="nroth"))
    with pytest.raises(ConfigError, match="line 1: anna: `team` must be one that a .*north.* found 'nroth'"):
        load_agents(path, teams=frozenset({"north"}))
    assert load_agents(path)[0].team == "nroth"


# -- a changed file --------------------------------------------------------------------------------


def test_a_file_that_nobody_changed_is_not_read_again(path: Path) -> None:
    watched = AgentsFile(path)
    assert watched.changed(teams=NO_TEAMS) is None
    os.utime(path, ns=(1, 1))
    assert watched.changed(teams=NO_TEAMS) is not None


def test_a_change_counts_once(path: Path) -> None:
    watched = AgentsFile(path)
    path.write_text(table("anna") + table("ben"))
    found = watched.changed(teams=NO_TEAMS)
    assert found is not None
    assert [agent.id for agent in found] == ["anna", "ben"]
    assert watched.changed(teams=NO_TEAMS) is None


@pytest.mark.parametrize("text", ["[[agent", "x = 1", table("anna") * 2, table("anna", team="nroth")])
def test_a_broken_change_leaves_the_agents_and_is_complained_of_once_without_a_name(
    path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    watched = AgentsFile(path)
    path.write_text(text)
    with caplog.at_level(logging.ERROR):
        assert watched.changed(teams=frozenset({"north"})) is None
        assert watched.changed(teams=frozenset({"north"})) is None
    assert [record.getMessage() for record in caplog.records] == [
        "agents.toml was changed and cannot be read; the agents stay as they were"
    ]
    assert "anna" not in caplog.text


def test_a_file_that_is_gone_leaves_the_agents_until_there_is_one_again(path: Path) -> None:
    watched = AgentsFile(path)
    text = path.read_text()
    path.unlink()
    assert watched.changed(teams=NO_TEAMS) is None
    path.write_text(text + table("ben"))
    assert watched.changed(teams=NO_TEAMS) is not None
