"""Every public class of core, wire and vault is a word of the glossary, and every word has one meaning."""

from __future__ import annotations

import ast
import re
from collections import Counter

from source import ROOT, modules

ENTRY = re.compile(r"^- \*\*(.+?)\*\*: (.*\S)$")
LINES = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8").splitlines()
WORDS = Counter(match[1] for line in LINES if (match := ENTRY.match(line)))
WATCHED = [module for module in modules() if module.package in ("core", "wire", "vault")]


def test_every_public_class_is_in_the_glossary() -> None:
    classes = [(m.name, node.name) for m in WATCHED for node in m.tree.body if isinstance(node, ast.ClassDef)]
    assert classes
    assert [place for place in classes if not place[1].startswith("_") and place[1] not in WORDS] == []


def test_no_word_has_two_entries() -> None:
    assert [word for word, times in WORDS.items() if times > 1] == []


def test_every_entry_has_its_meaning_on_its_line() -> None:
    assert WORDS
    assert [line for line in LINES if line.startswith("- ") and not ENTRY.match(line)] == []
