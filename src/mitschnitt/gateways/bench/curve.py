"""`mitschnitt bench curve`: CPU per packet from a hundred streams to twenty thousand, by both receivers and a C loop.

One run of each at every step, in under six minutes. The figures go to a file that docs/draw.py draws the page's picture
and table from. A slow machine gives poor figures and exit code 0; only a wrong file or unexplained loss gives 1.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mitschnitt.config import Receiving
from mitschnitt.gateways.bench.capture import (
    HOST,
    Bench,
    Receivers,
    Run,
    cores,
    fitting,
    say_network,
    steps_of,
    syncs_per_second,
    with_floor,
)
from mitschnitt.gateways.bench.network import own_network

STREAMS = "100,500,1000,2000,4000,8000,12000,20000"
FILES = 500  # of each run are written and checked packet by packet, evenly spread; loss is counted for all streams
DIGITS = 4  # significant, of what is written down


def point(run: Run) -> dict[str, Any]:
    """What the page says of one run."""
    told = {name: _rounded(value) for name, value in asdict(run).items()}
    return {**told, "paced": run.is_paced, "floor_paced": run.is_floor_paced, "perfect": run.is_perfect}


def _rounded(value: object) -> object:
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


def line_of(run: Run) -> str:
    """One run for whoever waits."""
    pace = "" if run.is_paced else f", generator {run.generator_late_p99_us / 1000:.0f} ms late"
    return (
        f"{run.streams:6d} streams, {run.receiver:7}: floor {run.floor_us:.2f}, ours {run.ours_us:.2f} us per packet, "
        f"ratio {run.ratio:.2f}, {100 * run.cpu_share:.0f} % of a core, lost {run.lost} of {run.sent}, "
        f"files complete {run.complete} of {run.files}{pace}"
    )


def machine(lacking: str) -> dict[str, Any]:
    """What the figures were measured on; `lacking`: why there was no loopback of its own, or ""."""
    models = re.findall(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "day": datetime.now(UTC).date().isoformat(),
        "cpu": models[0] if models else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory / (1 << 30)),
        "system": f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}",
        "python": platform.python_version(),
        "network": "loopback of the host" if lacking else "a loopback of its own",
    }


def measure(directory: Path, streams: Sequence[int], receivers: Sequence[str], seconds: int) -> list[Run]:
    """All runs; a receiver that this machine does not have is left out, and said to be."""
    benches = {name: Bench(directory, told=Receivers(receiver=name, max_files=FILES)) for name in receivers}
    runs: list[Run] = []
    for count in streams:
        floor = next(iter(benches.values())).floor(count, seconds)
        for name, bench in list(benches.items()):
            try:
                run = with_floor(bench.ours(count, seconds), floor)
            except RuntimeError as error:
                print(f"{count} streams, {name}: not measured from here on; {error}")
                del benches[name]
                continue
            runs.append(run)
            print(line_of(run), flush=True)
        if not benches:
            break
    return runs


def main(argv: Sequence[str] | None = None) -> int:
    """Measures the curve; 1 only when a file is wrong or a packet is lost that the kernel did not drop."""
    parser = argparse.ArgumentParser(prog="mitschnitt bench curve", description=main.__doc__)
    parser.add_argument("--streams", type=steps_of, default=STREAMS, help="steps, by comma")
    parser.add_argument(
        "--receivers", nargs="+", choices=list(Receiving), default=list(Receiving), help="which of ours"
    )
    parser.add_argument("--seconds", type=int, default=4, help="measured per run, after two in which the hold fills")
    parser.add_argument("--dir", default=None, help="where scratch files go (default: the system's)")
    parser.add_argument("--json", default="", help="write the figures to this file, for docs/draw.py")
    told = parser.parse_args(argv)
    receiver, generator = cores()
    print(f"receiver on core {receiver}, generator on core {generator}; {platform.platform()}")
    steps = fitting(told.streams)
    with (
        tempfile.TemporaryDirectory(prefix="bench-curve-", dir=told.dir) as scratch,
        own_network(HOST) as lacking,
    ):
        say_network(lacking)
        syncs = syncs_per_second(Path(scratch))
        runs = measure(Path(scratch), steps, told.receivers, told.seconds)
    print(f"fdatasync calibration: {syncs:.0f} syncs of 4 KiB per second")
    if told.json:
        figures = {
            "seconds": told.seconds,
            "syncs_per_second": round(syncs),
            "machine": machine(lacking),
            "runs": [point(run) for run in runs],
        }
        Path(told.json).write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return 0 if all(run.is_correct for run in runs) else 1


if __name__ == "__main__":
    sys.exit(main())
