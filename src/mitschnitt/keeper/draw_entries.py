"""What a recorder journals about draws, as changes of the database: its own draws, and whose call a draw turned out
to be. Names no call. Raises ValueError, KeyError or TypeError for what is no such entry; the applier passes it over.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

from sqlalchemy import Connection

from mitschnitt.core.draw import AGENT_TAG_BYTES, CAPPED, KEEPER, MAX_NUMBER, Cap, Drawn
from mitschnitt.core.periods import week_of
from mitschnitt.keeper.lending import source_of
from mitschnitt.store import draw_queries
from mitschnitt.store.draw_queries import DrawRow, Pot

MAX_PLACE = 0xFFFF  # of a stratum or an exclusion

log = logging.getLogger("mitschnitt.keeper")
Change = Callable[[Connection], None]


def draw_change(recorder: int, data: Mapping[str, Any]) -> Change:
    """The change behind one `draw` entry of this recorder."""
    return _agent(recorder, data) if data["what"] == "agent" else _own(recorder, data)


def _own(recorder: int, data: Mapping[str, Any]) -> Change:
    """A draw that the recorder made: {what: draw, day, n, stratum, exclusion, verdict, tag, paid: [cap, ...]}."""
    source, day, n = source_of(recorder), _day(data["day"]), _number(data["n"])
    stratum, exclusion, tag = _place(data["stratum"]), _place(data["exclusion"]), _tag(data["tag"])
    if (stratum is None) == (exclusion is None):
        raise ValueError("a draw lies in a stratum or under an exclusion")
    row = DrawRow(day, source, n, stratum, exclusion, Drawn(data["verdict"]), tag)
    pots = [_pot(Cap(cap), day, tag) for cap in data["paid"]]

    def change(connection: Connection) -> None:
        expected = draw_queries.next_number(connection, day, source)
        if not draw_queries.add_draw(connection, row):
            return  # applied before
        if n != expected:
            log.error("a recorder's draws are not numbered without a gap", extra={"recorder": recorder})
        for pot in pots:
            _take(connection, pot, source, recorder)

    return change


def _agent(recorder: int, data: Mapping[str, Any]) -> Change:
    """An agent of a drawn call became known: {what: agent, day, source, n, tag, paid: [cap], spent: cap | null}.

    The first agent of a draw is the draw's. Without a unit for that one the draw is marked as capped.
    """
    day, source, n, tag = _day(data["day"]), _source(data["source"]), _number(data["n"]), _tag(data["tag"])
    if tag is None:
        raise ValueError("an agent has a tag")
    pots = [_pot(Cap(cap), day, tag) for cap in data["paid"]]
    capped = None if data["spent"] is None else CAPPED[Cap(data["spent"])]
    own = source_of(recorder)

    def change(connection: Connection) -> None:
        is_first = draw_queries.name_agent(connection, day, source, n, tag)
        for pot in pots:
            _take(connection, pot, own, recorder)
        if is_first and capped is not None:
            draw_queries.cap_draw(connection, day, source, n, capped)

    return change


def _take(connection: Connection, pot: Pot, source: str, recorder: int) -> None:
    if not draw_queries.take_lent(connection, pot, source):
        log.error("a recorder took a unit that it was not lent", extra={"recorder": recorder})


def _pot(cap: Cap, day: str, tag: bytes | None) -> Pot:
    week = week_of(date.fromisoformat(day))
    if cap is Cap.SHARE:
        return Pot(week, day)
    if tag is None:
        raise ValueError("a unit of an agent's is the unit of a known agent")
    return Pot(week, day, tag)


def _day(value: object) -> str:
    return date.fromisoformat(str(value)).isoformat()


def _source(value: object) -> str:
    text = str(value)
    if text != KEEPER and not (text.startswith("recorder-") and text[9:].isdecimal() and len(text) <= 16):
        raise ValueError("no source has this name")
    return text


def _number(value: object) -> int:
    if type(value) is not int or not 0 < value < MAX_NUMBER:
        raise ValueError("draws are numbered from 1")
    return value


def _place(value: object) -> int | None:
    if value is None:
        return None
    if type(value) is not int or not 0 <= value <= MAX_PLACE:
        raise ValueError("no stratum or exclusion has this number")
    return value


def _tag(value: object) -> bytes | None:
    tag = None if value is None else bytes.fromhex(str(value))
    if tag is not None and len(tag) != AGENT_TAG_BYTES:
        raise ValueError(f"an agent's tag has {AGENT_TAG_BYTES} bytes")
    return tag
