"""Each guarantee in docs/threats.md names tests that exist, and says what it does not claim."""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest

from source import FUNCTION, ROOT

TEXT = (ROOT / "docs" / "threats.md").read_text(encoding="utf-8")
SECTIONS = re.split(r"^## ", TEXT, flags=re.MULTILINE)[1:]
PLACES = re.findall(r"`(tests/[^`]*)`", TEXT)


def run_by_pytest(text: str) -> set[str]:
    """Names at the top of a file that pytest runs: `test_` functions, and `Test` classes, also those that are made."""
    found: set[str] = set()
    for node in ast.parse(text).body:
        if isinstance(node, FUNCTION | ast.ClassDef):
            found |= (
                {node.name} if node.name.startswith("Test" if isinstance(node, ast.ClassDef) else "test_") else set()
            )
        elif isinstance(node, ast.Assign):
            found |= {one.id for one in node.targets if isinstance(one, ast.Name) and one.id.startswith("Test")}
    return found


@cache
def run_in(path: str) -> set[str]:
    """`run_by_pytest` of a file; none if there is no such file."""
    return run_by_pytest((ROOT / path).read_text(encoding="utf-8")) if (ROOT / path).is_file() else set()


def test_tests_that_guarantees_name_are_run() -> None:
    named = [place.partition("::") for place in PLACES]
    assert named
    assert [
        (path, name) for path, _, name in named if (name not in run_in(path) if name else not (ROOT / path).is_file())
    ] == []


def test_what_only_a_test_calls_is_no_test() -> None:
    text = (
        "def picks(): ...\nclass Rules:\n    def test_in(self): ...\nTestRules = Rules.TestCase\ndef test_it(): ...\n"
    )
    assert run_by_pytest(text) == {"TestRules", "test_it"}


def test_a_section_begins_after_an_empty_line() -> None:
    assert TEXT.count("\n## ") == TEXT.count("\n\n## ")


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.splitlines()[0])
def test_beside_each_claim_stands_what_is_not_claimed(section: str) -> None:
    guarantees = re.split(r"^\d+\. ", section, flags=re.MULTILINE)[1:]
    assert guarantees
    assert all("`tests/" in guarantee for guarantee in guarantees)
    assert "*Not claimed.*" in section


def test_guarantees_are_numbered_without_a_gap() -> None:
    numbers = [int(number) for number in re.findall(r"^(\d+)\. ", TEXT, flags=re.MULTILINE)]
    assert numbers == list(range(1, len(numbers) + 1))
