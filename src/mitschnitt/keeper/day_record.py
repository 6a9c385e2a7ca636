"""The record of a day: what is fixed and published before its beacon is known. Reckons bytes; writes no file."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import rfc8785

from mitschnitt.core.beacon import COMMIT, DRAND, DayRecord, Share
from mitschnitt.keeper.clock import rfc3339
from mitschnitt.proof.drand import Chain
from mitschnitt.store.day_queries import DayRow, ShareRow

VERSION = 1


def promised(kind: str, shares: Iterable[ShareRow], chain: Chain, number: int | None) -> dict[str, Any]:
    """What a record says of the beacon that is to come: commitments with their signed acts, or a round of a chain."""
    if kind == DRAND:
        return {"kind": kind, "chain": chain.name, "chain_hash": chain.chain_hash.hex(), "round": number}
    if kind != COMMIT:
        return {"kind": kind}
    rows = list(shares)
    return {
        "kind": kind,
        "commitments": {row.role: row.commitment for row in rows},
        "acts": {
            row.role: {"act": row.act.decode(), "signature": base64.b64encode(row.signature).decode()} for row in rows
        },
    }


def open_row(
    day: str, policy_hash: str, key: bytes, beacon: dict[str, Any], *, now: datetime, before: DayRow | None
) -> DayRow:
    """The day as it is opened now; a record that takes the place of an earlier one names it."""
    opened_at = rfc3339(now)
    key_sha256 = hashlib.sha256(key).hexdigest()
    record = rfc8785.dumps(
        {
            "v": VERSION,
            "day": day,
            "policy_hash": policy_hash,
            "key_sha256": key_sha256,
            "beacon": beacon,
            "opened_at": opened_at,
            "replaces": hashlib.sha256(before.record).hexdigest() if before else None,
        }
    )
    return DayRow(day, policy_hash, key_sha256, beacon["kind"], beacon.get("round"), None, opened_at, record)


def record_of(row: DayRow) -> DayRecord:
    """What the core needs to know of it."""
    return DayRecord(row.day, row.beacon_kind, hashlib.sha256(row.record).digest(), row.drand_round)


def share_of(row: ShareRow) -> Share:
    """A role's share, with the record that its reveal names."""
    if row.value is None or row.reveal_act is None:
        return Share(row.role, bytes.fromhex(row.commitment))
    told_for = bytes.fromhex(json.loads(row.reveal_act)["record"])
    return Share(row.role, bytes.fromhex(row.commitment), bytes.fromhex(row.value), told_for)
