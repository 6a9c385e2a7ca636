"""A site that drains: the call that runs is kept whole, a new one goes elsewhere, and serve ends by itself.

All of it behind the walls of the unit for systemd (`as_a_service`).
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import select

from journeys.running import report_rows, running_site
from loopback import own_port
from mitschnitt.commands.demo_site import DemoSite
from mitschnitt.store.engine import open_reader
from mitschnitt.store.tables import calls, parties

HERE = Path(__file__).parent
PATIENCE_SECONDS = 60.0  # far above what it takes; only a broken test waits so long

pytestmark = [pytest.mark.journey, pytest.mark.timeout(120)]


def answered(port: int, method: str) -> str:
    """The status line of the answer to a request outside of any dialog."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.settimeout(30)
        probe.connect(("127.0.0.1", port))
        ours = f"127.0.0.1:{probe.getsockname()[1]}"
        lines = [
            f"{method} sip:recorder@127.0.0.1:{port} SIP/2.0",
            f"Via: SIP/2.0/UDP {ours};branch=z9hG4bK{method}{time.monotonic_ns()}",
            f"From: <sip:probe@{ours}>;tag=1", f"To: <sip:recorder@127.0.0.1:{port}>",
            f"Call-ID: {time.monotonic_ns()}", f"CSeq: 1 {method}", f"Contact: <sip:probe@{ours}>", "Max-Forwards: 70",
            "Content-Length: 0", "", "",
        ]  # fmt: skip
        probe.send("\r\n".join(lines).encode())
        return probe.recv(4_096).decode().partition("\r\n")[0]


def heard(systemd: socket.socket) -> list[str]:
    """What was told to systemd since it was last asked."""
    told: list[str] = []
    with contextlib.suppress(BlockingIOError):
        while True:
            told += systemd.recv(4_096).decode().splitlines()
    return told


@pytest.fixture(name="systemd")
def somebody_who_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "systemd.sock"))
        systemd.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "systemd.sock"))
        yield systemd


def test_a_call_lives_through_a_drain_and_serve_ends_by_itself(tmp_path: Path, systemd: socket.socket) -> None:
    metrics = own_port()

    def with_metrics(site: DemoSite) -> None:
        config = site.directory / "config.toml"
        config.write_text(config.read_text().replace("[metrics]\nport = 0\n", f"[metrics]\nport = {metrics}\n"))

    report = tmp_path / "report.jsonl"
    with (
        running_site(tmp_path, module="as_a_service", paths=[HERE], before=with_metrics) as site,
        httpx.Client(trust_env=False, timeout=PATIENCE_SECONDS) as http,
    ):
        recorder = f"http://127.0.0.1:{metrics + 1}"
        assert answered(site.demo.sip_port, "OPTIONS") == "SIP/2.0 200 OK"
        site.wait_listening(metrics + 1)  # it listens for calls before it says that it is ready
        assert http.get(f"{recorder}/readyz").status_code == 200
        assert "READY=1" in heard(systemd)
        centre = site.centre("--calls", "1", "--mix", "agreed_by_act", "--max-talk", "15", "--report", str(report))
        deadline = time.monotonic() + PATIENCE_SECONDS
        while "live" not in [call["state"] for call in site.calls()]:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        # At once, for the call lasts some seconds only; the command then waits for the drain that is under way.
        site.door.post("/drain", {"role": "operator", "within_s": 900})
        while answered(site.demo.sip_port, "OPTIONS") != "SIP/2.0 503 Service Unavailable":
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert answered(site.demo.sip_port, "INVITE") == "SIP/2.0 503 Service Unavailable"
        assert http.get(f"{recorder}/readyz").json() == {"ready": False, "reasons": ["draining"]}
        command = [sys.executable, "-m", "mitschnitt", "serve", "--drain", "--within", "10m", "--dir"]
        drain = subprocess.Popen(
            [*command, str(site.demo.directory)], env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        )
        assert site.process.poll() is None
        centre.communicate(timeout=PATIENCE_SECONDS)
        assert centre.returncode == 0
        assert site.process.wait(PATIENCE_SECONDS) == 0
        assert drain.wait(PATIENCE_SECONDS) == 0
        assert "STOPPING=1" in heard(systemd)
        database = open_reader(site.demo.directory / "db" / "domain.sqlite")
        with database.connect() as connection:
            assert [row.state for row in connection.execute(select(calls))] == ["kept"]
            found = connection.execute(select(parties)).all()
        database.dispose()
        assert [row.reason for row in found] == ["ended", "ended"]
        assert all((site.demo.directory / "audio" / "training" / row.media_name).is_file() for row in found)
    (row,) = report_rows(report)
    assert row["scenario"] == "agreed_by_act"
