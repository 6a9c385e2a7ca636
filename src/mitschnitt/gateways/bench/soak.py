"""`mitschnitt bench soak`: calls come and go for half an hour while media flows, and nothing may grow.

Prints memory, open files, threads, loss and the time until an ended party's files are durable, once a minute. Growth is
told as a slope with its standard error. A slow machine gives poor times and exit code 0; a lost packet that the kernel
did not drop, or a call that was not sealed, gives 1.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mitschnitt.config import Receiving
from mitschnitt.gateways.bench import capture, capture_side, soak_side
from mitschnitt.gateways.bench.network import own_network
from mitschnitt.recorder.media import FINISH_THREADS
from mitschnitt.recorder.ports import REST_NS

WARM_CALLS = 2.0  # lengths of a call, after the rest of a port, that are left out of slopes: by then every port was
#                   taken once and has its notes, hold and arenas have had their most, and every thread has run
SPARE = 1.2  # ports for each that is in use or rests
FLAT_ERRORS = 3.0  # a slope beyond so many standard errors is not flat, if it is also beyond FLAT_SHARE
FLAT_SHARE = 0.02  # of the value itself, over the whole run
LEAST_SAMPLES = 3  # that a slope has an error of
WATCHED = ("rss_mib", "heap_mib", "blocks", "files", "threads", "segments")


def warm_seconds(call_seconds: float) -> float:
    """How long a soak runs before growth counts."""
    return REST_NS / 1e9 + WARM_CALLS * call_seconds


def ports_of(streams: int, call_seconds: float) -> int:
    """How many ports there are: for calls that run, and for those that ended within the rest of a port."""
    return int(SPARE * streams * (1 + REST_NS / 1e9 / call_seconds))


def slope(series: Sequence[float]) -> tuple[float, float]:
    """(growth per sample, its standard error) by least squares; at least three samples, else both 0."""
    count = len(series)
    if count < LEAST_SAMPLES:
        return 0.0, 0.0
    places = range(count)
    line = statistics.linear_regression(places, series)
    rest = sum((value - line.slope * at - line.intercept) ** 2 for at, value in zip(places, series, strict=True))
    spread = sum((at - (count - 1) / 2) ** 2 for at in places)
    return line.slope, (rest / (count - 2) / spread) ** 0.5


def verdict(name: str, series: Sequence[float]) -> str:
    """One sentence: flat or not, with the slope that says so."""
    grows, error = slope(series)
    most = max(series, default=0.0)
    is_flat = grows <= FLAT_ERRORS * error or grows * len(series) <= FLAT_SHARE * most
    return f"{name}: {'flat' if is_flat else 'GROWS'}, {grows:+.3g} +/- {error:.2g} a sample, at most {most:.0f}"


def line_of(minute: dict[str, Any]) -> str:
    """One sample."""
    half, worst = minute["end_ms"]
    return (
        f"{minute['at_s']:6.0f} s  RSS {minute['rss_mib']:6.1f} MiB "
        f"(hold {minute['hold_mib']:.0f}, used heap {minute['heap_mib']:.0f})  files {minute['files']:5d}  "
        f"threads {minute['threads']:2d}  journal segments {minute['segments']:3d}  ended {minute['ended']:6d}  "
        f"lost {minute['lost']}  kernel drops {minute['kernel_drops']}  late ticks {minute['late_ticks']}  "
        f"party durable after {half:.0f} ms (p50), {worst:.0f} ms (p99)"
    )


def options_of(told: argparse.Namespace, root: Path) -> soak_side.Options:
    """What the recorder is told."""
    for name in ("journal", "audio"):
        (root / name).mkdir()
    told_of_capture = capture_side.Options(
        directory=str(root),
        address=capture.HOST,
        streams=told.streams,
        first_stream=0,
        first_port=capture.FIRST_PORT,
        last_port=min(capture.HIGHEST_PORT, capture.FIRST_PORT + 2 * ports_of(told.streams, told.call_seconds)),
        ports_file=str(root / "ports"),
        finish_threads=FINISH_THREADS,
        receiver=told.receiver,
    )
    return soak_side.Options(asdict(told_of_capture), told.call_seconds, told.every)


def run(told: argparse.Namespace, root: Path) -> list[dict[str, Any]]:
    """The samples, printed as they come."""
    programs = capture.build(root)
    options = options_of(told, root)
    receiver_core, generator_core = capture.cores()
    search = os.pathsep.join(path for path in sys.path if path)
    command = [sys.executable, "-m", "mitschnitt.gateways.bench.soak_side", soak_side.argument_of(options)]
    burst = capture.schedule(told.streams, 0)[1]
    packets = int(60 * told.minutes * capture.PACKETS_PER_SECOND) // burst * burst
    samples: list[dict[str, Any]] = []
    with subprocess.Popen(
        [*capture.pinned(receiver_core), *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": search},
    ) as recorder:
        try:
            if recorder.stdout is None or recorder.stdin is None or recorder.stdout.readline() != b"ready\n":
                raise RuntimeError("the recorder did not get ready; see above")
            sender = [str(programs["generator"]), str(root / "ports"), capture.HOST, str(packets), str(burst)]
            with subprocess.Popen([*capture.pinned(generator_core), *sender], stdout=subprocess.PIPE) as generator:
                try:
                    begun = time.monotonic()
                    while generator.poll() is None and (line := recorder.stdout.readline()):
                        samples.append({"at_s": time.monotonic() - begun, **json.loads(line)})
                        print(line_of(samples[-1]), flush=True)
                finally:
                    generator.kill()
            recorder.stdin.close()
            recorder.stdout.read()
            if recorder.wait(capture.STEP_TIMEOUT_S) != 0:
                raise RuntimeError("the recorder did not end well; see above")
        finally:
            recorder.kill()
    return samples


def main(argv: Sequence[str] | None = None) -> int:
    """Soaks a recorder; 1 only when a packet was lost that the kernel did not drop, or a call was not sealed."""
    parser = argparse.ArgumentParser(prog="mitschnitt bench soak", description=main.__doc__)
    parser.add_argument("--minutes", type=float, default=30.0, help="how long media flows")
    parser.add_argument("--streams", type=int, default=4_000, help="at once; take 80 %% of what bench curve held")
    parser.add_argument("--call-seconds", type=float, default=120.0, help="how long each stream's call lasts")
    parser.add_argument("--warm", type=float, default=None, help="seconds before growth counts (60 and two calls)")
    parser.add_argument("--every", type=float, default=60.0, help="seconds between two lines")
    parser.add_argument("--receiver", choices=list(Receiving), default="sockets", help="how packets come in")
    parser.add_argument("--dir", type=capture.directory_of, default=None, help="where scratch files go")
    parser.add_argument("--json", default="", help="write all figures to this file")
    told = parser.parse_args(argv)
    warm = warm_seconds(told.call_seconds) if told.warm is None else told.warm
    with (
        tempfile.TemporaryDirectory(prefix="bench-soak-", dir=told.dir) as scratch,
        own_network(capture.HOST) as lacking,
    ):
        capture.say_network(lacking)
        samples = run(told, Path(scratch))
    if not samples:
        print("too short for a sample; take more --minutes or fewer seconds --every")
        return 0
    settled = [sample for sample in samples if sample["at_s"] >= warm]
    if len(settled) < LEAST_SAMPLES:
        print(f"too short to tell growth: {len(settled)} samples after {warm:.0f} s, expected {LEAST_SAMPLES}")
    else:
        print(f"after {warm:.0f} s of warming up, {len(settled)} samples:")
        for name in WATCHED:
            print(verdict(name, [float(sample[name]) for sample in settled]))
    last = samples[-1]
    print(
        f"{last['ended']} parties ended, {last['kept']} packets kept, {last['lost']} lost, {last['failed']} not sealed"
    )
    if told.json:
        Path(told.json).write_text(json.dumps(samples, indent=1) + "\n", encoding="utf-8")
    return 1 if last["failed"] or last["lost"] > last["kernel_drops"] else 0


if __name__ == "__main__":
    sys.exit(main())
