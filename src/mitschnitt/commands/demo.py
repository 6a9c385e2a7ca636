"""`mitschnitt demo`: `serve`, plus a simulated contact centre with real SIP and RTP on loopback.

Everything it shows is what the running site says; it knows no outcome itself. With --keep the data stay, and the WAV.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import wave
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from mitschnitt.commands.call import decide, load_key
from mitschnitt.commands.demo_site import CONTROL_PORT, SIP_PORT, DemoSite, prepare
from mitschnitt.commands.demo_week import run_week
from mitschnitt.commands.door_client import Door
from mitschnitt.commands.play import Wish, play
from mitschnitt.commands.ports import free_port
from mitschnitt.errors import ConfigError, MitschnittError, NotAllowed, PeerError
from mitschnitt.exit_codes import DONE, VERIFICATION_FAILED

START_SECONDS = 20.0  # keeper and recorder on a slow machine
CLOSE_SECONDS = 15.0  # from the last hang-up to the last file sealed
STOP_SECONDS = 40.0  # `serve` gives its recorders 30 s to seal
HOST = "127.0.0.1"
LOG_CHARS = 2_000  # of the end of serve's log, when it does not start
RATE = 4.0  # calls that start per second: 50 calls in 13 s
TALK_SECONDS = 8.0  # of each dialogue; the latest thing that anybody does comes after 4.5 s
QUIET_DB = -60.0  # below it a channel carries no voice; shipped speech lies near -20

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


PLAYED = "agreed_by_act"  # the kind of call that is played and destroyed; the first of every mix


@dataclass(frozen=True, slots=True)
class Places:
    """What lies beside the site's directory; goes with it in the end, unless --keep names one."""

    root: Path

    @property
    def log(self) -> Path:
        """What `serve` prints."""
        return self.root.with_name(self.root.name + ".log")

    @property
    def wav(self) -> Path:
        """The call that was played."""
        return self.root.with_name(self.root.name + ".wav")

    @property
    def again(self) -> Path:
        """Where a destroyed call would come to lie, if it could be played."""
        return self.root.with_name(self.root.name + ".again.wav")

    def refuse_what_exists(self) -> None:
        """ConfigError when the demo would meet somebody's files."""
        for place in (self.root, self.log, self.wav, self.again):
            if os.path.lexists(place):
                raise ConfigError(f"demo: {place} exists; --keep wants a new directory and overwrites nothing")


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
            outcome = Text(row.outcome, {"kept": "green", "not_kept": "dim"}.get(row.outcome, "yellow"))
            table.add_row(str(row.number + 1), row.scenario.replace("_", " "), row.progress, outcome, row.rule)
        return table


def run(*, scene: str, calls: int, keep: Path | None) -> int:
    """Play a scene; 0 when everything ended as it must, 4 otherwise."""
    console = Console(highlight=False)
    if scene == "week":
        return run_week(console, keep)
    if scene != "calls":
        raise ConfigError(f"demo: there are the scenes calls and week, found {scene!r}")
    with contextlib.ExitStack() as stack:
        stack.enter_context(_ended_like_by_hand())
        root = keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mitschnitt-demo-"))) / "site"
        places = Places(root)
        places.refuse_what_exists()
        site = prepare(
            root, sip_port=_port(console, "SIP", SIP_PORT), control_port=_port(console, "control", CONTROL_PORT)
        )
        with serving(site, places.log) as process:
            _say(console, f"serving {root}: SIP {HOST}:{site.sip_port} (unencrypted, loopback)")
            failures = _scene(console, site, places, calls)
            code = stopped(process)
            if code != DONE:
                failures.append(f"serve ended with {code}, expected {DONE}; its log ends with:\n{_tail(places.log)}")
        if keep is not None:
            _say(console, f"kept: {root}, its keys in {root}.keys, the officer's in {root}.officer, and {places.log}")
        else:
            _say(console, "nothing of this stays; --keep DIR keeps data, WAV and log")
    return _verdict(console, failures)


def _scene(console: Console, site: DemoSite, places: Places, calls: int) -> list[str]:
    """What is not as it must be."""
    board = Board()
    failures = _play_calls(console, board, centre_lines(site, calls))
    failures += _outcomes(console, site, board, calls)
    return failures + _play_and_destroy(console, site, board, places)


def _verdict(console: Console, failures: list[str]) -> int:
    for failure in failures:
        console.print(Text("not as it must be: ", "red") + Text(failure), soft_wrap=True)
    if not failures:
        said = "what was agreed was sealed, playable and destroyable; of the rest nothing exists"
        console.print(Text("done: ", "green") + Text(said), soft_wrap=True)
    return VERIFICATION_FAILED if failures else DONE


def _say(console: Console, sentence: str) -> None:
    # As text: a path may hold brackets. Not broken: whoever copies a path copies one line.
    console.print(Text(sentence), soft_wrap=True)


def _port(console: Console, name: str, wanted: int) -> int:
    port = free_port(HOST, wanted)
    if port != wanted:
        _say(console, f"{name} port {wanted} on {HOST} is in use by another program; this demo takes {port}")
    return port


@contextlib.contextmanager
def _ended_like_by_hand() -> Iterator[None]:
    """While inside, SIGTERM ends the demo as Ctrl-C does: with everything that it started."""

    def stop(number: int, _frame: FrameType | None) -> None:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def serving(site: DemoSite, log_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`mitschnitt serve` as a process of its own, ready to take calls, ended at the end."""
    with log_path.open("xb") as log:
        command = [sys.executable, "-m", "mitschnitt", "serve", "--dir", str(site.directory)]
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            _wait_ready(site, process, log_path)
            yield process
        finally:
            stopped(process)


def stopped(process: subprocess.Popen[bytes]) -> int:
    """The exit code after SIGTERM; whoever takes too long is killed, which its code shows."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        return process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _tail(log_path: Path) -> str:
    return log_path.read_text(encoding="utf-8", errors="replace")[-LOG_CHARS:]


def _wait_ready(site: DemoSite, process: subprocess.Popen[bytes], log_path: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(PeerError):
            if Door(site.directory).get("/status").get("recorders"):
                return
        time.sleep(0.1)
    raise PeerError(f"demo: serve is not ready; its log ends with:\n{_tail(log_path)}")


def centre_lines(site: DemoSite, calls: int) -> Iterator[Mapping[str, Any]]:
    """Progress lines of the simulated centre as it runs; the last is its exit code, `{"ended": code}`."""
    command = [sys.executable, "-m", "mitschnitt.gateways.centre", *site.centre_arguments()]
    command += ["--calls", str(calls), "--rate", str(RATE), "--max-talk", str(TALK_SECONDS)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as centre:
        for text in centre.stdout or ():
            yield json.loads(text)
    yield {"ended": centre.returncode}


def _play_calls(console: Console, board: Board, lines: Iterable[Mapping[str, Any]]) -> list[str]:
    visible = max(console.size.height - 4, 8)
    failures = []
    with Live(board.table(visible), console=console, refresh_per_second=6, transient=True) as live:
        for line in lines:
            board.take(line)
            failures += [f"call {line['call'] + 1}: {error}" for error in line.get("errors") or () if line.get("done")]
            if line.get("ended"):
                failures.append(f"the simulated centre ended with {line['ended']}")
            live.update(board.table(visible))
    return failures


def _outcomes(console: Console, site: DemoSite, board: Board, calls: int) -> list[str]:
    door, key = Door(site.directory), load_key(site.officer_key)
    states = _closed(door, {row.call for row in board.rows.values()})
    failures = [] if len(board.rows) == calls else [f"{len(board.rows)} calls came about, not {calls}"]
    for row in board.rows.values():
        row.outcome = states.get(row.call, "unknown")
        try:
            row.rule = str(decide(door, row.call, key)["rule"])
        except MitschnittError as error:
            failures.append(f"call {row.number + 1}: the officer learns no rule: {error}")
        if row.outcome != EXPECTED[row.scenario]:
            failures.append(f"call {row.number + 1} ({row.scenario}) is {row.outcome}, not {EXPECTED[row.scenario]}")
    console.print(board.table(None))
    counts = Counter(row.outcome for row in board.rows.values())
    _say(console, f"{len(board.rows)} calls: {counts['kept']} kept, {counts['not_kept']} not kept")
    return failures


def _closed(door: Door, wanted: set[str]) -> dict[str, str]:
    deadline = time.monotonic() + CLOSE_SECONDS
    while True:
        states = {call["call"]: call["state"] for call in door.get("/calls", **{"as": "officer"})["calls"]}
        waiting = [call for call in wanted if states.get(call, "live") == "live"]
        if not waiting or time.monotonic() > deadline:
            return states
        time.sleep(0.2)


def _play_and_destroy(console: Console, site: DemoSite, board: Board, places: Places) -> list[str]:
    row = next((row for row in board.rows.values() if row.outcome == "kept" and row.scenario == PLAYED), None)
    if row is None:
        return ["no agreed call was kept, so none can be played"]
    door, number = Door(site.directory), row.number + 1
    written = play(door, row.call, Wish(places.wav, "training", "coach"))
    loud = channel_levels(places.wav)
    told = ", ".join(f"{name} {level:.0f} dB" for name, level in zip(written.channels, loud, strict=True))
    _say(console, f"played call {number} for training, as coach: {places.wav} ({written.seconds:.1f} s; {told})")
    failures = [] if len(loud) == 2 and min(loud) > QUIET_DB else ["a voice is missing on its channel"]
    door.post(f"/calls/{row.call}/erase", {"role": "officer"})
    _say(console, f"destroyed call {number}: its key is punctured")
    try:
        play(door, row.call, Wish(places.again, "training", "coach"))
    except NotAllowed as refusal:
        _say(console, f"played again: refused, {refusal.rule}")
    else:
        failures.append("a destroyed call could be played")
    return failures


def channel_levels(path: Path) -> list[float]:
    """Mean level of each channel of a 16-bit WAV in dB of full scale; -inf for silence."""
    with wave.open(str(path), "rb") as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, file.getnchannels())
    if not len(samples):
        return [float("-inf")] * samples.shape[1]
    power = ((samples.astype(np.float64) / 32_768) ** 2).mean(axis=0)
    return [float(10 * np.log10(value)) if value > 0 else float("-inf") for value in power]
