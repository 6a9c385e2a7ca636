"""The keeper's own decisions: one size, one key."""

from __future__ import annotations

import base64
import json

import pytest

from keeper.site_on_disk import OFFICERS_KEY
from mitschnitt.errors import Damaged
from mitschnitt.keeper.decisions import decision_in, own_decision
from mitschnitt.vault.decision import SEALED_BYTES
from mitschnitt.vault.envelope import open_with, unpad

CALL = "0" * 25 + "1"
PUBLIC = OFFICERS_KEY.public_key().public_bytes_raw()


def test_only_the_officer_opens_it_and_only_for_its_call() -> None:
    sealed = own_decision(PUBLIC, CALL, outcome="kept", rule="recorder.truncated", policy="p")
    private = OFFICERS_KEY.private_bytes_raw()
    opened = json.loads(unpad(open_with(private, sealed, context=b"mitschnitt/v1/decision/" + CALL.encode())))
    assert (opened["call"], opened["outcome"], opened["rule"]) == (CALL, "kept", "recorder.truncated")
    with pytest.raises(Damaged):
        open_with(private, sealed, context=b"mitschnitt/v1/decision/" + b"0" * 26)


def test_every_decision_has_one_size() -> None:
    sizes = {len(own_decision(PUBLIC, CALL, outcome=o, rule=r, policy="p")) for o, r in (("kept", "a"), ("n", "b.c"))}
    assert sizes == {SEALED_BYTES}


@pytest.mark.parametrize("decision", [None, 7, "", "not base64!", base64.b64encode(b"short").decode()])
def test_an_envelope_of_another_size_is_none(decision: object) -> None:
    assert decision_in({"decision": decision}) is None


def test_an_envelope_of_the_right_size_is_taken() -> None:
    sealed = own_decision(PUBLIC, CALL, outcome="kept", rule="a", policy="p")
    assert decision_in({"decision": base64.b64encode(sealed).decode()}) == sealed
