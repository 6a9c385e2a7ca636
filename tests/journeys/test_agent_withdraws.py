"""An agent takes standing consent back while calls run on two recorders: shut on both within a second of the act."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from journeys.running import Site, running_site
from journeys.starved import WITHDRAWAL_SYNCS, Waits, sync_seconds
from mitschnitt.commands.demo_site import NOTICE, DemoSite
from mitschnitt.config import load_config
from mitschnitt.core.consent import StandingGrant
from mitschnitt.core.pseudonym import SPEAKABLE
from mitschnitt.core.purpose import TRAINING
from mitschnitt.keeper.grants import import_grants, sign_grant
from mitschnitt.keeper.role_keys import load_private, make_private

JENS = "jens.albers"  # the agent of call 0 of every simulated centre
OWN_KEY = "jens.pem"
PASSWORD = "correct-horse-7"  # noqa: S105 - of a key that this journey makes
CALLS = 4  # of each centre: one of Jens, three of others
MAX_SECONDS = 1.0
WAIT_SECONDS = 60.0

pytestmark = [pytest.mark.journey, pytest.mark.timeout(120)]


def own_key(demo: DemoSite) -> None:
    """Two recorders, and Jens signs with a key that this journey holds, in place of the demo's."""
    config = demo.directory / "config.toml"
    config.write_text(config.read_text() + "\n[limits]\nrecorders = 2\n")
    key = demo.directory.parent / OWN_KEY
    public = make_private(demo.directory, key, PASSWORD.encode())
    line = base64.b64encode(public.public_bytes_raw()).decode()
    agents = demo.directory / "agents.toml"
    text = agents.read_text()
    agents.write_text(re.sub(rf'(id = "{JENS}".*?key = )"[^"]*"', rf'\g<1>"{line}"', text, count=1, flags=re.DOTALL))
    now = datetime.now(UTC)
    given = StandingGrant(JENS, TRAINING, now, now + timedelta(days=30), NOTICE)
    import_grants(load_config(demo.directory), [sign_grant(given, load_private(key, PASSWORD.encode()))])


@dataclass
class Centre:
    """A simulated centre at one recorder: when the lines of each of its calls were opened and shut."""

    process: subprocess.Popen[str]
    lines: list[tuple[datetime, dict[str, Any]]] = field(default_factory=list)

    def listen(self) -> None:
        """Every line as it comes, with the time at which it came: never too early."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with contextlib.suppress(ValueError):
                self.lines.append((datetime.now(UTC), json.loads(line)))

    def open_labels(self, call: int) -> list[tuple[datetime, list[Any]]]:
        """How many lines of a call are open, each time that it changes."""
        return [
            (at, line["open_labels"]) for at, line in self.lines if line.get("call") == call and "open_labels" in line
        ]

    def is_open(self, call: int) -> bool:
        told = self.open_labels(call)
        return bool(told) and bool(told[-1][1])

    def shut_at(self, call: int) -> datetime:
        """When the client was told to send no more; the recorder's own filter was shut before that."""
        return next(at for at, labels in self.open_labels(call) if not labels and self._was_open(call, at))

    def _was_open(self, call: int, at: datetime) -> bool:
        return any(labels for before, labels in self.open_labels(call) if before < at)


@contextlib.contextmanager
def centre_at(site: Site, port: int, calls: int = CALLS) -> Iterator[Centre]:
    """A centre whose calls go to the recorder at this port."""
    arguments = ["--recorder", f"127.0.0.1:{port}", "--calls", str(calls), "--rate", "8", "--mix", "agreed_by_act"]
    made = Centre(site.centre(*arguments, "--max-talk", "20"))
    thread = threading.Thread(target=made.listen, daemon=True)
    thread.start()
    try:
        yield made
        assert made.process.wait(60) == 0
    finally:
        made.process.kill()
        made.process.wait(10)
        thread.join(10)
        assert made.process.stdout is not None
        made.process.stdout.close()


def wait_for(done: Any, what: str) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not done():
        assert time.monotonic() < deadline, f"waited {WAIT_SECONDS} s for {what}"
        time.sleep(0.02)


def withdraws(site: Site) -> datetime:
    """Jens takes it back at the command line; when the act says that it was."""
    command = [sys.executable, "-m", "mitschnitt", "agents", "consent", "withdraw", "--agent", JENS, "--purpose"]
    key = site.demo.directory.parent / OWN_KEY
    done = subprocess.run(
        [*command, TRAINING, "--key", str(key), "--dir", str(site.demo.directory), "--json"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "MITSCHNITT_ROLE_PASSWORD": PASSWORD},
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["recorders"] == 2
    return datetime.fromisoformat(told["withdrawn_at"])


def test_a_withdrawal_is_in_force_on_both_recorders_within_a_second(tmp_path: Path) -> None:
    with running_site(tmp_path, before=own_key) as site:
        ports = (site.demo.sip_port, site.demo.sip_port + 1)
        with centre_at(site, ports[0]) as one, centre_at(site, ports[1]) as other:
            wait_for(lambda: one.is_open(0) and other.is_open(0), "both calls of the agent to be open")
            with Waits((*site.all_pids(), one.process.pid, other.process.pid, os.getpid())) as waits:
                at = withdraws(site)
                wait_for(lambda: not one.is_open(0) and not other.is_open(0), "both calls of the agent to be shut")
            shut = [centre.shut_at(0) for centre in (one, other)]
            took = [(when - at).total_seconds() for when in shut]
            machines = waits.between(at, max(shut)) + sync_seconds(tmp_path, WITHDRAWAL_SYNCS)
        told = f"recorder 1 {took[0]:.3f} s, recorder 2 {took[1]:.3f} s; the machine's part {machines:.3f} s"
        print(f"\nfrom the act to the shut lines: {told}")
        with centre_at(site, ports[0], calls=1):
            pass
        calls = site.wait_closed(2 * CALLS + 1)
        kept = [call["call"] for call in calls if call["state"] == "kept"]
        shown = [site.door.get(f"/calls/{call}", **{"as": "coach"}) for call in kept]
        rules = [site.rule(call["call"]) for call in calls if call["state"] == "not_kept"]
    assert rules == ["consent.agent.withdrawn"] * 3
    assert len(kept) == 2 * (CALLS - 1), "calls of other agents go on"
    # Whoever hears them knows an agent by a name that is another in every call, and by nothing else.
    names = [party["pseudonym"] for call in shown for party in call["parties"] if party["role"] == "agent"]
    assert len(set(names)) == len(kept)
    assert all(SPEAKABLE.fullmatch(name) for name in names)
    assert not any(name in json.dumps(shown) for name in ("lorenz", "okafor", "yildiz"))
    assert min(took) > 0
    assert max(took) < MAX_SECONDS + machines
