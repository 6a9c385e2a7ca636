"""Lays lists of the draw beside the policy that they name: its hash, its strata, exclusions and caps, its signatures.

Reads the few sections of a policy that the draw rests on, with a reader of its own, and no other.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from mitschnitt.errors import ConfigError
from mitschnitt.proof.draw_format import CAPS, SPECIAL, Caps, Header
from mitschnitt.proof.draw_report import Cheat, From, Report
from mitschnitt.proof.draw_share import bound_of

MAX_POLICY_BYTES = 256 << 10  # what is read of a policy


@dataclass(frozen=True, slots=True)
class DrawRules:
    """What a policy says of the draw, in its order."""

    hash: bytes
    strata: tuple[tuple[str, Fraction], ...]
    exclusions: tuple[str, ...]
    caps: Caps
    beacon: str
    signed_by: tuple[str, ...]
    timezone: str


def read_policy(text: bytes, name: str) -> DrawRules:
    """The rules in a policy's bytes; ConfigError for a file that is no policy."""
    try:
        if len(text) > MAX_POLICY_BYTES:
            raise ValueError(f"{len(text)} bytes, at most {MAX_POLICY_BYTES} are read")
        top = tomllib.loads(text.decode(), parse_float=Decimal)
        caps = top.get("caps", {})
        return DrawRules(
            hash=hashlib.sha256(text).digest(),
            strata=tuple((str(table["name"]), _share(table["rate"])) for table in top["stratum"]),
            exclusions=tuple(str(table["name"]) for table in top.get("exclusion", [])),
            caps=Caps(*(_cap(cap, caps.get(cap)) for cap in CAPS)),  # type: ignore[arg-type] # by _cap
            beacon=str(top["draw"]["beacon"]),
            signed_by=tuple(map(str, top["signed_by"])),
            timezone=_zone(top["timezone"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, ArithmeticError) as error:
        raise ConfigError(f"{name}: no policy that draws: {type(error).__name__} {error}") from error


def _zone(value: Any) -> str:
    try:
        return ZoneInfo(str(value)).key
    except ZoneInfoNotFoundError as error:
        raise ValueError(f"there is no time zone {value!r}") from error


def _share(value: Any) -> Fraction:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise TypeError(f"a share is a number, found {value!r}")
    return Fraction(value)


def _cap(name: str, value: Any) -> int | Fraction | None:
    if value is None:
        return None
    return int(value) if name == "agent_week" else _share(value)


def check_policy(header: Header, policies: Mapping[bytes, DrawRules], report: Report, source: From) -> None:
    """What one list says of its policy, beside the policies that were given."""
    rules = policies.get(header.policy_hash)
    if rules is None:
        if policies:
            sentence = (
                f"the list was drawn by policy {header.policy_hash.hex()[:16]}…, which none of the given files is"
            )
            report.finds(Cheat.POLICY, source, header.day, sentence)
        return
    told = tuple((row.name, row.rate) for row in header.strata)
    if told != rules.strata:
        sentence = f"strata and rates are not the policy's: {_difference(told, rules.strata)}"
        report.finds(Cheat.POLICY, source, header.day, sentence)
    _check_exclusions(header, rules.exclusions, report, source)
    if header.beacon.kind != rules.beacon:
        sentence = f"the beacon is of kind {header.beacon.kind}, the policy wants {rules.beacon}"
        report.finds(Cheat.REDRAWN, source, header.day, sentence)
    if header.bundle is not None and header.bundle.caps != rules.caps:
        report.finds(Cheat.POLICY, source, header.day, "caps are not the policy's")
    capped = sum(row.capped for row in header.strata)
    if capped and rules.caps == Caps(None, None, None):
        report.finds(Cheat.CAP, source, header.day, f"{capped} calls were capped, and the policy has no cap")
    drawn, calls = sum(row.drawn for row in header.strata), sum(row.seen for row in header.strata)
    if rules.caps.share is not None and drawn > (bound := bound_of(rules.caps.share, calls)):
        sentence = f"{drawn} calls were drawn; the cap on the {calls} calls in strata is {bound}"
        report.finds(Cheat.CAP, source, header.day, sentence)


def _difference(told: Sequence[tuple[str, Fraction]], wanted: Sequence[tuple[str, Fraction]]) -> str:
    if len(told) != len(wanted):
        return f"{len(told)} and not {len(wanted)}"
    (name, rate), (other, other_rate) = next(pair for pair in zip(told, wanted, strict=True) if pair[0] != pair[1])
    return f"`{name}` at {rate} for `{other}` at {other_rate}"


def _check_exclusions(header: Header, wanted: Sequence[str], report: Report, source: From) -> None:
    own = {row.number: row.name for row in header.exclusions if row.number not in SPECIAL}
    for number, name in enumerate(wanted):
        if own.get(number) != name:
            report.finds(Cheat.FILTER, source, header.day, f"exclusion `{name}` of the policy has no count")
    for number, name in own.items():
        if number >= len(wanted) or wanted[number] != name:
            report.finds(Cheat.FILTER, source, header.day, f"`{name}` has a count and is no exclusion of the policy")
