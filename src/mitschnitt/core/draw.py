"""The draw: whether a call is recorded at all, decided before anybody is asked (design section 5).

Reckons only. Numbers, keys, beacon and what is left of the caps are arguments. Whether somebody agrees is none of
them: consent is never an exclusion from the draw, and no call is drawn in place of another.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from fractions import Fraction
from types import MappingProxyType
from typing import Any

from mitschnitt.core.criteria import Placed
from mitschnitt.errors import ConfigError, MalformedPacket

DOMAIN = b"mitschnitt/v1/draw".ljust(32, b"\0")  # before every ticket: no other hash of ours can be one
DRAW_ID_BYTES = 16
AGENT_TAG_BYTES = 8  # agents of one week at one site: two alike once in 10^11 weeks of 20,000 agents
KEY_BYTES = 32  # of the site's secret, a day's key, a beacon, a policy's hash
TICKET_BITS = 256  # of SHA-256
MAX_NUMBER = 1 << 32  # lists hold four bytes of it
MAX_TEXT_CHARS = 64  # of a day, a source or a rule
UNKNOWN_TENURE = -1  # no criterion about tenure holds for a number of days
KEEPER = "keeper"  # the source of announced calls


class Cap(StrEnum):
    """What limits draws: per agent and ISO week, as a share of an agent's calls, as a share of all calls."""

    AGENT_WEEK = "agent_week"
    AGENT_SHARE = "agent_share"
    SHARE = "share"


class Drawn(StrEnum):
    """What a draw came to, in the spelling of tables and lists."""

    DRAWN = "drawn"
    NOT_DRAWN = "not_drawn"
    EXCLUDED = "excluded"
    CAPPED_AGENT_WEEK = "capped.agent_week"
    CAPPED_AGENT_SHARE = "capped.agent_share"
    CAPPED_SHARE = "capped.share"


class Outcome(StrEnum):
    """What became of a drawn call. Who did not agree, caller or agent, is never told apart."""

    KEPT = "kept"
    FAILED = "failed"
    NOT_AGREED = "not_agreed"


RULES: Mapping[Drawn, str] = MappingProxyType(
    {
        Drawn.DRAWN: "draw.drawn",
        Drawn.NOT_DRAWN: "draw.not_drawn",
        Drawn.EXCLUDED: "draw.excluded",
        Drawn.CAPPED_AGENT_WEEK: "draw.cap.agent_week",
        Drawn.CAPPED_AGENT_SHARE: "draw.cap.agent_share",
        Drawn.CAPPED_SHARE: "draw.cap.share",
    }
)
CAPPED: Mapping[Cap, Drawn] = MappingProxyType(
    {
        Cap.AGENT_WEEK: Drawn.CAPPED_AGENT_WEEK,
        Cap.AGENT_SHARE: Drawn.CAPPED_AGENT_SHARE,
        Cap.SHARE: Drawn.CAPPED_SHARE,
    }
)
# What a person decided; whatever else closed a drawn call was a failure, and is counted as one.
NOT_AGREED = frozenset(
    {
        "act.pause",
        "consent.agent.expired",
        "consent.agent.none",
        "consent.agent.notice",
        "consent.agent.withdrawn",
        "consent.caller.refused",
        "consent.caller.silent",
        "consent.third.refused",
        "consent.third.silent",
        "consent.withdrawn",
    }
)


@dataclass(frozen=True, slots=True)
class Day:
    """A day of the draw, local to the policy's zone; without a beacon nobody is asked on it."""

    day: str  # ISO 8601 date
    policy_hash: str  # hex
    day_key: bytes
    beacon: bytes | None


@dataclass(frozen=True, slots=True)
class Draw:
    """One draw. `source` and `n` name it, `draw_id` is what the public list shows; no call is named."""

    day: str
    source: str
    n: int
    draw_id: bytes
    placed: Placed
    verdict: Drawn
    rule: str

    @property
    def is_drawn(self) -> bool:
        """Whether somebody may be asked."""
        return self.verdict is Drawn.DRAWN


@dataclass(frozen=True, slots=True)
class Told:
    """What a recorder is told of its call's draw. `n` is 0 where nothing was drawn, and `rule` says why.

    `lot` is the draw_id in hex, for the caller's page; "" where it is not told. `has_agent`: the agent who was
    announced was known, so the draw is that agent's and has its unit already.
    """

    day: str
    source: str
    n: int
    drawn: bool
    rule: str
    lot: str = field(default="", compare=False)
    has_agent: bool = field(default=False, compare=False)

    def to_json(self) -> dict[str, Any]:
        """The field `draw` of frames."""
        told = {"day": self.day, "source": self.source, "n": self.n, "drawn": self.drawn, "rule": self.rule}
        return told | ({"id": self.lot} if self.lot else {}) | ({"agent": True} if self.has_agent else {})


UNTOLD = Told("", "", 0, drawn=False, rule="draw.missing")  # until somebody says otherwise


def told_of(draw: Draw) -> Told:
    """The draw as a recorder is told of it."""
    return Told(draw.day, draw.source, draw.n, draw.is_drawn, draw.rule, draw.draw_id.hex())


def told_from_json(data: object) -> Told:
    """The field `draw` of a frame; MalformedPacket for what is none, and then nothing is drawn."""
    if not isinstance(data, Mapping):
        raise MalformedPacket("`draw` must be an object")
    day, source, n = data.get("day"), data.get("source"), data.get("n")
    drawn, rule = data.get("drawn"), data.get("rule")
    texts = all(isinstance(text, str) and len(text) <= MAX_TEXT_CHARS for text in (day, source, rule))
    if not texts or type(n) is not int or not 0 <= n < MAX_NUMBER or type(drawn) is not bool:
        raise MalformedPacket("`draw` needs day, source, rule as texts, n as a whole number, drawn as true or false")
    if drawn and not (day and source and n):
        raise MalformedPacket("a drawn call has a day, a source and a number")
    return Told(str(day), str(source), n, drawn, str(rule), has_agent=data.get("agent") is True)


def day_key(secret: bytes, day: str) -> bytes:
    """The 32-byte key of a day (ISO 8601 date); its SHA-256 is published before the beacon is known."""
    return _derived(secret, f"mitschnitt/v1/day|{day}")


def tag_key(secret: bytes, week: str) -> bytes:
    """The 32-byte key under which agents have tags in an ISO week (`2026-W48`)."""
    return _derived(secret, f"mitschnitt/v1/tag|{week}")


def agent_tag(key: bytes, agent: str) -> bytes:
    """The 8 bytes that stand for an agent in the draws of one week; another week has others."""
    return hmac.digest(_whole(key, "a tag key"), agent.encode("utf-8"), "sha256")[:AGENT_TAG_BYTES]


def draw_id(key: bytes, source: str, n: int) -> bytes:
    """The 16 bytes of the draw number `n`, from 1, of a source (`keeper`, `recorder-<k>`) on the day of this key."""
    if n < 1:
        raise MalformedPacket(f"draws are numbered from 1, found {n}")
    return hmac.digest(_whole(key, "a day's key"), f"{source}|{n}".encode("ascii"), "sha256")[:DRAW_ID_BYTES]


def ticket(policy_hash: bytes, beacon: bytes, identifier: bytes) -> int:
    """The ticket of a draw_id, 0 to 2^256 - 1: the same for everybody who reckons."""
    if len(identifier) != DRAW_ID_BYTES:
        raise MalformedPacket(f"a draw_id has {DRAW_ID_BYTES} bytes, got {len(identifier)}")
    told = DOMAIN + _whole(policy_hash, "a policy's hash") + _whole(beacon, "a beacon") + identifier
    return int.from_bytes(hashlib.sha256(told).digest(), "big")


def threshold(rate: Fraction) -> int:
    """Tickets below this are drawn, 0 to 2^256: at rate 0 none is, at rate 1 every one. Exact; no float comes near."""
    if not 0 <= rate <= 1:
        raise ConfigError(f"draw: a rate lies between 0 and 1, found {rate}")
    return (rate.numerator << TICKET_BITS) // rate.denominator


def wins(day: Day, identifier: bytes, rate: Fraction) -> bool:
    """Whether this draw_id is drawn at this rate, caps aside. A day without its beacon draws nobody."""
    if day.beacon is None:
        return False
    return ticket(bytes.fromhex(day.policy_hash), day.beacon, identifier) < threshold(rate)


def decide(day: Day, source: str, n: int, placed: Placed, *, rates: Sequence[Fraction], spent: Cap | None) -> Draw:
    """The draw number `n` of a source. `rates` are those of the policy's strata in order; `spent` is the cap of which
    this call has no unit, None when it has all that it needs.

    A call in no stratum that the policy has, or under any exclusion, is excluded.
    """
    identifier = draw_id(day.day_key, source, n)
    verdict = _verdict(day, identifier, placed, rates, spent)
    return Draw(day.day, source, n, identifier, placed, verdict, RULES[verdict])


def _verdict(day: Day, identifier: bytes, placed: Placed, rates: Sequence[Fraction], spent: Cap | None) -> Drawn:
    if placed.exclusion is not None or placed.stratum is None or not 0 <= placed.stratum < len(rates):
        return Drawn.EXCLUDED
    if not wins(day, identifier, rates[placed.stratum]):
        return Drawn.NOT_DRAWN
    return Drawn.DRAWN if spent is None else CAPPED[spent]


def undrawable(day: Day | None, *, local_day: str, policy_hash: str) -> str:
    """The rule by which nobody can be drawn now, "" when somebody can: no day, another one's, or no beacon yet."""
    if day is None or day.day != local_day or day.policy_hash != policy_hash:
        return "draw.day.missing"
    return "" if day.beacon is not None else "draw.beacon.missing"


def outcome_of(rule: str, *, kept: bool) -> Outcome:
    """What became of a drawn call that the gate closed by this rule; a rule that nobody knows is a failure."""
    if kept:
        return Outcome.KEPT
    return Outcome.NOT_AGREED if rule in NOT_AGREED else Outcome.FAILED


def tenure_days(started: str, today: date) -> int:
    """Days since an agent began (ISO 8601 date); -1 where that is not known, or lies ahead."""
    try:
        days = (today - date.fromisoformat(started)).days
    except ValueError:
        return UNKNOWN_TENURE
    return days if days >= 0 else UNKNOWN_TENURE


def _derived(secret: bytes, info: str) -> bytes:
    return hmac.digest(_whole(secret, "the secret of the draw"), info.encode("ascii"), "sha256")


def _whole(data: bytes, what: str) -> bytes:
    if len(data) != KEY_BYTES:
        raise MalformedPacket(f"{what} has {KEY_BYTES} bytes, got {len(data)}")
    return data
