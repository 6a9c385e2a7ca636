"""Each guarantee in docs/threats.md names tests that exist, and says what it does not claim."""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest

from source import FUNCTION, ROOT

TEXT = (ROOT / "docs" / "threats.md").read_text(encoding="utf-8")
SECTIONS = re.split(r"^## ", TEXT, flags=re.MULTILINE)[1:]
NAMED = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", TEXT)


@cache
def names_in(path: str) -> frozenset[str]:
    """Every function of a test file; none if there is no such file."""
    if not (ROOT / path).is_file():
        return frozenset()
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, FUNCTION))


def test_a_test_that_a_guarantee_names_exists() -> None:
    assert NAMED
    assert [(path, name) for path, name in NAMED if not (name in names_in(path) if name else names_in(path))] == []


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.splitlines()[0])
def test_beside_each_claim_stands_what_is_not_claimed(section: str) -> None:
    guarantees = re.split(r"^\d+\. ", section, flags=re.MULTILINE)[1:]
    assert guarantees
    assert all("`tests/" in guarantee for guarantee in guarantees)
    assert "*Not claimed.*" in section


def test_guarantees_are_numbered_without_a_gap() -> None:
    numbers = [int(number) for number in re.findall(r"^(\d+)\. ", TEXT, flags=re.MULTILINE)]
    assert numbers == list(range(1, len(numbers) + 1))
