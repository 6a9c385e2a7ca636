"""Reads the two lists of a day of the draw: the public one and the works council's bundle (docs/draw-lists.md).

    8 bytes magic | u32 BE header length | header, canonical JSON (RFC 8785) | records of 18 bytes

Strict and bounded: every key and number of the header is looked at, records come in blocks. Opens no file, knows
nothing of what drew.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from itertools import accumulate
from typing import Any, BinaryIO, NoReturn, TypeVar

import numpy as np
import numpy.typing as npt

from mitschnitt.errors import ConfigError, MalformedPacket, TooLarge

T = TypeVar("T")

MAGIC = {b"MSDRAWP1": "public", b"MSDRAWC1": "council"}
VERSION = 1
PREFIX = struct.Struct(">8sI")
MAX_HEADER_BYTES = 16 << 20  # 200,000 leased units and more; a public header has some kilobytes
MAX_SEEN = (1 << 32) - 1  # records in a list: 4,294,967,295 calls a day
MAX_STRATA = 4_096  # as many expressions as nobody writes
MAX_NAME_CHARS = 200
BLOCK_RECORDS = 65_536  # 1.1 MB at a time

EXCLUDED = 0x8000  # this bit of a class says that its other bits are the number of an exclusion
SPECIAL = {0xFFFD: "unmatched", 0xFFFE: "failed", 0xFFFF: "none"}  # exclusions that no policy writes down
VERDICTS = ("excluded", "not_drawn", "drawn", "capped.agent_week", "capped.agent_share", "capped.share")
DRAWN, CAPPED = 2, 3  # numbers in VERDICTS; what is CAPPED or more is capped
FAILED = 0x01  # bit of `flags`

PUBLIC_ROW = np.dtype([("high", ">u8"), ("low", ">u8"), ("place", ">u2")])  # high, low: halves of draw_id
COUNCIL_ROW = np.dtype(
    [("source", ">u2"), ("n", ">u4"), ("place", ">u2"), ("tag", ">u8"), ("verdict", "u1"), ("flags", "u1")]
)
RECORD_BYTES = 18

Rows = npt.NDArray[np.void]
Bytes = npt.NDArray[np.uint8]  # a column of small numbers

KEYS = frozenset(
    {
        "v",
        "kind",
        "day",
        "policy_hash",
        "key_sha256",
        "beacon",
        "strata",
        "exclusions",
        "seen",
        "outcomes",
        "records_sha256",
    }
)
COUNCIL_KEYS = KEYS | {"day_key", "sources", "allowances", "caps"}
STRATUM_KEYS = frozenset({"name", "rate", "seen", "drawn", "capped", "kept", "failed", "not_agreed"})
ANSWERS = ("kept", "failed", "not_agreed")
BEACONS = ("none", "commit", "drand")
KEEPER = "keeper"  # the source of announced calls
CAPS = ("agent_week", "agent_share", "share")

MAX_DEPTH = 12  # a header has five levels, a day record six
STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)  # possessive: nothing is kept to try again
NO_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")

HEX32 = re.compile(r"[0-9a-f]{64}")
TAG = re.compile(r"[0-9a-f]{16}|")
SOURCE = re.compile(r"keeper|recorder-(?:0|[1-9][0-9]{0,4})")
RATE = re.compile(r"(0|[1-9][0-9]{0,29})/([1-9][0-9]{0,29})")


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What became of drawn calls; `not_agreed` is callers and agents as one figure."""

    drawn: int
    kept: int
    failed: int
    not_agreed: int


@dataclass(frozen=True, slots=True)
class Stratum:
    """A stratum's line; `outcomes` None: too few were drawn in it to tell."""

    name: str
    rate: Fraction
    seen: int
    drawn: int
    capped: int
    outcomes: Outcomes | None


@dataclass(frozen=True, slots=True)
class Exclusion:
    """How many calls an exclusion took out of the draw."""

    number: int
    name: str
    count: int


@dataclass(frozen=True, slots=True)
class Beacon:
    """What fixed the draw of the day; `proof` is all that the header says of it."""

    kind: str
    value: bytes
    proof: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Allowance:
    """Units that a source was given on this day, when its next number was `from_n`, and how many it has taken.

    `tag` 0: of the cap on all calls.
    """

    day: date
    cap: str
    source: str
    tag: int
    from_n: int
    units: int
    taken: int


@dataclass(frozen=True, slots=True)
class Caps:
    """The caps of the policy; None: there is none."""

    agent_week: int | None
    agent_share: Fraction | None
    share: Fraction | None


@dataclass(frozen=True, slots=True)
class Bundle:
    """What the works council's header has beyond the public one."""

    day_key: bytes
    sources: tuple[str, ...]
    allowances: tuple[Allowance, ...]
    caps: Caps


@dataclass(frozen=True, slots=True)
class Header:
    """All that a list says of its day. `merged`: outcomes of the `strata` (places) that are told in one sum."""

    kind: str
    day: date
    policy_hash: bytes
    key_sha256: bytes
    beacon: Beacon
    strata: tuple[Stratum, ...]
    exclusions: tuple[Exclusion, ...]
    seen: int
    merged: tuple[tuple[int, ...], Outcomes] | None
    records_sha256: bytes
    bundle: Bundle | None


class DrawList:
    """A list: its header, and its records as often as they are asked for. `stream` stays the caller's."""

    def __init__(self, stream: BinaryIO, name: str) -> None:
        """ConfigError when it is no list at all; MalformedPacket or TooLarge when it is a broken one."""
        prefix = stream.read(PREFIX.size)
        kind = MAGIC.get(prefix[:8])
        if kind is None:
            raise ConfigError(f"{name}: no list of the draw; one begins with MSDRAWP1 or MSDRAWC1")
        if len(prefix) < PREFIX.size:
            raise MalformedPacket(f"the list ends after {len(prefix)} bytes, within its first {PREFIX.size}")
        length = PREFIX.unpack(prefix)[1]
        if length > MAX_HEADER_BYTES:
            raise TooLarge(f"its header has {length} bytes, at most {MAX_HEADER_BYTES} are read")
        text = stream.read(length)
        if len(text) < length:
            raise MalformedPacket(f"the list ends within its header, after {len(text)} of {length} bytes")
        self.name = name
        self.header = read_header(text, kind)
        self._stream = stream
        self._begin = PREFIX.size + length
        found, expected = stream.seek(0, 2) - self._begin, self.header.seen * RECORD_BYTES
        if found != expected:
            raise MalformedPacket(
                f"its header names {self.header.seen} records, {expected} bytes; found {found} bytes of records"
            )

    def rows(self) -> Iterator[Rows]:
        """All records in blocks of at most BLOCK_RECORDS; MalformedPacket when the file became shorter meanwhile."""
        kind = PUBLIC_ROW if self.header.kind == "public" else COUNCIL_ROW
        self._stream.seek(self._begin)
        left = self.header.seen
        while left:
            many = min(left, BLOCK_RECORDS)
            data = self._stream.read(many * RECORD_BYTES)
            if len(data) < many * RECORD_BYTES:
                raise MalformedPacket("the list became shorter while it was read")
            yield np.frombuffer(data, kind)
            left -= many


# -- the header, key by key ---------------------------------------------------------------------


def _no(sentence: str) -> NoReturn:
    raise MalformedPacket(f"its header: {sentence}")


def _no_fraction(text: str) -> NoReturn:
    _no(f"numbers are whole, found {text[:20]}")


def canonical(text: bytes) -> Mapping[str, Any]:
    """The object in canonical JSON (RFC 8785) of whole numbers; MalformedPacket for anything else."""
    if _depth(text) > MAX_DEPTH:
        raise MalformedPacket(f"its header is nested more than {MAX_DEPTH} deep")
    try:
        top = json.loads(text, parse_float=_no_fraction, parse_constant=_no_fraction)
        again = json.dumps(top, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise MalformedPacket("its header is not JSON") from error
    if not isinstance(top, dict) or again != text:
        _no("expected one object in canonical JSON (RFC 8785)")
    return top


def _depth(text: bytes) -> int:
    """How deep brackets nest outside of strings: a reader of JSON that recurses must not be sent too deep."""
    brackets = STRING.sub(b"", text).translate(None, NO_BRACKETS)
    return max(accumulate(1 if bracket in b"[{" else -1 for bracket in brackets), default=0)


def _keys(table: Any, expected: frozenset[str], what: str) -> Mapping[str, Any]:
    if not isinstance(table, dict) or set(table) != expected:
        # As Python writes a text: a key may hold line breaks, and a finding is one line.
        found = ", ".join(sorted(map(repr, table)))[:200] if isinstance(table, dict) else type(table).__name__
        _no(f"{what} has exactly {', '.join(sorted(expected))}; found {found or 'nothing'}")
    return table


def _count(value: Any, what: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_SEEN:
        _no(f"{what} must be a whole number from 0 to {MAX_SEEN}")
    return value


def _text(value: Any, pattern: re.Pattern[str], what: str) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        _no(f"{what} must look like {pattern.pattern}")
    return value


def _hash(value: Any, what: str) -> bytes:
    return bytes.fromhex(_text(value, HEX32, what))


def _name(value: Any, what: str) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= MAX_NAME_CHARS:
        _no(f"the name of {what} has 1 to {MAX_NAME_CHARS} characters")
    return value


def _items(value: Any, what: str, most: int, read: Callable[[Any], T]) -> tuple[T, ...]:
    if not isinstance(value, list) or len(value) > most:
        _no(f"{what} must be a list of at most {most}")
    return tuple(map(read, value))


def _rate(value: Any, what: str) -> Fraction:
    above, below = _text(value, RATE, what).split("/")
    rate = Fraction(int(above), int(below))
    if rate > 1 or f"{rate.numerator}/{rate.denominator}" != value:
        _no(f"{what} is a fraction of 0/1 to 1/1 in lowest terms")
    return rate


def _day(value: Any, what: str) -> date:
    try:
        day = date.fromisoformat(value)
    except (TypeError, ValueError):
        _no(f"{what} must be a date such as 2026-11-26")
    if day.isoformat() != value:
        _no(f"{what} must be a date such as 2026-11-26")
    return day


def _outcomes(table: Mapping[str, Any], drawn: int, what: str) -> Outcomes | None:
    if all(table[answer] is None for answer in ANSWERS):
        return None
    return Outcomes(drawn, *(_count(table[answer], f"`{answer}` of {what}") for answer in ANSWERS))


def _stratum(value: Any) -> Stratum:
    table = _keys(value, STRATUM_KEYS, "a stratum")
    name = _name(table["name"], "a stratum")
    drawn = _count(table["drawn"], "`drawn` of a stratum")
    return Stratum(
        name,
        _rate(table["rate"], "the rate of a stratum"),
        _count(table["seen"], "`seen` of a stratum"),
        drawn,
        _count(table["capped"], "`capped` of a stratum"),
        _outcomes(table, drawn, "a stratum"),
    )


def _exclusion(value: Any) -> Exclusion:
    table = _keys(value, frozenset({"number", "name", "count"}), "an exclusion")
    number = _count(table["number"], "the number of an exclusion")
    return Exclusion(number, _name(table["name"], "an exclusion"), _count(table["count"], "the count of an exclusion"))


def _beacon(value: Any) -> Beacon:
    if not isinstance(value, dict) or value.get("kind") not in BEACONS:
        _no(f"the beacon is of a kind {', '.join(BEACONS)}")
    return Beacon(value["kind"], _hash(value.get("value"), "the beacon's value"), value)


def _merged(value: Any, strata: Sequence[Stratum]) -> tuple[tuple[int, ...], Outcomes] | None:
    if value is None:
        return None
    table = _keys(value, frozenset({"strata", "drawn", *ANSWERS}), "outcomes of several strata")
    places = _items(table["strata"], "the merged strata", MAX_STRATA, lambda item: _count(item, "a stratum's place"))
    if not places or list(places) != sorted(set(places)) or places[-1] >= len(strata):
        _no("merged strata are places of strata, each once and in order")
    found = _outcomes(table, _count(table["drawn"], "`drawn` of merged strata"), "merged strata")
    if found is None:
        _no("merged outcomes are numbers")
    return places, found


def _allowance(value: Any) -> Allowance:
    if not isinstance(value, list) or len(value) != 7:
        _no("an allowance is [day, cap, source, tag, from_n, units, taken]")
    day, cap, source, tag, from_n, units, taken = value
    if cap not in CAPS:
        _no(f"the cap of an allowance is one of {', '.join(CAPS)}")
    number = int(_text(tag, TAG, "the tag of an allowance") or "0", 16)
    return Allowance(
        _day(day, "the day of an allowance"),
        cap,
        _text(source, SOURCE, "the source of an allowance"),
        number,
        _count(from_n, "`from_n` of an allowance"),
        _count(units, "`units` of an allowance"),
        _count(taken, "`taken` of an allowance"),
    )


def _caps(value: Any) -> Caps:
    table = _keys(value, frozenset(CAPS), "caps")
    week, own, share = (table[cap] for cap in CAPS)
    return Caps(
        None if week is None else _count(week, "`agent_week`"),
        None if own is None else _rate(own, "`agent_share`"),
        None if share is None else _rate(share, "`share`"),
    )


def _bundle(top: Mapping[str, Any]) -> Bundle:
    sources = _items(top["sources"], "sources", 1 << 16, lambda item: _text(item, SOURCE, "a source"))
    if list(sources) != sorted(set(sources)):
        _no("sources stand in order of name, each once")
    return Bundle(
        _hash(top["day_key"], "`day_key`"),
        sources,
        _items(top["allowances"], "allowances", MAX_HEADER_BYTES, _allowance),
        _caps(top["caps"]),
    )


def read_header(text: bytes, kind: str) -> Header:
    """The header of a list of this kind, public or council; MalformedPacket says what was found and expected."""
    top = _keys(canonical(text), KEYS if kind == "public" else COUNCIL_KEYS, f"a {kind} header")
    if top["v"] != VERSION or isinstance(top["v"], bool) or top["kind"] != kind:
        _no(f"expected version {VERSION} and the kind {kind} that its first bytes name")
    strata = _items(top["strata"], "strata", MAX_STRATA, _stratum)
    exclusions = _items(top["exclusions"], "exclusions", MAX_STRATA, _exclusion)
    numbers = [exclusion.number for exclusion in exclusions]
    if numbers != sorted(set(numbers)) or any(number >= MAX_STRATA and number not in SPECIAL for number in numbers):
        _no(f"exclusions stand in order of their numbers, each once, below {MAX_STRATA} or 65533 to 65535")
    return Header(
        kind=kind,
        day=_day(top["day"], "`day`"),
        policy_hash=_hash(top["policy_hash"], "`policy_hash`"),
        key_sha256=_hash(top["key_sha256"], "`key_sha256`"),
        beacon=_beacon(top["beacon"]),
        strata=strata,
        exclusions=exclusions,
        seen=_count(top["seen"], "`seen`"),
        merged=_merged(top["outcomes"], strata),
        records_sha256=_hash(top["records_sha256"], "`records_sha256`"),
        bundle=_bundle(top) if kind == "council" else None,
    )
