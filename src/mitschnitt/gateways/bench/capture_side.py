"""Our side of the capture bench, a process of its own: the real media plane from sockets to sealed files.

    python -m mitschnitt.gateways.bench.capture_side JSON      (options as one JSON object; see `Options`)

Prints "ready" when all lines are open, records until standard input ends, finishes the parties that it was told to
and prints one JSON line. Keys are derived from the stream's number, so that the checking process can open the files.
"""

from __future__ import annotations

import asyncio
import contextlib
import cProfile
import hashlib
import json
import resource
import sys
import threading
import time
from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mitschnitt.config import Receiving
from mitschnitt.recorder.mapped import Mapped
from mitschnitt.recorder.media import HOLD_NS, TICK_NS, Media, Track
from mitschnitt.recorder.ports import SPARE_FILES, PortPool
from mitschnitt.recorder.ring import Ring
from mitschnitt.recorder.rtcp import Peer
from mitschnitt.recorder.sources import Sourcing
from mitschnitt.vault.blobs import LocalBlobs
from mitschnitt.vault.finish import SealedParty
from mitschnitt.vault.slice_files import SliceWriter

EVENT_TYPES = {101: 8000}
DISCARD_PORT = 9
CODECS = {8: ("PCMA", 8000)}
WARM_NS = HOLD_NS + 2 * TICK_NS  # from the first packet: the hold is full, its memory touched, and sealing goes on

RING_MIB = 160  # of the packet ring: half a second of 1,000,000 packets a second
OWN_PORTS = 2  # that a recorder with a ring keeps for lines on sockets; the bench opens none there


@dataclass(frozen=True)
class Options:
    """What the parent process asks for."""

    directory: str  # has `journal` and `audio` in it
    address: str
    streams: int
    first_stream: int  # number of the first of them in the whole run, as its packets are stamped
    first_port: int
    last_port: int
    ports_file: str
    finish_threads: int
    every: int = 1  # of so many streams one is finished into files; the others are dropped
    receiver: str = "sockets"
    rtcp: bool = False  # each line has a client whom reports go to
    profile: str = ""  # a file for cProfile's figures of the recording; costs time itself


def call_id_of(stream: int) -> bytes:
    """The call a stream belongs to: two streams each."""
    return hashlib.sha256(b"bench call %d" % (stream // 2)).digest()[:16]


def leaf_key_of(stream: int) -> bytes:
    """The key of the stream's party, derived so that files of a bench can be checked; guards nothing."""
    return hashlib.sha256(b"bench leaf %d" % stream).digest()


def cpu_seconds() -> float:
    """User and system time of this process so far."""
    use = resource.getrusage(resource.RUSAGE_SELF)
    return use.ru_utime + use.ru_stime


def peak_rss_mib() -> float:
    """Highest resident memory so far; not by getrusage(2), whose figure begins with that of the parent process."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


@dataclass
class Meter:
    """CPU time by packets, in the stretch in which as much is sealed as comes in."""

    media: Media
    first_ns: int = 0  # monotonic time of the first packet
    warm: tuple[float, int] | None = None  # CPU seconds and packets received, when the hold was full
    last: tuple[float, int] | None = None  # the same with the newest packet

    async def run(self) -> None:
        """Looks once a tick, until cancelled."""
        received = 0
        while True:
            await asyncio.sleep(TICK_NS / 1e9)
            if (count := self.media.counts.received) == received:
                continue
            received, now_ns = count, time.monotonic_ns()
            self.first_ns = self.first_ns or now_ns
            self.last = (cpu_seconds(), received)
            if self.warm is None and now_ns - self.first_ns >= WARM_NS:
                self.warm = self.last

    def steady(self) -> tuple[float, int]:
        """(CPU seconds, packets) of that stretch; both 0 when it was never reached."""
        if self.warm is None or self.last is None:
            return 0.0, 0
        return self.last[0] - self.warm[0], self.last[1] - self.warm[1]


def mapped_of(options: Options) -> Mapped | None:
    """The packet ring with its ports, if packets are to come in by it. OSError where there is none to be had."""
    if options.receiver == Receiving.SOCKETS:
        return None
    ring = Ring(options.address, size_mib=RING_MIB)
    return Mapped(ring, PortPool(options.first_port, options.last_port - OWN_PORTS))


def allow_files(sockets: int) -> int:
    """How many files this process and its children may open now; room for so many sockets, where it may be had."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = sockets + SPARE_FILES
    for limits in ((max(soft, min(wanted, hard)), hard), (max(soft, wanted), max(hard, wanted))):
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def open_lines(media: Media, options: Options) -> list[Track]:
    """Gated lines first, all of them, then each filter is taken off: as calls do, one by one."""
    if options.receiver == Receiving.SOCKETS:
        lines = [media.line(event_types=EVENT_TYPES) for _ in range(options.streams)]
    else:
        lines = [media.fresh_line() for _ in range(options.streams)]
    tracks = []
    for stream, line in enumerate(lines, options.first_stream):
        if options.rtcp:  # nobody listens there: what is measured is the sockets and the sending
            media.aim(line, Peer(options.address, DISCARD_PORT, options.address, DISCARD_PORT))
        track = media.track(call_id=call_id_of(stream), party=stream % 2, leaf_key=leaf_key_of(stream), codecs=CODECS)
        media.keep(line, track)
        tracks.append(track)
    Path(options.ports_file).write_bytes(array("H", [line.port for line in lines]).tobytes())
    return tracks


async def finish_all(media: Media, tracks: list[Track], *, every: int) -> list[SealedParty]:
    """Finishes and settles one of so many tracks, and drops the others."""
    at = "2026-01-01T00:00:00.000000Z"
    chosen = tracks[::every]
    futures = [media.finish(track, reason="ended", started_at=at, ended_at=at) for track in chosen]
    parties = list(await asyncio.gather(*futures))
    for track in chosen:
        media.settled(track)
    return parties


def drop_rest(media: Media, tracks: list[Track], *, every: int) -> None:
    """Drops what is not finished; before the files are written, so that its sealing costs them nothing."""
    for number, track in enumerate(tracks):
        if number % every:
            media.drop(track)


async def record(options: Options) -> dict[str, Any]:
    """One run, from open lines to settled files; the figures."""
    allow_files(2 * options.streams if options.rtcp else options.streams)
    root = Path(options.directory)
    journal = SliceWriter(root / "journal")
    mapped = mapped_of(options)
    first = options.first_port if mapped is None else options.last_port - OWN_PORTS + 1
    media = Media(
        address=options.address,
        ports=PortPool(first, options.last_port),
        journal=journal,
        blobs=LocalBlobs(root / "audio"),
        finish_threads=options.finish_threads,
        sourcing=Sourcing.FIRST,  # the generator signals nothing
        mapped=mapped,
    )
    tracks = open_lines(media, options)
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), loop.call_soon_threadsafe(ended.set)), daemon=True).start()
    running, meter = asyncio.ensure_future(media.run()), Meter(media)
    metering = asyncio.ensure_future(meter.run())
    print("ready", flush=True)
    profile = cProfile.Profile() if options.profile else None
    if profile is not None:
        profile.enable()
    begun, cpu_before = time.monotonic(), cpu_seconds()
    await ended.wait()
    if profile is not None:
        profile.disable()
        profile.dump_stats(options.profile)
    cpu_recorded, recorded = cpu_seconds(), time.monotonic()
    metering.cancel()
    steady_cpu, steady_packets = meter.steady()
    drops, rss = media.read_drops(), peak_rss_mib()
    drop_rest(media, tracks, every=options.every)
    cpu_dropped, dropped = cpu_seconds(), time.monotonic()
    parties = await finish_all(media, tracks, every=options.every)
    cpu_finished, finished = cpu_seconds(), time.monotonic()
    media.stop()
    await running
    media.close()
    journal.close()
    return {
        "received": media.counts.received,
        "kept": media.counts.kept,
        "packets_in_files": sum(party.packets for party in parties),
        "parties": len(parties),
        "late_ticks": media.counts.late_ticks,
        "reports_sent": media.rtcp.counts.sent,
        "kernel_drops": max(drops, media.counts.kernel_drops),
        "cpu_record_s": cpu_recorded - cpu_before,
        "steady_cpu_s": steady_cpu,
        "steady_packets": steady_packets,
        "cpu_finish_s": cpu_finished - cpu_dropped,
        "wall_s": recorded - begun,
        "wall_finish_s": finished - dropped,
        "arena_locked": media.receiver.is_locked,
        "rss_mib": rss,
    }


def main() -> int:
    """Runs one recording and prints its figures."""
    options = Options(**json.loads(sys.argv[1]))
    print(json.dumps(asyncio.run(record(options))), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
