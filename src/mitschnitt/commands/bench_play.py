"""`mitschnitt bench play`: any second of a long call through the door of a running keeper, and all of it as a file.

A keeper in a scratch directory, and a call that was sealed by the real vault. "Cold" opens a play-back for each second:
an access is written and synced, the timelines are opened and laid out. "Warm" asks in a play-back that is open.
A slow machine gives poor figures and exit code 0; only wrong samples give 1.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from mitschnitt.commands.bench_call import keep_calls, spoken_for
from mitschnitt.commands.demo_site import prepare
from mitschnitt.commands.door_client import Door
from mitschnitt.commands.play import Wish, opened, play
from mitschnitt.commands.ports import free_port
from mitschnitt.config import load_config
from mitschnitt.errors import PeerError
from mitschnitt.gateways.decoders import decoders
from mitschnitt.gateways.play_back import Sound, blocks
from mitschnitt.gateways.recording import Recording, Samples
from mitschnitt.gateways.sound_file import FORMATS
from mitschnitt.keeper.process import as_it_stands, held

PROCESS = ("-m", "mitschnitt.processes", "keeper")  # what Python runs, with the site's directory behind it
PURPOSE, ROLE = "training", "coach"
RATE = 8_000
CALL_CHARS = 26  # of a call id
CONTROL_PORT = 8_571  # if it is free
START_SECONDS = 30.0  # until the keeper answers
COLD_CALLS = 20  # of an hour: the keeper remembers 15
CHECKED = 10  # ranges that are compared with the whole


@contextlib.contextmanager
def running_keeper(root: Path, seconds: float, calls: Sequence[str]) -> Iterator[Door]:
    """The door of a keeper that has these calls, each of two parties."""
    site = prepare(root / "site", control_port=free_port("127.0.0.1", CONTROL_PORT))
    config = load_config(site.directory)
    with held(config, *as_it_stands(config, datetime.now(UTC))) as (holdings, _):
        spoken = [spoken_for(seconds, role=role, party=party) for party, role in enumerate(("caller", "agent"))]
        keep_calls(holdings, config, dict.fromkeys(calls, spoken))
    with keeper_of(site.directory, root / "served.log") as door:
        yield door


@contextlib.contextmanager
def keeper_of(directory: Path, served: Path) -> Iterator[Door]:
    """The door of a keeper of this site, a process that ends with it; it logs to `served`."""
    command = [sys.executable, *PROCESS, str(directory)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with served.open("xb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)
        try:
            door = Door(directory)
            _wait_for(door, process, served)
            yield door
        finally:
            process.terminate()
            process.wait()


def _wait_for(door: Door, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(PeerError):
            door.get("/status")
            return
        time.sleep(0.05)
    raise PeerError(f"bench: the keeper is not ready; its log ends with:\n{log.read_text(errors='replace')[-1000:]}")


def second_of(recording: Recording, begin: int) -> Samples:
    """One second of both parties, from second `begin` on."""
    known = decoders(name for voice in recording.voices for name, _ in voice.codecs)
    return recording.samples(recording.sides(""), known, begin * RATE, (begin + 1) * RATE, RATE)


def timed(work: Callable[[int], object], seconds: Sequence[int]) -> list[float]:
    """Milliseconds of each."""
    took = []
    for second in seconds:
        begin = time.perf_counter()
        work(second)
        took.append((time.perf_counter() - begin) * 1e3)
    return took


def measure_ranges(door: Door, calls: Sequence[str], seconds: Sequence[int]) -> dict[str, list[float]]:
    """Cold and warm, one second at a time, in random order; cold goes round calls, more than the keeper remembers."""
    turns = itertools.cycle(calls)

    def cold(second: int) -> None:
        with opened(door, next(turns), purpose=PURPOSE, role=ROLE) as recording:
            second_of(recording, second)

    with door.kept_open():
        for _ in calls:
            cold(seconds[0])  # imports and tables of both sides
        found = {"cold_ms": timed(cold, seconds)}
        with opened(door, calls[0], purpose=PURPOSE, role=ROLE) as recording:
            second_of(recording, seconds[0])
            found["warm_ms"] = timed(lambda second: second_of(recording, second), seconds)
    return found


def measure_files(door: Door, call: str, root: Path, length: float) -> dict[str, float]:
    """Times real time, by format."""
    found = {}
    for name, kind in FORMATS.items():
        out = root / f"call{kind.extensions[0]}"
        begin = time.perf_counter()
        play(door, call, Wish(out, PURPOSE, ROLE))
        found[name] = length / (time.perf_counter() - begin)
    return found


def wrong_ranges(door: Door, call: str, seconds: Sequence[int]) -> list[int]:
    """Seconds that are not the slice of the whole, read in one go, or in which nobody speaks."""
    with door.kept_open(), opened(door, call, purpose=PURPOSE, role=ROLE) as recording:
        known = decoders(name for voice in recording.voices for name, _ in voice.codecs)
        sound = Sound(recording, recording.sides(""), recording.part(None, None), RATE, known)
        whole = np.concatenate(list(blocks(sound)))
        found = {at: (second_of(recording, at), whole[at * RATE : (at + 1) * RATE]) for at in seconds}
    return [at for at, (second, there) in found.items() if not np.array_equal(second, there) or not there.any()]


def line_of(name: str, took: Sequence[float]) -> str:
    """One line of the table."""
    low, middle, high = np.percentile(took, [50, 95, 100])
    return f"{name:<6} {len(took):6d} {low:9.1f} {middle:9.1f} {high:9.1f}"


def main(argv: Sequence[str] | None = None) -> int:
    """Plays seconds and files of a call of two parties; exit code 1 when a second is not the slice of the whole."""
    options = parse(argv)
    dice = np.random.default_rng(options.ranges)
    seconds = dice.integers(0, options.seconds - 1, options.ranges).tolist()
    calls = [str(number).zfill(CALL_CHARS) for number in range(options.calls)]
    with tempfile.TemporaryDirectory(prefix="play-", dir=options.dir) as scratch:
        root = Path(scratch)
        with running_keeper(root, options.seconds, calls) as door:
            figures: dict[str, Any] = dict(measure_ranges(door, calls, seconds))
            wrong = wrong_ranges(door, calls[0], seconds[:CHECKED])
            files = {} if options.no_files else measure_files(door, calls[0], root, options.seconds)
    report(figures, files, options.seconds)
    for second in wrong:
        print(f"WRONG: second {second} is not that of the whole")
    if options.json:
        told = {**figures, "files_times_real_time": files, "seconds": options.seconds}
        Path(options.json).write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    return 1 if wrong else 0


def report(figures: Mapping[str, Sequence[float]], files: Mapping[str, float], length: int) -> None:
    """Prints the table."""
    print(f"one second, both parties, of a call of {length} s, in ms")
    print("        count       p50       p95       max")
    for name in ("cold", "warm"):
        print(line_of(name, figures[f"{name}_ms"]))
    for name, times in files.items():
        print(f"{name:<6} the whole call in {length / times:.1f} s, {times:,.0f} times real time")


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(prog="mitschnitt bench play", description=main.__doc__)
    parser.add_argument("--seconds", type=int, default=3_600, help="how long the call lasts")
    parser.add_argument(
        "--calls", type=int, default=COLD_CALLS, help="calls that cold goes round; the keeper remembers fewer"
    )
    parser.add_argument("--ranges", type=int, default=200, help="how many random seconds are played")
    parser.add_argument("--no-files", action="store_true", help="leave out the whole call as a file")
    parser.add_argument("--dir", default=None, help="where scratch files go (default: the system's)")
    parser.add_argument("--json", default="", help="write all figures to this file")
    return parser.parse_args(argv)
