"""The beacon of a day: its bytes against a second implementation, and every way in which it is not there yet."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitschnitt.core import beacon
from mitschnitt.core.beacon import (
    COMMIT,
    DRAND,
    NO_BEACON,
    NONE,
    ROLES,
    DayRecord,
    Share,
    beacon_of,
    check_reveal,
    commitment_of,
    drand_beacon,
)
from mitschnitt.core.draw import day_key
from mitschnitt.errors import NotAllowed

VECTORS: dict[str, Any] = json.loads((Path(__file__).parent.parent / "vectors" / "beacon" / "days.json").read_text())
DAY = VECTORS["days"][0]
RECORD = DayRecord(DAY["day"], COMMIT, sha256(b"the day's record").digest())
SHARES = tuple(
    Share(role, bytes.fromhex(DAY["commitments"][role]), bytes.fromhex(DAY["values"][role]), RECORD.record)
    for role in ROLES
)
BYTES_32 = st.binary(min_size=32, max_size=32)


def refused(record: DayRecord | None, shares: tuple[Share, ...], signature: bytes | None = None) -> str:
    with pytest.raises(NotAllowed) as info:
        beacon_of(record, shares, signature)
    return info.value.rule


@pytest.mark.parametrize("vector", VECTORS["days"], ids=lambda vector: str(vector["day"]))
def test_keys_commitments_and_beacons_are_those_of_the_second_implementation(vector: dict[str, Any]) -> None:
    day, record = vector["day"], DayRecord(vector["day"], COMMIT, RECORD.record)
    assert day_key(bytes.fromhex(VECTORS["secret"]), day).hex() == vector["day_key"]
    values = {role: bytes.fromhex(value) for role, value in vector["values"].items()}
    assert {role: commitment_of(day, role, values[role]).hex() for role in ROLES} == vector["commitments"]
    shares = [Share(role, commitment_of(day, role, values[role]), values[role], RECORD.record) for role in ROLES]
    assert beacon_of(record, shares, None).hex() == vector["beacon"]
    assert beacon_of(record, reversed(shares), None).hex() == vector["beacon"]


@pytest.mark.parametrize("vector", VECTORS["rounds"], ids=lambda vector: str(vector["round"]))
def test_a_round_makes_the_beacon_of_the_second_implementation(vector: dict[str, Any]) -> None:
    signature = bytes.fromhex(vector["signature"])
    record = DayRecord("2026-11-26", DRAND, RECORD.record, vector["round"])
    assert beacon_of(record, (), signature).hex() == vector["beacon"]
    assert drand_beacon(vector["round"], signature).hex() == vector["beacon"]


def test_a_day_on_which_all_are_drawn_has_a_beacon_of_zeros() -> None:
    assert beacon_of(replace(RECORD, kind=NONE), (), None) == NO_BEACON == bytes(32)


def test_a_day_without_record_has_none() -> None:
    assert refused(None, SHARES) == "draw.day.missing"


@pytest.mark.parametrize("silent", ROLES)
def test_one_missing_value_and_nobody_is_asked(silent: str) -> None:
    untold = tuple(replace(share, value=None) if share.role == silent else share for share in SHARES)
    assert refused(RECORD, untold) == "draw.beacon.missing"
    assert refused(RECORD, tuple(share for share in SHARES if share.role != silent)) == "draw.beacon.missing"


def test_nobody_else_can_stand_in_for_a_role() -> None:
    stranger = replace(SHARES[0], role="coach")
    assert refused(RECORD, (stranger, *SHARES[1:])) == "draw.beacon.missing"


def test_a_value_that_was_not_committed_to_is_none() -> None:
    other = replace(SHARES[1], value=bytes(32))
    assert refused(RECORD, (SHARES[0], other, SHARES[2])) == "draw.beacon.commitment"


def test_a_value_told_for_another_record_is_none() -> None:
    early = replace(SHARES[1], record=sha256(b"a former record").digest())
    assert refused(RECORD, (SHARES[0], early, SHARES[2])) == "draw.beacon.record"
    assert refused(RECORD, (SHARES[0], replace(early, record=None), SHARES[2])) == "draw.beacon.record"


def test_a_day_without_its_round_has_none() -> None:
    assert refused(replace(RECORD, kind=DRAND, round=7), SHARES) == "draw.beacon.missing"
    assert refused(replace(RECORD, kind=DRAND), SHARES, b"x" * 48) == "draw.beacon.missing"


def test_a_kind_that_nobody_knows_has_none() -> None:
    assert refused(replace(RECORD, kind="dice"), SHARES, b"x" * 48) == "draw.beacon.missing"


@pytest.mark.parametrize(
    "record, share, value, told_for, rule",
    [
        (None, SHARES[0], SHARES[0].value, RECORD.record, "draw.beacon.early"),
        (RECORD, None, SHARES[0].value, RECORD.record, "draw.beacon.uncommitted"),
        (RECORD, SHARES[0], bytes(32), RECORD.record, "draw.beacon.commitment"),
        (RECORD, SHARES[0], SHARES[0].value, bytes(32), "draw.beacon.record"),
        (replace(RECORD, day="2026-11-27"), SHARES[0], SHARES[0].value, RECORD.record, "draw.beacon.commitment"),
        (RECORD, replace(SHARES[0], role="officer"), SHARES[0].value, RECORD.record, "draw.beacon.commitment"),
    ],
)
def test_a_value_out_of_order_or_of_another_is_refused(
    record: DayRecord | None, share: Share | None, value: bytes, told_for: bytes, rule: str
) -> None:
    with pytest.raises(NotAllowed) as info:
        check_reveal(record, share, value, told_for)
    assert info.value.rule == rule


def test_a_value_in_its_turn_is_taken() -> None:
    for share in SHARES:
        assert share.value is not None
        check_reveal(RECORD, share, share.value, RECORD.record)


@given(BYTES_32, BYTES_32, BYTES_32, BYTES_32)
def test_every_value_moves_the_beacon(council: bytes, officer: bytes, operator: bytes, other: bytes) -> None:
    def beacon_from(*values: bytes) -> bytes:
        shares = [
            Share(role, commitment_of("2026-11-26", role, value), value, RECORD.record)
            for role, value in zip(ROLES, values, strict=True)
        ]
        return beacon_of(RECORD, shares, None)

    whole = beacon_from(council, officer, operator)
    assert (beacon_from(other, officer, operator) == whole) == (other == council)
    assert (beacon_from(council, other, operator) == whole) == (other == officer)
    assert (beacon_from(council, officer, other) == whole) == (other == operator)


def test_roles_stand_in_the_order_in_which_their_values_are_hashed() -> None:
    assert list(ROLES) == sorted(ROLES)
    assert beacon.VALUE_BYTES == 32
