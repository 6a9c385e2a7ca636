"""`policy diff`: what it prints of two policies, signed or not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mitschnitt.commands.policy_diff import run
from mitschnitt.errors import ConfigError
from source import ROOT

EXAMPLE = ROOT / "docs" / "policy.example.toml"


@pytest.fixture(name="new")
def another_policy(tmp_path: Path) -> str:
    path = tmp_path / "new.toml"
    text = EXAMPLE.read_text().replace('"P30D"', '"P60D"').replace("agent_week = 2\n", "").replace('"*9"', '"*99"')
    path.write_text(text)
    return str(path)


def test_changes_stand_under_those_whom_they_concern(
    new: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(str(EXAMPLE), new, tmp_path, as_json=False)
    assert capsys.readouterr().out.splitlines()[1:] == [
        "",
        "callers and third parties:",
        "  consent is withdrawn by *99 (was *9)",
        "",
        "agents:",
        "  no longer: draws per agent and week are at most 2",
        "",
        "how long:",
        "  training: is kept for P60D (was P30D)",
    ]


def test_json_says_the_same(new: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(str(EXAMPLE), new, tmp_path, as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert [change["key"] for change in told["changes"]] == [
        "asking.withdraw",
        "caps.agent_week",
        "purpose.training.retention",
    ]
    assert told["changes"][1] == {
        "concerns": "agents",
        "key": "caps.agent_week",
        "was": "2",
        "becomes": None,
        "sentence": "no longer: draws per agent and week are at most 2",
    }


def test_a_policy_has_no_difference_to_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(str(EXAMPLE), str(EXAMPLE), tmp_path, as_json=False)
    assert capsys.readouterr().out.endswith("nothing that applies to anybody changes\n")


def test_what_is_no_policy_has_no_differences(new: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        run(str(tmp_path / "nothing.toml"), new, tmp_path, as_json=False)
    assert capsys.readouterr().out == ""
