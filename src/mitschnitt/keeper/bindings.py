"""What a kept party's binding rests on, as journal, database and door tell it: no name, number or address.

Reads and writes values; decides nothing. What is no such record is left out, whoever wrote it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

MAX_BINDINGS = 32  # of one party: an m-line, and what it changed to; more is a client gone wrong
LABEL = re.compile(r"[\x21-\x7e]{0,32}")
ASSOCIATIONS = ("participantstreamassoc", "inline")  # RFC 7865, 6.8; its drafts
TOLD = ("label", "session", "association", "cname")


def binding_text(data: object) -> str:
    """The records in a `track` entry as compact JSON, the newest MAX_BINDINGS of them."""
    found = [item for item in data if _is_binding(item)] if isinstance(data, list) else []
    told = [{key: item[key] for key in TOLD} for item in found[-MAX_BINDINGS:]]
    return json.dumps(told, sort_keys=True, separators=(",", ":"))


def binding_told(text: str | None) -> list[dict[str, Any]]:
    """The records of a row; none for one that an older program wrote."""
    told: list[dict[str, Any]] = json.loads(text) if text else []
    return told


def _is_binding(item: object) -> bool:
    return (
        isinstance(item, Mapping)
        and isinstance(label := item.get("label"), str)
        and LABEL.fullmatch(label) is not None
        and type(item.get("session")) is int
        and item.get("association") in ASSOCIATIONS
        and item.get("cname", 0) in (None, True, False)
    )
