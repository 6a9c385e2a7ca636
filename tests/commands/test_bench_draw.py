"""`bench draw`: lists that verify, figures of each part, and an exit code that speaks of findings only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mitschnitt.commands import bench_draw, bench_draw_arrival, bench_draw_lists


@pytest.mark.thorough
def test_lists_are_made_and_verified_and_all_figures_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = tmp_path / "figures.json"
    assert bench_draw.main(["--draws", "5000", "--arrivals", "64", "--json", str(figures)]) == 0
    told = capsys.readouterr().out
    assert "5,000 draws" in told
    assert "floor: bare hashlib" in told
    found = json.loads(figures.read_text(encoding="utf-8"))
    assert {"floor", "public", "both"} <= set(found)
    assert [path.name for path in tmp_path.iterdir()] == ["figures.json"]


def test_a_finding_is_wrong_and_a_slow_machine_is_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    figures: dict[str, Any] = {"public": {"findings": ["x is wrong"]}, "both": {"findings": []}}
    monkeypatch.setattr(bench_draw_lists, "measure", lambda folder, many: ([], figures))
    monkeypatch.setattr(bench_draw_arrival, "measure", lambda many: ([], {}))
    assert bench_draw.main(["--draws", "1"]) == 1
    assert "WRONG: x is wrong" in capsys.readouterr().out
