"""`mitschnitt bench WHAT`: speed against a floor or a peer, measured on this machine."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence

from mitschnitt.commands import bench_calls, bench_draw, bench_play, bench_silence
from mitschnitt.errors import ConfigError
from mitschnitt.gateways.bench import capture, curve, soak

BENCHES: Mapping[str, Callable[[Sequence[str]], int]] = {
    "calls": bench_calls.main,
    "capture": capture.main,
    "curve": curve.main,
    "draw": bench_draw.main,
    "play": bench_play.main,
    "silence": bench_silence.main,
    "soak": soak.main,
}
IN_C = frozenset({"capture", "curve", "soak"})  # benches whose floor and generator are compiled first
HELP = frozenset({"-h", "--help"})


def run(what: str, arguments: list[str]) -> int:
    """The bench's own exit code: 0, or 1 when what it measured was not correct. ConfigError where it cannot run."""
    if what not in BENCHES:
        raise ConfigError(f"bench: there is {', '.join(sorted(BENCHES))}, found {what!r}")
    if what in IN_C and not HELP.intersection(arguments) and shutil.which("cc") is None:
        raise ConfigError("bench: no C compiler `cc` on PATH; the floor and the generator are written in C")
    return BENCHES[what](arguments)
