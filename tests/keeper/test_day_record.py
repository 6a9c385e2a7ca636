"""The bytes of a day's record, against one written by hand."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
import rfc8785

from mitschnitt.core.beacon import COMMIT, DRAND, NONE, ROLES, DayRecord, Share
from mitschnitt.keeper.day_record import open_row, promised, record_of, share_of
from mitschnitt.proof.drand import QUICKNET
from mitschnitt.store.day_queries import ShareRow

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "beacon" / "records.json").read_text())
OPENED = datetime(2026, 11, 25, 8, 30, tzinfo=UTC)
KEY = bytes(range(32))
SHARES = [ShareRow("2026-11-26", role, role[0].encode().hex() * 32, b"{}", b"\x01" * 64) for role in ROLES]


@pytest.mark.parametrize("kind", [NONE, COMMIT, DRAND])
def test_a_record_is_the_one_written_by_hand(kind: str) -> None:
    number = 34_216_045 if kind == DRAND else None
    row = open_row("2026-11-26", "a" * 64, KEY, promised(kind, SHARES, QUICKNET, number), now=OPENED, before=None)
    assert row.record.decode() == VECTORS[kind]
    assert (row.beacon_kind, row.drand_round, row.beacon) == (kind, number, None)
    assert rfc8785.dumps(json.loads(row.record)) == row.record


def test_a_record_that_takes_the_place_of_another_names_it() -> None:
    first = open_row("2026-11-26", "a" * 64, KEY, {"kind": NONE}, now=OPENED, before=None)
    second = open_row("2026-11-26", "b" * 64, KEY, {"kind": NONE}, now=OPENED, before=first)
    assert json.loads(second.record)["replaces"] == hashlib.sha256(first.record).hexdigest()


def test_the_core_knows_a_record_by_its_hash() -> None:
    row = open_row("2026-11-26", "a" * 64, KEY, {"kind": DRAND, "round": 7}, now=OPENED, before=None)
    assert record_of(row) == DayRecord("2026-11-26", DRAND, hashlib.sha256(row.record).digest(), 7)


def test_a_share_has_its_value_only_with_the_act_that_told_it() -> None:
    row = SHARES[0]
    assert share_of(row) == Share("council", b"c" * 32)
    told = ShareRow(row.day, row.role, row.commitment, row.act, row.signature, "00" * 32, b'{"record":"0f"}', b"s")
    assert share_of(told) == Share("council", b"c" * 32, bytes(32), b"\x0f")
    silent = ShareRow(row.day, row.role, row.commitment, row.act, row.signature, "00" * 32)
    assert share_of(silent).value is None
