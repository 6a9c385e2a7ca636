"""Senders, a bad path and a recorder's drains, by the batch: what came as runs and media, and what must be heard.

Shares no line with what it tests. Every sample says who spoke it and when, so that one that is lost, moved, doubled
or put into another's mouth is seen.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from mitschnitt.wire.codecs import Int64s, Samples
from mitschnitt.wire.rtp import EVENT_NOT_KEPT, RUN

NOON = 1_795_435_200_000_000_000  # ns; some wall clock
TICK_NS = 250_000_000
CODECS = {96: ("L16/8000/1", 8000), 97: ("L16/16000/1", 16_000), 98: ("L16/48000/1", 48_000), 13: ("CN", 8000)}
L16, CN, EVENT = 96, 13, 101


class Decoder:
    """Linear samples, as RFC 3551 (4.5.11) lays them out."""

    bytes_per_sample, preroll = 2, 0

    def __init__(self, rate: int = 8000) -> None:
        self.rate = rate

    def decode(self, payload: NDArray[np.uint8], lengths: Int64s) -> tuple[Samples, Int64s]:
        return payload.view(">i2").astype(np.int16), lengths // 2


DECODERS = {f"L16/{rate}/1": (lambda rate=rate: Decoder(rate)) for rate in (8000, 16_000, 48_000)}


def spoken(who: int | Int64s, index: Int64s) -> Samples:
    """What this sender says at this sample: never silence, and nothing else near it is the same."""
    values = (np.asarray(index) * 7919 + np.asarray(who) * 104_729) % 65_521 - 32_760
    return np.where(values == 0, 1, values).astype(np.int16)


@dataclass(frozen=True)
class Sent:
    """Packets in the order of sending; one entry per packet."""

    at: NDArray[np.float64]  # s by our clock, when the packet is complete and leaves
    seq: Int64s  # not yet cut to 16 bits
    rtp_time: Int64s  # not yet cut to 32 bits
    ssrc: Int64s
    kind: Int64s  # payload type
    who: Int64s
    index: Int64s  # of its first sample
    size: Int64s  # samples; 0 where nothing is kept

    def __add__(self, other: Sent) -> Sent:
        return Sent(*(np.concatenate((mine, other.__dict__[name])) for name, mine in vars(self).items()))

    def pick(self, rows: NDArray[np.bool_] | Int64s) -> Sent:
        return Sent(*(value[rows] for value in vars(self).values()))


def talk(at: float, seconds: float, *, ptime: int = 20, seq: int = 0, rtp_time: int = 0, ssrc: int = 1, who: int = 1,
         kind: int = L16, clock: int = 8000, ppm: float = 0.0, index: int = 0) -> Sent:  # fmt: skip
    """Speech that begins at `at` s of our clock and lasts so long by the sender's, whose clock is `ppm` fast."""
    size = clock * ptime // 1000
    number = np.arange(round(seconds * 1000 / ptime))
    full = np.full(number.size, 1)
    leaves = at + (number + 1) * ptime / 1000 / (1 + ppm * 1e-6)
    return Sent(leaves, seq + number, rtp_time + number * size, ssrc * full, kind * full, who * full,
                index + number * size, size * full)  # fmt: skip


def event(at: float, seconds: float, *, seq: int, rtp_time: int, ssrc: int = 1) -> Sent:
    """A key held: packets every 20 ms whose RTP time stands still, and of which nothing is kept."""
    sent = talk(at, seconds, seq=seq, rtp_time=rtp_time, ssrc=ssrc, kind=EVENT)
    return replace(sent, rtp_time=np.full(sent.seq.size, rtp_time), size=np.zeros(sent.seq.size, np.int64))


@dataclass(frozen=True)
class Path:
    """What a network does; shares are of packets."""

    seed: int = 7
    delay_ms: float = 3.0
    jitter_ms: float = 0.0  # at most, evenly
    loss: float = 0.0
    reorder: float = 0.0  # so many are held up by 30 to 90 ms
    twice: float = 0.0

    def carry(self, sent: Sent) -> Sent:
        """What arrives, in order of arrival, `at` being when."""
        luck = np.random.default_rng(self.seed)
        count = sent.seq.size
        came = sent.at + (self.delay_ms + luck.random(count) * self.jitter_ms) / 1000
        came += np.where(luck.random(count) < self.reorder, luck.uniform(0.03, 0.09, count), 0)
        kept = luck.random(count) >= self.loss
        kept[0] = True  # tests count from the first packet
        copies = kept & (luck.random(count) < self.twice)
        again = replace(sent, at=came + luck.uniform(0.001, 0.15, count)).pick(copies)
        all_of_them = replace(sent, at=came).pick(kept) + again
        return all_of_them.pick(np.argsort(all_of_them.at, kind="stable"))


@dataclass(frozen=True)
class Kept:
    """What a recorder keeps of what came."""

    runs: NDArray[np.void]
    media: bytes

    def fetch(self, start: int, stop: int) -> bytes:
        return self.media[start:stop]


def keep(came: Sent, *, tick_ns: int = TICK_NS, with_media: bool = True) -> Kept:
    """Drains every `tick_ns`, and joins packets that follow each other evenly into runs."""
    ns = NOON + np.rint(came.at * 1e9).astype(np.int64)
    arrival = -(-ns // tick_ns) * tick_ns
    length = came.size * 2
    joins = np.zeros(came.seq.size, np.bool_)
    joins[1:] = np.diff(arrival) == 0
    for same in (came.ssrc, came.kind, came.size):
        joins[1:] &= np.diff(same) == 0
    joins[1:] &= (np.diff(came.seq) == 1) & (np.diff(came.rtp_time) == came.size[1:])
    first = np.flatnonzero(~joins)
    runs = np.zeros(first.size, RUN)
    runs["count"] = np.diff(first, append=came.seq.size)
    runs["arrival_ns"], runs["seq"] = arrival[first], came.seq[first] % (1 << 16)
    runs["rtp_time"], runs["ssrc"] = came.rtp_time[first] % (1 << 32), came.ssrc[first]
    runs["length"], runs["payload_type"] = length[first], came.kind[first]
    runs["step"] = np.where(runs["count"] > 1, came.size[first], 0)
    runs["flags"] = np.where(came.kind[first] == EVENT, EVENT_NOT_KEPT, 0)
    return Kept(runs, said_in(came).astype(">i2").tobytes() if with_media else b"")


def said_in(sent: Sent) -> Samples:
    """The samples of these packets, one packet behind the other."""
    inside = np.arange(int(sent.size.sum())) - np.repeat(np.cumsum(sent.size) - sent.size, sent.size)
    return spoken(np.repeat(sent.who, sent.size), np.repeat(sent.index, sent.size) + inside)


def heard(came: Sent, *, samples: int) -> Samples:
    """What must be heard of one sender at its own rate, from the first packet's first sample on."""
    out = np.zeros(samples, np.int16)
    inside = np.arange(int(came.size.sum())) - np.repeat(np.cumsum(came.size) - came.size, came.size)
    place = np.repeat(came.index - came.index.min(), came.size) + inside
    out[place] = said_in(came)
    return out


def rough_paths() -> st.SearchStrategy[Path]:
    """Paths on which packets are late, lost, overtaken or doubled, or nothing of it."""
    return st.builds(
        Path,
        seed=st.integers(0, 2**31),
        jitter_ms=st.sampled_from([0, 20, 200]),
        loss=st.sampled_from([0, 0.05]),
        reorder=st.sampled_from([0, 0.1]),
        twice=st.sampled_from([0, 0.1]),
    )
