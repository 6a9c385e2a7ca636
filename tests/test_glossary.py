"""Every public class of core, wire and vault is a word of the glossary, and every word has one meaning."""

from __future__ import annotations

import ast
import re
from collections import Counter

import pytest

from source import ROOT, Module, modules

ENTRY = re.compile(r"^- \*\*(.+?)\*\*: (.*\S)$")
LINES = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8").splitlines()
WORDS = Counter(match[1] for line in LINES if (match := ENTRY.match(line)))
WATCHED = [module for module in modules() if module.package in ("core", "wire", "vault")]


@pytest.mark.parametrize("module", WATCHED, ids=lambda module: module.name)
def test_every_public_class_is_in_the_glossary(module: Module) -> None:
    names = {node.name for node in module.tree.body if isinstance(node, ast.ClassDef)}
    assert {name for name in names if not name.startswith("_")} - set(WORDS) == set()


def test_no_word_has_two_entries() -> None:
    assert [word for word, times in WORDS.items() if times > 1] == []


def test_every_entry_has_its_meaning_on_its_line() -> None:
    assert WORDS
    assert [line for line in LINES if line.startswith("- ") and not ENTRY.match(line)] == []
