"""A call, played as people play it: every format, parts of it, an erasure in between, and nothing after it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from journeys.running import Site, report_rows, running_site
from mitschnitt.commands.play import Wish, opened, play
from mitschnitt.errors import NotAllowed

pytestmark = [pytest.mark.journey, pytest.mark.timeout(90)]
COACH = ("--purpose", "training", "--as", "coach")


def mitschnitt(site: Site, *arguments: str) -> subprocess.CompletedProcess[str]:
    """One command, as a person gives it."""
    return subprocess.run(
        [sys.executable, "-m", "mitschnitt", *arguments, "--dir", str(site.demo.directory)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_call_plays_in_every_format_and_by_parts_until_it_is_erased(tmp_path: Path) -> None:
    with running_site(tmp_path) as site:
        report = tmp_path / "report.jsonl"
        centre = site.centre("--calls", "1", "--mix", "agreed_by_act=1", "--max-talk", "4", "--report", str(report))
        centre.communicate(timeout=60)
        assert centre.returncode == 0
        (row,) = report_rows(report)
        call = str(row["control"])
        assert site.wait_outcome(call) == "kept"

        done = mitschnitt(site, "play", call, *COACH, "--out", str(tmp_path / "call.wav"))
        assert done.returncode == 0, done.stderr
        assert "channels caller, agent" in done.stdout
        assert "packets" in done.stdout
        for name in ("flac", "opus"):  # as the command does it, without its start
            play(site.door, call, Wish(tmp_path / f"call.{name}", "training", "coach"))
        wav, rate = soundfile.read(tmp_path / "call.wav", dtype="int16")
        assert np.array_equal(soundfile.read(tmp_path / "call.flac", dtype="int16")[0], wav)
        assert soundfile.info(tmp_path / "call.opus").duration == pytest.approx(len(wav) / rate, abs=0.001)
        assert all(np.abs(wav[:, channel]).max() > 1_000 for channel in (0, 1))

        part = tmp_path / "part.flac"
        beside = ("--peaks", str(tmp_path / "peaks.json"), "--statement", str(tmp_path / "statement.json"))
        asked = ("--side", "agent", "--from", "0.5", "--to", "0:01.25", *beside, "--json")
        told = json.loads(mitschnitt(site, "play", call, *COACH, "--out", str(part), *asked).stdout)
        assert (told["seconds"], told["files"]) == (0.75, [{"out": str(part), "channels": ["agent"]}])
        assert np.array_equal(soundfile.read(part, dtype="int16")[0], wav[4_000:10_000, 1])
        peaks = json.loads((tmp_path / "peaks.json").read_text())
        assert peaks["max"] == [[int(step.max()) for step in wav[4_000:10_000, 1].reshape(-1, 400)]]
        stated = json.loads((tmp_path / "statement.json").read_text())
        assert stated["parties"] == told["completeness"]
        assert all(one["received"] and not one["undecoded"] for one in stated["parties"].values())

        with opened(site.door, call, purpose="training", role="coach") as recording:
            agent = recording.sides("agent")
            assert recording.stretches(agent, 0, 500_000_000)[0].rows.size
            site.door.post(f"/calls/{call}/erase", {"role": "officer"})
            with pytest.raises(NotAllowed) as over:
                recording.stretches(agent, 500_000_000, 1_000_000_000)
            assert over.value.rule == "playback.over"
        refused = mitschnitt(site, "play", call, *COACH, "--out", str(tmp_path / "again.wav"))
        assert (refused.returncode, refused.stdout) == (1, "")
        assert "access.not_kept" in refused.stderr
        assert not (tmp_path / "again.wav").exists()
