"""A call as the door plays it: whose voices there are, and their samples for any stretch of time.

It asks for packets in blocks, so an hour of call needs seconds of memory. It opens nothing: who may hear a call is
decided where the packets come from. Nothing of it is stored here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mitschnitt.errors import ConfigError, Damaged, MalformedPacket, NotAllowed
from mitschnitt.wire.codecs import Decoders
from mitschnitt.wire.layout import SECOND_NS, SILENT, Layout
from mitschnitt.wire.render import render
from mitschnitt.wire.stretch import Stretch, unpack_stretches

ORDER = ("caller", "agent")  # channels 1 and 2; further parties follow in the order in which they appeared
RATES = (8_000, 16_000, 48_000)  # samples per second that play-back is exact at
LEAST_RATE = RATES[0]
MARGIN_NS = 60_000_000  # asked for around a block: more than a resampling filter reaches
BLOCK_NS = 30 * SECOND_NS  # asked for at once: 30 s, half a megabyte for two parties
PREROLL = 10  # packets asked for ahead of a block, for decoders that remember what came before

Ask = Callable[[int, int, Sequence[int], int], bytes]  # (start, stop) in ns, parties, packets before: stretches
Counted = Callable[[], Mapping[str, Mapping[str, Any]]]  # by party number, as wire/completeness tells it
Samples = npt.NDArray[np.int16]


@dataclass(frozen=True)
class Voice:
    """One party as it goes onto a channel."""

    party: int
    name: str  # caller, agent, third-1, ...; of several with one role agent, agent-2, ...
    codecs: tuple[tuple[str, int], ...]  # codings, in the order that rows count them, with how many packets each has
    reason: str = ""  # how its recording ended

    @property
    def packets(self) -> int:
        """Of all codings; 0: nothing of this party was kept."""
        return sum(count for _, count in self.codecs)

    def undecoded(self, decoders: Decoders) -> dict[str, int]:
        """Codings that nothing installed decodes, with their packets: those are silence here."""
        strange = [(name, n) for name, n in self.codecs if n and name not in decoders and name not in SILENT]
        return {name: sum(n for other, n in strange if other == name) for name, _ in strange}


@dataclass(frozen=True)
class Part:
    """From when to when, in ns after the call's origin; sample by sample at any rate."""

    start_ns: int
    stop_ns: int

    def samples(self, rate: int) -> tuple[int, int]:
        """The first sample and the one behind the last."""
        return self.start_ns * rate // SECOND_NS, -(-self.stop_ns * rate // SECOND_NS)


@dataclass(frozen=True)
class Recording:
    """What was opened at the door; `ask` gives packets, and `counted` what became of them, while it may be heard."""

    call: str
    duration_ns: int
    voices: tuple[Voice, ...]
    ask: Ask
    counted: Counted

    def part(self, start_ns: int | None, stop_ns: int | None) -> Part:
        """The whole call or part of it. ConfigError for one that is not within it, or empty."""
        begin, end = start_ns or 0, self.duration_ns if stop_ns is None else stop_ns
        length = f"the recording lasts {self.duration_ns / SECOND_NS:.3f} s"
        if begin >= self.duration_ns:
            raise ConfigError(f"from: {length}; found {begin / SECOND_NS:.3f} s")
        if end > self.duration_ns:
            raise ConfigError(f"to: {length}; found {end / SECOND_NS:.3f} s")
        if end <= begin:
            raise ConfigError(f"to: expected a time after {begin / SECOND_NS:.3f} s, found {end / SECOND_NS:.3f} s")
        return Part(begin, end)

    def sides(self, side: str) -> tuple[Voice, ...]:
        """The voices of one side, or all with "". ConfigError for one that is not there, NotAllowed without any."""
        heard = tuple(voice for voice in self.voices if voice.packets)
        if not heard:
            raise NotAllowed("play.nothing_kept", "no party of this call has audio")
        chosen = tuple(voice for voice in heard if side in ("", voice.name))
        if not chosen:
            raise ConfigError(f"side: expected one of {', '.join(voice.name for voice in heard)}; found {side!r}")
        return chosen

    def stretches(self, voices: Sequence[Voice], start_ns: int, stop_ns: int, *, before: int = 0) -> list[Stretch]:
        """Packets of each voice, in this order. Damaged when the answer is none."""
        wanted = [voice.party for voice in voices]
        try:
            found = unpack_stretches(self.ask(max(start_ns, 0), max(stop_ns, 0), wanted, before))
        except MalformedPacket as error:
            raise Damaged(f"the keeper gave no packets: {error}") from error
        if [one.party for one in found] != wanted:
            raise Damaged(f"packets of {len(wanted)} parties were asked for, of {len(found)} they came")
        return found

    def samples(self, voices: Sequence[Voice], decoders: Decoders, start: int, stop: int, rate: int) -> Samples:
        """(stop - start, voices): samples at `rate`, silence where nothing was kept. Damaged says from when to when."""
        start_ns, stop_ns = start * SECOND_NS // rate, -(-stop * SECOND_NS // rate)
        try:
            found = self.stretches(voices, start_ns - MARGIN_NS, stop_ns + MARGIN_NS, before=PREROLL)
            block = np.empty((stop - start, len(voices)), np.int16)
            for channel, (voice, one) in enumerate(zip(voices, found, strict=True)):
                block[:, channel] = _rendered(voice, one, decoders, start, stop, rate)
        except (Damaged, MalformedPacket) as error:
            between = f"between {start / rate:.3f} and {stop / rate:.3f} s"
            raise Damaged(f"{between}: {error}; what lies outside plays with --from and --to") from error
        return block


def recording_from(told: Mapping[str, Any], ask: Ask, counted: Counted) -> Recording:
    """A recording from the door's answer to its opening. Damaged when that is not one."""
    try:
        voices = [
            Voice(
                int(row["party"]),
                str(row["role"]),
                tuple((str(name), int(count)) for name, count in row["codecs"]),
                str(row["reason"] or ""),
            )
            for row in told["parties"]
        ]
        return Recording(str(told["call"]), int(told["duration_ns"]), _named(voices), ask, counted)
    except (KeyError, TypeError, ValueError) as error:
        raise Damaged(f"the keeper opened something that is no recording: {error}") from error


def _named(voices: Sequence[Voice]) -> tuple[Voice, ...]:
    """Every voice under a name of its own, in the order of channels."""
    seen: dict[str, int] = {}
    named = []
    for voice in sorted(voices, key=lambda voice: voice.party):
        role = voice.name or (ORDER[voice.party] if voice.party < len(ORDER) else "third")
        seen[role] = seen.get(role, 0) + 1
        name = role if role in ORDER and seen[role] == 1 else f"{role}-{seen[role]}"
        named.append(Voice(voice.party, name, voice.codecs, voice.reason))
    return tuple(sorted(named, key=lambda voice: ORDER.index(voice.name) if voice.name in ORDER else len(ORDER)))


def rate_of(voices: Sequence[Voice], decoders: Decoders) -> int:
    """The rate at which nothing is lost: the highest that any of these codings decodes to, among RATES."""
    found = [decoders[name]().rate for voice in voices for name, count in voice.codecs if count and name in decoders]
    return next((rate for rate in RATES if rate >= max(found, default=LEAST_RATE)), RATES[-1])


def _rendered(voice: Voice, stretch: Stretch, decoders: Decoders, start: int, stop: int, rate: int) -> Samples:
    rows = stretch.rows
    length = rows["length"].astype(np.int64)
    layout = Layout(
        start_ns=0,
        first=rows["first_ns"].astype(np.int64),
        span=rows["span_ns"].astype(np.int64),
        offset=np.cumsum(length) - length,
        length=length,
        codec=rows["codec"].astype(np.int64),
        epoch=rows["epoch"].astype(np.int64),
        codecs=tuple(name for name, _ in voice.codecs),
    )
    if rows.size and int(layout.codec.max()) >= len(layout.codecs):
        raise MalformedPacket(f"a row names codec {int(layout.codec.max())} of {len(layout.codecs)}")
    return render(layout, lambda a, b: bytes(stretch.payload[a:b]), decoders, start, stop, rate)
