"""`mitschnitt bench capture`: our receiver with gate, hold, journal and sealing against a bare C loop.

Both sides get the same sockets, timer, slots and schedule, one after the other, alternating; the generator
is a process of its own. CPU per packet is that of the stretch in which as much is sealed as comes in. Loss is counted
for every stream; the files of all streams, or of an even share of very many, are opened and checked packet by packet.
A slow machine gives poor figures and exit code 0; only a wrong file, or a lost packet that the kernel did not drop,
gives 1.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from mitschnitt.config import Receiving
from mitschnitt.gateways.bench.capture_check import check_files
from mitschnitt.gateways.bench.capture_side import WARM_NS, Options, allow_files
from mitschnitt.gateways.bench.network import own_network
from mitschnitt.recorder.media import FINISH_THREADS, HOLD_NS, TICK_NS
from mitschnitt.recorder.ports import RECEIVE_BUFFER_BYTES, SPARE_FILES
from mitschnitt.recorder.receiver import BATCH_ROWS, SLOT_BYTES, SOCKET_BUDGET

HERE = Path(__file__).parent
HOST = "127.0.0.1"
PACKETS_PER_SECOND = 50  # of one stream: 20 ms packets
BURSTS = ((100_000, 1), (200_000, 5), (1 << 62, 10))  # packets/s up to which the generator sends so many of a
#                                                       stream at once; one core cannot send more singly
FIRST_PORT, LAST_PORT = 10_000, 32_767  # below the ephemeral range; more streams go beyond it
HIGHEST_PORT = 65_535
SPARE_PORTS = 400  # even ports of a range that other programs may have
MAX_FILES = 2_000  # of more streams only so many are finished into files and checked: it takes minutes
WARM_SECONDS = -(-WARM_NS // 1_000_000_000)  # of sending before what is measured
SYNC_ROUNDS = 50  # of the calibration line
SYNC_BYTES = 4096
PACE_LIMIT_US = 5_000  # a generator later than this at its 99th percentile did not send an even load
CORE_LIMIT = 0.7  # nor one that takes more of its core
STEP_TIMEOUT_S = 600  # of one process of one run; the disk may be slow, but not for ever


@dataclass(frozen=True)
class Run:
    """One pair: the floor and our side under the same schedule."""

    streams: int
    sent: int
    burst: int
    recorders: int
    receiver: str
    floor_us: float  # CPU per packet, microseconds
    ours_us: float  # the same, of all recorders together
    ratio: float  # ours_us / floor_us
    party_ms: float  # CPU for the end of one party: two sealed and synced files
    lost: int  # of all streams, by what was kept
    kernel_drops: int
    floor_drops: int
    files: int  # parties finished and checked
    complete: int  # of those, with every packet
    wrong: int  # files with a payload that was not sent there
    late_ticks: int
    cpu_share: float  # of one core that this rate of packets takes
    rss_mib: float  # of all recorders, before files are written
    finish_s: float
    generator_cpu_share: float
    generator_late_p99_us: float
    floor_late_p99_us: float = 0.0  # the generator's in the floor's run

    @property
    def is_correct(self) -> bool:
        """No wrong payload, and no loss that the kernel did not count."""
        return self.wrong == 0 and self.lost <= self.kernel_drops

    @property
    def is_paced(self) -> bool:
        """Whether the generator kept its pace; else loss and files still tell, microseconds do not."""
        return self.generator_late_p99_us <= PACE_LIMIT_US and self.generator_cpu_share <= CORE_LIMIT

    @property
    def is_floor_paced(self) -> bool:
        """The same of the floor's run."""
        return self.floor_late_p99_us <= PACE_LIMIT_US

    @property
    def is_perfect(self) -> bool:
        """Zero loss and every file that was checked complete."""
        return self.lost == 0 and self.wrong == 0 and self.complete == self.files


def build(directory: Path) -> dict[str, Path]:
    """Compiles the two C programs with `cc -O2`. Raises when there is no compiler."""
    programs = {}
    for name in ("generator", "capture_floor"):
        programs[name] = directory / name
        subprocess.run(["cc", "-O2", "-o", str(programs[name]), str(HERE / f"{name}.c")], check=True)
    return programs


def cores() -> tuple[int | None, int | None]:
    """(core of the receiver, core of the generator); None where there is only one."""
    usable = sorted(os.sched_getaffinity(0))
    return (usable[-1], usable[0]) if len(usable) > 1 else (None, None)


@dataclass(frozen=True)
class Receivers:
    """What both sides of a pair are told; the floor is always one process."""

    address: str = HOST
    finish_threads: int = FINISH_THREADS
    rtcp: bool = False
    receiver: str = "sockets"
    recorders: int = 1
    max_files: int = MAX_FILES


class Bench:
    """Runs pairs in a scratch directory."""

    def __init__(self, directory: Path, *, told: Receivers) -> None:
        self._directory = directory
        self._told = told
        self._programs = build(directory)
        self._receiver_core, self._generator_core = cores()

    def pair(self, streams: int, seconds: int, *, floor_first: bool) -> Run:
        """One pair; the order alternates so that a machine that drifts favours nobody."""
        if floor_first:
            floor = self.floor(streams, seconds)
            return with_floor(self.ours(streams, seconds), floor)
        return with_floor(self.ours(streams, seconds), self.floor(streams, seconds))

    def floor(self, streams: int, seconds: int) -> dict[str, Any]:
        """The figures of the C loop."""
        packets, burst = schedule(streams, seconds)
        ports = self._directory / "floor.ports"
        numbers = (
            streams,
            FIRST_PORT,
            last_port(streams),
            TICK_NS // 1_000_000,
            BATCH_ROWS,
            SLOT_BYTES,
            SOCKET_BUDGET,
            RECEIVE_BUFFER_BYTES,
            WARM_NS // 1_000_000,
        )
        command = [str(self._programs["capture_floor"]), str(ports), self._told.address, *map(str, numbers)]
        [figures], generator = self._record([command], [ports], packets, burst, hold_ns=0)
        return {**figures, "late_p99_us": generator["late_p99_us"]}

    def ours(self, streams: int, seconds: int) -> Run:
        """Our side, not compared with anything yet."""
        packets, burst = schedule(streams, seconds)
        with tempfile.TemporaryDirectory(prefix="run-", dir=self._directory) as scratch:
            roots = [Path(scratch) / str(number) for number in range(self._told.recorders)]
            every = -(-streams // self._told.max_files)
            options = self._options(roots, streams, every)
            commands = [
                [sys.executable, "-m", "mitschnitt.gateways.bench.capture_side", json.dumps(asdict(option))]
                for option in options
            ]
            found, generator = self._record(
                commands, [root / "ports" for root in roots], packets, burst, hold_ns=HOLD_NS
            )
            checks = [
                check_files(root / "audio", range(o.first_stream, o.first_stream + o.streams, every), packets)
                for root, o in zip(roots, options, strict=True)
            ]
        total = {name: sum(figures[name] for figures in found) for name in found[0]}
        ours_us = 1e6 * total["steady_cpu_s"] / max(1, total["steady_packets"])
        return Run(
            streams=streams,
            sent=generator["sent"],
            burst=burst,
            recorders=len(roots),
            receiver=self._told.receiver,
            floor_us=0.0,
            ours_us=ours_us,
            ratio=0.0,
            party_ms=1e3 * total["cpu_finish_s"] / max(1, total["parties"]),
            lost=generator["sent"] - total["kept"],
            kernel_drops=total["kernel_drops"],
            floor_drops=0,
            files=total["parties"],
            complete=sum(checked.complete for checked in checks),
            wrong=sum(checked.wrong for checked in checks),
            late_ticks=total["late_ticks"],
            cpu_share=ours_us * streams * PACKETS_PER_SECOND / 1e6,  # not by wall time: the run also waits
            rss_mib=total["rss_mib"],
            finish_s=max(figures["wall_finish_s"] for figures in found),
            generator_cpu_share=generator["cpu_s"] / generator["wall_s"],
            generator_late_p99_us=generator["late_p99_us"],
        )

    def _options(self, roots: Sequence[Path], streams: int, every: int) -> list[Options]:
        """One for each recorder: streams and ports are split evenly, and each has its own directory."""
        found = []
        share = -(-streams // len(roots))
        width = (last_port(streams) + 1 - FIRST_PORT) // len(roots) // 2 * 2
        for number, root in enumerate(roots):
            for name in ("journal", "audio"):
                (root / name).mkdir(parents=True)
            first = number * share
            options = Options(
                directory=str(root),
                address=self._told.address,
                streams=min(share, streams - first),
                first_stream=first,
                first_port=FIRST_PORT + number * width,
                last_port=FIRST_PORT + (number + 1) * width - 1,
                ports_file=str(root / "ports"),
                finish_threads=self._told.finish_threads,
                every=every,
                receiver=self._told.receiver,
                rtcp=self._told.rtcp,
            )
            found.append(options)
        return found

    def _record(
        self, commands: Sequence[Sequence[str]], ports: Sequence[Path], packets: int, burst: int, *, hold_ns: int
    ) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """Starts receivers, sends to them, ends them: (their figures, the generator's)."""
        search = os.pathsep.join(path for path in sys.path if path)
        alone = len(commands) == 1
        with contextlib.ExitStack() as running:
            receivers = []
            for number, command in enumerate(commands):
                core = self._receiver_core if alone else _core_of(number)
                receiver = subprocess.Popen(
                    [*pinned(core), *command],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    env={**os.environ, "PYTHONPATH": search},
                )
                running.enter_context(receiver)
                running.callback(receiver.kill)
                receivers.append(receiver)
            for receiver in receivers:
                if receiver.stdout is None or receiver.stdout.readline() != b"ready\n":
                    raise RuntimeError("a receiver did not get ready; see above")
            together = self._directory / "ports"
            together.write_bytes(b"".join(path.read_bytes() for path in ports))
            sender = [str(self._programs["generator"]), str(together), self._told.address, str(packets), str(burst)]
            sent = subprocess.run(
                [*pinned(self._generator_core if alone else None), *sender],
                check=True,
                capture_output=True,
                timeout=STEP_TIMEOUT_S,
            )
            # Until everything that was sent is drained and, with us, sealed by the timer.
            time.sleep((hold_ns + 3 * TICK_NS) / 1e9)
            for receiver in receivers:
                if receiver.stdin is not None:
                    receiver.stdin.close()  # all at once: they write their files at the same time
            outputs = [receiver.stdout.read() for receiver in receivers if receiver.stdout is not None]
        return [json.loads(output) for output in outputs], json.loads(sent.stdout)


def schedule(streams: int, seconds: int) -> tuple[int, int]:
    """(packets of each stream, how many of them leave at once) that are measured for so many seconds."""
    rate = streams * PACKETS_PER_SECOND
    burst = next(burst for limit, burst in BURSTS if rate <= limit)
    return (WARM_SECONDS + seconds) * PACKETS_PER_SECOND // burst * burst, burst


def last_port(streams: int) -> int:
    """Where the range of ports ends; only more streams than the usual one has room for reach beyond it."""
    return min(HIGHEST_PORT, max(LAST_PORT, FIRST_PORT + 2 * (streams + SPARE_PORTS)))


def fitting(steps: Sequence[int], *, sockets_each: int = 1) -> list[int]:
    """The steps, with those that need more open files than a process may have cut down to what fits, and so told."""
    most = (allow_files(max(steps)) - SPARE_FILES) // sockets_each
    if max(steps) > most:
        print(
            f"open files of a process are limited to {most * sockets_each + SPARE_FILES}: at most {most:,} streams fit"
        )
    return sorted({min(step, most) for step in steps})


def say_network(lacking: str) -> None:
    """One line about what carries the packets."""
    if lacking:
        print(f"on the loopback of the host ({lacking}): datagrams sent together stay joined until a socket has them")
    else:
        print("on a loopback of its own, which splits datagrams that are sent together before it delivers them")


def with_floor(ours: Run, floor: dict[str, Any]) -> Run:
    """The same run beside the floor's figures."""
    floor_us = 1e6 * floor["steady_cpu_s"] / max(1, floor["steady_packets"])
    ratio = ours.ours_us / floor_us if floor_us else 0.0
    late = floor["late_p99_us"]
    return replace(ours, floor_us=floor_us, ratio=ratio, floor_drops=floor["kernel_drops"], floor_late_p99_us=late)


def _core_of(number: int) -> int | None:
    usable = sorted(os.sched_getaffinity(0))
    return usable[-1 - number % len(usable)] if len(usable) > 1 else None


def pinned(core: int | None) -> list[str]:
    """The beginning of a command that runs on one core; empty for None."""
    return [] if core is None or shutil.which("taskset") is None else ["taskset", "-c", str(core)]


def syncs_per_second(directory: Path) -> float:
    """The calibration: 4 KiB appended and `fdatasync`ed, per second, in the directory of the bench."""
    path = directory / "calibration"
    with path.open("wb") as file:
        begun = time.monotonic()
        for _ in range(SYNC_ROUNDS):
            file.write(bytes(SYNC_BYTES))
            file.flush()
            os.fdatasync(file.fileno())
        return SYNC_ROUNDS / (time.monotonic() - begun)


def summary(runs: Sequence[Run]) -> dict[str, Any]:
    """The step's figures: medians of its pairs, sums of what was lost."""

    def middle(name: str) -> float:
        return float(statistics.median(getattr(run, name) for run in runs))

    ratios = [run.ratio for run in runs]
    return {
        "streams": runs[0].streams,
        "pairs": len(runs),
        "burst": runs[0].burst,
        "recorders": runs[0].recorders,
        "receiver": runs[0].receiver,
        "floor_us": middle("floor_us"),
        "ours_us": middle("ours_us"),
        "ratio": middle("ratio"),
        "ratio_range": [min(ratios), max(ratios)],
        "cpu_share": middle("cpu_share"),
        "lost": sum(run.lost for run in runs),
        "kernel_drops": sum(run.kernel_drops for run in runs),
        "files": sum(run.files for run in runs),
        "incomplete_files": sum(run.files - run.complete for run in runs),
        "wrong_files": sum(run.wrong for run in runs),
        "late_ticks": sum(run.late_ticks for run in runs),
        "rss_mib": max(run.rss_mib for run in runs),
        "finish_s": middle("finish_s"),
        "party_ms": middle("party_ms"),
        "calls_per_core": int(runs[0].streams / 2 / middle("cpu_share")),
        "generator_cpu_share": middle("generator_cpu_share"),
        "generator_late_p99_us": max(run.generator_late_p99_us for run in runs),
        "paced": all(run.is_paced and run.is_floor_paced for run in runs),
        "perfect": all(run.is_perfect for run in runs),
        "correct": all(run.is_correct for run in runs),
    }


HEADING = (
    "streams  floor us  ours us  ratio (range)       end of a party ms  core %  lost  drops  files complete  "
    "RSS MiB  calls/core*  generator %  late p99 us"
)


def line_of(step: dict[str, Any]) -> str:
    """One line of the table."""
    low, high = step["ratio_range"]
    return (
        f"{step['streams']:7d}  {step['floor_us']:8.2f}  {step['ours_us']:7.2f}  "
        f"{step['ratio']:5.2f} ({low:.2f}-{high:.2f})  {step['party_ms']:20.2f}  "
        f"{100 * step['cpu_share']:6.1f}  {step['lost']:4d}  {step['kernel_drops']:5d}  "
        f"{step['files'] - step['incomplete_files']:6d} of {step['files']:<6d}  {step['rss_mib']:7.0f}  "
        f"{step['calls_per_core']:11d}  {100 * step['generator_cpu_share']:11.0f}  "
        f"{step['generator_late_p99_us']:11.0f}"
    )


def report(steps: Sequence[dict[str, Any]], syncs: Sequence[float]) -> None:
    """Prints the table and what it does not say."""
    print(HEADING)
    for step in steps:
        print(line_of(step))
    if uneven := [step["streams"] for step in steps if not step["paced"]]:
        print(
            f"NOT EVENLY PACED at {uneven} streams (generator later than {PACE_LIMIT_US / 1000:.0f} ms at p99 "
            f"or above {CORE_LIMIT:.0%} of its core): loss and files stand, CPU figures there do not"
        )
    perfect = [step["streams"] for step in steps if step["perfect"]]
    largest = max(perfect, default=0)
    sign = ">= " if perfect and largest == max(step["streams"] for step in steps) else ""
    print(f"largest step with zero loss and every file complete: {sign}{largest} streams ({largest // 2} calls)")
    print("* two streams a call; extrapolated from the CPU share of that step, not tried")
    print("CPU per packet: user and system time of the receiving process; delivery to its sockets runs in the")
    print("generator's time, for the floor as for us. The end of a party is CPU, too: two sealed and synced files.")
    print(f"fdatasync calibration: {min(syncs):.0f} to {max(syncs):.0f} syncs of 4 KiB per second")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the bench; 1 only when a file is wrong or a packet is lost that the kernel did not drop."""
    arguments = parse(argv)
    steps = fitting(arguments.streams, sockets_each=2 if arguments.rtcp else 1)
    syncs: list[float] = []
    runs: list[Run] = []
    with (
        tempfile.TemporaryDirectory(prefix="bench-capture-", dir=arguments.dir) as scratch,
        own_network(arguments.address) as lacking,
    ):
        told = Receivers(
            arguments.address, arguments.finish_threads, arguments.rtcp, arguments.receiver, arguments.recorders
        )
        bench = Bench(Path(scratch), told=told)
        receiver_core, generator_core = cores()
        print(f"receiver on core {receiver_core}, generator on core {generator_core}; {platform.platform()}")
        say_network(lacking)
        for streams in steps:
            for number in range(arguments.pairs):
                syncs.append(syncs_per_second(Path(scratch)))
                run = bench.pair(streams, arguments.seconds, floor_first=number % 2 == 0)
                runs.append(run)
                print(
                    f"{streams} streams, pair {number + 1} of {arguments.pairs}: floor {run.floor_us:.2f}, "
                    f"ours {run.ours_us:.2f} us per packet, ratio {run.ratio:.2f}, lost {run.lost} "
                    f"of {run.sent}, files complete {run.complete} of {run.files}, finished in {run.finish_s:.1f} s",
                    flush=True,
                )
    summaries = [summary([run for run in runs if run.streams == streams]) for streams in steps]
    report(summaries, syncs)
    if arguments.json:
        figures = {"steps": summaries, "runs": [asdict(run) for run in runs], "syncs_per_second": syncs}
        Path(arguments.json).write_text(json.dumps(figures, indent=1) + "\n")
    return 0 if all(run.is_correct for run in runs) else 1


def steps_of(text: str) -> list[int]:
    """Counts of streams from `500,1000`; ArgumentTypeError for anything else."""
    steps = [int(step) if step.isascii() and step.isdigit() else 0 for step in text.split(",")]
    if min(steps) < 1:
        raise argparse.ArgumentTypeError(f"expected counts of streams by comma, such as 500,1000; found {text!r}")
    return steps


def directory_of(text: str) -> str:
    """The directory as given; ArgumentTypeError when there is none."""
    if not Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"expected a directory that exists, found {text!r}")
    return text


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(prog="mitschnitt bench capture", description=main.__doc__)
    parser.add_argument("--streams", type=steps_of, default="500,1000,2000,4000,8000", help="steps, by comma")
    parser.add_argument("--pairs", type=int, default=5, help="pairs of floor and ours per step")
    parser.add_argument("--seconds", type=int, default=10, help="measured per side, after two in which the hold fills")
    parser.add_argument("--receiver", choices=list(Receiving), default="sockets", help="how packets come in")
    parser.add_argument("--recorders", type=int, default=1, help="processes that share the streams, on all cores")
    parser.add_argument("--address", default=HOST, help="loopback address to use")
    parser.add_argument("--dir", type=directory_of, default=None, help="where scratch files go (default: the system's)")
    parser.add_argument("--finish-threads", type=int, default=FINISH_THREADS, help="parties written at once")
    parser.add_argument("--rtcp", action="store_true", help="report to a client of every stream, as in calls")
    parser.add_argument("--json", default="", help="write all figures to this file")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
