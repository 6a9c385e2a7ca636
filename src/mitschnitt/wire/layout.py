"""Where each kept packet of one party lies in time: the shape that play-back works on. Arrays only, no bytes."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mitschnitt.wire.skew import Skew

Int64s = NDArray[np.int64]

SECOND_NS = 1_000_000_000
GRID_NS = 125_000  # a sample at 8 kHz, 2 at 16 kHz, 6 at 48 kHz: epochs are laid on it
SILENT = frozenset(
    {"CN", "TELEPHONE-EVENT"}
)  # encodings whose packets are silence by nature, not for want of a decoder


def _none() -> Int64s:
    return np.zeros(0, np.int64)


@dataclass(frozen=True)
class Layout:
    """The kept packets of one party in order of time, duplicates out; one row per packet in each array.

    Times are ns. `first` and `span` count from `start_ns`, the wall clock of the first packet's first sample,
    and are in our clock: skew is corrected. Within one epoch no packet reaches into the next one.
    """

    start_ns: int
    first: Int64s = field(default_factory=_none)  # ns after the start
    span: Int64s = field(default_factory=_none)  # ns
    offset: Int64s = field(default_factory=_none)  # its first byte in the media
    length: Int64s = field(default_factory=_none)  # bytes
    codec: Int64s = field(default_factory=_none)  # index into `codecs`
    epoch: Int64s = field(default_factory=_none)  # 0, 1, ...: stretches of one sender's clock, by arrival
    codecs: tuple[str, ...] = ()  # codings; "" for a payload type that nobody named
    skew: Skew = field(default_factory=Skew)  # of the sender who sent most
    ahead_ns: int | None = None  # the sender's wall clock against ours, by its reports; None: not known
    repeated: int = 0  # duplicates that were left out

    @cached_property
    def longest_ns(self) -> int:
        """The longest packet's span."""
        return int(self.span.max()) if self.span.size else 0

    @cached_property
    def is_stretched(self) -> bool:
        """Whether packets lie between samples: some sender's skew is corrected, or its rate is none of ours."""
        return bool((self.first % GRID_NS).any())

    @property
    def duration_ns(self) -> int:
        """From the start to the end of the last packet."""
        return int((self.first + self.span).max()) if self.first.size else 0

    def samples(self, rate: int) -> int:
        """Samples at `rate` per second from the start to the end of the last packet."""
        return -(-self.duration_ns * rate // SECOND_NS)

    def undecoded(self, decoders: Container[str]) -> int:
        """Packets of codecs that are none of `decoders`: their time is silence."""
        strange = [name not in decoders and name not in SILENT for name in self.codecs]
        return int(np.array(strange, np.bool_)[self.codec].sum()) if strange else 0


def shifted(layout: Layout, origin_ns: int) -> Layout:
    """The same packets counted from a common wall-clock origin, so that several parties line up; to the grid."""
    delta = round((layout.start_ns - origin_ns) / GRID_NS) * GRID_NS
    return replace(layout, start_ns=origin_ns, first=layout.first + delta)
