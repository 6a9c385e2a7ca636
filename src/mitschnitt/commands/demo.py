"""`mitschnitt demo`: `serve`, plus a simulated contact centre with real SIP and RTP on loopback.

Everything it shows is what the running site says; it knows no outcome itself. With --keep the data stay.
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import tempfile
import time
import wave
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.live import Live
from rich.table import Table

from mitschnitt.commands.call import decide, load_key
from mitschnitt.commands.demo_site import DemoSite, prepare
from mitschnitt.commands.door_client import Door
from mitschnitt.commands.play import play
from mitschnitt.errors import ConfigError, MitschnittError, NotAllowed, PeerError
from mitschnitt.exit_codes import DONE, VERIFICATION_FAILED

START_SECONDS = 20.0  # keeper and recorder on a slow machine
CLOSE_SECONDS = 15.0  # from the last hang-up to the last file sealed
RATE = 4.0  # calls that start per second: 50 calls in 13 s
TALK_SECONDS = 8.0  # of each dialogue; the latest thing that anybody does comes after 4.5 s

# What each kind of call must end as; `demo` fails when the site says otherwise.
EXPECTED: Mapping[str, str] = {
    "agreed_by_act": "kept",
    "agreed_by_digit": "kept",
    "refused_by_act": "not_kept",
    "refused_by_digit": "not_kept",
    "silent": "not_kept",
    "withdrew": "not_kept",
    "withdrew_by_act": "not_kept",
    "third_joined": "kept",
    "no_agent_consent": "not_kept",
    "paused": "kept",
}


@dataclass(slots=True)
class Row:
    """One call as the table shows it."""

    number: int
    scenario: str
    progress: str = ""
    call: str = ""
    outcome: str = ""
    rule: str = ""


@dataclass(slots=True)
class Board:
    """All rows, filled from the centre's progress lines."""

    rows: dict[int, Row] = field(default_factory=dict)

    def take(self, line: Mapping[str, Any]) -> None:
        """One progress line of the centre."""
        if "call" not in line:
            return
        row = self.rows.setdefault(line["call"], Row(line["call"], line["scenario"]))
        row.progress = line["state"] + (" ●" if line.get("open_labels") else "")
        row.call = line.get("control") or row.call

    def table(self, limit: int | None) -> Table:
        """The newest `limit` rows, or all."""
        table = Table(box=None, pad_edge=False)
        for column in ("#", "what the caller did", "now", "outcome", "rule (officer's key)"):
            table.add_column(column, no_wrap=True)
        rows = [self.rows[number] for number in sorted(self.rows)]
        for row in rows[-limit:] if limit else rows:
            colour = {"kept": "green", "not_kept": "dim"}.get(row.outcome, "yellow")
            outcome = f"[{colour}]{row.outcome}[/]"
            table.add_row(str(row.number + 1), row.scenario.replace("_", " "), row.progress, outcome, row.rule)
        return table


def run(*, scene: str, calls: int, keep: Path | None) -> int:
    """Play a scene; 0 when everything ended as it must, 4 otherwise."""
    if scene != "calls":
        raise ConfigError(f"demo: there is the scene calls, found {scene!r}")
    console = Console()
    with contextlib.ExitStack() as stack:
        root = keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mitschnitt-demo-"))) / "site"
        site = prepare(root)
        process = stack.enter_context(serving(site))
        console.print(f"serving {site.directory}: SIP 127.0.0.1:{site.sip_port} (unencrypted, loopback)")
        board = Board()
        centre_ok = _play_calls(console, site, board, calls)
        failures = [] if centre_ok else ["the simulated centre reported errors"]
        failures += _outcomes(console, site, board)
        failures += _play_and_destroy(console, site, board, root.parent)
        process.send_signal(signal.SIGTERM)
        if process.wait(40) != DONE:
            failures.append(f"serve ended with {process.returncode}")
    for failure in failures:
        console.print(f"[red]not as it must be:[/] {failure}")
    if not failures:
        console.print(
            "[green]done:[/] what was agreed was sealed, playable and destroyable; of the rest nothing exists"
        )
    return VERIFICATION_FAILED if failures else DONE


@contextlib.contextmanager
def serving(site: DemoSite) -> Iterator[subprocess.Popen[bytes]]:
    """`mitschnitt serve` as a process of its own, ready to take calls, ended at the end."""
    log_path = site.directory.with_name(site.directory.name + ".log")
    with log_path.open("wb") as log:
        command = [sys.executable, "-m", "mitschnitt", "serve", "--dir", str(site.directory)]
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            _wait_ready(site, process, log_path)
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait(40)


def _wait_ready(site: DemoSite, process: subprocess.Popen[bytes], log_path: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(PeerError):
            if Door(site.directory).get("/status").get("recorders"):
                return
        time.sleep(0.1)
    tail = log_path.read_text(encoding="utf-8", errors="replace")[-2_000:]
    raise PeerError(f"demo: serve is not ready; its log ends with:\n{tail}")


def _play_calls(console: Console, site: DemoSite, board: Board, calls: int) -> bool:
    command = [sys.executable, "-m", "mitschnitt.gateways.centre", *site.centre_arguments()]
    command += ["--calls", str(calls), "--rate", str(RATE), "--max-talk", str(TALK_SECONDS)]
    errors = 0
    visible = max(console.size.height - 4, 8)
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as centre,
        Live(board.table(visible), console=console, refresh_per_second=6, transient=True) as live,
    ):
        for text in centre.stdout or ():
            line = json.loads(text)
            board.take(line)
            errors += len(line.get("errors") or ()) if line.get("done") else 0
            live.update(board.table(visible))
    return centre.returncode == DONE and errors == 0


def _outcomes(console: Console, site: DemoSite, board: Board) -> list[str]:
    door, key = Door(site.directory), load_key(site.officer_key)
    states = _closed(door, {row.call for row in board.rows.values()})
    failures = []
    for row in board.rows.values():
        row.outcome = states.get(row.call, "unknown")
        with contextlib.suppress(MitschnittError):
            row.rule = str(decide(door, row.call, key)["rule"])
        if row.outcome != EXPECTED[row.scenario]:
            failures.append(f"call {row.number + 1} ({row.scenario}) is {row.outcome}, not {EXPECTED[row.scenario]}")
    console.print(board.table(None))
    counts = Counter(row.outcome for row in board.rows.values())
    console.print(f"{len(board.rows)} calls: {counts['kept']} kept, {counts['not_kept']} not kept")
    return failures


def _closed(door: Door, wanted: set[str]) -> dict[str, str]:
    deadline = time.monotonic() + CLOSE_SECONDS
    while True:
        states = {call["call"]: call["state"] for call in door.get("/calls", **{"as": "officer"})["calls"]}
        waiting = [call for call in wanted if states.get(call, "live") == "live"]
        if not waiting or time.monotonic() > deadline:
            return states
        time.sleep(0.2)


def _play_and_destroy(console: Console, site: DemoSite, board: Board, out_dir: Path) -> list[str]:
    row = next((row for row in board.rows.values() if row.outcome == "kept" and row.scenario == "agreed_by_act"), None)
    if row is None:
        return ["no agreed call was kept, so none can be played"]
    door, path = Door(site.directory), out_dir / f"call-{row.number + 1}.wav"
    path.unlink(missing_ok=True)
    written = play(door, row.call, path, purpose="training", role="coach")
    loud = channel_levels(path)
    told = ", ".join(f"{name} {level:.0f} dB" for name, level in zip(written.channels, loud, strict=True))
    console.print(f"played call {row.number + 1} for training, as coach: {path} ({written.seconds:.1f} s; {told})")
    failures = [] if len(loud) == 2 and min(loud) > QUIET_DB else ["a voice is missing on its channel"]
    door.post(f"/calls/{row.call}/erase", {"role": "officer"})
    console.print(f"destroyed call {row.number + 1}: its key is punctured")
    try:
        play(door, row.call, out_dir / "again.wav", purpose="training", role="coach")
    except NotAllowed as refusal:
        console.print(f"played again: refused, {refusal.rule}")
    else:
        failures.append("a destroyed call could be played")
    path.unlink()
    return failures


QUIET_DB = -60.0  # below it a channel carries no voice; shipped speech lies near -20


def channel_levels(path: Path) -> list[float]:
    """Mean level of each channel of a 16-bit WAV in dB of full scale; -inf for silence."""
    with wave.open(str(path), "rb") as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, file.getnchannels())
    power = (
        (samples.astype(np.float64) / 32_768).__pow__(2).mean(axis=0) if len(samples) else np.zeros(samples.shape[1])
    )
    return [float(10 * np.log10(value)) if value > 0 else float("-inf") for value in power]
