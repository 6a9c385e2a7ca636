"""Which policy a verb is given: a file, or the hash of one in the directory; a wrong one is told with file and line."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from mitschnitt.commands.policy_file import read_policy
from mitschnitt.errors import ConfigError
from source import ROOT

EXAMPLE = ROOT / "docs" / "policy.example.toml"


@pytest.fixture(name="site")
def with_two_policies(tmp_path: Path) -> Path:
    (tmp_path / "policy").mkdir()
    for text in (EXAMPLE.read_bytes(), EXAMPLE.read_bytes() + b"# other\n"):
        (tmp_path / "policy" / f"{hashlib.sha256(text).hexdigest()}.toml").write_bytes(text)
    return tmp_path


def test_a_policy_is_found_by_file_by_hash_and_by_the_beginning_of_its_hash(site: Path) -> None:
    digest = hashlib.sha256(EXAMPLE.read_bytes()).hexdigest()
    for name in (str(EXAMPLE), digest, digest[:8]):
        assert read_policy(name, site).policy.hash == digest


def test_a_hash_that_no_policy_has_is_told(site: Path) -> None:
    with pytest.raises(ConfigError, match="no policy of .* begin with 00000000"):
        read_policy("0" * 8, site)


def test_a_file_that_is_not_there_is_told(site: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read .*nowhere.toml: No such file"):
        read_policy(str(site / "nowhere.toml"), site)


@pytest.mark.parametrize(
    "old, new, sentence",
    [
        ("people = 5", "poeple = 5", r"line 68: \[cells\] has the unknown key `poeple`; nearest is `people`"),
        ("rate = 0.02", "rate = 2", r"line 46: \[\[stratum\]\] 3 `rate` must be 0 to 1, found 2"),
        (
            "tenure_days < 90",
            "tenure < 90",
            "line 40: stratum first three months: line 1, column 21 of `when`: undeclared",
        ),
        ("Europe/Berlin", "Europe/Atlantis", "this machine knows no time zone 'Europe/Atlantis'"),
    ],
)
def test_a_wrong_policy_is_told_with_file_and_place(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    path = tmp_path / "new.toml"
    path.write_text(EXAMPLE.read_text().replace(old, new))
    with pytest.raises(ConfigError, match=sentence) as told:
        read_policy(str(path), tmp_path)
    assert str(told.value).startswith("policy: " if "Atlantis" in new else str(path))
