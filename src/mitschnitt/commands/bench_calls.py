"""`mitschnitt bench calls`: how fast calls are set up and torn down, and what happens when there are too many.

A whole `serve` in a scratch directory, recording clients over UDP on loopback, and where Debian's sipp is
installed its answering side as a peer under the same load. Calls are announced by nobody, as most calls of a
centre are: closed answer, two gated lines, join at the keeper, key, two synced journal entries, until their BYE.
With --media-streams so many streams of agreed calls flow meanwhile, and agreed calls that come and go are measured.
A slow machine gives poor figures and exit code 0; only a wrong answer gives 1.
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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mitschnitt.commands.demo import serving
from mitschnitt.commands.demo_site import DemoSite, prepare
from mitschnitt.commands.doctor import SOCKETS_PER_CALL
from mitschnitt.commands.door_client import Door
from mitschnitt.commands.ports import free_port
from mitschnitt.config import Receiving
from mitschnitt.gateways.bench import agreed
from mitschnitt.gateways.bench.callers import Load, Profile
from mitschnitt.gateways.bench.capture import build, cores, pinned, schedule
from mitschnitt.gateways.bench.capture_side import allow_files
from mitschnitt.gateways.bench.network import own_network

HOST = "127.0.0.1"
SIP_PORT, CONTROL_PORT, PEER_PORT = 5_160, 8_571, 5_170  # if free; none of them in the range for RTP
FIRST_PORT, LAST_PORT = 10_000, 32_767  # RTP: below the ephemeral range
ALONE_LAST_PORT = 65_535  # on a loopback of its own nobody else has ports
SET_UP_RATE = 30.0  # calls a second that are set up before the measuring, each with three posts to the control API
OVERLOAD = 1.5  # offered calls for each that there is room for
WAVE_HOLD_SECONDS = 4.0  # of the calls that a wave got through
WAVE_RATE = 200.0  # calls of a wave that begin per second
CLOSE_SECONDS = 60.0  # from the last BYE until the keeper has applied every journal entry
LATE_LIMIT_MS = 5.0  # callers later than this at their 99th percentile did not offer an even load
PARTS = {"recorder": "recorder-1", "keeper": "keeper"}  # as told, and as their pid files are named
TICKS = os.sysconf("SC_CLK_TCK")  # per second, of the CPU times in /proc


@dataclass(frozen=True, slots=True)
class Measured:
    """One load against one answering side. CPU in microseconds per call, times in milliseconds."""

    name: str
    figures: Mapping[str, Any]
    cpu_us: Mapping[str, float]  # by process
    rss_mib: float  # of the answering process, at its highest

    @property
    def offered(self) -> int:
        """Calls that were begun."""
        return int(self.figures["offered"])

    def status(self, code: int) -> int:
        """How many INVITEs got this final answer; 0: none came."""
        return int(self.figures["statuses"].get(str(code), 0))

    def percentile(self, series: str, share: float) -> float:
        """Of a series of milliseconds; 0 for an empty one."""
        found: list[float] = sorted(self.figures[series])
        return found[min(len(found) - 1, int(share * len(found)))] if found else 0.0


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far (proc(5), fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def peak_rss_mib(pid: int) -> float:
    """Highest resident memory of a process so far."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def offer(load: Load | agreed.Told) -> dict[str, Any]:
    """Runs the callers in a process of their own, on a core of their own where there are two."""
    module = "callers" if isinstance(load, Load) else "agreed"
    command = [sys.executable, "-m", f"mitschnitt.gateways.bench.{module}", json.dumps(asdict(load))]
    search = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run(
        [*pinned(cores()[1]), *command], check=True, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": search}
    )
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def measure(name: str, load: Load | agreed.Told, pids: Mapping[str, int]) -> Measured:
    """The load, and what the processes `pids` spent on it."""
    before = {part: cpu_seconds(pid) for part, pid in pids.items()}
    figures = offer(load)
    time.sleep(1.0)  # what a second of silence still costs belongs to the calls before it
    spent = {part: cpu_seconds(pid) - before[part] for part, pid in pids.items()}
    cpu_us = {part: 1e6 * seconds / max(1, figures["offered"]) for part, seconds in spent.items()}
    return Measured(name, figures, cpu_us, peak_rss_mib(next(iter(pids.values()))))


@contextlib.contextmanager
def running_site(
    root: Path, *, max_calls: int, receiver: str = Receiving.SOCKETS, last_port: int = LAST_PORT
) -> Iterator[tuple[DemoSite, dict[str, int]]]:
    """`serve` with room for so many calls, and its process ids, recorder first."""
    site = prepare(
        root / "site",
        sip_port=free_port(HOST, SIP_PORT),
        control_port=free_port(HOST, CONTROL_PORT),
        first_rtp_port=FIRST_PORT,
        last_rtp_port=last_port,
    )
    config = site.directory / "config.toml"
    text = config.read_text(encoding="utf-8")
    text = text.replace("[sip]\n", f"[sip]\nmax_calls = {max_calls}\n", 1)
    config.write_text(text.replace("[rtp]\n", f'[rtp]\nreceiver = "{receiver}"\n', 1), encoding="utf-8")
    with serving(site, root / "serve.log"):
        run = site.directory / "run"
        pids = {name: int((run / f"{part}.pid").read_text()) for name, part in PARTS.items()}
        pin(pids["recorder"])
        yield site, pids


def pin(pid: int) -> None:
    """The answering process gets the core that the callers leave alone."""
    core = cores()[0]
    if core is not None:
        os.sched_setaffinity(pid, {core})


def wait_closed(site: DemoSite, calls: int) -> int:
    """How many calls are written down and over; waits until all are."""
    deadline = time.monotonic() + CLOSE_SECONDS
    closed = -1
    while closed < calls and time.monotonic() < deadline:
        time.sleep(0.5)
        found = Door(site.directory).get("/calls", **{"as": "officer"})["calls"]
        closed = sum(call["state"] == "not_kept" for call in found)
    return closed


@contextlib.contextmanager
def running_peer(root: Path) -> Iterator[tuple[int, dict[str, int]] | None]:
    """sipp's answering side, its port and process id; None where there is no sipp."""
    found = shutil.which("sipp")
    if found is None:
        yield None
        return
    port = free_port(HOST, PEER_PORT)
    command = [found, "-sn", "uas", "-i", HOST, "-p", str(port), "-nostdin"]
    with (root / "peer.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=root, stdout=log, stderr=subprocess.STDOUT)
        try:
            pin(process.pid)
            time.sleep(1.0)
            yield port, {"sipp": process.pid}
        finally:
            process.kill()
            process.wait()


def steady(rate: float, seconds: float, hold: float, root: Path) -> tuple[Measured, Measured | None, int]:
    """Ours, the peer if there is one, and how many of our calls are written down."""
    calls = int(rate * seconds)
    with running_peer(root) as peer:
        theirs = None
        if peer is not None:
            load = Load((HOST, peer[0]), rate=rate, calls=calls, hold=hold)
            theirs = measure("sipp", load, peer[1])
    with running_site(root, max_calls=int(2 * rate * hold) + calls) as (site, pids):
        ours = measure("mitschnitt", Load((HOST, site.sip_port), rate=rate, calls=calls, hold=hold), pids)
        written = wait_closed(site, calls)
    return ours, theirs, written


def overload(room: int, seconds: float, root: Path) -> Measured:
    """Waves of 150 % of the calls that there is room for, so long."""
    with running_site(root, max_calls=room) as (site, pids):
        load = Load(
            (HOST, site.sip_port),
            profile=Profile.WAVES,
            rate=WAVE_RATE,
            calls=int(OVERLOAD * room),
            hold=WAVE_HOLD_SECONDS,
            seconds=seconds,
        )
        return measure("overload", load, pids)


def under_media(options: argparse.Namespace, root: Path, *, is_alone: bool) -> Measured:
    """Agreed calls that come and go while others send RTP from beginning to end."""
    standing, calls = options.media_streams // 2, int(options.rate * options.seconds)
    burst = schedule(options.media_streams, 0)[1]
    program = build(root)["generator"]
    last_port = ALONE_LAST_PORT if is_alone else LAST_PORT
    room = standing + calls
    with running_site(root, max_calls=room, receiver=options.receiver, last_port=last_port) as (site, pids):
        told = agreed.Told(
            recorder=(HOST, site.sip_port),
            control=f"http://{HOST}:{site.control_port}",
            token_file=str(site.directory / "secrets" / "control.token"),
            door=str(site.directory / "run" / "door.sock"),
            generator=(*pinned(cores()[1]), str(program)),
            ports_file=str(root / "ports"),
            standing=standing,
            set_up_rate=SET_UP_RATE,
            rate=options.rate,
            calls=calls,
            hold=options.hold,
            burst=burst,
        )
        return measure("under media", told, pids)


def faults_media(measured: Measured, standing: int) -> list[str]:
    """What was wrong with calls under media."""
    figures = measured.figures
    found = [
        f"{figures[name]} calls {words}"
        for name, words in (
            ("refused", "were not answered 200"),
            ("never_open", "were agreed to and never asked for packets"),
            ("not_kept", "ended and are not kept"),
        )
        if figures[name]
    ]
    if figures["standing"] != standing:
        found.append(f"{standing} calls sent from beginning to end, {figures['standing']} are kept")
    return found


def report_media(measured: Measured, streams: int) -> None:
    """Prints both times, and how even the load was."""
    print(f"while {streams:,} streams of agreed calls flow, {measured.offered} more calls, each agreed to:")
    for name, words in (("answer_ms", "INVITE to 200"), ("kept_ms", "BYE until kept")):
        shares = ", ".join(f"p{100 * share:.0f} {measured.percentile(name, share):.1f}" for share in (0.5, 0.95, 0.99))
        print(f"  {words:<15} ms: {shares}")
    sent = measured.figures["generator"]
    print(f"  {sent['sent']:,} packets sent, generator {sent['late_p99_us'] / 1000:.1f} ms late at p99; ", end="")
    print(f"callers {measured.percentile('late_ms', 0.99):.1f} ms; RSS {measured.rss_mib:.0f} MiB")
    print("  kept: the keeper has both parties' synced files in its books; looked at every 50 ms")


def faults_steady(measured: Measured, written: int | None) -> list[str]:
    """What was wrong with a steady load; `written`: calls that the keeper knows, None for a peer."""
    found = []
    if measured.status(200) != measured.offered:
        found.append(f"{measured.offered} calls were offered, {measured.status(200)} were answered 200")
    if measured.figures["ended"] != measured.status(200):
        found.append(f"{measured.status(200)} calls were taken, {measured.figures['ended']} BYEs were answered")
    if written is not None and written != measured.offered:
        found.append(f"{measured.offered} calls were offered, {written} are written down and over")
    return found


def faults_overload(measured: Measured, room: int) -> list[str]:
    """What was not shed exactly, or touched a call that ran."""
    extra = int(OVERLOAD * room) - room
    found = [
        f"wave {number + 1}: there is room for {room} calls, {taken} were taken and {shed} shed"
        for number, (taken, shed) in enumerate(measured.figures["waves"])
        if (taken, shed) != (room, extra)
    ]
    shed = measured.status(503)
    if measured.figures["retry_after"] != shed:
        found.append(f"{shed} calls were shed, {measured.figures['retry_after']} were told when to come again")
    for what in ("refreshed", "ended"):
        if measured.figures[what] != measured.status(200):
            found.append(f"{measured.status(200)} calls ran, {measured.figures[what]} were {what}")
    if measured.figures["unasked"]:
        found.append(f"calls that ran were disturbed: {measured.figures['unasked']}")
    return found


HEADING = (
    "             calls  200 p50 ms  p95 ms  p99 ms  CPU us per call                   RSS MiB  resent  late p99 ms"
)


def line_of(measured: Measured) -> str:
    """One line of the table."""
    cpu = ", ".join(f"{part} {spent:.0f}" for part, spent in measured.cpu_us.items())
    answers = "  ".join(f"{measured.percentile('answer_ms', share):6.1f}" for share in (0.5, 0.95, 0.99))
    return (
        f"{measured.name:<11}{measured.offered:7d}      {answers}  {cpu:<32}  {measured.rss_mib:7.0f}  "
        f"{measured.figures['resends']:6d}  {measured.percentile('late_ms', 0.99):11.1f}"
    )


def report_steady(ours: Measured, theirs: Measured | None) -> None:
    """Prints the table and what it does not say."""
    print(HEADING)
    for measured in (ours, theirs):
        if measured is not None:
            print(line_of(measured))
    if theirs is None:
        print("no sipp on PATH (Debian: sip-tester), so no peer was measured")
    else:
        ratio = ours.cpu_us["recorder"] / max(1e-9, theirs.cpu_us["sipp"])
        print(f"CPU per call, recorder to sipp: {ratio:.1f}; sipp takes no media, asks nobody and writes nothing down")
    print("20 ms of each answer are on purpose: real clients lose a 200 that comes sooner than their own next step.")
    if ours.percentile("late_ms", 0.99) > LATE_LIMIT_MS:
        print(
            f"NOT EVENLY OFFERED: callers later than {LATE_LIMIT_MS:.0f} ms at p99; times there are not the recorder's"
        )


def report_overload(measured: Measured, room: int) -> None:
    """Prints what was taken and shed."""
    waves = measured.figures["waves"]
    print(
        f"overload: {len(waves)} waves of {int(OVERLOAD * room)} calls with room for {room} in "
        f"{measured.figures['wall_s']:.0f} s: {measured.status(200)} taken, {measured.status(503)} answered 503, "
        f"{measured.figures['retry_after']} of them with Retry-After"
    )
    print(
        f"          503 after {statistics.median(measured.figures['shed_ms'] or [0.0]):.1f} ms (p50), "
        f"{measured.percentile('shed_ms', 0.99):.1f} ms (p99); {measured.figures['refreshed']} refreshes within "
        f"running calls answered; RSS {measured.rss_mib:.0f} MiB"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Sets calls up and tears them down; exit code 1 when a call got another answer than it should."""
    options = parse(argv)
    faults: list[str] = []
    figures: dict[str, Any] = {}
    receiver, callers = cores()
    print(f"recorder on core {receiver}, callers on core {callers}; {platform.platform()}")
    allow_files(SOCKETS_PER_CALL * (options.media_streams // 2 + int(options.rate * options.seconds)))
    with (
        tempfile.TemporaryDirectory(prefix="calls-", dir=options.dir) as scratch,
        own_network(HOST) as lacking,
    ):
        root = Path(scratch)
        if options.media_streams:
            (root / "media").mkdir()
            media = under_media(options, root / "media", is_alone=not lacking)
            report_media(media, options.media_streams)
            faults += faults_media(media, options.media_streams // 2)
            figures["media"] = asdict(media)
        elif options.seconds > 0:
            (root / "steady").mkdir()
            ours, theirs, written = steady(options.rate, options.seconds, options.hold, root / "steady")
            report_steady(ours, theirs)
            faults += faults_steady(ours, written)
            figures["steady"] = [asdict(found) for found in (ours, theirs) if found is not None]
        if options.overload > 0:
            (root / "overload").mkdir()
            waves = overload(options.room, options.overload, root / "overload")
            report_overload(waves, options.room)
            faults += faults_overload(waves, options.room)
            figures["overload"] = asdict(waves)
    for fault in faults:
        print(f"WRONG: {fault}")
    if options.json:
        Path(options.json).write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return 1 if faults else 0


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(prog="mitschnitt bench calls", description=main.__doc__)
    parser.add_argument("--rate", type=float, default=200.0, help="calls that begin per second")
    parser.add_argument("--seconds", type=float, default=60.0, help="of the steady load; 0 leaves it out")
    parser.add_argument("--hold", type=float, default=5.0, help="seconds that each call lasts")
    parser.add_argument("--overload", type=float, default=0.0, help="seconds of 150 %% load; 0 leaves it out")
    parser.add_argument("--media-streams", type=int, default=0, help="of agreed calls that send meanwhile; two a call")
    parser.add_argument("--receiver", choices=list(Receiving), default="sockets", help="how those packets come in")
    parser.add_argument("--room", type=int, default=250, help="calls that there is room for in the overload")
    parser.add_argument("--dir", default=None, help="where scratch files go (default: the system's)")
    parser.add_argument("--json", default="", help="write all figures to this file")
    return parser.parse_args(argv)
