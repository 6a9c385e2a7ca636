"""A second writer of the lists of the draw, from the words of docs/draw-lists.md: plain Python, no numpy.

Shares no code with mitschnitt. It also invents an honest week: who called, what was drawn, leased and capped. What a
cheat changes is a change of these facts, written again with all hashes as they must be.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import date
from fractions import Fraction
from typing import Any

SECRET = bytes(range(32))  # of the draw; day keys and tags derive from it
STRATA = (("hotline", Fraction(1, 5)), ("orders", Fraction(3, 100)), ("new-hires", Fraction(1)))
EXCLUSIONS = ("works council", "night")
SPECIAL = {"unmatched": 65533, "failed": 65534, "none": 65535}
SOURCES = ("keeper", "recorder-0")
CAPS: dict[str, Any] = {"agent_week": 4, "agent_share": Fraction(1, 5), "share": Fraction(1, 4)}
CELL_CALLS, CELL_PEOPLE = 20, 5
VERDICTS = ("excluded", "not_drawn", "drawn", "capped.agent_week", "capped.agent_share", "capped.share")
ROLES = ("council", "officer", "operator")
POLICY = """\
name = "a week of the draw"
timezone = "Europe/Berlin"
signed_by = ["officer", "council"]

[draw]
beacon = "commit"

[[stratum]]
name = "hotline"
when = 'queue == "hotline"'
rate = 0.20

[[stratum]]
name = "orders"
when = 'queue == "orders"'
rate = 0.03

[[stratum]]
name = "new-hires"
when = 'tenure_days < 30'
rate = 1

[[exclusion]]
name = "works council"
when = 'queue == "works-council"'

[[exclusion]]
name = "night"
when = 'hour < 6'

[caps]
agent_week = 4
agent_share = 0.2
share = 0.25
"""


def mac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def number_of(*parts: object) -> int:
    """A number that looks like chance and is the same each time."""
    return int.from_bytes(hashlib.sha256("|".join(map(str, parts)).encode()).digest()[:8], "big")


@dataclass
class Draw:
    """One draw; `place` is a stratum, or 0x8000 and the number of an exclusion."""

    source: str
    n: int
    place: int
    tag: bytes
    verdict: str
    outcome: str = ""
    marked: bool = False  # as failed in the bundle, whatever its outcome
    id: bytes = b""  # what the public list says; the cheat's own, where one ground it


@dataclass
class Day:
    """All facts of a day."""

    day: date
    key: bytes
    policy_hash: bytes
    shares: dict[str, tuple[bytes, bytes]]  # role: commitment, value
    draws: list[Draw] = field(default_factory=list)
    allowances: list[list[Any]] = field(
        default_factory=list
    )  # of the week so far: day, cap, source, tag, from_n, units, taken
    strata: tuple[tuple[str, Fraction], ...] = STRATA
    exclusions: tuple[str, ...] = EXCLUSIONS
    counts: dict[str, int] = field(default_factory=dict)  # of exclusions, where the cheat says otherwise
    unlisted: frozenset[str] = frozenset()  # exclusions that have no line
    beacon: bytes = b""  # instead of the one that follows
    caps: dict[str, Any] = field(default_factory=lambda: dict(CAPS))

    def value(self) -> bytes:
        values = b"".join(self.shares[role][1] for role in ROLES)
        return (
            self.beacon
            or hashlib.sha256(b"mitschnitt/v1/beacon/commit|" + str(self.day).encode() + b"|" + values).digest()
        )

    def id_of(self, draw: Draw) -> bytes:
        return draw.id or mac(self.key, f"{draw.source}|{draw.n}")[:16]

    def wins(self, draw_id: bytes, rate: Fraction) -> bool:
        domain = b"mitschnitt/v1/draw" + bytes(14)
        ticket = hashlib.sha256(domain + self.policy_hash + self.value() + draw_id).digest()
        return int.from_bytes(ticket, "big") < rate.numerator * 2**256 // rate.denominator


# -- an honest week -----------------------------------------------------------------------------


def empty_day(day: date) -> Day:
    shares = {}
    for role in ROLES:
        value = hashlib.sha256(f"value of {role} for {day}".encode()).digest()
        text = f"mitschnitt/v1/beacon/value|{day}|{role}|".encode()
        shares[role] = hashlib.sha256(text + value).digest(), value
    return Day(day, mac(SECRET, f"mitschnitt/v1/day|{day}"), hashlib.sha256(POLICY.encode()).digest(), shares)


def tag_of(week: str, agent: str) -> bytes:
    return mac(mac(SECRET, f"mitschnitt/v1/tag|{week}"), agent)[:8]


def honest_week(days: int = 3, calls: int = 400, agents: int = 40, caps: dict[str, Any] | None = None) -> list[Day]:
    """From Monday, 23 November 2026 on. Recorders are lent each unit when they need it."""
    found: list[Day] = []
    taken: dict[bytes, int] = {}
    answered: dict[bytes, int] = {}
    given: list[list[Any]] = []
    for place in range(days):
        day = empty_day(date(2026, 11, 23 + place))
        day.caps = caps or day.caps
        numbers = dict.fromkeys(SOURCES, 0)
        drawn_today = in_strata = 0
        for call in range(calls):
            source = SOURCES[number_of(day.day, call, "source") % 4 // 3]
            numbers[source] += 1
            agent = number_of(day.day, call, "agent") % (agents + 2)
            tag = tag_of("2026-W48", f"agent-{agent}") if agent < agents else bytes(8)
            draw = Draw(source, numbers[source], place_of(day.day, call), tag, "excluded")
            if draw.place < len(STRATA):
                answered[tag] = answered.get(tag, 0) + 1
                in_strata += 1
                won = day.wins(day.id_of(draw), STRATA[draw.place][1])
                draw.verdict = cap(day.caps, tag, taken, answered, drawn_today, in_strata) if won else "not_drawn"
            if draw.verdict == "drawn":
                drawn_today += 1
                draw.outcome = ("kept", "kept", "not_agreed", "failed")[
                    min(3, number_of(day.day, call, "o") % 50 // 16)
                ]
                give(given, day, draw, "share", "")
                if any(tag):
                    taken[tag] = taken.get(tag, 0) + 1
                    give(given, day, draw, "agent_week", tag.hex())
            day.draws.append(draw)
        day.allowances = [list(lease) for lease in given]
        found.append(day)
    return found


def give(given: list[list[Any]], day: Day, draw: Draw, what: str, tag: str) -> None:
    """A unit that is taken at once. The keeper has one row for each pot and day; a recorder one for each lot."""
    for row in given:
        if draw.source == "keeper" and row[:4] == [str(day.day), what, "keeper", tag]:
            row[5:] = [row[5] + 1, row[6] + 1]
            return
    given.append([str(day.day), what, draw.source, tag, draw.n, 1, 1])


def place_of(day: date, call: int) -> int:
    dice = number_of(day, call, "queue") % 100
    if dice < 4:
        return 0x8000 | dice % 2
    if dice < 6:
        return (SPECIAL["unmatched"], SPECIAL["none"])[dice % 2]
    return 2 if dice < 8 else 1 if dice < 40 else 0


def cap(
    caps: dict[str, Any], tag: bytes, taken: dict[bytes, int], answered: dict[bytes, int], today: int, seen: int
) -> str:
    """The verdict of a call whose ticket wins."""
    if any(tag) and taken.get(tag, 0) >= caps["agent_week"]:
        return "capped.agent_week"
    if any(tag) and taken.get(tag, 0) >= max(1, int(caps["agent_share"] * answered[tag])):
        return "capped.agent_share"
    if today >= max(1, int(caps["share"] * seen)):
        return "capped.share"
    return "drawn"


# -- bytes --------------------------------------------------------------------------------------


def canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def ratio(value: Fraction | None) -> str | None:
    return None if value is None else f"{value.numerator}/{value.denominator}"


def outcomes(draws: list[Draw]) -> dict[str, int]:
    return {answer: sum(draw.outcome == answer for draw in draws) for answer in ("kept", "failed", "not_agreed")}


def hidden(draws: list[Draw]) -> bool:
    """Whether one sum of these outcomes would tell of somebody; draws of unknown agents hide nobody."""
    known = [draw for draw in draws if any(draw.tag)]
    calls = Counter(draw.tag for draw in known)
    agreed = {draw.tag for draw in known if draw.outcome == "kept"}
    if len(known) < CELL_CALLS or len(calls) < CELL_PEOPLE:
        return True
    if len(agreed) < 2 or len(calls) - len(agreed) < 2:
        return True
    for knower in calls:
        rest = [draw for draw in known if draw.tag != knower]
        kept = sum(draw.outcome == "kept" for draw in rest)
        for other in calls.keys() - {knower}:
            without = len(rest) - calls[other]
            if calls[other] > without or kept > without:
                return True
    return False


def common_header(day: Day) -> dict[str, Any]:
    """What both headers say."""
    drawn = [
        [draw for draw in day.draws if (draw.place, draw.verdict) == (at, "drawn")] for at in range(len(day.strata))
    ]
    few = [at for at, draws in enumerate(drawn) if hidden(draws)]
    together = [draw for at in few for draw in drawn[at]]
    if together and hidden(together):
        few = list(range(len(drawn)))
        together = [draw for draws in drawn for draw in draws]
    strata = []
    for at, (name, rate) in enumerate(day.strata):
        own = [draw for draw in day.draws if draw.place == at]
        row: dict[str, Any] = {"name": name, "rate": ratio(rate), "seen": len(own), "drawn": len(drawn[at])}
        row["capped"] = sum(draw.verdict.startswith("capped") for draw in own)
        told = dict.fromkeys(("kept", "failed", "not_agreed")) if at in few else outcomes(drawn[at])
        strata.append({**row, **told})
    merged = None
    if not hidden(together):
        merged = {"strata": few, "drawn": len(together), **outcomes(together)}
    numbered = {**{name: at for at, name in enumerate(day.exclusions)}, **SPECIAL}
    exclusions = []
    for name, number in numbered.items():
        place = number if number >= 65533 else 0x8000 | number
        count = day.counts.get(name, sum(draw.place == place for draw in day.draws))
        if name not in day.unlisted:
            exclusions.append({"number": number, "name": name, "count": count})
    shares = {role: {"commitment": c.hex(), "value": v.hex()} for role, (c, v) in day.shares.items()}
    return {
        "v": 1,
        "day": str(day.day),
        "policy_hash": day.policy_hash.hex(),
        "key_sha256": hashlib.sha256(day.key).hexdigest(),
        "beacon": {"kind": "commit", "value": day.value().hex(), "shares": shares},
        "strata": strata,
        "exclusions": exclusions,
        "seen": len(day.draws),
        "outcomes": merged,
    }


def file_of(magic: bytes, header: dict[str, Any], records: bytes) -> bytes:
    text = canonical({**header, "records_sha256": hashlib.sha256(records).hexdigest()})
    return magic + len(text).to_bytes(4, "big") + text + records


def public_of(day: Day) -> bytes:
    rows = sorted(day.id_of(draw) + draw.place.to_bytes(2, "big") for draw in day.draws)
    return file_of(b"MSDRAWP1", {**common_header(day), "kind": "public"}, b"".join(rows))


def council_of(day: Day) -> bytes:
    sources = sorted({draw.source for draw in day.draws})
    rows = sorted(
        sources.index(draw.source).to_bytes(2, "big")
        + draw.n.to_bytes(4, "big")
        + draw.place.to_bytes(2, "big")
        + draw.tag
        + bytes([VERDICTS.index(draw.verdict), int(draw.marked or draw.outcome == "failed")])
        for draw in day.draws
    )
    header = {
        **common_header(day),
        "kind": "council",
        "day_key": day.key.hex(),
        "sources": sources,
        "allowances": day.allowances,
        "caps": {
            "agent_week": day.caps["agent_week"],
            "agent_share": ratio(day.caps["agent_share"]),
            "share": ratio(day.caps["share"]),
        },
    }
    return file_of(b"MSDRAWC1", header, b"".join(rows))


def day_record(day: Day) -> bytes:
    """What was published before the day, as far as the verifier reads it."""
    return canonical(
        {
            "day": str(day.day),
            "policy_hash": day.policy_hash.hex(),
            "key_sha256": hashlib.sha256(day.key).hexdigest(),
            "beacon": {"kind": "commit"},
            "commitments": {role: committed.hex() for role, (committed, _) in day.shares.items()},
        }
    )


def copied(day: Day) -> Day:
    """A day that can be changed without changing this one."""
    draws = [replace(draw) for draw in day.draws]
    return replace(
        day,
        draws=draws,
        allowances=[list(lease) for lease in day.allowances],
        counts=dict(day.counts),
        caps=dict(day.caps),
    )
