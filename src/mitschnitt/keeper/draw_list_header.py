"""What the two lists of a day say before their records (docs/draw-lists.md). Reckons; opens no file.

Outcomes of a stratum are told alone only where a figure of the same people and calls might be (`core/cells`): a stratum
may be the shift of one. All others are told in one sum together, or all in one, or not at all. What is told apart
never leaves out a part that may not be told.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import rfc8785

from mitschnitt.core.cells import LEAST_PEOPLE, may_be_told
from mitschnitt.core.policy import Policy
from mitschnitt.errors import VaultError
from mitschnitt.store.list_queries import Amount, Held, ListDay, Lot

VERSION = 1
SPECIAL = {65533: "unmatched", 65534: "failed", 65535: "none"}  # exclusions that no policy writes down
VERDICTS = ("excluded", "not_drawn", "drawn", "capped.agent_week", "capped.agent_share", "capped.share")
OUTCOMES = ("kept", "failed", "not_agreed")
COUNCIL_ONLY = frozenset({"day_key", "sources", "allowances", "caps"})  # what no public header says
MAX_HEADER_BYTES = 16 << 20  # as many as a reader takes


@dataclass(frozen=True, slots=True)
class ListRules:
    """What lists repeat of a policy: names and rates of its strata, names of exclusions, caps, size of cells."""

    strata: tuple[tuple[str, Fraction], ...]
    exclusions: tuple[str, ...]
    agent_week: int | None
    agent_share: Fraction | None
    share: Fraction | None
    cell_calls: int
    cell_people: int = LEAST_PEOPLE


def rules_of(policy: Policy) -> ListRules:
    """What lists repeat of this policy."""
    return ListRules(
        strata=tuple((stratum.name, stratum.rate) for stratum in policy.strata),
        exclusions=tuple(exclusion.name for exclusion in policy.exclusions),
        agent_week=policy.caps.agent_week,
        agent_share=policy.caps.agent_share,
        share=policy.caps.share,
        cell_calls=policy.cells.calls,
        cell_people=policy.cells.people,
    )


def class_of(stratum: int | None, exclusion: int | None) -> int:
    """How a record says where its call fell; VaultError for a draw that fell nowhere."""
    if stratum is not None:
        return stratum
    if exclusion is None:
        raise VaultError("a draw has neither stratum nor exclusion")
    return exclusion if exclusion in SPECIAL else 0x8000 | exclusion


def told_apart(drawn: Sequence[int], whose: Iterable[Held], rules: ListRules) -> tuple[list[int], list[int]]:
    """The strata whose outcomes are told alone, and those that are told in one sum ([]: there is no sum)."""
    found = list(whose)

    def told(places: Collection[int]) -> bool:
        own: dict[bytes, tuple[int, int]] = {}
        for held in found:
            if held.stratum in places:
                before = own.get(held.agent_tag, (0, 0))
                own[held.agent_tag] = before[0] + held.drawn, before[1] + held.kept
        return may_be_told(own.values(), people=rules.cell_people, calls=rules.cell_calls)

    every = list(range(len(drawn)))
    alone = [place for place in every if told({place})]
    few = [place for place in every if place not in alone]
    if not any(drawn[place] for place in few):
        return alone, []
    if told(set(few)):
        return alone, few
    return [], every if told(set(every)) else []


class Header:
    """The header of a day; `public` and `council` are its bytes, once the hash of the records is known."""

    def __init__(  # noqa: PLR0913 - of all five a header is made
        self,
        day: ListDay,
        beacon: Mapping[str, Any],
        rules: ListRules,
        found: Iterable[Amount],
        *,
        whose: Iterable[Held],
    ) -> None:
        """`whose`: its drawn calls, by agent. VaultError for draws in what the policy of their day does not have."""
        self._counts: dict[int, dict[str, int]] = {}
        for amount in found:
            place = self._counts.setdefault(class_of(amount.stratum, amount.exclusion), {})
            for word in (amount.verdict.partition(".")[0], amount.outcome):
                if word is not None:
                    place[word] = place.get(word, 0) + amount.count
            place["seen"] = place.get("seen", 0) + amount.count
        names = {**dict(enumerate(rules.exclusions)), **SPECIAL}
        known = {*range(len(rules.strata)), *(class_of(None, number) for number in names)}
        if self._counts.keys() - known:
            raise VaultError("draws fell into strata or exclusions that the policy of their day does not have")
        self.seen = sum(place["seen"] for place in self._counts.values())
        drawn = [self._count(place, "drawn") for place in range(len(rules.strata))]
        alone, merged = told_apart(drawn, whose, rules)
        self._rules = rules
        self._common: dict[str, Any] = {
            "v": VERSION,
            "day": day.day,
            "policy_hash": day.policy_hash,
            "key_sha256": day.key_sha256,
            "beacon": dict(beacon),
            "strata": [self._stratum(place, row, told=place in alone) for place, row in enumerate(rules.strata)],
            "exclusions": [
                {"number": number, "name": name, "count": self._count(class_of(None, number), "seen")}
                for number, name in names.items()
            ],
            "seen": self.seen,
            "outcomes": self._sum(merged) if merged else None,
        }

    def _count(self, place: int, word: str) -> int:
        return self._counts.get(place, {}).get(word, 0)

    def _stratum(self, place: int, row: tuple[str, Fraction], *, told: bool) -> dict[str, Any]:
        counts = {word: self._count(place, word) for word in ("seen", "drawn", "capped")}
        outcomes = {word: self._count(place, word) if told else None for word in OUTCOMES}
        return {"name": row[0], "rate": _ratio(row[1]), **counts, **outcomes}

    def _sum(self, places: Sequence[int]) -> dict[str, Any]:
        words = {word: sum(self._count(place, word) for place in places) for word in ("drawn", *OUTCOMES)}
        return {"strata": list(places), **words}

    def public(self, records_sha256: str) -> bytes:
        """The public header."""
        return _bytes({**self._common, "kind": "public", "records_sha256": records_sha256})

    def council(self, records_sha256: str, day_key: bytes, sources: Sequence[str], lots: Iterable[Lot]) -> bytes:
        """The works council's header. VaultError when more was given than a reader takes."""
        rules = self._rules
        return _bytes(
            {
                **self._common,
                "kind": "council",
                "records_sha256": records_sha256,
                "day_key": day_key.hex(),
                "sources": list(sources),
                "allowances": [
                    [lot.day, lot.cap, lot.source, (lot.agent_tag or b"").hex(), lot.from_n, lot.units, lot.taken]
                    for lot in lots
                ],
                "caps": {
                    "agent_week": rules.agent_week,
                    "agent_share": _ratio(rules.agent_share),
                    "share": _ratio(rules.share),
                },
            }
        )


def public_of(council: Mapping[str, Any], records_sha256: str) -> bytes:
    """The public header of the day that the works council's header speaks of."""
    common = {name: value for name, value in council.items() if name not in COUNCIL_ONLY}
    return _bytes({**common, "kind": "public", "records_sha256": records_sha256})


def _ratio(value: Fraction | None) -> str | None:
    return None if value is None else f"{value.numerator}/{value.denominator}"


def _bytes(header: dict[str, Any]) -> bytes:
    text = rfc8785.dumps(header)
    if len(text) > MAX_HEADER_BYTES:
        raise VaultError(f"the header of a list would have {len(text)} bytes, at most {MAX_HEADER_BYTES} are read")
    return text
