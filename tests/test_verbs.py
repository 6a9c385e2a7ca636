"""Each test is run by one verb, and `.ci/run` runs them all: quick, thorough and journeys are whatever is collected."""

from __future__ import annotations

import ast
import itertools
import re
import tomllib

import pytest

from source import ROOT, modules, parsed

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


def _marks_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    return {mark for mark in MARKS for one in function.decorator_list if ast.unparse(one) == f"pytest.mark.{mark}"}


def test_every_module_has_quick_tests_and_no_file_is_thorough_as_a_whole() -> None:
    slow = []
    for module in modules():
        *folders, name = module.name.split(".")
        twin = ROOT.joinpath("tests", *folders, f"test_{name}.py")
        if twin.is_file():
            tree = parsed(twin.read_text(encoding="utf-8"))
            functions = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
            tests = [node for node in functions if node.name.startswith("test_")]
            if tests and all(_marks_of(node) for node in tests):
                slow.append(module.name)
    assert slow == []


@pytest.mark.parametrize("mark", MARKS)
def test_a_mark_says_which_verb_runs_it(mark: str) -> None:
    (line,) = (line for line in PYTEST["markers"] if line.startswith(mark))
    assert re.search(r"`make (\w+)`", line)
