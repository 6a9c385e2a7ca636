"""Where each kept packet of one party lies in time: runs and payload bytes in, samples out.

Pure: the clock is in the runs. `lay_out` decides once per run; `render` fills any stretch of samples, so a
play-back of an hour holds a block in memory and not the hour. Pauses, losses and a late start become silence
of exact length.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from mitschnitt.errors import MalformedPacket, TooLarge
from mitschnitt.wire import g711
from mitschnitt.wire.rtp import RUN

RATE = g711.SAMPLE_RATE  # samples per second of everything rendered here
NS_PER_SAMPLE = 1_000_000_000 // RATE
RESTART_SAMPLES = 5 * RATE  # RTP time and wall clock apart by more: the sender's clock was set anew or stood still
ANCHOR_RUNS = 40  # runs that vote on where an epoch lies; about 10 s at 4 drains a second, so that skew is small
MAX_SAMPLES = 24 * 3600 * RATE  # no call lasts a day; more is a damaged timeline, not silence to write out
UNWRAP = 1 << 32  # RTP time is a circle of 32 bits (RFC 3550, section 5.1)

Runs = npt.NDArray[np.void]
Int64s = npt.NDArray[np.int64]
Samples = npt.NDArray[np.int16]
Fetch = Callable[[int, int], bytes]  # payload bytes of [start, stop)


@dataclass(frozen=True)
class Layout:
    """The kept packets of one party in order of time; one row per packet in each array.

    `start_ns` is the wall clock of sample 0. `undecoded` counts packets whose payload type is no G.711:
    their time is silence. `repeated` counts duplicates that were left out.
    """

    start_ns: int
    first: Int64s  # sample at which the packet begins
    length: Int64s  # samples
    offset: Int64s  # its first payload byte
    law: npt.NDArray[np.uint8]  # index into LAWS
    undecoded: int = 0
    repeated: int = 0

    @property
    def samples(self) -> int:
        """Samples from the first packet's first to the last packet's last."""
        return int((self.first + self.length).max()) if self.first.size else 0


@dataclass
class _Epoch:
    """One unbroken count of RTP time of one sender."""

    last_time: int  # unwrapped RTP time of the newest run's end
    last_arrival: int  # samples of the wall clock
    votes: list[int]  # arrival minus end of each run: the smallest waited least in the socket
    rows: list[tuple[int, int]]  # (run, unwrapped RTP time of its first packet)


LAWS = (g711.Law.PCMA, g711.Law.PCMU)


def parse_runs(data: bytes) -> Runs:
    """The runs of a timeline artefact, in order of arrival (MalformedPacket for half a run)."""
    if len(data) % RUN.itemsize:
        raise MalformedPacket(f"runs have {RUN.itemsize} bytes each, got {len(data)} bytes")
    return np.frombuffer(data, RUN)


def lay_out(runs: Runs, codecs: Mapping[int, str]) -> Layout:
    """Each packet's place; `codecs` maps payload type to encoding name, as in the timeline's header.

    Raises TooLarge when the packets span more than a day.
    """
    names = {number: LAWS.index(g711.Law(name)) for number, name in codecs.items() if name in set(LAWS)}
    epochs = _epochs(runs)
    bases = _bases(epochs)
    empty = np.zeros(0, np.int64)
    pieces: list[Layout] = []
    offsets = np.concatenate(([0], np.cumsum(_int(runs, "count") * _int(runs, "length"))))
    undecoded = 0
    for epoch, base in zip(epochs, bases, strict=True):
        for row, time in epoch.rows:
            run = runs[row]
            count, length = int(run["count"]), int(run["length"])
            law = names.get(int(run["payload_type"]))
            if law is None:
                undecoded += count
                continue
            steps = np.arange(count, dtype=np.int64)
            first = base + time + steps * _signed(int(run["step"]))
            offset = int(offsets[row]) + steps * length
            pieces.append(Layout(0, first, np.full(count, length), offset, np.full(count, law, np.uint8)))
    if not pieces:
        start = int(runs["arrival_ns"][0]) if len(runs) else 0
        return Layout(start, empty, empty, empty, np.zeros(0, np.uint8), undecoded=undecoded)
    return _ordered(pieces, undecoded)


def _signed(step: int) -> int:
    """A step on the 32-bit circle, from -2^31: a sender whose time runs backwards is no gap of a day."""
    return (step + UNWRAP // 2) % UNWRAP - UNWRAP // 2


def _int(runs: Runs, field: str) -> Int64s:
    values: Int64s = runs[field].astype(np.int64)
    return values


def _epochs(runs: Runs) -> list[_Epoch]:
    """Splits the runs where a sender's RTP time stops telling the time; epochs in order of appearance."""
    found: list[_Epoch] = []
    current: dict[int, _Epoch] = {}
    columns = (runs[name].tolist() for name in ("arrival_ns", "rtp_time", "step", "count", "length", "ssrc"))
    for row, (arrival_ns, rtp_time, step, count, length, ssrc) in enumerate(zip(*columns, strict=True)):
        if not count * length:
            continue  # digits that were not kept: their RTP time stands still while a key is held
        arrival = arrival_ns // NS_PER_SAMPLE
        span = max(count - 1, 0) * max(_signed(step), 0) + length
        epoch = current.get(ssrc)
        if epoch is not None:
            # The nearest reading of the 32-bit circle, so that wrap and reordering need no case of their own.
            time = epoch.last_time + (rtp_time - epoch.last_time + UNWRAP // 2) % UNWRAP - UNWRAP // 2
            drift = (arrival - epoch.last_arrival) - (time + span - epoch.last_time)
            if abs(drift) > RESTART_SAMPLES:
                epoch = None
        if epoch is None:
            time = rtp_time
            epoch = current[ssrc] = _Epoch(time + span, arrival, [], [])
            found.append(epoch)
        epoch.rows.append((row, time))
        if len(epoch.votes) < ANCHOR_RUNS:
            epoch.votes.append(arrival - (time + span))
        if time + span > epoch.last_time:
            epoch.last_time, epoch.last_arrival = time + span, arrival
    return found


def _bases(epochs: list[_Epoch]) -> list[int]:
    """For each epoch what to add to its RTP time to get samples of the wall clock."""
    bases: list[int] = []
    previous_end = 0
    for epoch in epochs:
        base = min(epoch.votes)
        begin = min(time for _, time in epoch.rows)
        # Jitter must not lay the new sender's first packets over the old one's last; a real overlap of
        # seconds (two senders at once) stays, and the packet that begins later wins in `render`.
        overlap = previous_end - (base + begin)
        if 0 < overlap < RATE:
            base += overlap
        bases.append(base)
        previous_end = max(previous_end, base + epoch.last_time)
    return bases


def _ordered(pieces: list[Layout], undecoded: int) -> Layout:
    """All pieces as one layout from sample 0, without packets that came twice."""
    first = np.concatenate([piece.first for piece in pieces])
    # A copy of a packet has the same RTP time in the same epoch, hence the same first sample.
    unique, index = np.unique(first, return_index=True)
    origin = int(unique[0])
    layout = Layout(
        start_ns=origin * NS_PER_SAMPLE,
        first=unique - origin,
        length=np.concatenate([piece.length for piece in pieces])[index],
        offset=np.concatenate([piece.offset for piece in pieces])[index],
        law=np.concatenate([piece.law for piece in pieces])[index],
        undecoded=undecoded,
        repeated=len(first) - len(unique),
    )
    if layout.samples > MAX_SAMPLES:
        raise TooLarge(f"a timeline of {layout.samples // RATE} s; at most {MAX_SAMPLES // RATE} s are played")
    return layout


def render(layout: Layout, fetch: Fetch, start: int, stop: int) -> Samples:
    """Samples [start, stop) of one party; silence where nothing was kept, also outside the layout."""
    out = np.zeros(max(stop - start, 0), np.int16)
    low = int(np.searchsorted(layout.first, start - _longest(layout), side="left"))
    high = int(np.searchsorted(layout.first, stop, side="left"))
    if low >= high:
        return out
    rows = slice(low, high)
    begin = int(layout.offset[rows].min())
    end = int((layout.offset[rows] + layout.length[rows]).max())
    payload = np.frombuffer(fetch(begin, end), np.uint8)
    if len(payload) != end - begin:
        raise MalformedPacket(f"the timeline names {end - begin} bytes of media, got {len(payload)}")
    for law in np.unique(layout.law[rows]):
        chosen = np.flatnonzero(layout.law[rows] == law) + low
        into, taken = _positions(layout, chosen)
        inside = (into >= start) & (into < stop)
        out[into[inside] - start] = g711.decode(payload[taken[inside] - begin], LAWS[law])
    return out


def _longest(layout: Layout) -> int:
    return int(layout.length.max()) if layout.length.size else 0


def _positions(layout: Layout, rows: Int64s) -> tuple[Int64s, Int64s]:
    """For each sample of these packets: its place in time and its byte in the media."""
    length = layout.length[rows]
    within = np.arange(int(length.sum())) - np.repeat(np.cumsum(length) - length, length)
    return np.repeat(layout.first[rows], length) + within, np.repeat(layout.offset[rows], length) + within


def shifted(layout: Layout, origin_ns: int) -> Layout:
    """The same packets counted from a common wall-clock origin, so that several parties line up."""
    delta = round((layout.start_ns - origin_ns) / NS_PER_SAMPLE)
    return replace(layout, start_ns=origin_ns, first=layout.first + delta)
