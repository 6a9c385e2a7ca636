"""Twin of vault/derive: known answers of the second implementation, and what must not be taken."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mitschnitt.core.call import encode_call_id
from mitschnitt.errors import VaultError
from mitschnitt.vault.derive import (
    FACTS_LEAF,
    LOG_LEAF,
    PARTY_LEAVES,
    SHARED_LEAF,
    Kind,
    artefact_context,
    artefact_key,
    artefact_name,
    call_prefix,
)

KEYS = json.loads((Path(__file__).parent.parent / "vectors/derive/keys.json").read_text())
LEAF = bytes.fromhex(KEYS["leaf"])
CALL = bytes.fromhex(KEYS["call"])


@pytest.mark.parametrize("case", KEYS["cases"], ids=lambda case: f"{case['kind']}-{case['party']}")
def test_sub_keys_and_contexts_are_those_of_the_second_implementation(case: dict[str, str]) -> None:
    kind, party = Kind(case["kind"]), int(case["party"])
    assert artefact_key(LEAF, kind, party).hex() == case["key"]
    assert artefact_context(CALL, party, kind).hex() == case["context"]


def test_every_kind_has_a_known_answer() -> None:
    assert {case["kind"] for case in KEYS["cases"]} == set(Kind)


def test_kinds_and_parties_have_keys_and_contexts_of_their_own() -> None:
    pairs = [(kind, party) for kind in Kind for party in range(16)]
    assert len({artefact_key(LEAF, kind, party) for kind, party in pairs}) == len(pairs)
    assert len({artefact_context(CALL, party, kind) for kind, party in pairs}) == len(pairs)


def test_leaves_do_not_overlap() -> None:
    assert [*range(PARTY_LEAVES), SHARED_LEAF, FACTS_LEAF, LOG_LEAF] == list(range(15))


def test_a_file_is_named_by_call_party_and_kind() -> None:
    call = encode_call_id(CALL)
    assert artefact_name(CALL, 3, Kind.TIMELINE) == f"{call[:2]}/{call}/3.timeline"
    assert artefact_name(CALL, 3, Kind.TIMELINE).startswith(call_prefix(CALL))


@pytest.mark.parametrize("length", [0, 16, 31, 33, 64])
def test_a_leaf_key_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(VaultError, match=f"a leaf key has 32 bytes, got {length}"):
        artefact_key(bytes(length), Kind.MEDIA, 0)


@pytest.mark.parametrize("party", [-1, 65_536])
def test_a_party_outside_u16_is_refused(party: int) -> None:
    with pytest.raises(VaultError, match=f"a party number is 0 to 65535, got {party}"):
        artefact_key(LEAF, Kind.MEDIA, party)
    with pytest.raises(VaultError, match="a party number is"):
        artefact_context(CALL, party, Kind.MEDIA)
    with pytest.raises(VaultError, match="a party number is"):
        artefact_name(CALL, party, Kind.MEDIA)


@pytest.mark.parametrize("length", [0, 15, 17])
def test_a_call_id_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(VaultError, match=f"a call id has 16 bytes, got {length}"):
        artefact_context(bytes(length), 0, Kind.MEDIA)
