"""The honest week of the second implementation, as rows of the domain database."""

from __future__ import annotations

import hashlib
from datetime import date
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, insert

from mitschnitt.keeper.draw_list_header import ListRules
from mitschnitt.keeper.draw_lists import DrawLists, ListSources
from mitschnitt.store.engine import open_engine, open_reader
from mitschnitt.store.tables import allowances, days, draws
from mitschnitt.store.upgrade import upgrade
from mitschnitt.store.writer import Writer
from second.draw_lists import CAPS, EXCLUSIONS, SPECIAL, STRATA, Day, Draw

RULES = ListRules(STRATA, EXCLUSIONS, CAPS["agent_week"], CAPS["agent_share"], CAPS["share"], cell_calls=20)
WEEK = "2026-W48"


def draw_row(day: Day, draw: Draw) -> dict[str, Any]:
    excluded = draw.place >= 0x8000
    number = draw.place if draw.place in SPECIAL.values() else draw.place & 0x7FFF
    return {
        "day": str(day.day),
        "source": draw.source,
        "n": draw.n,
        "stratum": None if excluded else draw.place,
        "exclusion": number if excluded else None,
        "verdict": draw.verdict,
        "agent_tag": draw.tag if any(draw.tag) else None,
        "outcome": draw.outcome or None,
    }


def fill(engine: Engine, week: list[Day]) -> None:
    """All days, draws, and units as they stood at the end of the last day."""
    with engine.begin() as connection:
        for day in week:
            row = {"day": str(day.day), "policy_hash": day.policy_hash.hex(), "beacon_kind": "commit"}
            row |= {"key_sha256": hashlib.sha256(day.key).hexdigest(), "opened_at": "2026-11-22T10:00:00.000000Z"}
            connection.execute(insert(days).values(**row, **needed(days, row)))
            if day.draws:
                connection.execute(insert(draws), [draw_row(day, draw) for draw in day.draws])
        for on, cap, source, tag, from_n, units, taken in week[-1].allowances:
            values = {"day": on, "cap": cap, "source": source, "week": WEEK, "agent_tag": bytes.fromhex(tag) or None}
            values |= {"from_n": from_n, "units": units, "taken": taken}
            connection.execute(insert(allowances).values(**values))


def needed(table: Any, row: dict[str, Any]) -> dict[str, Any]:
    """Other columns that must not be empty, whoever fills them."""
    return {
        column.name: b"{}"
        for column in table.columns
        if not column.nullable and column.name not in row and not column.primary_key
    }


def beacon_of(day: Day) -> dict[str, Any]:
    shares = {role: {"commitment": c.hex(), "value": v.hex()} for role, (c, v) in day.shares.items()}
    return {"kind": "commit", "value": day.value().hex(), "shares": shares}


class Site:
    """A database with a week in it, and what writes its lists."""

    def __init__(self, directory: Path, week: list[Day], rules: ListRules = RULES) -> None:
        engine = open_engine(directory / "domain.sqlite")
        upgrade(engine)
        fill(engine, week)
        self.engine = engine
        self.writer = Writer(open_engine(directory / "domain.sqlite"))
        self.reader = open_reader(directory / "domain.sqlite")
        self.published = directory / "draw"
        self.settled = True
        by_name = {str(day.day): day for day in week}
        self.beacons: dict[str, dict[str, Any]] = {name: beacon_of(day) for name, day in by_name.items()}
        sources = ListSources(
            day_key=lambda name: by_name[name].key,
            beacon=lambda name: self.beacons[name],
            rules=lambda _: rules,
            settled=lambda: self.settled,
        )
        self.lists = DrawLists(self.writer, self.reader, self.published, sources)

    def close(self) -> None:
        self.writer.close()
        self.reader.dispose()
        self.engine.dispose()

    def file(self, day: date, name: str) -> Path:
        return self.published / str(day) / name
