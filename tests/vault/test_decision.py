"""The decision page: one size whatever it says, and what is left out when it is too much."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from mitschnitt.errors import Damaged, VaultError
from mitschnitt.vault.decision import (
    DECISION_BYTES,
    MAX_LADDERS,
    SEALED_BYTES,
    decision_page,
    open_decision,
    seal_decision,
)
from mitschnitt.vault.envelope import unpad
from mitschnitt.wire.sip.ladder import MAX_RUNGS, Ladder, Rung, Way

CALL = "0" * 26
OFFICER = X25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
PUBLIC = OFFICER.public_key().public_bytes_raw()


def decision(acts: int = 0, party: str = "") -> dict[str, Any]:
    act = {"party": party or "caller", "kind": "digit", "at": "2026-11-23T09:30:00.000000Z"}
    told = [{**act, "value": str(number)} for number in range(acts)]
    return {"call": CALL, "outcome": "not_kept", "rule": "r.x", "party": party, "policy": "ab" * 32, "acts": told}


def ladder(rungs: int = MAX_RUNGS) -> Ladder:
    numbers = range(1_000_000, 1_000_000 + rungs)
    told = [Rung(3_600_000, Way.OUT, 200, "INVITE", number, 1, 200, "TCP", "recvonly", True) for number in numbers]
    return Ladder(told, began_at="2026-11-23T09:30:00.000000Z")


def read(page: bytes) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(unpad(page))
    return told


@pytest.mark.parametrize("acts", [0, 1, 8])
@pytest.mark.parametrize("ladders", [[], [0], [12], [MAX_RUNGS], [MAX_RUNGS] * MAX_LADDERS, [3] * (MAX_LADDERS + 5)])
def test_a_page_has_one_size_whatever_it_says(acts: int, ladders: list[int]) -> None:
    page = decision_page(decision(acts), [ladder(rungs) for rungs in ladders])
    assert len(page) == DECISION_BYTES
    told = read(page)
    assert told["acts"] == decision(acts)["acts"]
    assert len(told["ladders"]) == min(len(ladders), MAX_LADDERS)
    for shown, rungs in zip(told["ladders"], ladders, strict=False):
        assert len(shown["rungs"]) + shown["left_out"] == rungs


def test_an_ordinary_call_is_told_whole() -> None:
    told = read(decision_page(decision(8), [ladder(40)]))
    assert told["ladders"] == [ladder(40).to_json()]
    assert told["acts"] == decision(8)["acts"]


def test_the_middle_of_ladders_goes_before_any_act_does() -> None:
    told = read(decision_page(decision(8), [ladder()] * MAX_LADDERS))
    assert len(told["acts"]) == 8
    assert {len(shown["rungs"]) for shown in told["ladders"]} == {8}


@pytest.mark.parametrize("party", ["x" * 256, "\U0001f600" * 256, "\udc80" * 256, '"' * 256])
def test_a_page_fits_whatever_names_were_posted(party: str) -> None:
    page = decision_page(decision(8, party), [ladder()])
    assert len(page) == DECISION_BYTES
    assert read(page)["rule"] == "r.x"


def test_when_acts_do_not_fit_the_newest_stay() -> None:
    told = read(decision_page(decision(8, "x" * 800)))
    assert [act["value"] for act in told["acts"]] == ["4", "5", "6", "7"]


def test_what_cannot_be_made_to_fit_is_an_error_and_no_longer_page() -> None:
    with pytest.raises(VaultError, match="at most 4095 bytes"):
        decision_page({**decision(), "policy": "x" * DECISION_BYTES})


def test_an_envelope_opens_with_the_officers_key_for_its_own_call_only() -> None:
    sealed = seal_decision(PUBLIC, CALL, decision(2), [ladder(3)])
    assert len(sealed) == SEALED_BYTES
    assert open_decision(OFFICER.private_bytes_raw(), CALL, sealed)["ladders"] == [ladder(3).to_json()]
    with pytest.raises(Damaged):
        open_decision(OFFICER.private_bytes_raw(), "1" * 26, sealed)
    with pytest.raises(Damaged):
        open_decision(bytes(31) + b"\1", CALL, sealed)
