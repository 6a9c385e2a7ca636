"""The recorder of `mitschnitt bench soak`: calls come and go for as long as it is told to, while media flows.

    python -m mitschnitt.gateways.bench.soak_side JSON      (options as one JSON object; see `Options`)

Prints "ready", then one JSON line a minute (or as often as told) until standard input ends. Every track's loss is asked
when its call ends, and its two files are deleted once they are durable and counted, so that the disk stays as it was.
"""

from __future__ import annotations

import asyncio
import ctypes
import dataclasses
import json
import mmap
import resource
import secrets
import sys
import threading
import time
from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mitschnitt.gateways.bench import capture_side
from mitschnitt.gateways.bench.capture_side import CODECS, cpu_seconds, mapped_of
from mitschnitt.recorder.hold import BLOCK_BYTES
from mitschnitt.recorder.media import Line, Media, Track
from mitschnitt.recorder.ports import PortPool
from mitschnitt.recorder.sources import Sourcing
from mitschnitt.vault.blobs import LocalBlobs
from mitschnitt.vault.slice_files import SliceWriter

AT = "2026-01-01T00:00:00.000000Z"
STEP_SECONDS = 0.1  # between two looks at which calls are over
PAGE_KIB = resource.getpagesize() // 1024


@dataclass(frozen=True)
class Options:
    """What the parent process asks for; the fields of `capture_side.Options`, and how long calls last."""

    capture: dict[str, Any]
    call_seconds: float  # each stream's call; then the stream goes on in a new one, on a fresh port
    every_seconds: float  # between two lines of figures


class Soak:
    """All streams, each in its call."""

    def __init__(self, media: Media, blobs: LocalBlobs, options: Options, ports: memoryview) -> None:
        self._media, self._blobs, self._options, self._ports = media, blobs, options, ports
        self._running: dict[int, tuple[Line, Track]] = {}
        self.lost = self.kept = self.ended = self.failed = 0
        self.ending: set[asyncio.Task[None]] = set()
        self.end_ms: list[float] = []  # from the end of a call's party until both of its files are durable

    def begin(self, stream: int) -> None:
        """A new call of the stream: fresh line, fresh key."""
        line = self._media.fresh_line()
        track = self._media.track(
            call_id=secrets.token_bytes(16), party=stream % 2, leaf_key=secrets.token_bytes(32), codecs=CODECS
        )
        self._media.keep(line, track)
        self._running[stream] = line, track
        self._ports[stream] = line.port

    def end(self, stream: int) -> None:
        """Sends the stream nowhere, and ends its call once what was sent before has arrived."""
        self._ports[stream] = 0
        line, track = self._running.pop(stream)
        task = asyncio.ensure_future(self._end(line, track))
        self.ending.add(task)
        task.add_done_callback(self.ending.discard)

    async def _end(self, line: Line, track: Track) -> None:
        await asyncio.sleep(STEP_SECONDS)
        began = time.monotonic()
        try:
            party = await self._media.finish(track, reason="ended", started_at=AT, ended_at=AT)
        except Exception:
            self.failed += 1
            raise
        self.end_ms.append(1000 * (time.monotonic() - began))
        self.ended += 1
        self.kept += party.packets
        self.lost += max(0, track.path.expected - track.path.received)
        self._media.settled(track)
        self._media.release(line)
        for name in (party.media_name, party.timeline_name):
            await asyncio.to_thread(self._blobs.delete, name)

    async def run(self) -> None:
        """Calls end one after the other, spread over the time that one lasts; never returns."""
        streams = len(self._ports)
        begun, done = time.monotonic(), 0
        while True:
            await asyncio.sleep(STEP_SECONDS)
            due = int((time.monotonic() - begun) * streams / self._options.call_seconds)
            for number in range(done, due):
                self.end(number % streams)
                self.begin(number % streams)
            done = max(done, due)

    def figures(self) -> dict[str, Any]:
        """What must stay flat, and what must stay 0; the times of parties that ended since the last time."""
        times, self.end_ms = sorted(self.end_ms), []
        statm = Path("/proc/self/statm").read_text(encoding="ascii").split()
        return {
            "rss_mib": int(statm[1]) * PAGE_KIB / 1024,
            "hold_mib": len(self._media.hold.memory()) * BLOCK_BYTES / (1 << 20),
            "heap_mib": heap_bytes() / (1 << 20),
            "files": len(list(Path("/proc/self/fd").iterdir())),
            "threads": threading.active_count(),
            "blocks": sys.getallocatedblocks(),  # of Python's objects that live: a leak, whatever the allocator keeps
            "ports_free": self._media.lines.pool.free,
            "segments": len(list(Path(self._options.capture["directory"], "journal").iterdir())),
            "ended": self.ended,
            "failed": self.failed,
            "kept": self.kept,
            "lost": self.lost,
            "kernel_drops": self._media.read_drops(),
            "late_ticks": self._media.counts.late_ticks,
            "cpu_s": cpu_seconds(),
            "end_ms": [times[min(len(times) - 1, int(share * len(times)))] if times else 0.0 for share in (0.5, 0.99)],
        }


class _MallInfo(ctypes.Structure):
    """struct mallinfo2 of glibc, over all arenas."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keepcost",
        )
    ]


def heap_bytes() -> int:
    """Bytes of C's heap that somebody uses, without what it holds free; 0 where the C library does not tell."""
    try:
        ask = ctypes.CDLL(None).mallinfo2
    except AttributeError:  # glibc before 2.33, or another C library
        return 0
    ask.restype = _MallInfo
    told = ask()
    return int(told.uordblks + told.hblkhd)


async def soak(options: Options) -> None:
    """Runs until standard input ends."""
    told = capture_side.Options(**options.capture)
    capture_side.allow_files(2 * told.streams)  # those of ended calls go when their files are durable
    root = Path(told.directory)
    journal, blobs, mapped = SliceWriter(root / "journal"), LocalBlobs(root / "audio"), mapped_of(told)
    pool = PortPool(told.first_port, told.last_port) if mapped is None else PortPool(told.last_port - 1, told.last_port)
    media = Media(
        address=told.address, ports=pool, journal=journal, blobs=blobs, mapped=mapped, sourcing=Sourcing.FIRST
    )
    Path(told.ports_file).write_bytes(array("H", [0] * told.streams).tobytes())
    with Path(told.ports_file).open("r+b") as file:
        ports = memoryview(mmap.mmap(file.fileno(), 0)).cast("H")
    calls = Soak(media, blobs, options, ports)
    for stream in range(told.streams):
        calls.begin(stream)
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), loop.call_soon_threadsafe(ended.set)), daemon=True).start()
    running, coming = asyncio.ensure_future(media.run()), asyncio.ensure_future(calls.run())
    print("ready", flush=True)
    while not ended.is_set():
        try:
            await asyncio.wait_for(ended.wait(), options.every_seconds)
        except TimeoutError:
            print(json.dumps(calls.figures()), flush=True)
        if coming.done():
            coming.result()
    coming.cancel()
    await asyncio.gather(*calls.ending)
    media.stop()
    await running
    media.close()
    journal.close()


def main() -> int:
    """Runs the soak."""
    told = json.loads(sys.argv[1])
    asyncio.run(soak(Options(**told)))
    return 0


def argument_of(options: Options) -> str:
    """What `main` reads."""
    return json.dumps(dataclasses.asdict(options))


if __name__ == "__main__":
    sys.exit(main())
