"""`policy sign`: with the enrolled key of a role that the policy names; anything else changes nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from keeper.signed_site import FIRST, contents, directory_of, propose
from mitschnitt.commands.policy_sign import run
from mitschnitt.errors import ConfigError, NotAllowed
from mitschnitt.keeper.policies import Policies
from mitschnitt.keeper.role_keys import make_key

PASSWORD = "correct-horse-7"


@pytest.fixture(scope="module", name="keys")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site whose officer and council have real keys; each costs seconds of scrypt."""
    root = tmp_path_factory.mktemp("signing")
    directory = directory_of(root)
    (directory / "config.toml").touch()
    for role in ("officer", "council", "operator"):
        make_key(directory, role, root / f"{role}.pem", PASSWORD.encode(), replace=role != "operator")
    propose(directory, FIRST)
    return root


@pytest.fixture(name="root")
def with_the_password(keys: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MITSCHNITT_ROLE_PASSWORD", PASSWORD)
    return keys


def sign(root: Path, role: str, key: str, *, name: str = "", as_json: bool = False) -> None:
    known = Policies(root / "site").files.known()
    run(root / "site", name or known[0][:8], role, key=root / key, password_file=None, as_json=as_json)


@pytest.mark.parametrize(
    "role, key, rule",
    [
        ("operator", "operator.pem", "policy.signer"),
        ("officer", "council.pem", "role.other_key"),
        ("council", "operator.pem", "role.other_key"),
    ],
)
def test_the_wrong_role_or_key_signs_nothing(root: Path, role: str, key: str, rule: str) -> None:
    before = contents(root / "site")
    with pytest.raises(NotAllowed) as refused:
        sign(root, role, key)
    assert refused.value.rule == rule
    assert contents(root / "site") == before


def test_a_wrong_password_an_unknown_role_and_an_unknown_policy_sign_nothing(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(root / "site")
    with pytest.raises(ConfigError, match="found 'coach'"):
        sign(root, "coach", "council.pem")
    with pytest.raises(ConfigError, match="no policy of"):
        sign(root, "council", "council.pem", name="0" * 8)
    monkeypatch.setenv("MITSCHNITT_ROLE_PASSWORD", "wrong-horse-88")
    with pytest.raises(ConfigError, match="wrong password"):
        sign(root, "council", "council.pem")
    assert contents(root / "site") == before


def test_both_sign_and_then_it_can_be_activated(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    digest = Policies(root / "site").files.known()[0]
    sign(root, "officer", "officer.pem")
    said = capsys.readouterr().out
    assert f"officer signed {digest}" in said
    assert f"next: `mitschnitt policy sign {digest[:8]} --as council" in said
    sign(root, "council", "council.pem", as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert (told["policy"], told["role"]) == (digest, "council")
    before = contents(root / "site")
    sign(root, "council", "council.pem")
    said = capsys.readouterr().out
    assert f"council had signed {digest}" in said
    assert f"next: `mitschnitt policy activate {digest[:8]}" in said
    assert contents(root / "site") == before
