"""The kept packets of one party, one by one and in order of arrival, unfolded from the runs of its timeline.

Nothing is sorted, placed or left out here, and no Python statement is executed per packet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mitschnitt.errors import MalformedPacket
from mitschnitt.wire.codecs import span_ticks
from mitschnitt.wire.rtp import EVENT_NOT_KEPT, RUN

DEFAULT_CLOCK = 8000  # Hz, of a payload type that nobody named
MIN_CLOCK, MAX_CLOCK = 1_000, 192_000  # Hz; RTP clocks of voice are 8000 to 48000, more is a damaged header
MAX_PACKETS = 8_640_000  # of one party: a day of 10 ms; `count` of a damaged run may claim 65,535 in 32 bytes
UNKNOWN_SPAN = -1  # ticks of a packet whose bytes do not tell them
CIRCLE = 1 << 32  # RTP time (RFC 3550, 5.1)

Int64s = NDArray[np.int64]
Flags = NDArray[np.bool_]
Codecs = Mapping[int, tuple[str, int]]  # payload type -> coding, RTP clock in Hz, as `codings` gives them


@dataclass(frozen=True)
class Packets:
    """One entry per packet in each array, in order of arrival."""

    arrival_ns: Int64s  # wall clock of the drain that brought it
    seq: Int64s  # 16 bits
    rtp_time: Int64s  # 32 bits
    ssrc: Int64s
    offset: Int64s  # of its payload in the media
    length: Int64s  # bytes
    codec: Int64s  # index into `codecs`
    clock: Int64s  # Hz of its RTP time
    span: Int64s  # ticks, UNKNOWN_SPAN where the bytes do not tell
    is_event: Flags  # a telephone event that was not kept: its RTP time stands still
    codecs: tuple[str, ...]  # codings; "" for what nobody named

    def where(self, rows: NDArray[Any]) -> Packets:
        """Some of the packets (mask or indices), in that order."""
        at = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows
        arrays = {name: value.take(at) for name, value in vars(self).items() if name != "codecs"}
        return Packets(**arrays, codecs=self.codecs)

    def further(self, inside: Int64s, step: Int64s) -> Packets:
        """Of first packets of runs, those so many packets further on; RTP time goes by `step` from each to the next."""
        return replace(
            self,
            seq=(self.seq + inside) & 0xFFFF,
            rtp_time=(self.rtp_time + step * inside) & (CIRCLE - 1),
            offset=self.offset + inside * self.length,
        )


def parse_runs(data: bytes) -> NDArray[np.void]:
    """The runs of a timeline artefact, in order of arrival (MalformedPacket for half a run)."""
    if len(data) % RUN.itemsize:
        raise MalformedPacket(f"runs have {RUN.itemsize} bytes each, got {len(data)} bytes")
    return np.frombuffer(data, RUN)


def unfold(runs: NDArray[Any], codecs: Codecs) -> Packets:
    """The packets behind the runs. MalformedPacket for a clock that none can be, or more packets than a day has."""
    run, inside = one_by_one(runs["count"].astype(np.int64))
    return first_packets(runs, codecs).where(run).further(inside, runs["step"].astype(np.int64)[run])


def first_packets(runs: NDArray[Any], codecs: Codecs) -> Packets:
    """The first packet of each run, also of an empty one. MalformedPacket as `unfold` raises it."""
    counts = runs["count"].astype(np.int64)
    if int(counts.sum()) > MAX_PACKETS:
        raise MalformedPacket(f"a party has at most {MAX_PACKETS} packets, the runs count {int(counts.sum())}")
    names, index, clock = _numbers(codecs)
    length = runs["length"].astype(np.int64)
    kind = runs["payload_type"]
    return Packets(
        runs["arrival_ns"].astype(np.int64),
        runs["seq"].astype(np.int64),
        runs["rtp_time"].astype(np.int64),
        runs["ssrc"].astype(np.int64),
        np.cumsum(counts * length) - counts * length,
        length,
        index[kind],
        clock[kind],
        _spans(names, index[kind], clock[kind], length),
        runs["flags"] & EVENT_NOT_KEPT != 0,
        names,
    )


def one_by_one(counts: Int64s) -> tuple[Int64s, Int64s]:
    """(which, how many of it came before) for each of so many of each."""
    which = np.repeat(np.arange(counts.size), counts)
    return which, np.arange(which.size) - np.repeat(np.cumsum(counts) - counts, counts)


def kinds_of(numbers: Int64s) -> tuple[Int64s, Int64s]:
    """(where each different number comes first, by size of number; which of these each one is)."""
    # Most calls have one sender, one clock, one coding; to see that takes a hundredth of the time of a sort.
    if numbers.size and (numbers == numbers[0]).all():
        return np.zeros(1, np.int64), np.zeros(numbers.size, np.int64)
    _, first, which = np.unique(numbers, return_index=True, return_inverse=True)
    return first.astype(np.int64, copy=False), which.reshape(-1).astype(np.int64, copy=False)


def ramps(begin: Int64s, step: Int64s, counts: Int64s) -> Int64s:
    """begin, begin + step, ...: so many of each, 1 or more."""
    found = np.repeat(step, counts)
    if found.size:
        found[np.cumsum(counts) - counts] = np.diff(begin, prepend=0)
        found[(np.cumsum(counts) - counts)[1:]] -= ((counts - 1) * step)[:-1]
    return np.cumsum(found, out=found)


def _numbers(codecs: Codecs) -> tuple[tuple[str, ...], Int64s, Int64s]:
    """(names, index into them by payload type, clock by payload type)."""
    names = ("", *sorted({name for name, _ in codecs.values()} - {""}))
    index, clock = np.zeros(256, np.int64), np.full(256, DEFAULT_CLOCK, np.int64)
    for number, (name, hertz) in codecs.items():
        if not 0 <= number < 128 or not MIN_CLOCK <= hertz <= MAX_CLOCK:
            raise MalformedPacket(f"payload types are 0 to 127, clocks {MIN_CLOCK} to {MAX_CLOCK} Hz; got {hertz} Hz")
        index[number], clock[number] = names.index(name), hertz
    return names, index, clock


def _spans(names: tuple[str, ...], codec: Int64s, clock: Int64s, length: Int64s) -> Int64s:
    """Ticks of a packet of each run; asked once for each codec, clock and length that occurs."""
    kind = (codec << 20 | length) * MAX_CLOCK + clock
    first, which = kinds_of(kind)
    ticks = [
        span_ticks(names[one // MAX_CLOCK >> 20], one % MAX_CLOCK or MAX_CLOCK, one // MAX_CLOCK & 0xFFFFF)
        for one in kind[first].tolist()
    ]
    found = np.array([UNKNOWN_SPAN if span is None else span for span in ticks], np.int64)
    spans: Int64s = found[which]
    return spans
