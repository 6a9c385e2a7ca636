"""Draws docs/siprec.md from docs/checklist.toml and the names of the tests: which test shows which row.

With `--check` it only says whether the page is current.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
TARGET = ROOT / "docs" / "siprec.md"
DATA = ROOT / "docs" / "checklist.toml"
ROW_OF = re.compile(r"test_row_(\d\d)_")

INTRO = """\
# SIPREC: what is asked of a recorder, and which test shows it

Drawn from `docs/checklist.toml` and the names of the tests by `make docs`. Do not edit: a test compares. The rule for
all of it: *tolerant in SIP, strict at the gate*. A call is not lost because a client spells something its own way, and
nothing is kept while it is not certain whose voice a stream carries.
"""

CLOSED = """\
The closed form is `a=inactive` with `c=IN IP4 0.0.0.0` (`c=IN IP6 ::`), real ports, and every m-line and payload type
of the offer: clients end a session whose answer lacks one.
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the checklist."""

    row: int
    level: str
    point: str
    source: str
    later: bool = False


def data() -> dict[str, Any]:
    """The data file: `answers` and `dialects` as pairs of texts, `row` as tables."""
    return tomllib.loads(DATA.read_text(encoding="utf-8"))


def rows() -> list[Row]:
    """The rows of the data file in their order."""
    return [Row(**row) for row in data()["row"]]


def tests_of(paths: Iterable[Path]) -> dict[int, list[str]]:
    """Names of the tests of each row, with the file that holds them."""
    found: dict[int, list[str]] = {}
    for path in sorted(paths):
        text = path.read_text(encoding="utf-8")
        if "test_row_" not in text:
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (match := ROW_OF.match(node.name)):
                found.setdefault(int(match[1]), []).append(f"{path.relative_to(ROOT).as_posix()}::{node.name}")
    return {row: sorted(names) for row, names in found.items()}


DECODED = """\
The recorder decodes nothing ([record 0015](decisions/0015-codecs.md)). Every payload type of this table is in the
answer, so that no client ends its session over one.
"""


def all_tests() -> dict[int, list[str]]:
    """The tests of each row in the whole repository."""
    return tests_of((ROOT / "tests").rglob("test_*.py"))


def table(checklist: Iterable[Row], tests: Mapping[int, list[str]]) -> str:
    """The checklist with the tests of each row."""
    lines = ["## The checklist", "", "| # | Level | Point | Source | Shown by |", "|---|---|---|---|---|"]
    for row in checklist:
        names = [name.partition("::") for name in tests.get(row.row, [])]
        shown = "<br>".join(f"`{test}` ({path})" for path, _, test in names) or "later"
        lines.append(f"| {row.row} | {row.level} | {row.point} | {row.source} | {shown} |")
    return "\n".join(lines)


def pairs(title: str, heads: tuple[str, str], found: Iterable[tuple[str, str]]) -> str:
    """A section with a table of two columns."""
    lines = [f"## {title}", "", f"| {heads[0]} | {heads[1]} |", "|---|---|"]
    return "\n".join([*lines, *(f"| {left} | {right} |" for left, right in found), ""])


def page() -> str:
    """The whole of docs/siprec.md."""
    told = data()
    answers = pairs("What we answer when", ("What comes", "Answer"), told["answers"])
    dialects = pairs("Which dialects are read as what", ("What clients write", "Read as"), told["dialects"])
    codecs = pairs("Which codecs are kept", ("Offered", "Kept, and heard on play-back"), told["codecs"])
    return "\n".join([INTRO, table(rows(), all_tests()), "", answers, CLOSED, codecs, DECODED, dialects])


def main() -> int:
    """Writes the page, or with `--check` compares it: 1 when it is stale."""
    text = page()
    if "--check" in sys.argv[1:]:
        return int(TARGET.read_text(encoding="utf-8") != text)
    TARGET.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
