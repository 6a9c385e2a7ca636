from __future__ import annotations

import json
from pathlib import Path

import pytest

from mitschnitt.gateways.bench import soak


def test_a_slope_has_its_error() -> None:
    assert soak.slope([5.0, 5.0, 5.0, 5.0]) == (0.0, 0.0)
    grows, error = soak.slope([1.0, 2.0, 3.0, 4.0, 5.2])
    assert grows == pytest.approx(1.04)
    assert 0 < error < 0.1
    assert soak.slope([1.0, 9.0]) == (0.0, 0.0)


@pytest.mark.parametrize(
    "series, word",
    [
        ([100.0, 101.0, 100.0, 101.0, 100.0, 101.0], "flat"),
        ([100.0, 110.0, 120.0, 130.0, 141.0, 150.0], "GROWS"),
        ([150.0, 140.0, 130.0, 120.0, 110.0, 100.0], "flat"),
        ([100.0, 100.1, 100.2, 100.3, 100.4, 100.5], "flat"),  # steadily, but half a percent in all
    ],
)
def test_what_grows_is_told_from_what_swings(series: list[float], word: str) -> None:
    assert soak.verdict("memory", series).startswith(f"memory: {word}, ")


def test_growth_counts_once_every_port_has_rested_and_calls_have_come_and_gone() -> None:
    assert soak.warm_seconds(120.0) == 300.0
    assert soak.ports_of(100, 1.0) == 7320
    assert soak.ports_of(4_000, 120.0) == 7200


@pytest.mark.journey
def test_calls_come_and_go_and_none_of_their_packets_is_lost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = tmp_path / "figures.json"
    times = ["--minutes", "0.06", "--every", "0.5", "--call-seconds", "1", "--warm", "1"]
    assert soak.main(["--streams", "10", *times, "--dir", str(tmp_path), "--json", str(figures)]) == 0
    samples = json.loads(figures.read_text())
    assert len(samples) >= 3
    last = samples[-1]
    assert (last["lost"], last["failed"]) == (0, 0)
    assert last["ended"] >= 5
    assert last["kept"] > 0
    printed = capsys.readouterr().out
    assert "after 1 s of warming up" in printed
    assert "rss_mib: " in printed
    assert 1 < last["heap_mib"] < last["rss_mib"]
    assert [path.name for path in tmp_path.iterdir()] == ["figures.json"]
