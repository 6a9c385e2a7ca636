"""Ladders from a journal into the database and out again: read strictly, or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mitschnitt.keeper.ladders import ladders_in, shown_ladders
from mitschnitt.vault.decision import MAX_LADDERS

VECTORS = Path(__file__).parents[1] / "vectors" / "ladder"
KEPT = json.loads((VECTORS / "kept.json").read_text(encoding="utf-8"))
REFUSED: dict[str, Any] = json.loads((VECTORS / "refused.json").read_text(encoding="utf-8"))


def test_what_a_recorder_told_is_shown_rung_by_rung() -> None:
    (shown,) = shown_ladders(json.loads(ladders_in({"kept": True, "ladders": [KEPT]})))
    assert (shown["began_at"], shown["left_out"]) == ("2026-11-23T09:30:00.250000Z", 0)
    assert [rung["message"] for rung in shown["rungs"]] == [
        "INVITE", "100", "200", "ACK", "INVITE", "200", "ACK", "BYE", "200",
    ]  # fmt: skip


@pytest.mark.parametrize("told", [{}, {"ladders": None}, {"ladders": "x"}, {"ladders": [KEPT] * (MAX_LADDERS + 1)}])
def test_no_ladders_and_too_many_are_none(told: dict[str, Any]) -> None:
    assert ladders_in(told) == "[]"


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_one_that_is_none_leaves_nothing_behind(name: str) -> None:
    assert ladders_in({"ladders": [KEPT, REFUSED[name]]}) == "[]"
