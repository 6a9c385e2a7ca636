"""A whole site in a temporary directory: `init`, `serve` and the simulated contact centre, as processes."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from log_watch import leaks_in_text
from loopback import own_port
from mitschnitt.commands.call import decide, load_key
from mitschnitt.commands.demo_site import DemoSite, prepare
from mitschnitt.commands.door_client import Door
from mitschnitt.errors import PeerError

START_SECONDS = 60.0  # keeper and recorder on a busy machine
RTP_PORTS = 2_000  # of one site: a hundred calls, each opened a few times
WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
# Below the ephemeral ports; each worker has its own, and the range that was given last comes again last: no two sites
# share one.
RTP_END = 32_000
RTP_RANGES = deque(list(range(10_000, RTP_END, RTP_PORTS))[WORKER::WORKERS])
HERE = Path(__file__).parent


def bound_udp_ports() -> set[int]:
    """Every local port of a UDP socket on this machine."""
    tables = [Path("/proc/net/udp"), Path("/proc/net/udp6")]
    rows = [row for path in tables if path.exists() for row in path.read_text(encoding="ascii").splitlines()[1:]]
    return {int(row.split()[1].rpartition(":")[2], 16) for row in rows}


def free_rtp_ports(count: int = RTP_PORTS) -> int:
    """The first of `count` that nobody uses at this moment; more than RTP_PORTS are for a test that runs alone."""
    bound = bound_udp_ports()
    for _ in range(len(RTP_RANGES)):
        first = RTP_RANGES[0]
        RTP_RANGES.rotate(-1)
        if first + count <= RTP_END and not any(first <= port < first + count for port in bound):
            return first
    raise AssertionError("every range of RTP ports is in use")


@dataclass
class Site:
    """A running site."""

    demo: DemoSite
    process: subprocess.Popen[bytes]
    log: Path
    answers_at: int = 0  # its port for SIP, where that is not the demo's
    host: str = "127.0.0.1"  # of SIP and RTP

    @property
    def door(self) -> Door:
        """The way in for commands."""
        return Door(self.demo.directory)

    def pid(self, part: str) -> int:
        """Process id of keeper or recorder-1."""
        return int((self.demo.directory / "run" / f"{part}.pid").read_text(encoding="utf-8"))

    def pids(self) -> list[int]:
        """Every process of `serve`."""
        return [self.process.pid, self.pid("keeper"), self.pid("recorder-1")]

    def all_pids(self) -> list[int]:
        """Those of further recorders, too."""
        return [self.process.pid, *(int(path.read_text()) for path in (self.demo.directory / "run").glob("*.pid"))]

    def wait_ready(self) -> None:
        """Until keeper and recorder answer."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            with contextlib.suppress(PeerError, OSError):
                if self.door.get("/status") and sip_answers(self.answers_at or self.demo.sip_port, self.host):
                    return
            if self.process.poll() is not None:
                raise AssertionError(f"serve ended with {self.process.returncode}: {self.log.read_text()[-3000:]}")
            time.sleep(0.1)
        raise AssertionError(f"serve did not become ready: {self.log.read_text()[-3000:]}")

    def wait_listening(self, port: int) -> None:
        """Until somebody takes TCP connections there."""
        deadline = time.monotonic() + START_SECONDS
        while not sip_answers(port, self.host):
            assert time.monotonic() < deadline, f"nobody listens on port {port}"
            time.sleep(0.05)

    def centre(self, *arguments: str) -> subprocess.Popen[str]:
        """Start the simulated contact centre against this site."""
        return subprocess.Popen(
            [sys.executable, "-m", "mitschnitt.gateways.centre", *self.demo.centre_arguments(), *arguments],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )

    def calls(self) -> list[dict[str, Any]]:
        """All calls as the officer sees them."""
        found: list[dict[str, Any]] = self.door.get("/calls", **{"as": "officer"})["calls"]
        return found

    def wait_closed(self, count: int, seconds: float = 60.0) -> list[dict[str, Any]]:
        """Until `count` calls exist and none is live."""
        deadline = time.monotonic() + seconds
        calls: list[dict[str, Any]] = []
        while time.monotonic() < deadline:
            calls = self.calls()
            if len(calls) >= count and all(call["state"] != "live" for call in calls):
                return calls
            time.sleep(0.2)
        raise AssertionError(f"calls did not close: {[call['state'] for call in calls]} {self.log.read_text()[-3000:]}")

    def wait_outcome(self, call: str, seconds: float = 60.0) -> str:
        """The word for one call once it is over: kept or not_kept."""
        deadline = time.monotonic() + seconds
        state = "unknown"
        while time.monotonic() < deadline:
            state = next((str(found["state"]) for found in self.calls() if found["call"] == call), "unknown")
            if state not in ("live", "unknown"):
                return state
            time.sleep(0.05)
        raise AssertionError(f"call {call} is still {state}: {self.log.read_text()[-3000:]}")

    def rule(self, call: str) -> str:
        """The rule behind a call's outcome, with the officer's key."""
        return str(decide(self.door, call, load_key(self.demo.officer_key))["rule"])

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


def sip_answers(port: int, host: str = "127.0.0.1") -> bool:
    """Whether something takes TCP connections on the SIP port."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.settimeout(0.5)
        return probe.connect_ex((host, port)) == 0


@contextlib.contextmanager
def running_site(
    root: Path,
    *,
    module: str = "mitschnitt",
    paths: Sequence[Path] = (),
    max_calls: int | None = None,
    sip: Sequence[str] = (),
    before: Callable[[DemoSite], object] = lambda _: None,
    answers_at: int = 0,
    host: str = "127.0.0.1",
    rtp: Sequence[str] = (),
    rtp_ports: int = RTP_PORTS,
    agent_keys: Path | None = None,
) -> Iterator[Site]:
    """A site that serves, and is stopped at the end; `module` is what is run instead of `mitschnitt`.

    `sip` and `rtp` are lines for its sections; `before` may add to the directory.
    """
    first_rtp_port = free_rtp_ports(rtp_ports)
    demo = prepare(
        root / "site",
        sip_port=own_port(),
        control_port=own_port(),
        first_rtp_port=first_rtp_port,
        last_rtp_port=first_rtp_port + rtp_ports - 1,
        agent_keys=agent_keys,
    )
    lines = [*sip, *([f"max_calls = {max_calls}"] if max_calls is not None else [])]
    config = demo.directory / "config.toml"
    text = config.read_text().replace("[sip]\n", "\n".join(["[sip]", *lines, ""]), 1)
    text = text.replace("[rtp]\n", "\n".join(["[rtp]", *rtp, ""]), 1)
    if host != "127.0.0.1":
        text = re.sub(r"^\[(sip|rtp)\]\n", rf'[\1]\nhost = "{host}"\n', text, flags=re.MULTILINE)
    config.write_text(text)
    before(demo)
    log = root / "serve.log"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*(str(path) for path in paths), *sys.path])}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", module, "serve", "--dir", str(demo.directory)],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
        )
        site = Site(demo, process, log, answers_at, host)
        try:
            site.wait_ready()
            yield site
        finally:
            site.stop()
        leaks = leaks_in_text(log.read_text(encoding="utf-8"))
        assert leaks == [], f"the log of serve says what it may not: {leaks[:5]}"


def report_rows(path: Path) -> list[dict[str, Any]]:
    """The centre's report, one object per call."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
