"""The cost curve as picture and table, and what it says about sizes, from the figures of `mitschnitt bench curve`.

Measures nothing.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

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
SHARE = 0.5  # of what one core held that a recorder is given: a busy minute and slow syncs find room in the rest
SOAKED_SHARE = 0.75  # of the streams that it held for half an hour while calls came and went, which says more
ROUND_CALLS, ROUND_MIB, ROUND_KIB = 100, 10, 4  # sizes are told in such steps: calls downwards, memory upwards
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
        floors.setdefault(run["streams"], (run["floor_us"], run["floor_paced"]))
    found["floor"] = [(streams, us, paced) for streams, (us, paced) in floors.items()]
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
        for streams, us, is_even in points:
            kind = "" if is_even else ' class="uneven"'
            parts.append(f'<circle{kind} cx="{across(streams):.1f}" cy="{height(us):.1f}" r="3.5"/>')
        end = height(points[-1][1]) + 4
        parts.append(f'<text class="name" x="{across(points[-1][0]) + 10:.1f}" y="{end:.1f}">{NAMES[name]}</text>')
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


class Sizes(NamedTuple):
    """What a recorder may be given, by one receiver: two-way calls at once, memory at rest and of each stream."""

    calls: int
    base_mib: int
    stream_kib: int


def sizes(runs: Runs, receiver: str, soak: Mapping[str, Any]) -> Sizes:
    """From the runs that lost nothing. ValueError where fewer than two of them tell.

    A core is full at the most streams that were held, or where their CPU share says so, whichever is less. Where calls
    came and went for long (`soak`), by the same receiver, a share of that is the most, and memory what it took then.
    """
    held = sorted((run for run in runs if run["receiver"] == receiver and run["perfect"]), key=_streams)
    if len(held) < 2:
        raise ValueError(f"docs/figures/capture.json: expected two runs of {receiver} without loss, found {len(held)}")
    most = held[-1]
    calls = SHARE * most["streams"] / max(1.0, most["cpu_share"]) / 2
    line = statistics.linear_regression([_streams(run) for run in held], [run["rss_mib"] for run in held])
    base, stream_kib = math.ceil(line.intercept / ROUND_MIB) * ROUND_MIB, 1024 * line.slope
    if soak["receiver"] == receiver:
        calls = min(calls, SOAKED_SHARE * soak["streams"] / 2)
        took = max(sample["rss_mib"] for sample in soak["samples"])
        stream_kib = max(stream_kib, 1024 * (took - base) / soak["streams"])
    return Sizes(
        calls=max(ROUND_CALLS, int(calls) // ROUND_CALLS * ROUND_CALLS),
        base_mib=base,
        stream_kib=math.ceil(stream_kib / ROUND_KIB) * ROUND_KIB,
    )


def _streams(run: Mapping[str, Any]) -> int:
    return int(run["streams"])


def told(figures: Mapping[str, Any]) -> str:
    """By what and where the figures were made, and what about them is not even."""
    machine = figures["machine"]
    runs = figures["runs"]
    found = [
        f"Printed by `mitschnitt bench curve --seconds {figures['seconds']}` on {machine['day']}: {machine['cpu']}, "
        f"{machine['cores']} cores, {machine['memory_gib']} GiB; {machine['system']}, Python {machine['python']}; "
        f"{figures['syncs_per_second']} syncs of 4 KiB a second; {machine['network']}. Two streams are one call."
    ]
    late = sorted({run["streams"] for run in runs if not (run["paced"] and run["floor_paced"])})
    if late:
        found.append(
            f"At {', '.join(f'{count:,}' for count in late)} streams a generator could not send evenly (hollow marks): "
            "loss and complete files stand there, the microseconds say little more than which curve is the higher one."
        )
    return "\n\n".join(found)
