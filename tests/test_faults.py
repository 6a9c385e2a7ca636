"""docs/faults.md: every row of the failure table names tests that exist, and every row of the table has its own."""

from __future__ import annotations

import ast
import re

import pytest

from source import FUNCTION, ROOT

TEXT = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8")
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", TEXT)
SECTIONS = re.split(r"^## ", TEXT, flags=re.MULTILINE)[1:]
ROWS = 7


def names_in(path: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, FUNCTION)}


@pytest.mark.parametrize("path, name", NAMED)
def test_a_test_that_a_row_names_exists(path: str, name: str) -> None:
    assert name in names_in(path)


def test_every_row_of_the_table_is_there_and_every_section_names_tests() -> None:
    table = [line for line in TEXT.splitlines() if line.startswith("| ")][1:]
    assert len(table) == ROWS
    assert all(len(re.findall(r"`tests/", section)) >= 3 for section in SECTIONS)


def test_every_row_has_a_test_that_is_called_by_its_number() -> None:
    rows = {int(number) for _, name in NAMED for number in re.findall(r"^test_row_(\d+)_", name)}
    assert {1, 2, 3, 4, 7, 42} <= rows
