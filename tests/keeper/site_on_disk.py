"""What tests of the keeper share: a whole site on disk, its keeper opened in this process or started as one."""

from __future__ import annotations

import base64
import hashlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

import mitschnitt
from loopback import own_port
from mitschnitt.config import Config, load_config
from mitschnitt.core.consent import StandingGrant
from mitschnitt.core.purpose import TRAINING
from mitschnitt.keeper.acts import SignedAct
from mitschnitt.keeper.apply import Holdings
from mitschnitt.keeper.grants import import_grants, sign_grant
from mitschnitt.keeper.kek import FileKeks
from mitschnitt.keeper.keyring import Keyring
from mitschnitt.keeper.leases import Leases
from mitschnitt.keeper.policy_watch import PolicyWatch, watch_of
from mitschnitt.keeper.process import as_it_stands, init_keeper_state
from mitschnitt.keeper.punctures import Punctures, settle
from mitschnitt.store.engine import open_engine
from mitschnitt.store.writer import Writer
from mitschnitt.vault.blobs import LocalBlobs
from mitschnitt.vault.door import Vault

PROMPT_SHA256 = "a" * 64
POLICY = f"""
name = "training, asked first"
language = "de"
timezone = "Europe/Berlin"
signed_by = ["officer", "council"]
[controller]
name = "Centre Ltd"
[[purpose]]
id = "training"
records = true
retention = "P30D"
roles = ["coach"]
[draw]
beacon = "none"
[[stratum]]
name = "everybody"
when = "true"
rate = 1
[asking]
mode = "announced"
window_s = 12
yes = "1"
no = "2"
withdraw = "*9"
pause = "*0"
[[prompt]]
name = "ask-training"
language = "de"
sha256 = "{PROMPT_SHA256}"
length_ms = 4000
"""
ANNAS_KEY = Ed25519PrivateKey.from_private_bytes(b"a" * 32)
OFFICERS_KEY = X25519PrivateKey.from_private_bytes(b"o" * 32)


def annas_grant(days: int = 90, *, granted_at: datetime | None = None) -> SignedAct:
    at = granted_at or datetime.now(UTC) - timedelta(hours=1)
    return sign_grant(StandingGrant("anna", TRAINING, at, at + timedelta(days=days), "notice-1"), ANNAS_KEY)


def make_site(root: Path, *, recorders: int = 2, policy: str = POLICY) -> Config:
    """A site as `mitschnitt init` makes it, with the agents Anna, who agreed, and Ben, who did not."""
    directory = root / "site"
    for name in ("", "policy", "secrets", "run"):
        (directory / name).mkdir(mode=0o700)
    second = root / "elsewhere" / "tree"
    (directory / "config.toml").write_text(
        f"[gate]\nallow_unsigned_policy = true\n[control]\nport = {own_port()}\n"
        f"[metrics]\nport = {own_port()}\n"
        f'[limits]\nrecorders = {recorders}\n[keys]\nstate_copies = ["{second}"]\n'
    )
    digest = hashlib.sha256(policy.encode()).hexdigest()
    (directory / "policy" / f"{digest}.toml").write_text(policy)
    (directory / "policy" / "active").write_text(digest + "\n")
    annas = base64.b64encode(ANNAS_KEY.public_key().public_bytes_raw()).decode()
    (directory / "agents.toml").write_text(
        f'[[agent]]\nid = "anna"\npatterns = ["sip:anna@pbx.example.org"]\nkey = "{annas}"\n'
        '[[agent]]\nid = "ben"\npatterns = ["sip:ben@pbx.example.org"]\n'
    )
    officer = OFFICERS_KEY.public_key().public_bytes_raw()
    (directory / "secrets" / "officer.x25519.pub").write_bytes(officer)
    config = load_config(directory)
    init_keeper_state(config)
    import_grants(config, [annas_grant()])
    return config


def rules_of(config: Config, *, now: datetime | None = None) -> PolicyWatch:
    """The site's policy, as a keeper that starts now has it."""
    return watch_of(config, now=now or datetime.now(UTC), monotonic=time.monotonic)


@contextmanager
def open_holdings(config: Config) -> Iterator[Holdings]:
    """What the keeper holds, opened in this process."""
    site, policies = as_it_stands(config, datetime.now(UTC))
    keyring = Keyring.open(config.state_copies, FileKeks(config.kek_dir, data_directory=config.directory))
    writer = Writer(open_engine(config.database, busy_ms=2_000))
    free = settle(keyring, writer)
    punctures = Punctures(keyring, writer, gather_seconds=0.0)
    try:
        leases = Leases(writer, keyring, punctures, free=free)
        vault = Vault(LocalBlobs(config.audio), keyring.leaf_key)
        yield Holdings(writer, keyring, punctures, leases, vault, policies, site.officer_key)
    finally:
        punctures.close()
        writer.close()


@dataclass
class Running:
    """A keeper as a process of its own."""

    config: Config
    process: subprocess.Popen[bytes]
    log: Path

    def door(self, method: str, path: str, **more: Any) -> httpx.Response:
        transport = httpx.HTTPTransport(uds=str(self.config.run / "door.sock"))
        with httpx.Client(transport=transport, base_url="http://keeper", timeout=60) as client:
            return client.request(method, path, **more)

    def control(self, path: str, body: Any, *, token: str | None = None, key: str | None = None) -> httpx.Response:
        secret = (self.config.directory / "secrets" / "control.token").read_text().strip()
        headers = {"Authorization": f"Bearer {secret if token is None else token}"}
        if key is not None:
            headers["Idempotency-Key"] = key
        with httpx.Client(trust_env=False, timeout=60) as client:
            return client.post(f"http://127.0.0.1:{self.config.control.port}{path}", json=body, headers=headers)

    def kill(self) -> None:
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait(60)

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(60)


START = "import sys; from pathlib import Path; from mitschnitt.config import load_config; \
from mitschnitt.keeper.process import run_keeper; sys.exit(run_keeper(load_config(Path(sys.argv[1]))))"


@contextmanager
def running_keeper(config: Config) -> Iterator[Running]:
    """A keeper that is ready; killed at the end if it still runs."""
    environment = {**os.environ, "PYTHONPATH": str(Path(mitschnitt.__file__).parents[1])}
    log = config.directory.with_name("keeper.log")
    with log.open("ab") as stderr:
        process = subprocess.Popen([sys.executable, "-c", START, str(config.directory)], stderr=stderr, env=environment)
    keeper = Running(config, process, log)
    try:
        wait_until(lambda: _answers(keeper), what="the keeper to answer")
        yield keeper
    finally:
        if process.poll() is None:
            keeper.kill()


def _answers(keeper: Running) -> bool:
    assert keeper.process.poll() is None, keeper.log.read_text()
    with socket.socket(socket.AF_UNIX) as probe:
        if probe.connect_ex(str(keeper.config.run / "door.sock")) != 0:
            return False
    return keeper.door("GET", "/status").is_success


def wait_until(done: Any, *, what: str, seconds: float = 60.0) -> None:
    """Come back as soon as `done()` is true; fail when it never is."""
    until = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < until, f"waited {seconds} s for {what}"
        time.sleep(0.02)
