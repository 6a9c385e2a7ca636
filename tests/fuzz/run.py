"""Coverage-guided fuzzing: `run.py sip -runs=100000` for one target, `run.py all 1000000` for all of them in shares.

Writes only to a temporary folder and, for a finding, `crash-*` in the current one. What comes out of a target is a
finding: the exit code is then not 0.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).parent
if str(HERE.parent) not in sys.path:  # run as a program
    sys.path.insert(0, str(HERE.parent))

RSS_LIMIT_MB = 256  # instrumented code with numpy takes 70 MB; inputs are below 17 kB, so more is a leak or a bomb
ARRAYS_RSS_LIMIT_MB = 512  # of targets that compare arrays: under the fuzzer they grow by 13 kB a run, it is thought by
#                            its tracing of comparisons, for inputs like these stay at 40 MB without it
ARRAYS = frozenset({"red", "dtmf", "udp", "timeline"})
TIMEOUT_S = 20  # a hang; what is merely slow is caught by SLOW_CPU_S, which other load does not touch
SLOW_CPU_S = 1.0  # processor time of one input
MAX_LEN = {"metadata": 8_192, "agent": 8_192, "stream": 16_384, "rtp": 2_112}  # bytes of one input, else 4,096
SHARES = {
    "sip": 16,
    "stream": 11,
    "sdp": 16,
    "metadata": 18,
    "multipart": 15,
    "rtp": 4,
    "rtcp": 3,
    "agent": 3,
    "policy": 2,
    "amr": 2,
    "opus": 2,
    "red": 2,
    "udp": 2,
    "dtmf": 2,
    "timeline": 2,
}  # percent of all
MISSING = "atheris is not here: it has wheels for CPython 3.11 to 3.13 on Linux (requirements/fuzz.in)"


class TooSlow(Exception):  # noqa: N818 - a finding, not an error of ours
    """One input took more than SLOW_CPU_S."""


def rss_limit(target: str) -> int:
    """MB that a target's process may take."""
    return ARRAYS_RSS_LIMIT_MB if target in ARRAYS else RSS_LIMIT_MB


def timed(check: Callable[[bytes], None], data: bytes) -> None:
    """Runs one input; raises TooSlow, and whatever the target raises."""
    began = time.process_time()
    check(data)
    took = time.process_time() - began
    if took > SLOW_CPU_S:
        raise TooSlow(f"{len(data)} bytes took {took:.1f} s")


def fuzz(target: str, options: list[str]) -> None:
    """Runs until `-runs` or `-max_total_time`; libFuzzer ends the process."""
    try:
        import atheris
    except ImportError:
        sys.exit(MISSING)
    with atheris.instrument_imports(include=["mitschnitt.wire"]):
        from fuzz.targets import TARGETS  # what is imported before is not instrumented
    from fuzz.seeds import write_seeds

    check = TARGETS[target]
    with tempfile.TemporaryDirectory(prefix="mitschnitt-fuzz-") as folder:
        grown, given = Path(folder, "grown"), write_seeds(target, Path(folder, "seeds"))
        grown.mkdir()
        limits = [
            f"-rss_limit_mb={rss_limit(target)}",
            f"-timeout={TIMEOUT_S}",
            f"-max_len={MAX_LEN.get(target, 4_096)}",
        ]
        words = [f"-dict={HERE / 'words.dict'}", "-print_final_stats=1", "-verbosity=0"]
        folders = [str(grown), str(given)]
        atheris.Setup([sys.argv[0], *limits, *words, *options, *folders], lambda data: timed(check, data))
        atheris.Fuzz()


def fuzz_all(runs: int, options: list[str]) -> int:
    """Every target in a process of its own, one line for each; returns how many had a finding or did not run."""
    found = done = 0
    for target, share in SHARES.items():
        began, wanted = time.monotonic(), max(1, runs * share // 100)
        command = [sys.executable, __file__, target, f"-runs={wanted}", *options]
        ended = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        stats = dict(re.findall(r"stat::(\w+):\s+(\d+)", ended.stderr))
        count, peak = int(stats.get("number_of_executed_units", 0)), stats.get("peak_rss_mb", "?")
        done += count
        print(f"{target:10} {count:9,} runs {time.monotonic() - began:7.1f} s, peak {peak} of {rss_limit(target)} MB")
        if ended.returncode or count < wanted:
            found += 1
            print("\n".join([f"{target}: NOT WELL", *ended.stderr.splitlines()[-40:]]))
        sys.stdout.flush()
    print(f"fuzz: {done:,} runs, {found} targets with findings, slow is {SLOW_CPU_S} s of CPU")
    return found


if __name__ == "__main__":
    if len(sys.argv) > 2 and sys.argv[1] == "all" and sys.argv[2].isdigit():
        sys.exit(min(1, fuzz_all(int(sys.argv[2]), sys.argv[3:])))
    if len(sys.argv) < 2 or sys.argv[1] not in SHARES:
        sys.exit(f"usage: run.py all RUNS | {'|'.join(SHARES)} [-runs=N] [-seed=N] [-max_total_time=SECONDS]")
    fuzz(sys.argv[1], sys.argv[2:])
