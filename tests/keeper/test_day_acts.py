"""Acts of roles towards the draw: only the role's own key makes one, and nothing else is taken for one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mitschnitt.errors import MalformedPacket, NotAllowed
from mitschnitt.keeper.acts import SignedAct, sign_act
from mitschnitt.keeper.day_acts import (
    DOMAIN,
    check_clock,
    check_commitment,
    check_reveal,
    sign_clock,
    sign_commitment,
    sign_reveal,
)

DAY = "2026-11-27"
KEYS = {
    role: Ed25519PrivateKey.from_private_bytes(role[:2].encode() * 16) for role in ("council", "officer", "operator")
}
HASH = bytes(range(32))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "roles").mkdir()
    for role, key in KEYS.items():
        (tmp_path / "roles" / f"{role}.ed25519.pub").write_bytes(key.public_key().public_bytes_raw())
    return tmp_path


def refused(check: Callable[[], object]) -> str:
    with pytest.raises(NotAllowed) as info:
        check()
    return info.value.rule


@pytest.mark.parametrize("role", KEYS)
def test_a_commitment_says_who_for_which_day_and_what(directory: Path, role: str) -> None:
    signed = sign_commitment(KEYS[role], role=role, day=DAY, commitment=HASH)
    row = check_commitment(directory, signed)
    assert (row.day, row.role, row.commitment, row.value) == (DAY, role, HASH.hex(), None)
    assert (row.act, row.signature) == (signed.act, signed.signature)


@pytest.mark.parametrize("role", KEYS)
def test_a_reveal_says_the_value_and_the_record_that_it_is_told_for(directory: Path, role: str) -> None:
    signed = sign_reveal(KEYS[role], role=role, day=DAY, value=HASH, record=bytes(32))
    row, record = check_reveal(directory, signed)
    assert (row.day, row.role, row.value, record) == (DAY, role, HASH.hex(), bytes(32))
    assert (row.reveal_act, row.reveal_signature) == (signed.act, signed.signature)


def test_council_and_officer_say_which_day_it_is_and_the_operator_does_not(directory: Path) -> None:
    for role in ("council", "officer"):
        assert check_clock(directory, sign_clock(KEYS[role], role=role, day=DAY)) == date(2026, 11, 27)
    by_operator = sign_clock(KEYS["operator"], role="operator", day=DAY)
    assert refused(lambda: check_clock(directory, by_operator)) == "draw.commit.role"


@pytest.mark.parametrize("role", KEYS)
@pytest.mark.parametrize("signer", KEYS)
def test_no_role_acts_with_another_roles_key(directory: Path, role: str, signer: str) -> None:
    signed = sign_commitment(KEYS[signer], role=role, day=DAY, commitment=HASH)
    if role == signer:
        assert check_commitment(directory, signed).role == role
    else:
        assert refused(lambda: check_commitment(directory, signed)) == "role.signature"


def test_a_role_without_a_key_does_not_act(directory: Path) -> None:
    (directory / "roles" / "council.ed25519.pub").unlink()
    signed = sign_commitment(KEYS["council"], role="council", day=DAY, commitment=HASH)
    assert refused(lambda: check_commitment(directory, signed)) == "role.unenrolled"


def test_a_signature_for_something_else_is_none_here(directory: Path) -> None:
    signed = sign_commitment(KEYS["council"], role="council", day=DAY, commitment=HASH)
    elsewhere = SignedAct(signed.act, KEYS["council"].sign(b"mitschnitt/v1/policy\n" + signed.act))
    assert refused(lambda: check_commitment(directory, elsewhere)) == "role.signature"


def test_an_act_of_one_kind_is_none_of_another(directory: Path) -> None:
    commitment = sign_commitment(KEYS["council"], role="council", day=DAY, commitment=HASH)
    with pytest.raises(MalformedPacket, match="expected an act tell_value, found commit_value"):
        check_reveal(directory, commitment)
    with pytest.raises(MalformedPacket, match="expected an act confirm_day"):
        check_clock(directory, commitment)


@pytest.mark.parametrize(
    "change",
    [
        {"day": "2026-W48"},
        {"day": "20261127"},
        {"day": "2026-02-30"},
        {"commitment": "AB" * 32},
        {"commitment": "ab" * 31},
        {"more": "field"},
        {"v": 2},
    ],
)
def test_an_act_of_another_form_is_none(directory: Path, change: dict[str, object]) -> None:
    fields = {"v": 1, "act": "commit_value", "role": "council", "day": DAY, "commitment": HASH.hex(), **change}
    with pytest.raises(MalformedPacket):
        check_commitment(directory, sign_act(KEYS["council"], DOMAIN, fields))


def test_nobody_else_acts(directory: Path) -> None:
    fields = {"v": 1, "act": "commit_value", "role": "coach", "day": DAY, "commitment": HASH.hex()}
    assert refused(lambda: check_commitment(directory, sign_act(KEYS["council"], DOMAIN, fields))) == "draw.commit.role"


def test_the_bytes_that_are_signed_are_those_of_the_documented_form(directory: Path) -> None:
    by_hand = f'{{"act":"commit_value","commitment":"{HASH.hex()}","day":"2026-11-27","role":"council","v":1}}'.encode()
    signature = KEYS["council"].sign(b"mitschnitt/v1/draw\n" + by_hand)
    assert check_commitment(directory, SignedAct(by_hand, signature)).commitment == HASH.hex()
