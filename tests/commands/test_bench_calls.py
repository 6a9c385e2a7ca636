"""The bench of calls: what it takes for wrong, what it prints, and one small run against a whole site."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mitschnitt.commands import bench_calls
from mitschnitt.commands.bench_calls import Measured

FIGURES: Mapping[str, Any] = {
    "offered": 10, "statuses": {"200": 10}, "retry_after": 0, "answer_ms": [20.0 + n for n in range(10)],
    "shed_ms": [], "late_ms": [0.1] * 10, "resends": 0, "ended": 10, "refreshed": 0, "unasked": {}, "waves": [],
    "cpu_s": 0.1, "wall_s": 1.0,
}  # fmt: skip
OURS = Measured("mitschnitt", FIGURES, {"recorder": 2000.0, "keeper": 900.0}, 80.0)
PEER = Measured("sipp", FIGURES, {"sipp": 400.0}, 9.0)
WAVES = replace(
    OURS,
    figures={
        **FIGURES, "offered": 15, "statuses": {"200": 10, "503": 5}, "retry_after": 5, "shed_ms": [1.0] * 5,
        "refreshed": 10, "waves": [(10, 5)],
    },
)  # fmt: skip
MEDIA = Measured(
    "under media",
    {
        "offered": 3, "refused": 0, "never_open": 0, "not_kept": 0, "answer_ms": [21.0, 22.0, 23.0],
        "kept_ms": [300.0, 350.0, 400.0], "late_ms": [0.1] * 3, "standing": 2,
        "generator": {"sent": 1200, "late_p99_us": 900.0},
    },
    {"recorder": 2000.0},
    80.0,
)  # fmt: skip


def changed(measured: Measured, **figures: object) -> Measured:
    return replace(measured, figures={**measured.figures, **figures})


def test_a_slow_run_is_correct() -> None:
    assert bench_calls.faults_steady(changed(OURS, answer_ms=[9000.0] * 10, resends=30), 10) == []
    assert bench_calls.faults_overload(WAVES, 10) == []


@pytest.mark.parametrize(
    "figures, written, words",
    [
        ({"statuses": {"200": 9, "0": 1}, "ended": 9}, 10, "10 calls were offered, 9 were answered 200"),
        ({"ended": 9}, 10, "10 calls were taken, 9 BYEs were answered"),
        ({}, 9, "10 calls were offered, 9 are written down and over"),
    ],
)
def test_a_call_without_its_answer_or_its_entry_is_wrong(figures: dict[str, object], written: int, words: str) -> None:
    assert bench_calls.faults_steady(changed(OURS, **figures), written) == [words]


@pytest.mark.parametrize(
    "figures, words",
    [
        ({"waves": [(10, 5), (9, 6)]}, "wave 2: there is room for 10 calls, 9 were taken and 6 shed"),
        ({"waves": [(11, 4)]}, "wave 1: there is room for 10 calls, 11 were taken and 4 shed"),
        ({"retry_after": 4}, "5 calls were shed, 4 were told when to come again"),
        ({"refreshed": 9}, "10 calls ran, 9 were refreshed"),
        ({"ended": 9}, "10 calls ran, 9 were ended"),
        ({"unasked": {"BYE": 1}}, "calls that ran were disturbed: {'BYE': 1}"),
    ],
)
def test_shedding_is_exact_or_wrong(figures: dict[str, object], words: str) -> None:
    assert bench_calls.faults_overload(changed(WAVES, **figures), 10) == [words]


def test_percentiles_are_of_the_calls_that_were_answered() -> None:
    assert OURS.percentile("answer_ms", 0.5) == 25.0
    assert OURS.percentile("answer_ms", 0.95) == OURS.percentile("answer_ms", 1.0) == 29.0
    assert OURS.percentile("shed_ms", 0.99) == 0.0


def test_the_report_gives_the_ratio_to_the_peer_or_says_that_there_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    bench_calls.report_steady(OURS, PEER)
    assert "CPU per call, recorder to sipp: 5.0" in capsys.readouterr().out
    bench_calls.report_steady(changed(OURS, late_ms=[6.0] * 10), None)
    printed = capsys.readouterr().out
    assert "no sipp on PATH" in printed
    assert "NOT EVENLY OFFERED" in printed
    bench_calls.report_overload(WAVES, 10)
    assert "1 waves of 15 calls with room for 10 in 1 s: 10 taken, 5 answered 503" in capsys.readouterr().out


def test_calls_under_media_must_be_taken_asked_for_packets_and_kept(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench_calls.faults_media(MEDIA, 2) == []
    wrong = changed(MEDIA, refused=1, never_open=2, not_kept=3, standing=1)
    assert bench_calls.faults_media(wrong, 2) == [
        "1 calls were not answered 200",
        "2 calls were agreed to and never asked for packets",
        "3 calls ended and are not kept",
        "2 calls sent from beginning to end, 1 are kept",
    ]
    bench_calls.report_media(MEDIA, 4)
    printed = capsys.readouterr().out
    assert "while 4 streams of agreed calls flow, 3 more calls" in printed
    assert "BYE until kept  ms: p50 350.0, p95 400.0, p99 400.0" in printed


def test_cpu_and_memory_of_a_process_are_read_where_the_system_tells_them() -> None:
    spent = bench_calls.cpu_seconds(os.getpid())
    assert 0 < spent <= sum(os.times()[:2]) + 1 / bench_calls.TICKS
    assert bench_calls.peak_rss_mib(os.getpid()) > 1


@pytest.mark.journey
def test_a_small_run_answers_every_call_and_sheds_exactly(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures = tmp_path / "figures.json"
    options = ["--rate", "50", "--seconds", "2", "--hold", "1", "--overload", "1", "--room", "20"]
    assert bench_calls.main([*options, "--json", str(figures)]) == 0
    told = json.loads(figures.read_text(encoding="utf-8"))
    assert told["steady"][0]["figures"]["statuses"] == {"200": 100}
    assert told["overload"]["figures"]["waves"][0] == [20, 10]
    printed = capsys.readouterr().out
    assert "WRONG" not in printed
    assert "20 taken, 10 answered 503, 10 of them with Retry-After" in printed


@pytest.mark.journey
def test_a_few_calls_are_answered_and_kept_while_others_send(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    options = ["--media-streams", "4", "--rate", "4", "--seconds", "1", "--hold", "0.5", "--json", str(figures)]
    assert bench_calls.main(options) == 0
    told = json.loads(figures.read_text(encoding="utf-8"))["media"]["figures"]
    assert (told["offered"], len(told["answer_ms"]), len(told["kept_ms"]), told["standing"]) == (4, 4, 4, 2)
    assert told["generator"]["sent"] > 0
