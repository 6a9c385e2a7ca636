"""Every module has its twin test, and no file or function has got away.

Each rule is one walk that tells all it found.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from source import FUNCTION, ROOT, modules, parsed, statements

MAX_FILE_LINES = 600  # the largest that a reader keeps in mind
MAX_FUNCTION_LINES = 60  # one screen
MAX_DOCSTRING_LINES = 10  # of a module; longer ones belong into docs/
FORBIDDEN_NAMES = ("util", "helper", "manager", "misc", "common")

TWINNED = [module for module in modules() if module.path.name not in ("__init__.py", "__main__.py")]
TWINNED = [module for module in TWINNED if "versions" not in module.path.parts]  # migrations are tested as one
FILES = [path for top in ("src", "tests", "bench", "docs") for path in sorted((ROOT / top).rglob("*.py"))]
TESTS = [path for path in FILES if path.name.startswith("test_")]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def functions_of(path: Path) -> tuple[FUNCTION, ...]:
    """Every function of a file, also nested ones."""
    tree = parsed(path.read_text(encoding="utf-8"))
    return tuple(node for node in statements(tree) if isinstance(node, FUNCTION))


def test_every_module_has_its_twin() -> None:
    names = [module.name.split(".") for module in TWINNED]
    twins = [ROOT.joinpath("tests", *folders, f"test_{name}.py") for *folders, name in names]
    assert twins
    assert [name_of(twin) for twin in twins if not twin.is_file()] == []


def test_no_file_is_longer_than_a_reader_keeps_in_mind() -> None:
    lines = {name_of(path): len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert lines
    assert {name: count for name, count in lines.items() if count > MAX_FILE_LINES} == {}


def test_no_function_is_longer_than_a_screen() -> None:
    lines = {f"{name_of(path)}::{node.name}": _lines(node) for path in FILES for node in functions_of(path)}
    assert lines
    assert {name: count for name, count in lines.items() if count > MAX_FUNCTION_LINES} == {}


def _lines(node: FUNCTION) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def test_every_module_says_in_a_few_lines_what_it_is() -> None:
    said = {module.name or "mitschnitt": ast.get_docstring(module.tree) for module in modules()}
    assert [name for name, text in said.items() if text is None] == []
    del said["errors"]  # it draws the tree of all errors
    assert [name for name, text in said.items() if text and len(text.splitlines()) > MAX_DOCSTRING_LINES] == []


def test_no_module_has_a_name_that_says_nothing() -> None:
    last = {module.name: module.name.rpartition(".")[2] for module in modules()}
    assert [name for name, part in last.items() if any(word in part for word in FORBIDDEN_NAMES)] == []


def test_every_test_asserts_something() -> None:
    silent = []
    for path in TESTS:
        functions = functions_of(path)
        checking = _functions_that_check(functions)
        silent += [
            f"{name_of(path)}::{node.name}"
            for node in functions
            if node.name.startswith("test_") and node.name not in checking
        ]
    assert TESTS
    assert silent == []


def _functions_that_check(functions: Iterable[FUNCTION]) -> set[str]:
    """Names of functions that assert, expect an error, or call such a function of the same file or of an import."""
    calls: dict[str, set[str]] = {}
    checking: set[str] = set()
    for node in functions:
        inner = list(ast.walk(node))
        calls[node.name] = {_called(item) for item in inner if isinstance(item, ast.Call)}
        if any(isinstance(item, ast.Assert) for item in inner) or calls[node.name] & {"raises", "warns", "fail"}:
            checking.add(node.name)
    grew = True
    while grew:
        more = {name for name, called in calls.items() if called & checking} - checking
        checking |= more
        grew = bool(more)
    return checking


def _called(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
