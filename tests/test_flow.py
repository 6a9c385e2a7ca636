"""docs/flow.md shows the tree as it is, on one screen; the README stays short and names commands that exist."""

from __future__ import annotations

import re

from source import PACKAGE, ROOT

MAX_FLOW_LINES = 60  # one screen
MAX_README_LINES = 80
FOLDER = re.compile(r"^  ([a-z]+)/ +\S", re.MULTILINE)


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_folders_of_the_flow_are_those_of_the_tree() -> None:
    shown = FOLDER.findall(text_of("docs/flow.md"))
    there = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert sorted(shown) == sorted(there)


def test_the_flow_is_one_screen_and_the_readme_is_short() -> None:
    assert len(text_of("docs/flow.md").splitlines()) <= MAX_FLOW_LINES
    assert len(text_of("README.md").splitlines()) < MAX_README_LINES


def test_every_verb_that_the_documents_name_is_in_the_makefile() -> None:
    verbs = set(re.findall(r"^([a-z]+):", text_of("Makefile"), re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z]+)", text_of("README.md") + text_of("CONTRIBUTING.md"), re.MULTILINE))
    assert {"demo", "test"} <= named
    assert named <= verbs


def test_every_link_between_the_documents_leads_somewhere() -> None:
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
    dead = [
        f"{page.name}: {target}"
        for page in pages
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8"))
        if not (page.parent / target).exists()
    ]
    assert dead == []
