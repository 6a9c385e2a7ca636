"""Debian's sipp as a recording client: our own scenarios over UDP and TCP, several calls each."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from journeys.scripted_recorder import HOST, RecorderUnderTest, running_recorder
from mitschnitt.wire.sip.events import (
    AckReceived,
    ByeReceived,
    ByeRefused,
    CancelReceived,
    DialogEnded,
)

pytestmark = pytest.mark.journey

SCENARIOS = Path(__file__).parent / "sipp"
TRANSPORTS = ["UDP", "TCP"]
SESSIONS = [
    "two_lines", "pause_resume", "update_partial", "lf_only", "odd_boundary", "missing_siprec", "mixed_line",
    "ordinary",
]  # fmt: skip
SINGLE = ["options", "unknown_require", "unknown_dialog"]  # no dialog comes to be
STIMULATED = {"our_reinvite", "bye_refused", "cancel"}


def sipp_path() -> str:
    """Where sipp is; skips without it, or fails when skips are forbidden."""
    found = shutil.which("sipp")
    if not found:
        reason = "sipp is not installed (Debian: sip-tester)"
        if os.environ.get("CI_NO_SKIP") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return found


@pytest.fixture
def recorder() -> Iterator[RecorderUnderTest]:
    """The recorder under test: its address and how it is told of acts."""
    with running_recorder() as under_test:
        yield under_test


def start_sipp(
    scenario: str, transport: str, under_test: RecorderUnderTest, directory: Path, *, calls: int = 1
) -> subprocess.Popen[str]:
    """sipp in the background; its log lies in `directory`."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    errors = directory / f"{scenario}.log"
    command = [sipp_path(), f"{under_test.host}:{under_test.port}", "-sf", str(SCENARIOS / f"{scenario}.xml")]
    command += ["-t", "u1" if transport == "UDP" else "t1", "-i", HOST, "-p", str(port), "-m", str(calls)]
    command += ["-r", "20", "-key", "session", f"{scenario}-{transport}", "-nostdin", "-timeout", "20s"]
    command += ["-timeout_error", "-trace_err", "-error_file", str(errors)]
    return subprocess.Popen(command, cwd=SCENARIOS, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(process: subprocess.Popen[str], directory: Path) -> None:
    """Waits for sipp; its log is the message when a call failed."""
    try:
        output, _ = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    logs = "".join(path.read_text() for path in directory.glob("*.log"))
    assert process.returncode == 0, f"sipp said {process.returncode}: {logs[-3000:] or output[-3000:]}"


def test_every_scenario_is_run() -> None:
    assert {path.stem for path in SCENARIOS.glob("*.xml")} == {*SESSIONS, *SINGLE, *STIMULATED}


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("scenario", [*SESSIONS, *SINGLE])
def test_a_scenario_runs_to_its_end(scenario: str, transport: str, recorder: RecorderUnderTest, tmp_path: Path) -> None:
    finish(start_sipp(scenario, transport, recorder, tmp_path, calls=5), tmp_path)
    assert recorder.reported(ByeReceived, 5 if scenario in SESSIONS else 0)


@pytest.mark.parametrize(
    "scenario, certain, parties",
    [
        ("two_lines", True, 2),
        ("odd_boundary", True, 2),
        ("update_partial", True, 3),
        ("mixed_line", False, 2),
    ],
)
def test_what_a_scenario_says_is_what_is_bound(
    scenario: str, certain: bool, parties: int, recorder: RecorderUnderTest, tmp_path: Path
) -> None:
    finish(start_sipp(scenario, "UDP", recorder, tmp_path), tmp_path)
    assert recorder.reported(ByeReceived, 1)
    binding = recorder.bindings[f"{scenario}-UDP"]
    assert (binding.certain, len(binding.participants)) == (certain, parties)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_the_recorder_opens_by_its_own_offer(transport: str, recorder: RecorderUnderTest, tmp_path: Path) -> None:
    process = start_sipp("our_reinvite", transport, recorder, tmp_path)
    recorder.agree(f"our_reinvite-{transport}")
    finish(process, tmp_path)
    assert recorder.reported(ByeReceived, 1)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_client_that_refuses_our_bye_is_told_of_and_answered_later(
    transport: str, recorder: RecorderUnderTest, tmp_path: Path
) -> None:
    process = start_sipp("bye_refused", transport, recorder, tmp_path)
    recorder.stop(f"bye_refused-{transport}")
    finish(process, tmp_path)
    assert recorder.reported(ByeRefused, 1)
    assert recorder.reported(ByeReceived, 1)
    assert recorder.reported(DialogEnded, 0)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_call_that_ends_before_the_answer_is_cancelled(transport: str, tmp_path: Path) -> None:
    with running_recorder(answer_after=1.0) as slow:
        finish(start_sipp("cancel", transport, slow, tmp_path), tmp_path)
        assert slow.reported(CancelReceived, 1)
        assert slow.reported(AckReceived, 0)
