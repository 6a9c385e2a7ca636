"""The picture in docs/gate.md is the gate's table, and nothing else."""

from __future__ import annotations

import importlib.util
from types import ModuleType

import pytest

from mitschnitt.core.gate import TRANSITIONS, Command, State
from source import ROOT


@pytest.fixture(scope="module", name="draw")
def load_draw() -> ModuleType:
    spec = importlib.util.spec_from_file_location("draw", ROOT / "docs" / "draw.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_committed_picture_is_the_one_that_the_table_draws(draw: ModuleType) -> None:
    assert (ROOT / "docs" / "gate.md").read_text(encoding="utf-8") == draw.page(), "run `make docs`"


def test_every_row_is_drawn_in_both_pictures(draw: ModuleType) -> None:
    lines = draw.table().splitlines()
    assert len(lines) == len(TRANSITIONS) + 4  # two fences, a heading, a rule
    for (before, trigger), (after, _) in TRANSITIONS.items():
        arrow = next(line for line in draw.picture().splitlines() if f" {before} --> {after}:" in line)
        assert trigger.value in arrow


def test_every_command_is_explained_and_every_state_is_drawn(draw: ModuleType) -> None:
    assert set(draw.MEANINGS) == set(Command)
    assert [state for state in State if state.value not in draw.picture()] == []
