"""The files of SIP accounts: refused when others can read them, read anew when they change."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from mitschnitt.errors import ConfigError
from mitschnitt.recorder import sip_accounts
from mitschnitt.recorder.sip_accounts import UsersFile, read_secrets
from mitschnitt.wire.sip.accounts import Secret
from mitschnitt.wire.sip.authentication import KEY_BYTES, Authenticator
from mitschnitt.wire.sip.digest import Algorithm, secret_of


def line(user: str, realm: str = "r") -> str:
    return f"{user}:{realm}:SHA-256:{secret_of(Algorithm.SHA256, user, realm, 'opensesame')}\n"


def write(path: Path, text: str, *, age: int = 0) -> Path:
    """The file, for its owner only; `age` keeps two writes within one clock tick apart."""
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    os.utime(path, ns=(age, age))
    return path


def test_a_file_of_its_owner_is_read(tmp_path: Path) -> None:
    assert [secret.user for secret in read_secrets(write(tmp_path / "users", line("a") + line("b")))] == ["a", "b"]


def test_a_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "users", line("a"))
    path.chmod(0o640)
    with pytest.raises(ConfigError, match=r"others can reach .*users; expected mode 0600"):
        read_secrets(path)


def test_a_file_that_is_missing_too_large_or_no_text_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="cannot read .*No such file"):
        read_secrets(tmp_path / "users")
    path = write(tmp_path / "users", "")
    path.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="is not UTF-8"):
        read_secrets(path)
    monkeypatch.setattr(sip_accounts, "MAX_FILE_BYTES", 4)
    with pytest.raises(ConfigError, match="at most 4 bytes"):
        read_secrets(write(tmp_path / "users", "#####"))


class Learner(Authenticator):
    """Remembers whom it was taught."""

    def __init__(self) -> None:
        super().__init__("r", (), key=bytes(KEY_BYTES), salt=lambda: "s")
        self.taught: list[list[str]] = []

    def learn(self, users: Iterable[Secret]) -> None:
        super().learn(users)
        self.taught.append(sorted(self._users))


def test_a_file_is_read_again_when_it_has_changed_and_only_then(tmp_path: Path) -> None:
    path, learner = write(tmp_path / "users", line("a"), age=1), Learner()
    users = UsersFile(path)
    users.refresh(learner)
    write(path, line("a") + line("b"), age=2)
    users.refresh(learner)
    users.refresh(learner)
    write(path, line("c"), age=3)
    users.refresh(learner)
    assert learner.taught == [["a", "b"], ["c"]]


@pytest.mark.parametrize("broken", ["half a li", "", line("a", "elsewhere"), line("a") * 2], ids=range(4))
def test_a_broken_file_changes_nothing_and_is_told_once_without_its_content(
    broken: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, learner = write(tmp_path / "users", line("a"), age=1), Learner()
    learner.learn(read_secrets(path))
    users = UsersFile(path)
    if broken:
        write(path, broken, age=2)
    else:
        path.unlink()
    with caplog.at_level(logging.ERROR):
        users.refresh(learner)
        users.refresh(learner)
    assert learner.taught == [["a"]]
    assert len(caplog.records) == 1
    assert "half a li" not in caplog.text
    assert secret_of(Algorithm.SHA256, "a", "r", "opensesame") not in caplog.text
    write(path, line("b"), age=3)
    users.refresh(learner)
    assert learner.taught[-1] == ["b"]
