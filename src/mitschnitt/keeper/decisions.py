"""Sealed decisions that the keeper makes itself, when a recorder could not: same size, same key, same shape.

Seals to the officer's key and opens nothing.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

from mitschnitt.vault.envelope import ENVELOPE_OVERHEAD, pad, seal_to

DECISION_BYTES = 1_024  # plaintext, padded: the length must not tell the outcome
SEALED_BYTES = DECISION_BYTES + ENVELOPE_OVERHEAD


def own_decision(officer_key: bytes, call: str, *, outcome: str, rule: str, policy: str) -> bytes:
    """The envelope for a call whose recorder ended before it could say why."""
    told: Mapping[str, Any] = {
        "call": call,
        "outcome": outcome,
        "rule": rule,
        "party": "",
        "policy": policy,
        "acts": [],
    }
    plain = pad(json.dumps(told, sort_keys=True).encode(), DECISION_BYTES)
    return seal_to(officer_key, plain, context=b"mitschnitt/v1/decision/" + call.encode())


def decision_in(data: Mapping[str, Any]) -> bytes | None:
    """The envelope in a `closed` entry; None when it is missing or of another size, which would tell calls apart."""
    text = data.get("decision")
    try:
        sealed = base64.b64decode(text, validate=True) if isinstance(text, str) else b""
    except (binascii.Error, ValueError):
        return None
    return sealed if len(sealed) == SEALED_BYTES else None
