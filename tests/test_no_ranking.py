"""There is no ranking of people, no figure of a person and no count for a superior: read from the source.

What is told of groups has no order of merit; what is counted of a person never leaves the function that adds it up.
"""

from __future__ import annotations

import ast
import re

import pytest
import typer

from mitschnitt.cli import app
from source import ROOT, Module, modules

WORDS = re.compile(
    r"rank(?:ing|ed)?|leader ?board|best agents?|worst|top ?(?:ten|\\d)|per[_ ]agent|score(?:s|board)?", re.IGNORECASE
)
SORTING = frozenset({"sorted", "sort", "order_by", "nlargest", "nsmallest", "most_common"})
MEASURES = frozenset({"share", "kept", "drawn", "calls", "low", "high", "outcome"})  # of what people did
FIGURES = [module for module in modules() if module.name in ("core.cells", "core.statistics", "keeper.cells")]
SHOWN = [*FIGURES, *(m for m in modules() if m.name in ("store.cell_queries", "commands.figures"))]


def sorts_by_measure(module: Module) -> list[int]:
    """Lines that order something by what people did."""
    calls = [node for node in ast.walk(module.tree) if isinstance(node, ast.Call)]
    return [call.lineno for call in calls if _name(call) in SORTING and _orders_by(call)]


def _name(call: ast.Call) -> str:
    return str(getattr(call.func, "id", getattr(call.func, "attr", "")))


def _orders_by(call: ast.Call) -> bool:
    if _name(call) == "most_common":
        return True
    keys = [word.value for word in call.keywords if word.arg == "key"]
    keys += call.args if _name(call) == "order_by" else call.args[1:]
    return bool(
        {getattr(part, "attr", getattr(part, "value", "")) for key in keys for part in ast.walk(key)} & MEASURES
    )


@pytest.mark.parametrize("module", SHOWN, ids=lambda module: module.name)
def test_nothing_sorts_people_by_what_they_did(module: Module) -> None:
    assert sorts_by_measure(module) == []


def test_the_search_finds_a_ranking() -> None:
    for text in ("sorted(cells, key=lambda cell: cell.share)", "x.order_by(cells.c.kept)", "counter.most_common(3)"):
        module = Module("core.sample", FIGURES[0].path, text)
        assert sorts_by_measure(module) == [1]


def test_no_verb_option_or_page_of_help_speaks_of_a_ranking() -> None:
    told = "\n".join(help_of(typer.main.get_command(app)))
    assert "figures" in told
    assert WORDS.findall(told) == []


def help_of(command: object) -> list[str]:
    """Names, help and options of a command and all within it."""
    found = [str(getattr(command, "name", "")), str(getattr(command, "help", "") or "")]
    found += [str(getattr(option, "help", "") or "") for option in getattr(command, "params", ())]
    for inner in getattr(command, "commands", {}).values():
        found += help_of(inner)
    return found


def test_no_table_of_the_database_has_a_place_for_a_persons_figure() -> None:
    tables = (ROOT / "src/mitschnitt/store/tables.py").read_text(encoding="utf-8")
    cells = tables[tables.index("cells = Table(") : tables.index("cell_months = Table(")]
    assert "agent" not in cells
    assert "person" not in cells
    assert WORDS.findall(tables) == []
