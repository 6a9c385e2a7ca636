"""A ladder as people read it: files drawn by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mitschnitt.commands.call_ladder import MIN_WIDTH, draw
from mitschnitt.keeper.ladders import shown_ladders

VECTORS = Path(__file__).parents[1] / "vectors" / "ladder"


def shown(name: str) -> dict[str, Any]:
    return shown_ladders([json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8"))])[0]


@pytest.mark.parametrize("name, drawn", [("kept", "drawn"), ("long", "drawn_long")])
def test_a_ladder_is_drawn_as_its_file_shows(name: str, drawn: str) -> None:
    assert draw(shown(name)) == (VECTORS / f"{drawn}.txt").read_text(encoding="utf-8").splitlines()


def test_what_is_left_out_at_the_end_is_said_there() -> None:
    ladder = shown("long")
    ladder["gap"] = 4
    assert "317 messages left out" in draw(ladder)[-1]


def test_a_long_message_widens_its_ladder() -> None:
    ladder = shown("kept")
    ladder["rungs"][0] |= {"cseq": "2147483647 INVITE", "times": 2147483647, "cause": 603}
    lines = draw(ladder)
    assert len({len(line) for line in lines[2:]}) == 1
    assert len(lines[2]) > MIN_WIDTH + 17
