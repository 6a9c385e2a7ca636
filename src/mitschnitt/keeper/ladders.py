"""Ladders of kept calls on their way from a journal into the database and out to whoever may see them.

A recorder's word is read as strictly as a stranger's: what is no ladder is left out whole. Who may see one is
decided elsewhere; of a call that is not kept none comes here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from mitschnitt.errors import MalformedPacket
from mitschnitt.vault.decision import MAX_LADDERS
from mitschnitt.wire.sip.ladder import ladder_from_json, rung_as_object


def ladders_in(data: Mapping[str, Any]) -> str:
    """The ladders of a `closed` entry as the database keeps them; `[]` for none, and for what is none."""
    found = data.get("ladders", [])
    try:
        if not isinstance(found, list) or len(found) > MAX_LADDERS:
            raise MalformedPacket(f"a call has a list of at most {MAX_LADDERS} ladders")
        read = [ladder_from_json(ladder).to_json() for ladder in found]
    except MalformedPacket:
        return "[]"
    return json.dumps(read, separators=(",", ":"))


def shown_ladders(found: Sequence[Any]) -> list[dict[str, Any]]:
    """Ladders as the database or a decision has them, as objects that people's programs read. MalformedPacket."""
    ladders = [ladder_from_json(ladder) for ladder in found]
    return [
        {
            "began_at": ladder.began_at,
            "left_out": ladder.left_out,
            "gap": ladder.gap,
            "rungs": [rung_as_object(rung) for rung in ladder.rungs],
        }
        for ladder in ladders
    ]
