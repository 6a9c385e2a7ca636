"""When a call was, as far as a role is told: to the officer day and time, to others its month.

Whoever knows from the telephone system who took how many calls on which day could solve kept calls of many days for
each agent's share of them (docs/threats.md, P8). So a month is told, a length in minutes begun, and nothing by which a
month could be split: neither the end of retention, nor sizes, nor a place in a list that follows the days.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta
from typing import Any

from mitschnitt.core.periods import month_of

MINUTE = timedelta(minutes=1)
OF_ONE_DAY = ("started_at", "ended_at", "media_size", "timeline_size")  # of a party: seconds and bytes name a call


def month_told(day: str) -> str:
    """The month of a day, `2026-11`."""
    return month_of(date.fromisoformat(day))


def listed_by_month(calls: Iterable[tuple[str, str, str]]) -> list[dict[str, Any]]:
    """(call id, day, word) as {call, month, state}, by month and id: ids are random, so no order within a month."""
    rows = sorted((month_told(day), call, state) for call, day, state in calls)
    return [{"call": call, "month": month, "state": state} for month, call, state in rows]


def facts_by_month(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Facts of a kept call (`Records.show`) without what says when in its month it was."""
    told = {name: value for name, value in facts.items() if name not in ("day", "due_at")}
    told["month"] = month_told(facts["day"])
    told["parties"] = [_party(party) for party in facts["parties"]]
    if "ladders" in facts:
        told["ladders"] = [_ladder(ladder, told["month"]) for ladder in facts["ladders"]]
    return told


def _ladder(ladder: Mapping[str, Any], month: str) -> dict[str, Any]:
    """What came after its first message stands in milliseconds: whoever mends signalling needs those."""
    return {**ladder, "began_at": month if ladder["began_at"] else ""}


def _party(party: Mapping[str, Any]) -> dict[str, Any]:
    told = {name: value for name, value in party.items() if name not in OF_ONE_DAY}
    told["minutes"] = _minutes_begun(party["started_at"], party["ended_at"])
    return told


def _minutes_begun(started_at: str, ended_at: str | None) -> int | None:
    """Minutes of a voice, the last one counted whole; None for one that has no end."""
    if ended_at is None:
        return None
    length = datetime.fromisoformat(ended_at) - datetime.fromisoformat(started_at)
    return max(-(-length // MINUTE), 0)
