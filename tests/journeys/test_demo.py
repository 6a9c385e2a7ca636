"""`mitschnitt demo` as a person starts it: real processes, a table, a WAV that stays, exit code 0."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import wave
from pathlib import Path

import pytest

from mitschnitt.commands.demo import EXPECTED

CALLS = 10
pytestmark = [pytest.mark.journey, pytest.mark.timeout(150)]
ROW = re.compile(r"^(\d+) +(\w+(?: \w+)*) {2,}ended +(kept|not_kept) +([a-z.]+) *$", re.MULTILINE)


def test_the_demo_shows_ten_calls_and_plays_and_destroys_one(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    shown = subprocess.run(
        [sys.executable, "-m", "mitschnitt", "demo", "--calls", str(CALLS), "--keep", str(kept)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "COLUMNS": "80", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=140,
        check=False,
    )
    assert shown.returncode == 0, shown.stdout + shown.stderr
    rows = ROW.findall(shown.stdout)
    assert [int(number) for number, *_ in rows] == list(range(1, CALLS + 1))
    assert [outcome for _, _, outcome, _ in rows] == [EXPECTED[name.replace(" ", "_")] for _, name, _, _ in rows]
    assert {outcome for _, _, outcome, _ in rows} == {"kept", "not_kept"}
    outcomes = [outcome for _, _, outcome, _ in rows]
    assert f"{CALLS} calls: {outcomes.count('kept')} kept, {outcomes.count('not_kept')} not kept\n" in shown.stdout
    assert f"for training, as coach: {kept}.wav (" in shown.stdout  # a path is on one line
    assert "played again: refused, access.not_kept\n" in shown.stdout
    assert "done: what was agreed was sealed" in shown.stdout
    with wave.open(f"{kept}.wav") as played:
        assert played.getnchannels() == 2
        assert played.getnframes() > played.getframerate()
    assert (kept / "db" / "domain.sqlite").is_file()
    assert not (kept / "run" / "door.sock").exists() or not _answers(kept)


def _answers(directory: Path) -> bool:
    again = [sys.executable, "-m", "mitschnitt", "call", "list", "--dir", str(directory)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(again, env=environment, capture_output=True, check=False).returncode != 3


def test_the_week_is_drawn_verified_tampered_with_and_asked_why() -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "mitschnitt", "demo", "--scene", "week"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "COLUMNS": "80", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=140,
        check=False,
    )
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert shown.stdout.startswith("a week of 2,000 calls without media")
    assert ": 2,000 calls seen" in shown.stdout
    assert "nothing is wrong" in shown.stdout
    assert len(re.findall(r"^.*: found: \d{4}-", shown.stdout, re.MULTILINE)) == 8
    assert shown.stdout.count('everybody else:         {"state": "not_kept"}') == 4
    assert shown.stdout.count('everybody else:         {"state": "kept"}') == 1
    assert "done: the draw can be recomputed" in shown.stdout
