"""Each test is run by one verb, and `.ci/run` runs them all: quick, thorough and journeys are whatever is collected."""

from __future__ import annotations

import ast
import itertools
import re
import tomllib

import pytest

from source import FUNCTION, ROOT, modules, parsed

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
CHOICES = dict(re.findall(r"^(\w+): .*\n\t@\$\(PYTEST\) .*-m \"([^\"]+)\"", MAKEFILE, re.MULTILINE))
PYTEST = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["pytest"]["ini_options"]
MARKS = ("journey", "thorough")


def test_whatever_marks_a_test_has_one_verb_runs_it() -> None:
    assert CHOICES.keys() == {"test", "thorough", "journeys"}
    for has in itertools.product((False, True), repeat=len(MARKS)):
        marks = dict(zip(MARKS, has, strict=True))
        # pytest's own words for a choice by mark are those of Python.
        chosen = [verb for verb, choice in CHOICES.items() if eval(choice, {"__builtins__": {}}, marks)]
        assert len(chosen) == 1, marks


def test_no_test_is_left_out_in_another_way() -> None:
    assert tuple(mark.partition(":")[0] for mark in PYTEST["markers"]) == MARKS
    assert PYTEST["testpaths"] == ["tests"]
    told = PYTEST["addopts"] + "".join(re.findall(r"^.*\$\(PYTEST\).*$", MAKEFILE, re.MULTILINE))
    assert re.findall(r"--ignore|--deselect|-k ", told) == []


def test_the_whole_proof_runs_every_verb_once() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    run = re.findall(r"^(?:\w+=\S+ )*run (\w+) \d+$", script, re.MULTILINE)
    assert sorted(run) == sorted([*CHOICES, "check", "fuzz"])


def _has_quick_tests(text: str) -> bool:
    """Whether a file has a test that carries no mark: neither of its own nor of the whole file."""
    tree = parsed(text)
    whole = [node.value for node in tree.body if isinstance(node, ast.Assign) and _names(node) == ["pytestmark"]]
    tests = [node for node in tree.body if isinstance(node, FUNCTION) and node.name.startswith("test_")]
    return not _marks_in(*whole) and not all(_marks_in(*test.decorator_list) for test in tests)


def _names(node: ast.Assign) -> list[str]:
    return [one.id for one in node.targets if isinstance(one, ast.Name)]


def _marks_in(*expressions: ast.expr) -> set[str]:
    said = {ast.unparse(node) for one in expressions for node in ast.walk(one) if isinstance(node, ast.Attribute)}
    return said & {f"pytest.mark.{mark}" for mark in MARKS}


def test_every_module_has_quick_tests() -> None:
    names = [module.name.split(".") for module in modules()]
    twins = [ROOT.joinpath("tests", *folders, f"test_{name}.py") for *folders, name in names]
    texts = {str(twin.relative_to(ROOT)): twin.read_text(encoding="utf-8") for twin in twins if twin.is_file()}
    assert texts
    assert [name for name, text in texts.items() if not _has_quick_tests(text)] == []


@pytest.mark.parametrize(
    "text, quick",
    [
        ("def test_a(): ...", True),
        ("@pytest.mark.thorough\ndef test_a(): ...\n@pytest.mark.skipif(True)\ndef test_b(): ...", True),
        ("@pytest.mark.thorough\ndef test_a(): ...\n@pytest.mark.journey\ndef test_b(): ...", False),
        ("pytestmark = pytest.mark.thorough\ndef test_a(): ...", False),
        ("pytestmark = [pytest.mark.journey, pytest.mark.timeout(9)]\ndef test_a(): ...", False),
        ("pytestmark = needs_ring\ndef test_a(): ...", True),
        ("def only_called(): ...", False),
    ],
)
def test_a_file_without_an_unmarked_test_is_seen(text: str, quick: bool) -> None:
    assert _has_quick_tests(text) is quick


@pytest.mark.parametrize("mark", MARKS)
def test_a_mark_says_which_verb_runs_it(mark: str) -> None:
    (line,) = (line for line in PYTEST["markers"] if line.startswith(mark))
    assert re.search(r"`make (\w+)`", line)
