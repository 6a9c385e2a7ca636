"""`mitschnitt bench draw`: a decision at arrival, a list of many draws verified from its files, how even the draw is.

Only dispatches: each part is a module of its own.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

from mitschnitt.commands import bench_draw_arrival, bench_draw_lists, bench_draw_uniform


def main(argv: Sequence[str] | None = None) -> int:
    """Draws calls and lists of many draws, verifies those against a bare loop; 1 when something is found in them."""
    options = parse(argv)
    if options.uniform:
        lines, even = bench_draw_uniform.measure(options.calls)
        print("\n".join(lines))
        return 0 if even else 1
    with tempfile.TemporaryDirectory(prefix="draw-", dir=options.dir) as scratch:
        lines, figures = bench_draw_arrival.measure(options.arrivals)
        print("\n".join(lines), flush=True)
        lines, listed = bench_draw_lists.measure(Path(scratch), options.draws)
        figures |= listed
    print("\n".join(lines))
    if options.json:
        Path(options.json).write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    findings = [finding for part in ("public", "both") for finding in figures[part]["findings"]]
    for finding in findings:
        print(f"WRONG: {finding}")
    return 1 if findings else 0


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(prog="mitschnitt bench draw", description=main.__doc__)
    parser.add_argument("--draws", type=int, default=10_000_000, help="how many draws the list has")
    parser.add_argument("--arrivals", type=int, default=20_000, help="how many decisions at arrival are timed")
    parser.add_argument("--uniform", action="store_true", help="how even the draw is, instead")
    parser.add_argument(
        "--calls", type=int, default=2_000, help="with --uniform: calls of a stratum on each of 50 days"
    )
    parser.add_argument("--dir", default=None, help="where scratch files go (default: the system's)")
    parser.add_argument("--json", default="", help="write all figures to this file")
    return parser.parse_args(argv)
