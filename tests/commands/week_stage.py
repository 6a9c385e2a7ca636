"""A short week of the demo, played once for all tests that look at it."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

from mitschnitt.commands import demo_week
from mitschnitt.commands.demo_week import Reason
from mitschnitt.commands.week_play import Week, play
from mitschnitt.commands.week_site import make_site

THURSDAY = date(2026, 11, 26)
SHORT = 280  # 40 calls a day


@dataclass(frozen=True)
class Seen:
    """What there is after it."""

    week: Week
    reasons: dict[str, Reason]
    states: dict[str, str]  # by call, as the officer lists them
    place: Any  # held, so that the files stay


USUAL = {"not drawn", "refused by the caller", "kept"}
WEEKS = 5  # that are played at most: one in fifty has no such call, for it is drawn, after all


@cache
def short_week() -> Seen:
    """Played in this process by a clock of its own, with the usual kinds of calls in it."""
    for _ in range(WEEKS):
        if (seen := _played()).reasons.keys() >= USUAL:
            return seen
        seen.place.cleanup()
    raise AssertionError(f"no week of {WEEKS} has a call of each of {sorted(USUAL)}")


def _played() -> Seen:
    place = tempfile.TemporaryDirectory(prefix="week-")
    site = make_site(Path(place.name) / "site", THURSDAY)

    def look(week: Week, records: Any, pages: Any) -> Seen:
        states = {call["call"]: call["state"] for call in records.list_calls("officer")}
        return Seen(week, demo_week._reasons(week, records, pages), states, place)

    return asyncio.run(play(site, look, calls=SHORT))
