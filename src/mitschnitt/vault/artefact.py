"""The plaintext of what is kept of a party: slices while the call runs, `media` and `timeline` at its end.

    slice     u8 version | u8 flags | u16 run count | runs | payload bytes       little endian
    media     payload bytes of all slices, in order of arrival
    timeline  "MTL1" | u32 BE header length | JCS header | runs of all slices

Pure: no keys, no files, no clock. Payload is kept as received; decoding happens on play-back.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, fields
from typing import Any, NamedTuple

import numpy as np
import rfc8785
from numpy.typing import NDArray

from mitschnitt.errors import Damaged
from mitschnitt.vault.derive import call_prefix
from mitschnitt.wire.rtp import RUN as RUN  # the run's layout is part of both formats here

SLICE_VERSION = 1
SLICE_HEAD = struct.Struct("<BBH")  # version, flags, run count
DIGITS_PRESENT = 1  # slice flags bit 0: telephone events came and were not kept
TIMELINE_MAGIC = b"MTL1"
MAX_REPORTS = 256  # of one party: one every 14 s of an hour, where a client's clock drifts by 7 ms at 500 ppm
NANOSECONDS = re.compile(r"-?[0-9]{1,19}")  # what 64 bits with a sign hold
MAX_HEADER_BYTES = 1 << 20  # of a timeline's JSON; thousands of pauses fit, a damaged length does not

_HEAD = np.dtype([("version", "u1"), ("flags", "u1"), ("runs", "<u2")])  # SLICE_HEAD, many at once

Runs = NDArray[Any]
# Encoding name and RTP clock in Hz; where decoding depends on them also channels and fmtp (`codecs.format_of`).
Coded = tuple[str, int] | tuple[str, int, int, str]


@dataclass(frozen=True)
class PlainSlice:
    """What one track received in one tick, opened."""

    track: int
    number: int
    flags: int
    runs: Runs
    payload: bytes | memoryview


@dataclass(frozen=True)
class PlainSlices:
    """What one party received in some ticks, opened: their runs and their payload, each one behind the other."""

    flags: int  # of all together
    runs: Runs
    payload: bytes | memoryview


@dataclass(frozen=True, slots=True)
class PathCounts:
    """What became of a party's packets on their way to us, while it was kept; `expected` 0: nobody counted."""

    expected: int = 0  # by the sender's sequence numbers
    received: int = 0  # of them, those that came, duplicates included
    late: int = 0  # of them, those that came long after their successors
    duplicates: int = 0  # of them, those that had come before
    injected: int = 0  # from other sources than the signalled one: counted, and not kept
    other_sources: int = 0  # how many such sources, as far as they were told apart

    def __add__(self, other: PathCounts) -> PathCounts:
        """Both together."""
        return PathCounts(*(mine + theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True)))


class Report(NamedTuple):
    """What a sender report of RTCP said: the same moment on three clocks."""

    arrival_ns: int  # at our side, ns since 1970
    ssrc: int
    ntp_ns: int  # by the sender's wall clock, ns since 1970; some senders count from elsewhere
    rtp_time: int  # modulo 2**32


@dataclass(frozen=True)
class PartyHeader:
    """What the timeline says of the whole party; times are RFC 3339 in UTC with microseconds and Z."""

    codecs: Mapping[int, Coded]  # by payload type
    started_at: str
    ended_at: str
    reason: str  # ended, truncated, failed, ...
    pauses: Sequence[tuple[str, str]] = ()  # from, to
    path: PathCounts = PathCounts()
    reports: Sequence[Report] = ()  # of RTCP, oldest first; at most MAX_REPORTS
    jumps: Sequence[tuple[str, int]] = ()  # when the system clock jumped meanwhile, and by how many ms


@dataclass(frozen=True)
class Timeline:
    """A timeline file, taken apart."""

    header: Mapping[str, Any]
    runs: Runs


def path_of(header: Mapping[str, Any]) -> PathCounts:
    """What a timeline's header tells of the path; what an older file does not have is 0. Damaged for other values."""
    told = header.get("path", {})
    names = [field.name for field in fields(PathCounts)]
    if not isinstance(told, Mapping) or not all(_is_count(told.get(name, 0)) for name in names):
        raise Damaged("the path of a timeline is an object of counts")
    return PathCounts(**{name: told.get(name, 0) for name in names})


def reports_of(header: Mapping[str, Any]) -> list[Report]:
    """The sender reports of a timeline's header, oldest first; none in an older file. Damaged for other values."""
    told = header.get("reports", [])
    if not isinstance(told, list) or len(told) > MAX_REPORTS:
        raise Damaged(f"a timeline has a list of up to {MAX_REPORTS} reports")
    return [_report_of(row) for row in told]


def _report_of(row: Any) -> Report:
    if not isinstance(row, list) or [type(item) for item in row] != [str, int, str, int]:
        raise Damaged("a report of a timeline has arrival, SSRC, NTP and RTP time")
    at, ssrc, ntp, rtp_time = row
    if not all(NANOSECONDS.fullmatch(text) for text in (at, ntp)) or not all(
        0 <= n < 1 << 32 for n in (ssrc, rtp_time)
    ):
        raise Damaged("a report of a timeline has its times in decimal nanoseconds, and SSRC and RTP time in 32 bits")
    return Report(int(at), ssrc, int(ntp), rtp_time)


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def pack_slice(runs: Runs, payload: bytes, *, flags: int = 0) -> bytes:
    """The plaintext of a slice; the recorder lays out the same bytes in its hold without this function."""
    return SLICE_HEAD.pack(SLICE_VERSION, flags, runs.size) + runs.astype(RUN).tobytes() + payload


def unpack_slice(plain: bytes, *, track: int, number: int) -> PlainSlice:
    """The slice behind its plaintext. Damaged when version or lengths do not agree."""
    if len(plain) < SLICE_HEAD.size:
        raise Damaged(f"a slice has at least {SLICE_HEAD.size} bytes, got {len(plain)}")
    version, flags, count = SLICE_HEAD.unpack_from(plain)
    start = SLICE_HEAD.size + count * RUN.itemsize
    if version != SLICE_VERSION or start > len(plain):
        raise Damaged(f"a slice of version {version} with {count} runs in {len(plain)} bytes")
    runs = np.frombuffer(plain, RUN, count, SLICE_HEAD.size)
    payload = memoryview(plain)[start:]
    if octets(runs) != len(payload):
        raise Damaged(f"the runs of a slice count {octets(runs)} payload bytes, it has {len(payload)}")
    return PlainSlice(track, number, flags, runs, payload)


def unpack_slices(plains: memoryview, sizes: Sequence[int]) -> PlainSlices:
    """Slices of one party as one piece: they lie one behind the other, and have these bytes each.

    Damaged when `unpack_slice` says so of any of them. A quarter of its time per slice: an hour has 14,400.
    """
    end = np.cumsum(np.array(sizes, np.int64))
    begin = end - sizes
    if min(sizes, default=0) < SLICE_HEAD.size:
        raise Damaged(f"a slice has at least {SLICE_HEAD.size} bytes, got {min(sizes, default=0)}")
    heads = _pick(plains, _HEAD, begin)
    count = heads["runs"].astype(np.int64)
    body = begin + SLICE_HEAD.size + count * RUN.itemsize
    if (heads["version"] != SLICE_VERSION).any() or (body > end).any():
        raise Damaged(f"one of {len(sizes)} slices has another version, or more runs than bytes")
    before = np.cumsum(count) - count  # runs of earlier slices
    number = np.arange(int(count.sum())) - np.repeat(before, count)
    runs = _pick(plains, RUN, np.repeat(begin + SLICE_HEAD.size, count) + number * RUN.itemsize)
    total = np.cumsum(np.append(0, runs["count"].astype(np.int64) * runs["length"]))
    if (total[before + count] - total[before] != end - body).any():
        raise Damaged(f"the runs of one of {len(sizes)} slices count other payload bytes than it has")
    payload = b"".join([plains[first:last] for first, last in zip(body.tolist(), end.tolist(), strict=True)])
    return PlainSlices(int(np.bitwise_or.reduce(heads["flags"])), runs, payload)


def _pick(data: memoryview, kind: np.dtype[Any], places: NDArray[np.int64]) -> NDArray[Any]:
    """The items of this kind that begin at these bytes; moved whole, else numpy moves them field by field."""
    item = np.dtype((np.void, kind.itemsize))
    return np.ndarray((max(0, len(data) - kind.itemsize + 1),), item, data, 0, (1,))[places].view(kind)


def packets(runs: Runs) -> int:
    """How many packets with payload the runs count."""
    return int(runs["count"][runs["length"] > 0].sum(dtype=np.int64))


def octets(runs: Runs) -> int:
    """How many payload bytes the runs count."""
    return int(runs["count"].astype(np.int64) @ runs["length"].astype(np.int64))


def pack_timeline(call_id: bytes, party: int, header: PartyHeader, runs: Runs, *, flags: int) -> bytes:
    """The plaintext of the timeline file; `flags` are those of all slices together."""
    told: dict[str, Any] = {
        "v": 1,
        "call": call_prefix(call_id).split("/")[1],  # as the files are named
        "party": party,
        "codecs": {str(kind): list(codec[:2]) for kind, codec in header.codecs.items()},
        "started_at": header.started_at,
        "ended_at": header.ended_at,
        "reason": header.reason,
        "pauses": [list(pause) for pause in header.pauses],
        "packets": packets(runs),
        "octets": octets(runs),
        "digits": bool(flags & DIGITS_PRESENT),
    }
    if any(astuple(header.path)):
        told["path"] = asdict(header.path)
    if header.reports:
        # Nanoseconds since 1970 do not fit the numbers of JCS (RFC 8785, 3.2.2.3), so they go as text.
        told["reports"] = [[str(at), ssrc, str(ntp), rtp] for at, ssrc, ntp, rtp in header.reports[:MAX_REPORTS]]
    formats = {str(kind): list(codec[2:]) for kind, codec in header.codecs.items() if codec[2:]}
    if formats:
        told["formats"] = formats
    if header.jumps:
        told["clock_jumps"] = [list(jump) for jump in header.jumps]
    text = rfc8785.dumps(told)
    return TIMELINE_MAGIC + len(text).to_bytes(4, "big") + text + runs.astype(RUN).tobytes()


def parse_timeline(plain: bytes) -> Timeline:
    """A timeline from its plaintext. Damaged when it is not one, or its runs and totals disagree."""
    if plain[:4] != TIMELINE_MAGIC:
        raise Damaged(f"a timeline begins with {TIMELINE_MAGIC!r}, got {plain[:4]!r}")
    length = int.from_bytes(plain[4:8], "big")
    start = 8 + length
    if length > MAX_HEADER_BYTES or start > len(plain) or (len(plain) - start) % RUN.itemsize:
        raise Damaged(f"a timeline of {len(plain)} bytes cannot have a header of {length}")
    try:
        header = json.loads(plain[8:start])
        runs = np.frombuffer(plain, RUN, -1, start)
        totals = (header["packets"], header["octets"])
    except (ValueError, KeyError, TypeError):
        raise Damaged("the header of a timeline is not the JSON object that it should be") from None
    if totals != (packets(runs), octets(runs)):
        raise Damaged(f"a timeline counts {totals} packets and octets, its runs {packets(runs), octets(runs)}")
    return Timeline(header, runs)
