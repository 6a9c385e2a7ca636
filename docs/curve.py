"""The cost curve as a picture and as a table, from the figures of `mitschnitt bench curve`. Measures nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

Runs = Sequence[Mapping[str, Any]]

WIDTH, HEIGHT = 760, 420
LEFT, RIGHT, TOP, BOTTOM = 64, 150, 24, 56  # margins
FEWEST, MOST = 100, 20_000  # streams, the ends of the axis
MARKS = (100, 500, 1_000, 2_000, 4_000, 8_000, 20_000)
STYLE = """\
text { font: 13px system-ui, sans-serif; fill: #24292f }
.grid { stroke: #d0d7de } .axis { stroke: #57606a }
.floor { stroke: #57606a; color: #57606a } .sockets { stroke: #0969da; color: #0969da }
.ring { stroke: #bc4c00; color: #bc4c00 } .curve { fill: none; stroke-width: 2 }
circle { fill: currentColor; stroke-width: 2 } circle.uneven { fill: none }
text.name { fill: currentColor; stroke: none }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .grid { stroke: #30363d } .axis { stroke: #8b949e }
.floor { stroke: #8b949e; color: #8b949e } .sockets { stroke: #58a6ff; color: #58a6ff }
.ring { stroke: #f0883e; color: #f0883e } }"""
NAMES = {"floor": "bare C loop", "sockets": "ours, sockets", "ring": "ours, packet ring"}


def across(streams: int) -> float:
    """Where so many streams lie from the left; logarithmic."""
    share = math.log(streams / FEWEST) / math.log(MOST / FEWEST)
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def curves(runs: Runs) -> dict[str, list[tuple[int, float, bool]]]:
    """(streams, microseconds of CPU per packet, whether the generator kept its pace) of each curve that has any."""
    found: dict[str, list[tuple[int, float, bool]]] = {name: [] for name in NAMES}
    floors: dict[int, tuple[float, bool]] = {}
    for run in runs:
        found[run["receiver"]].append((run["streams"], run["ours_us"], run["paced"]))
        floors.setdefault(run["streams"], (run["floor_us"], True))
    found["floor"] = [(streams, *told) for streams, told in floors.items()]
    return {name: points for name, points in found.items() if points}


def picture(runs: Runs) -> str:
    """The curve as SVG; a hollow mark where the generator could not send evenly."""
    found = curves(runs)
    top = math.ceil(max(us for points in found.values() for _, us, _ in points))

    def height(us: float) -> float:
        return HEIGHT - BOTTOM - us / top * (HEIGHT - TOP - BOTTOM)

    title = "CPU per packet by streams"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}">',
        f"<title>{title}</title>",
        f"<style>\n{STYLE}\n</style>",
    ]
    for us in range(top + 1):
        y = height(us)
        parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{us}</text>')
    for streams in MARKS:
        x = across(streams)
        parts.append(f'<path class="axis" d="M{x:.1f} {HEIGHT - BOTTOM}v5"/>')
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{streams:,}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<path class="axis" d="M{LEFT} {HEIGHT - BOTTOM}H{WIDTH - RIGHT}"/>')
    parts.append(f'<text x="{middle}" y="{HEIGHT - 12}" text-anchor="middle">streams of 50 packets a second</text>')
    turned = f"translate(18 {(TOP + HEIGHT - BOTTOM) / 2:.0f}) rotate(-90)"
    parts.append(f'<text transform="{turned}" text-anchor="middle">CPU per packet, microseconds</text>')
    for name, points in found.items():
        parts.append(f'<g class="{name}">')
        way = "L".join(f"{across(streams):.1f} {height(us):.1f}" for streams, us, _ in points)
        parts.append(f'<path class="curve" d="M{way}"/>')
        for streams, us, paced in points:
            kind = "" if paced else ' class="uneven"'
            parts.append(f'<circle{kind} cx="{across(streams):.1f}" cy="{height(us):.1f}" r="3.5"/>')
        last = height(points[-1][1]) + 4
        parts.append(f'<text class="name" x="{across(points[-1][0]) + 10:.1f}" y="{last:.1f}">{NAMES[name]}</text>')
        parts.append("</g>")
    return "\n".join([*parts, "</svg>", ""])


def table(runs: Runs) -> str:
    """The same as a table of the page."""
    rows = [
        "| streams | receiver | floor, us | ours, us | ratio | of one core | lost of sent | files complete | RSS, MiB |"
        " end of a party, CPU ms | generator late, p99 ms |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for run in runs:
        late = run["generator_late_p99_us"] / 1000
        rows.append(
            f"| {run['streams']:,} | {run['receiver']} | {run['floor_us']:.2f} | {run['ours_us']:.2f} | "
            f"{run['ratio']:.2f} | {100 * run['cpu_share']:.1f} % | {run['lost']:,} of {run['sent']:,} | "
            f"{run['complete']:,} of {run['files']:,} | {run['rss_mib']:.0f} | {run['party_ms']:.1f} | "
            f"{late:.1f}{'' if run['paced'] else ', not even'} |"
        )
    return "\n".join(rows)
