from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from mitschnitt.gateways.bench import capture
from mitschnitt.gateways.bench.capture import Run

RUN = Run(
    streams=500,
    sent=1000,
    burst=1,
    recorders=1,
    receiver="sockets",
    floor_us=1.0,
    ours_us=1.5,
    ratio=1.5,
    party_ms=2.5,
    lost=0,
    kernel_drops=0,
    floor_drops=0,
    files=500,
    complete=500,
    wrong=0,
    late_ticks=0,
    cpu_share=0.25,
    rss_mib=80.0,
    finish_s=1.0,
    generator_cpu_share=0.2,
    generator_late_p99_us=100.0,
)


@pytest.mark.journey
@pytest.mark.parametrize(
    "more",
    [["--recorders", "2", "--pairs", "2"], ["--rtcp", "--pairs", "1"]],
    ids=["two recorders side by side, in both orders", "rtcp too"],
)
def test_a_whole_small_bench_finds_every_file_complete(
    more: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = tmp_path / "figures.json"
    options = ["--streams", "6", "--seconds", "1", "--dir", str(tmp_path), *more]
    assert capture.main([*options, "--json", str(figures)]) == 0
    [step] = json.loads(figures.read_text())["steps"]
    assert (step["lost"], step["incomplete_files"], step["wrong_files"]) == (0, 0, 0)
    assert step["ours_us"] > step["floor_us"] > 0
    printed = capsys.readouterr().out
    assert f"6 streams, pair {step['pairs']} of {step['pairs']}" in printed
    assert ">= 6 streams (3 calls)" in printed
    assert "fdatasync calibration" in printed
    assert [path.name for path in tmp_path.iterdir()] == ["figures.json"]


def test_slow_is_correct_and_loss_that_the_kernel_counted_too() -> None:
    assert replace(RUN, ratio=50.0).is_correct
    dropped = replace(RUN, lost=3, kernel_drops=3, complete=498)
    assert dropped.is_correct
    assert not dropped.is_perfect


@pytest.mark.parametrize("wrong", [replace(RUN, wrong=1), replace(RUN, lost=1), replace(RUN, lost=4, kernel_drops=3)])
def test_a_wrong_file_or_unexplained_loss_is_not_correct(wrong: Run) -> None:
    assert not wrong.is_correct
    assert not wrong.is_perfect


def test_a_step_is_the_median_of_its_pairs_and_the_sum_of_its_losses() -> None:
    runs = [replace(RUN, ratio=ratio, lost=1, kernel_drops=1) for ratio in (1.0, 9.0, 2.0)]
    step = capture.summary(runs)
    assert (step["ratio"], step["ratio_range"], step["lost"]) == (2.0, [1.0, 9.0], 3)
    assert step["calls_per_core"] == 1000
    assert not step["perfect"]


@pytest.mark.parametrize(
    "uneven", [replace(RUN, generator_late_p99_us=5_001.0), replace(RUN, generator_cpu_share=0.71)]
)
def test_a_generator_that_could_not_keep_its_pace_is_told(uneven: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert RUN.is_paced
    capture.report([capture.summary([RUN, uneven])], [100.0])
    assert "NOT EVENLY PACED at [500] streams" in capsys.readouterr().out
    capture.report([capture.summary([RUN])], [100.0])
    assert "NOT EVENLY PACED" not in capsys.readouterr().out


def test_the_report_names_the_largest_perfect_step_and_marks_that_no_end_was_found(
    capsys: pytest.CaptureFixture[str],
) -> None:
    good, bad = capture.summary([RUN]), capture.summary([replace(RUN, streams=1000, lost=1)])
    capture.report([good, bad], [100.0, 300.0])
    assert "every file complete: 500 streams (250 calls)" in capsys.readouterr().out
    capture.report([good], [100.0])
    assert "every file complete: >= 500 streams" in capsys.readouterr().out
    capture.report([bad], [100.0])
    assert "every file complete: 0 streams" in capsys.readouterr().out
