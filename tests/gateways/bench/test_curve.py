from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from gateways.bench.test_capture import RUN
from mitschnitt.gateways.bench import curve
from mitschnitt.gateways.bench.capture import Receivers, Run


@pytest.mark.journey
def test_a_small_curve_is_measured_and_written_down(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures = tmp_path / "figures.json"
    options = ["--streams", "6", "--receivers", "sockets", "--seconds", "1", "--dir", str(tmp_path)]
    assert curve.main([*options, "--json", str(figures)]) == 0
    [run] = json.loads(figures.read_text())["runs"]
    assert (run["receiver"], run["streams"], run["lost"], run["complete"], run["files"]) == ("sockets", 6, 0, 6, 6)
    assert run["ours_us"] > run["floor_us"] > 0
    assert "     6 streams, sockets: floor" in capsys.readouterr().out


def test_a_receiver_that_is_not_to_be_had_is_left_out_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Without:
        def __init__(self, _: Path, *, told: Receivers) -> None:
            self.receiver = told.receiver

        def floor(self, *_: int) -> dict[str, float]:
            return {"steady_cpu_s": 1.0, "steady_packets": 1e6, "kernel_drops": 0, "late_p99_us": 10.0}

        def ours(self, streams: int, _: int) -> Run:
            if self.receiver == "ring":
                raise RuntimeError("no ring here")
            return replace(RUN, streams=streams, ours_us=1.5)

    monkeypatch.setattr(curve, "Bench", Without)
    runs = curve.measure(tmp_path, [100, 200], ["ring", "sockets"], 1)
    assert [(run.streams, run.ratio) for run in runs] == [(100, 1.5), (200, 1.5)]
    assert capsys.readouterr().out.count("ring: not measured from here on; no ring here") == 1


def test_figures_are_written_with_four_digits() -> None:
    told = curve.point(replace(RUN, ours_us=1.23456789, sent=123_456))
    assert (told["ours_us"], told["sent"], told["paced"], told["perfect"]) == (1.235, 123_456, True, True)
