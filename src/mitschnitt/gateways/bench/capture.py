"""`mitschnitt bench capture`: our receiver with gate, hold, journal and sealing against a bare C loop.

Both sides get the same sockets, timer, slots and schedule, one after the other, alternating; the generator
is a process of its own. Every file is opened and checked packet by packet afterwards. A slow machine gives
poor figures and exit code 0; only a wrong file, or a lost packet that the kernel did not drop, gives 1.
"""

from __future__ import annotations

import argparse
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
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mitschnitt.gateways.bench.capture_check import Checked, check_files
from mitschnitt.gateways.bench.capture_side import Options
from mitschnitt.recorder.media import FINISH_THREADS, HOLD_NS, TICK_NS
from mitschnitt.recorder.ports import RECEIVE_BUFFER_BYTES
from mitschnitt.recorder.receiver import BATCH_ROWS, SLOT_BYTES, SOCKET_BUDGET

HERE = Path(__file__).parent
PACKETS_PER_SECOND = 50  # of one stream: 20 ms packets
BURSTS = ((100_000, 1), (200_000, 5), (1 << 62, 10))  # packets/s up to which the generator sends so many of a
#                                                       stream at once; one core cannot send more singly
FIRST_PORT, LAST_PORT = 10_000, 32_767  # below the ephemeral range
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
    floor_us: float  # CPU per packet, microseconds
    ours_us: float  # while recording
    whole_us: float  # with finishing all parties into files
    ratio: float  # ours_us / floor_us
    lost: int
    kernel_drops: int
    floor_drops: int
    complete: int  # files with every packet
    wrong: int  # files with a payload that was not sent there
    late_ticks: int
    cpu_share: float  # of one core that this rate of packets takes
    rss_mib: float
    finish_s: float
    generator_cpu_share: float
    generator_late_p99_us: float

    @property
    def is_correct(self) -> bool:
        """No wrong payload, and no loss that the kernel did not count."""
        return self.wrong == 0 and self.lost <= self.kernel_drops

    @property
    def is_paced(self) -> bool:
        """Whether the generator kept its pace; else loss and files still tell, microseconds do not."""
        return self.generator_late_p99_us <= PACE_LIMIT_US and self.generator_cpu_share <= CORE_LIMIT

    @property
    def is_perfect(self) -> bool:
        """Zero loss and every file complete."""
        return self.lost == 0 and self.wrong == 0 and self.complete == self.streams


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


class Bench:
    """Runs pairs in a scratch directory."""

    def __init__(self, directory: Path, *, address: str, finish_threads: int, rtcp: bool = False) -> None:
        self._directory = directory
        self._address = address
        self._finish_threads = finish_threads
        self._rtcp = rtcp
        self._programs = build(directory)
        self._receiver_core, self._generator_core = cores()

    def pair(self, streams: int, seconds: int, *, floor_first: bool) -> Run:
        """One pair; the order alternates so that a machine that drifts favours nobody."""
        rate = streams * PACKETS_PER_SECOND
        burst = next(burst for limit, burst in BURSTS if rate <= limit)
        packets = seconds * PACKETS_PER_SECOND // burst * burst
        if floor_first:
            floor = self._floor(streams, packets, burst)[0]
            ours, generator, checked = self._ours(streams, packets, burst)
        else:
            ours, generator, checked = self._ours(streams, packets, burst)
            floor = self._floor(streams, packets, burst)[0]
        sent = generator["sent"]
        floor_us = 1e6 * floor["cpu_s"] / max(1, floor["packets"])
        ours_us = 1e6 * ours["cpu_record_s"] / sent
        return Run(
            streams=streams,
            sent=sent,
            burst=burst,
            floor_us=floor_us,
            ours_us=ours_us,
            whole_us=1e6 * (ours["cpu_record_s"] + ours["cpu_finish_s"]) / sent,
            ratio=ours_us / floor_us,
            lost=sent - checked.packets,
            kernel_drops=ours["kernel_drops"],
            floor_drops=floor["kernel_drops"],
            complete=checked.complete,
            wrong=checked.wrong,
            late_ticks=ours["late_ticks"],
            cpu_share=ours_us * rate / 1e6,  # not by wall time: the run also waits with nothing to do
            rss_mib=ours["rss_mib"],
            finish_s=ours["wall_finish_s"],
            generator_cpu_share=generator["cpu_s"] / generator["wall_s"],
            generator_late_p99_us=generator["late_p99_us"],
        )

    def _floor(self, streams: int, packets: int, burst: int) -> tuple[dict[str, Any], dict[str, Any]]:
        ports = self._directory / "floor.ports"
        command = [str(self._programs["capture_floor"]), str(ports), self._address]
        numbers = (
            streams,
            FIRST_PORT,
            LAST_PORT,
            TICK_NS // 1_000_000,
            BATCH_ROWS,
            SLOT_BYTES,
            SOCKET_BUDGET,
            RECEIVE_BUFFER_BYTES,
        )
        return self._record([*command, *map(str, numbers)], ports, packets, burst)

    def _ours(self, streams: int, packets: int, burst: int) -> tuple[dict[str, Any], dict[str, Any], Checked]:
        with tempfile.TemporaryDirectory(prefix="run-", dir=self._directory) as scratch:
            return self._ours_in(Path(scratch), streams, packets, burst)

    def _ours_in(
        self, data: Path, streams: int, packets: int, burst: int
    ) -> tuple[dict[str, Any], dict[str, Any], Checked]:
        for name in ("journal", "audio"):
            (data / name).mkdir()
        options = Options(
            directory=str(data),
            address=self._address,
            streams=streams,
            first_port=FIRST_PORT,
            last_port=LAST_PORT,
            ports_file=str(data / "ports"),
            finish_threads=self._finish_threads,
            rtcp=self._rtcp,
        )
        command = [
            sys.executable,
            "-m",
            "mitschnitt.gateways.bench.capture_side",
            json.dumps(asdict(options)),
        ]
        figures, generator = self._record(command, data / "ports", packets, burst)
        return figures, generator, check_files(data / "audio", streams, packets)

    def _record(
        self, command: Sequence[str], ports: Path, packets: int, burst: int
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Starts a receiver, sends to it, ends it: (its figures, the generator's)."""
        search = os.pathsep.join(path for path in sys.path if path)
        receiver = subprocess.Popen(
            [*_pinned(self._receiver_core), *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": search},
        )
        try:
            if receiver.stdout is None or receiver.stdout.readline() != b"ready\n":
                raise RuntimeError(f"{Path(command[0]).name} did not get ready; see above")
            sender = [str(self._programs["generator"]), str(ports), self._address, str(packets), str(burst)]
            sent = subprocess.run(
                [*_pinned(self._generator_core), *sender],
                check=True,
                capture_output=True,
                timeout=STEP_TIMEOUT_S,
            )
            # Until everything that was sent is drained and, with us, sealed by the timer: what the end of
            # the recording sealed would be missing in its CPU time. The floor waits as long.
            time.sleep((HOLD_NS + 3 * TICK_NS) / 1e9)
            output, _ = receiver.communicate(timeout=STEP_TIMEOUT_S)
        finally:
            receiver.kill()
            receiver.wait()
        return json.loads(output), json.loads(sent.stdout)


def _pinned(core: int | None) -> list[str]:
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
        "floor_us": middle("floor_us"),
        "ours_us": middle("ours_us"),
        "whole_us": middle("whole_us"),
        "ratio": middle("ratio"),
        "ratio_range": [min(ratios), max(ratios)],
        "cpu_share": middle("cpu_share"),
        "lost": sum(run.lost for run in runs),
        "kernel_drops": sum(run.kernel_drops for run in runs),
        "incomplete_files": sum(run.streams - run.complete for run in runs),
        "wrong_files": sum(run.wrong for run in runs),
        "late_ticks": sum(run.late_ticks for run in runs),
        "rss_mib": max(run.rss_mib for run in runs),
        "finish_s": middle("finish_s"),
        "calls_per_core": int(runs[0].streams / 2 / middle("cpu_share")),
        "generator_cpu_share": middle("generator_cpu_share"),
        "generator_late_p99_us": max(run.generator_late_p99_us for run in runs),
        "paced": all(run.is_paced for run in runs),
        "perfect": all(run.is_perfect for run in runs),
        "correct": all(run.is_correct for run in runs),
    }


HEADING = (
    "streams  floor us  ours us  ratio (range)       with files us  core %  lost  drops  files complete  "
    "RSS MiB  calls/core*  generator %  late p99 us"
)


def line_of(step: dict[str, Any]) -> str:
    """One line of the table."""
    low, high = step["ratio_range"]
    files = step["streams"] * step["pairs"]
    return (
        f"{step['streams']:7d}  {step['floor_us']:8.2f}  {step['ours_us']:7.2f}  "
        f"{step['ratio']:5.2f} ({low:.2f}-{high:.2f})  {step['whole_us']:16.2f}  "
        f"{100 * step['cpu_share']:6.1f}  {step['lost']:4d}  {step['kernel_drops']:5d}  "
        f"{files - step['incomplete_files']:6d} of {files:<6d}  {step['rss_mib']:7.0f}  "
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
    print("generator's time, for the floor as for us. 'with files' adds writing and syncing all files.")
    print(f"fdatasync calibration: {min(syncs):.0f} to {max(syncs):.0f} syncs of 4 KiB per second")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the bench; 1 only when a file is wrong or a packet is lost that the kernel did not drop."""
    arguments = parse(argv)
    steps: list[int] = arguments.streams
    syncs: list[float] = []
    runs: list[Run] = []
    with tempfile.TemporaryDirectory(prefix="bench-capture-", dir=arguments.dir) as scratch:
        bench = Bench(
            Path(scratch), address=arguments.address, finish_threads=arguments.finish_threads, rtcp=arguments.rtcp
        )
        receiver_core, generator_core = cores()
        print(f"receiver on core {receiver_core}, generator on core {generator_core}; {platform.platform()}")
        for streams in steps:
            for number in range(arguments.pairs):
                syncs.append(syncs_per_second(Path(scratch)))
                run = bench.pair(streams, arguments.seconds, floor_first=number % 2 == 0)
                runs.append(run)
                print(
                    f"{streams} streams, pair {number + 1} of {arguments.pairs}: floor {run.floor_us:.2f}, "
                    f"ours {run.ours_us:.2f} us per packet, ratio {run.ratio:.2f}, lost {run.lost} "
                    f"of {run.sent}, files complete {run.complete}, finished in {run.finish_s:.1f} s",
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
    parser.add_argument("--seconds", type=int, default=10, help="of sending per side")
    parser.add_argument("--address", default="127.0.0.1", help="loopback address to use")
    parser.add_argument("--dir", type=directory_of, default=None, help="where scratch files go (default: the system's)")
    parser.add_argument("--finish-threads", type=int, default=FINISH_THREADS, help="parties written at once")
    parser.add_argument("--rtcp", action="store_true", help="report to a client of every stream, as in calls")
    parser.add_argument("--json", default="", help="write all figures to this file")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
