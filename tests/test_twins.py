"""Every module has its twin test, and no file or function has got away."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from source import FUNCTION, ROOT, Module, modules

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


@pytest.mark.parametrize("module", TWINNED, ids=lambda module: module.name)
def test_every_module_has_its_twin(module: Module) -> None:
    *folders, name = module.name.split(".")
    twin = ROOT.joinpath("tests", *folders, f"test_{name}.py")
    assert twin.is_file(), f"{name_of(twin)} is missing"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_no_file_is_longer_than_a_reader_keeps_in_mind(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_FILE_LINES


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_no_function_is_longer_than_a_screen(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, FUNCTION)]
    long = {node.name: size for node in functions if (size := _lines(node)) > MAX_FUNCTION_LINES}
    assert long == {}


def _lines(node: FUNCTION) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


@pytest.mark.parametrize("module", modules(), ids=lambda module: module.name or "mitschnitt")
def test_every_module_says_in_a_few_lines_what_it_is(module: Module) -> None:
    said = ast.get_docstring(module.tree)
    assert said is not None
    if module.name != "errors":  # it draws the tree of all errors
        assert len(said.splitlines()) <= MAX_DOCSTRING_LINES


@pytest.mark.parametrize("module", modules(), ids=lambda module: module.name or "mitschnitt")
def test_no_module_has_a_name_that_says_nothing(module: Module) -> None:
    assert [name for name in FORBIDDEN_NAMES if name in module.name.rpartition(".")[2]] == []


@pytest.mark.parametrize("path", TESTS, ids=name_of)
def test_every_test_asserts_something(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    checking = _functions_that_check(tree)
    silent = [
        node.name
        for node in ast.walk(tree)
        if isinstance(node, FUNCTION) and node.name.startswith("test_") and node.name not in checking
    ]
    assert silent == []


def _functions_that_check(tree: ast.Module) -> set[str]:
    """Names of functions that assert, expect an error, or call such a function of the same file or of an import."""
    calls: dict[str, set[str]] = {}
    checking: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, FUNCTION):
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
