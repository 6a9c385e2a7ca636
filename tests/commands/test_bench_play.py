"""`bench play`: a short call through a real keeper; figures are printed, and what is wrong is an exit code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mitschnitt.commands import bench_play
from mitschnitt.commands.bench_call import CODECS, spoken_for
from mitschnitt.errors import PeerError
from mitschnitt.keeper.laid_out_calls import MAX_ROWS
from mitschnitt.wire.timeline import fold


@pytest.mark.thorough
def test_a_short_call_is_measured_cold_and_warm_and_as_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = tmp_path / "figures.json"
    options = ["--seconds", "12", "--calls", "2", "--ranges", "6", "--dir", str(tmp_path), "--json", str(figures)]
    assert bench_play.main(options) == 0
    told = json.loads(figures.read_text())
    assert len(told["cold_ms"]) == len(told["warm_ms"]) == 6
    assert min(told["cold_ms"] + told["warm_ms"]) > 0
    assert told["files_times_real_time"].keys() == {"wav", "flac", "opus"}
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "one second, both parties, of a call of 12 s, in ms"
    assert [line.split()[0] for line in lines[2:]] == ["cold", "warm", "wav", "flac", "opus"]
    assert [path.name for path in tmp_path.iterdir()] == ["figures.json"]


@pytest.mark.thorough
def test_a_second_that_is_not_that_of_the_whole_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    really = bench_play.second_of

    def turned(*asked: Any) -> Any:
        return np.flip(really(*asked), axis=1)

    monkeypatch.setattr(bench_play, "second_of", turned)
    assert (
        bench_play.main(["--seconds", "5", "--calls", "1", "--ranges", "1", "--no-files", "--dir", str(tmp_path)]) == 1
    )
    assert "WRONG: second" in capsys.readouterr().out


def test_a_keeper_that_does_not_start_is_told_with_the_end_of_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench_play, "PROCESS", ("-c", "import sys; sys.exit('no keeper today')"))
    with pytest.raises(PeerError, match="no keeper today"):
        bench_play.main(["--seconds", "5", "--calls", "1", "--ranges", "1", "--dir", str(tmp_path)])


def test_cold_goes_round_more_calls_than_the_keeper_remembers() -> None:
    tenth = spoken_for(360, role="caller", party=0)
    rows = 10 * fold(np.concatenate([piece.runs for piece in tenth.slices]), CODECS).count.size
    assert bench_play.COLD_CALLS * 2 * rows > 1.2 * MAX_ROWS
