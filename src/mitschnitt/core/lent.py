"""What a view says of the draw: its day, and what one recorder was lent of the caps. Values in, values out."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from mitschnitt.core.draw import KEY_BYTES, Day
from mitschnitt.core.policy import SHA256_HEX
from mitschnitt.errors import MalformedPacket

MAX_FIELD_CHARS = 64  # of anything that is said here, keys in base64 among them


@dataclass(frozen=True, slots=True)
class Lent:
    """What one recorder was lent of the caps since their week or day began (core/allowances). Totals only grow."""

    source: str  # recorder-<k>
    week: str  # ISO week of the agents' units
    tag_key: bytes  # of that week
    agents: tuple[int, ...]  # units by agent, in the order of the view's agents; empty: no cap per agent
    day: str  # of the whole's units
    whole: int


def day_to_json(day: Day | None) -> dict[str, Any]:
    """The fields of a view that tell of its day."""
    if day is None:
        return {"day": None, "day_policy": None, "day_key": None, "beacon": None}
    return {
        "day": day.day,
        "day_policy": day.policy_hash,
        "day_key": base64.b64encode(day.day_key).decode(),
        "beacon": None if day.beacon is None else day.beacon.hex(),
    }


def day_from_json(data: Mapping[str, Any]) -> Day | None:
    """The day of a view. MalformedPacket for half a day: it must not look like a day on which nobody is drawn."""
    day, policy, key, beacon = (data.get(name) for name in ("day", "day_policy", "day_key", "beacon"))
    if (day, policy, key, beacon) == (None, None, None, None):
        return None
    try:
        raw_key = base64.b64decode(_text_of(key), validate=True)
        raw_beacon = None if beacon is None else bytes.fromhex(_text_of(beacon))
        if date.fromisoformat(_text_of(day)).isoformat() != day:
            raise ValueError("a day has one spelling, 2026-11-26")
    except (ValueError, binascii.Error) as error:
        raise MalformedPacket(f"view: day, its key or its beacon cannot be read: {error}") from error
    if len(raw_key) != KEY_BYTES or raw_beacon is not None and len(raw_beacon) != KEY_BYTES:
        raise MalformedPacket(f"view: key and beacon of a day have {KEY_BYTES} bytes")
    if not SHA256_HEX.fullmatch(_text_of(policy)):
        raise MalformedPacket("view: `day_policy` must be 64 lower-case hex digits")
    return Day(_text_of(day), _text_of(policy), raw_key, raw_beacon)


def lent_to_json(lent: Lent | None) -> dict[str, Any]:
    """The field `caps` of a view; empty where nothing was lent."""
    if lent is None:
        return {}
    return {
        "source": lent.source,
        "week": lent.week,
        "tag_key": base64.b64encode(lent.tag_key).decode(),
        "agents": list(lent.agents),
        "day": lent.day,
        "whole": lent.whole,
    }


def lent_from_json(data: object, agents: int) -> Lent | None:
    """What `caps` of a view with so many agents says.

    Units that do not stand for exactly these agents are MalformedPacket: they would be other agents'.
    """
    if not isinstance(data, Mapping):
        raise MalformedPacket("view: `caps` must be an object, empty where nothing was lent")
    if not data:
        return None
    units = data.get("agents")
    counts = [count for count in units if type(count) is int and count >= 0] if isinstance(units, list) else []
    if not isinstance(units, list) or len(counts) != len(units) or len(counts) not in (0, agents):
        raise MalformedPacket(f"view: `caps` must have a whole number for each of {agents} agents, or none at all")
    whole = data.get("whole")
    if type(whole) is not int or whole < 0:
        raise MalformedPacket("view: `caps` needs `whole` as a whole number")
    try:
        key = base64.b64decode(_text_of(data.get("tag_key")), validate=True)
    except (ValueError, binascii.Error) as error:
        raise MalformedPacket(f"view: `tag_key` of `caps` cannot be read: {error}") from error
    if len(key) != KEY_BYTES:
        raise MalformedPacket(f"view: `tag_key` of `caps` has {len(key)} bytes, not {KEY_BYTES}")
    texts = [_text_of(data.get(name)) for name in ("source", "week", "day")]
    return Lent(texts[0], texts[1], key, tuple(counts), texts[2], whole)


def _text_of(value: object) -> str:
    if not isinstance(value, str) or len(value) > MAX_FIELD_CHARS:
        raise MalformedPacket(
            f"view: expected a text of at most {MAX_FIELD_CHARS} characters, found {type(value).__name__}"
        )
    return value
