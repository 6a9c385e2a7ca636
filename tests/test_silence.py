"""Nothing new tells why a call was not kept: every way to ask is found here, and must be one that was thought about.

What they answer is asked in tests/keeper/test_records_silence.py and, of a whole site, in the journey of this name.
"""

from __future__ import annotations

import ast
import itertools
import tomllib
from collections.abc import Iterator
from typing import Any, cast

import pytest
import typer
from fastapi import FastAPI
from fastapi.routing import APIRoute

from mitschnitt.cli import app as command_line
from mitschnitt.hardening import Hardening
from mitschnitt.keeper import figures as keeper_figures
from mitschnitt.keeper.control import control_app
from mitschnitt.keeper.door import door_app
from mitschnitt.keeper.draw_door import add_draw
from mitschnitt.recorder import figures as recorder_figures
from mitschnitt.store.tables import metadata
from mitschnitt.telemetry.metrics import Told
from source import ROOT, modules

KNOWN: dict[str, Any] = tomllib.loads((ROOT / "tests/vectors/silence/known.toml").read_text(encoding="utf-8"))
HARDENING = Hardening(no_core=True, not_dumpable=True, memory_locked=False, swap_off=True)
LEVELS = ("debug", "info", "warning", "error", "exception", "critical")
ASK = "can anybody tell by it why a call was not kept? Add it to tests/vectors/silence/known.toml with the answer"


def verbs(command: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    """Every verb of the command line."""
    inner = getattr(command, "commands", None)
    if inner is None:
        yield " ".join(path)
    for name, one in (inner or {}).items():
        yield from verbs(one, (*path, name))


def routes(app: FastAPI) -> set[str]:
    """Every way to ask an application."""
    found = [route for route in app.routes if isinstance(route, APIRoute)]
    return {f"{method} {route.path}" for route in found for method in route.methods or ()}


def control() -> FastAPI:
    """The control API without its guard."""
    return cast(FastAPI, vars(control_app(cast(Any, None), "token"))["_app"])


def door() -> FastAPI:
    """The door; nobody is behind it."""
    nobody = cast(Any, None)
    app = door_app(nobody, nobody, nobody, nobody, HARDENING, months=nobody)
    add_draw(app, nobody, nobody, nobody, nobody)
    return app


def sentences() -> set[str]:
    """What every call of a logger says, how it begins, or where it is chosen."""
    found = set()
    for module in modules():
        nodes = [node for node in ast.walk(module.tree) if isinstance(node, ast.Call)]
        found |= {beginning(node.args[0]) or f"chosen in {module.name}" for node in nodes if logs(node.func)}
    return found


def logs(function: ast.expr) -> bool:
    """Whether this is a method of a logger."""
    if not isinstance(function, ast.Attribute) or not isinstance(function.value, ast.Name):
        return False
    return function.attr in LEVELS and function.value.id in ("log", "logger", "logging")


def beginning(node: ast.expr) -> str:
    """The constant that a text begins with, "" for what is none."""
    if isinstance(node, ast.BinOp):
        return beginning(node.left)
    if isinstance(node, ast.JoinedStr):
        return beginning(node.values[0])
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


FOUND: dict[str, set[str]] = {
    "verbs": set(verbs(typer.main.get_command(command_line))),
    "door": routes(door()),
    "control": routes(control()),
    "tables": set(metadata.tables),
}


@pytest.mark.parametrize("what", FOUND)
def test_every_way_to_ask_was_thought_about(what: str) -> None:
    assert FOUND[what] - set(KNOWN[what]) == set(), ASK
    assert set(KNOWN[what]) - FOUND[what] == set(), "this is gone"
    assert [name for name, answer in KNOWN[what].items() if not answer] == []


def test_every_sentence_of_a_log_was_thought_about() -> None:
    known = list(itertools.chain.from_iterable(KNOWN["log"].values()))
    assert len(known) == len(set(known))
    assert sentences() - set(known) == set(), ASK
    assert set(known) - sentences() == set(), "nobody says this any more"


def test_every_figure_that_is_told_at_once_was_thought_about() -> None:
    tables = (*keeper_figures.table(2), *recorder_figures.TABLE)
    at_once = {figure.name for figure in tables if figure.told is Told.AT_ONCE}
    assert at_once - set(KNOWN["figures"]["at_once"]) == set(), ASK
    assert set(KNOWN["figures"]["at_once"]) - at_once == set(), "this is gone, or told in batches"


def test_what_is_looked_for_is_found() -> None:
    assert "call why" in FOUND["verbs"]
    assert "POST /v1/calls" in FOUND["control"]
    assert "GET /calls/{call}/page" in FOUND["door"]
    assert "leak" in sentences()
    texts = ("f'a{b}c'", "'a' + b", "a if b else 'c'", "'a'")
    assert [beginning(ast.parse(text, mode="eval").body) for text in texts] == ["a", "a", "", "a"]
