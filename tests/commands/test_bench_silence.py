"""`bench silence`: real answers of a real keeper, the same for each kind; a difference in bytes is an exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mitschnitt.commands import bench_silence
from mitschnitt.commands.bench_silence import KINDS, QUESTIONS


def test_each_question_is_compared_for_each_kind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures = tmp_path / "figures.json"
    assert bench_silence.main(["--rounds", "5", "--each", "3", "--json", str(figures)]) == 0
    told = json.loads(figures.read_text())
    assert told.keys() == QUESTIONS.keys()
    for question in told.values():
        assert [one["kind"] for one in question["kinds"]] == list(KINDS)[1:]
        assert all(one["low"] <= one["ratio"] <= one["high"] for one in question["kinds"])
    printed = capsys.readouterr().out
    assert printed.count("95 % interval") == len(QUESTIONS)
    assert [path.name for path in tmp_path.iterdir()] == ["figures.json"]


@pytest.mark.thorough
def test_an_answer_that_differs_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench_silence, "QUESTIONS", {"tells": lambda _door, call: call[::-1]})
    assert bench_silence.main(["--rounds", "2", "--each", "1"]) == 1
    assert "WRONG: `tells`" in capsys.readouterr().out
