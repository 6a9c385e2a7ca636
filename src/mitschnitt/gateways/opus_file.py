"""Opus packets as they were received, into Ogg: nothing is decoded and nothing encoded anew.

One party, one stream. What was not sent, lost or paused is filled with packets of coded silence, because a page's time
may not jump (RFC 7845, section 4.1). Between two gaps time is the sender's: its clock's skew is made up in gaps.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mitschnitt.gateways.new_file import NewFile
from mitschnitt.gateways.recording import BLOCK_NS, Part, Recording, Voice
from mitschnitt.wire import opus
from mitschnitt.wire.layout import SECOND_NS, SILENT
from mitschnitt.wire.ogg import OggOpus

CODING = "OPUS"
LEAD_NS = 200_000_000  # ahead of a part: the packet that sounds at its begin, and 80 ms for decoders (RFC 7845, 4.6)
SHORTEST = 120  # samples of the shortest packet, 2.5 ms
LEAST_GAP = 480  # samples, 10 ms: less is the drift of a clock, and is made up with the next that is more

Packets = Iterator[tuple[int, bytes, int]]  # sample at which it begins, the packet, its samples


def passes(voice: Voice) -> bool:
    """Whether a party can go out as received: all that sounds of it is Opus."""
    named = {name for name, count in voice.codecs if count}
    return CODING in named and named <= {CODING, *SILENT}


def pass_through(file: NewFile, recording: Recording, voice: Voice, part: Part, *, serial: int) -> float:
    """Writes one party's packets, and leaves it to the caller to `commit`; how many seconds the file plays.

    Of a part, a player drops what lies before its begin and behind its end. Raises as `play_into` does.
    """
    start, stop = part.samples(opus.RATE)
    # At the end of all nothing is cut: a sender whose clock ran fast has said more than our clock has room for.
    limit = stop if part.stop_ns < recording.duration_ns else 1 << 62
    packets = _packets(recording, voice, part)
    first = next(packets, None)
    begin = min(first[0], start) if first else start
    out = OggOpus(serial, pre_skip=start - begin)
    file.write(out.head() + out.tags())
    at = begin
    for place, packet, samples in _with(first, packets):
        if place - at >= LEAST_GAP:
            at = _silence(file, out, at, min(place, limit))
        if at >= limit:
            break
        file.write(out.add(packet, min(samples, limit - at)))
        at += samples
        file.check()
    at = _silence(file, out, at, stop)
    if at < stop:  # less than the shortest packet: a player drops the rest of one (RFC 7845, section 4.4)
        ((packet, _),) = opus.silence(SHORTEST)
        file.write(out.add(packet, stop - at))
        at = stop
    file.write(out.end())
    file.check()
    return (min(at, limit) - start) / opus.RATE


def _with(first: tuple[int, bytes, int] | None, rest: Packets) -> Packets:
    if first is not None:
        yield first
        yield from rest


def _silence(file: NewFile, out: OggOpus, at: int, until: int) -> int:
    """Coded silence up to `until`, to 2.5 ms below it; where that ends."""
    for packet, samples in opus.silence(max(until - at, 0)):
        file.write(out.add(packet, samples))
        at += samples
    return at


def _packets(recording: Recording, voice: Voice, part: Part) -> Packets:
    """Every Opus packet from a little before the part until its end, once, in order of time."""
    for begin in range(part.start_ns - LEAD_NS, part.stop_ns, BLOCK_NS):
        end = min(begin + BLOCK_NS, part.stop_ns)
        (stretch,) = recording.stretches([voice], begin, end)
        lengths = stretch.rows["length"].astype(np.int64)
        starts = np.cumsum(lengths) - lengths
        samples = opus.durations(np.frombuffer(stretch.payload, np.uint8), lengths)
        known = np.array([name == CODING for name, _ in voice.codecs], np.bool_)[stretch.rows["codec"]]
        first = stretch.rows["first_ns"]
        # One that began in the block before was taken there.
        chosen = np.flatnonzero(known & (samples > 0) & (first >= begin) & (first < end))
        places = np.rint(first * (opus.RATE / SECOND_NS)).astype(np.int64)
        for row in chosen.tolist():
            at = int(starts[row])
            yield int(places[row]), bytes(stretch.payload[at : at + int(lengths[row])]), int(samples[row])
