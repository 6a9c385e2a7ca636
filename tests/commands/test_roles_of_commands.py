"""Every verb acts as a role or has a reason not to: a role that does not exist gets one sentence from all of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

from mitschnitt import cli
from mitschnitt.core.access import unknown_role
from mitschnitt.errors import MitschnittError

CALL = "0" * 25 + "1"

# What a verb needs besides its role.
ASKING: Mapping[str, tuple[str, ...]] = {
    "play": (CALL, "--out", "call.wav", "--purpose", "training"),
    "call list": (),
    "call show": (CALL,),
    "call why": (CALL, "--key", "key.pem"),
    "call erase": (CALL,),
    "agents list": (),
    "figures show": ("2026-11",),
    "draw backward": ("2026-W47",),
}
# Who signs is shown by a key, and the keeper is not asked: these say which roles have keys.
SIGNING = {"policy sign", "policy key", "draw commit", "draw reveal", "draw clock"}
# Why a verb names no role.
WITHOUT: Mapping[str, str] = {
    "init": "makes a directory of the user's own",
    "serve": "runs the processes; --drain asks as the operator",
    "demo": "makes a site of its own and plays all its roles",
    "doctor": "asks as the operator",
    "agents key": "makes a key",
    "agents consent grant": "the agent's own key shows who asks",
    "agents consent withdraw": "the agent's own key shows who asks",
    "agents consent show": "the agent's own key shows who asks",
    "policy check": "reads a file; the policy is public",
    "policy diff": "reads files; the policy is public",
    "policy propose": "writes a file of the user's own; it counts when it is signed",
    "policy activate": "counts only with the signatures that the policy names",
    "policy show": "reads files; the policy is public",
    "draw days": "reads what is published",
    "draw round": "brings a round whose signature is checked",
    "draw show": "reads what is published",
    "draw verify": "reads what is published",
}


def verbs() -> Iterator[tuple[str, bool]]:
    """Every verb, and whether it has `--as`."""

    def walk(command: Any, path: tuple[str, ...]) -> Iterator[tuple[str, bool]]:
        if hasattr(command, "commands"):
            for name, inner in command.commands.items():
                yield from walk(inner, (*path, name))
        else:
            yield " ".join(path), any("--as" in one.opts for one in command.params)

    yield from walk(typer.main.get_command(cli.app), ())


def test_every_verb_acts_as_a_role_or_says_here_why_it_needs_none() -> None:
    found = {name: has_role for name, has_role in verbs() if not name.startswith("bench ")}  # which make their own data
    assert {name for name, has_role in found.items() if has_role} == set(ASKING) | SIGNING
    assert {name for name, has_role in found.items() if not has_role} == set(WITHOUT)


@pytest.mark.parametrize("verb", ASKING)
@pytest.mark.parametrize("role", ["boss", "Operator", ""])
def test_a_role_that_does_not_exist_gets_the_same_sentence_from_every_verb(
    verb: str, role: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = CliRunner().invoke(cli.app, [*verb.split(), *ASKING[verb], "--as", role, "--dir", str(tmp_path)])
    assert isinstance(ended.exception, MitschnittError), ended.output
    assert str(ended.exception) == unknown_role(role)
    assert list(tmp_path.iterdir()) == []
