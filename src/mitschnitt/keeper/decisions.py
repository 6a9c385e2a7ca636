"""Sealed decisions that the keeper makes itself, when a recorder could not: same size, same key, same shape.

Seals to the officer's key and opens nothing.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from mitschnitt.vault.decision import SEALED_BYTES, seal_decision


def own_decision(officer_key: bytes, call: str, *, outcome: str, rule: str, policy: str) -> bytes:
    """The envelope for a call whose recorder ended before it could say why."""
    told = {"call": call, "outcome": outcome, "rule": rule, "party": "", "policy": policy, "acts": []}
    return seal_decision(officer_key, call, told)


def decision_in(data: Mapping[str, Any]) -> bytes | None:
    """The envelope in a `closed` entry; None when it is missing or of another size, which would tell calls apart."""
    text = data.get("decision")
    try:
        sealed = base64.b64decode(text, validate=True) if isinstance(text, str) else b""
    except (binascii.Error, ValueError):
        return None
    return sealed if len(sealed) == SEALED_BYTES else None
