"""`figures show`: intervals beside shares, and no word about why something is missing that would tell of somebody."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from commands.keeper_stub import StubDoor
from mitschnitt.commands import figures
from mitschnitt.errors import ConfigError, NotAllowed

CELLS = [
    {"group": "", "calls": 120, "share": 0.35, "low": 0.27, "high": 0.44},
    {"group": "north", "calls": 54, "share": 0.39, "low": 0.27, "high": 0.52},
]
TOLD: dict[str, Any] = {
    "month": "2026-11",
    "measure": "kept",
    "cells": CELLS,
    "not_alone": [{"group": "night", "with": ""}, {"group": "late", "with": "north"}, {"group": "new", "with": None}],
}
HERE = Path("/nowhere")


@pytest.fixture
def door(monkeypatch: pytest.MonkeyPatch) -> StubDoor:
    stub = StubDoor({("GET", "/figures/2026-11"): TOLD})
    stub.behind(monkeypatch, figures)
    return stub


def test_each_cell_has_its_calls_and_its_interval(door: StubDoor, capsys: pytest.CaptureFixture[str]) -> None:
    figures.show("2026-11", HERE, role="council", as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[:4] == [
        "2026-11: share of drawn calls that were kept",
        "            calls   share  95 % interval",
        "the whole     120    35 %   27 to 44 %",
        "north          54    39 %   27 to 52 %",
    ]
    assert door.asked == [("GET", "/figures/2026-11", {"as": "council"})]


def test_what_is_not_told_alone_is_named_with_one_reason_for_all(
    door: StubDoor, capsys: pytest.CaptureFixture[str]
) -> None:
    figures.show("2026-11", HERE, role="operator", as_json=False)
    said = capsys.readouterr().out
    assert "night: part of the whole\nlate: part of north\nnew: in no figure\n" in said
    assert "fewer than five people or twenty calls" in said


def test_a_month_of_which_nothing_may_be_told_says_so(door: StubDoor, capsys: pytest.CaptureFixture[str]) -> None:
    door.answers["GET", "/figures/2026-11"] = {**TOLD, "cells": [], "not_alone": []}
    figures.show("2026-11", HERE, role="operator", as_json=False)
    said = capsys.readouterr().out
    assert "nothing of this month may be told" in said
    assert "not told alone" not in said


def test_json_is_what_the_door_said(door: StubDoor, capsys: pytest.CaptureFixture[str]) -> None:
    figures.show("2026-11", HERE, role="operator", as_json=True)
    assert json.loads(capsys.readouterr().out) == TOLD


def test_what_is_no_month_is_refused_before_anybody_is_asked(door: StubDoor) -> None:
    with pytest.raises(ConfigError):
        figures.show("2026-W48", HERE, role="operator", as_json=False)
    assert door.asked == []


def test_a_refusal_comes_through(door: StubDoor) -> None:
    door.answers["GET", "/figures/2026-11"] = NotAllowed("figures.not_told", "not yet")
    with pytest.raises(NotAllowed, match=r"figures\.not_told"):
        figures.show("2026-11", HERE, role="operator", as_json=False)
