"""The decision records: every dependency has its line, every record its number and status."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from source import ROOT

RECORDS = sorted((ROOT / "docs" / "decisions").glob("*.md"))
LIBRARIES = (ROOT / "docs" / "decisions" / "0002-libraries.md").read_text(encoding="utf-8")
INPUTS = sorted((ROOT / "requirements").glob("*.in"))


def required(path: Path) -> set[str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    names = (re.match(r"[A-Za-z0-9_-]+", line) for line in lines if not line.startswith(("#", "-")))
    return {match[0] for match in names if match}


def test_every_dependency_has_its_line_and_no_line_lacks_its_dependency() -> None:
    listed = re.findall(r"^\| ([a-z0-9-]+) \|", LIBRARIES, re.MULTILINE)
    assert sorted(listed) == sorted(set().union(*map(required, INPUTS)))


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: path.name)
def test_every_package_is_pinned_by_hash_and_no_file_names_an_index(path: Path) -> None:
    pinned = path.with_suffix(".txt").read_text(encoding="utf-8")
    assert "://" not in pinned
    assert "index-url" not in pinned
    entries = re.split(r"^(?=[a-z0-9])", pinned, flags=re.MULTILINE)[1:]
    assert entries
    assert [entry.split()[0] for entry in entries if "==" not in entry or "--hash=sha256:" not in entry] == []


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.name)
def test_every_record_has_number_status_and_price(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    number = path.name[:4]
    assert text.startswith("# NNNN " if number == "0000" else f"# {number} ")
    assert "\nStatus: " in text
    assert "\n## Choice" in text
    assert "\n## Price\n" in text
