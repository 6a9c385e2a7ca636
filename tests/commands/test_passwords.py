"""A password comes from a closed file, the environment or a terminal; two that differ are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from mitschnitt.commands.passwords import MAX_PASSWORD_BYTES, VARIABLE, role_password
from mitschnitt.errors import ConfigError


def test_a_file_gives_its_first_line_end_taken_off(tmp_path: Path) -> None:
    path = tmp_path / "password"
    for content in (b"correct horse\n", b"correct horse\r\n", b"correct horse"):
        path.write_bytes(content)
        path.chmod(0o600)
        assert role_password("officer", file=path, environment={}) == b"correct horse"


def test_a_file_that_others_can_reach_or_that_holds_nothing_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_bytes(b"correct horse\n")
    path.chmod(0o640)
    with pytest.raises(ConfigError, match="reached by others"):
        role_password("officer", file=path, environment={})
    path.chmod(0o600)
    for content in (b"", b"\n", b"x" * (MAX_PASSWORD_BYTES + 1)):
        path.write_bytes(content)
        with pytest.raises(ConfigError, match="must hold 1 to"):
            role_password("officer", file=path, environment={})
    with pytest.raises(ConfigError, match="cannot read"):
        role_password("officer", file=tmp_path / "none", environment={})


def test_the_environment_comes_before_the_terminal() -> None:
    def nobody(_prompt: str) -> str:
        raise AssertionError("nobody is asked")

    assert role_password("officer", file=None, environment={VARIABLE: "secret"}, ask=nobody) == b"secret"


def test_a_new_password_is_asked_for_twice() -> None:
    asked: list[str] = []

    def answer(prompt: str) -> str:
        asked.append(prompt)
        return "grüße"

    assert role_password("council", file=None, again=True, environment={}, ask=answer) == "grüße".encode()
    assert asked == ["password of the council's key: ", "the same again: "]


def test_two_that_differ_are_none() -> None:
    answers = iter(["one", "two"])
    with pytest.raises(ConfigError, match="the two differ"):
        role_password("council", file=None, again=True, environment={}, ask=lambda _: next(answers))


def test_without_a_terminal_nobody_waits_for_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    with pytest.raises(ConfigError, match=f"--password-file FILE or set {VARIABLE}"):
        role_password("council", file=None, environment={})
