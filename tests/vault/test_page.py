"""Pages of persons: one size whatever they say and whoever opens them, and keys as the standards derive them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from mitschnitt.errors import Damaged, VaultError
from mitschnitt.vault import page
from second.hkdf import hkdf_one_block

CALL, OTHER = "0" * 26, "1" * 26
SIGNER: dict[str, str] = json.loads(
    (Path(__file__).parents[1] / "vectors" / "page" / "signer.json").read_text(encoding="utf-8")
)
KEYS = [bytes([number]) * 32 for number in range(1, 6)]
TOLD = {"v": 1, "outcome": "kept", "rule": "consent.all"}


@pytest.mark.parametrize("person", page.READERS)
@pytest.mark.parametrize("readers", range(5))
@pytest.mark.parametrize("told", [{}, TOLD, {"text": "ä" * 400}])
def test_a_page_has_one_size_whatever_it_says_and_whoever_opens_it(
    person: str, readers: int, told: dict[str, Any]
) -> None:
    sealed = page.seal_page(person, CALL, [page.public_of(key) for key in KEYS[:readers]], told)
    assert len(sealed) == page.page_size(person)
    for number, key in enumerate(KEYS):
        if number < min(readers, page.READERS[person]):
            assert page.open_page(key, person, CALL, sealed) == told
        else:
            with pytest.raises(Damaged):
                page.open_page(key, person, CALL, sealed)


def test_a_page_opens_for_its_own_call_and_person_only() -> None:
    sealed = page.seal_page("caller", CALL, [page.public_of(KEYS[0])], TOLD)
    assert page.open_page(KEYS[0], "caller", CALL, sealed) == TOLD
    with pytest.raises(Damaged):
        page.open_page(KEYS[0], "caller", OTHER, sealed)
    with pytest.raises(Damaged, match="has 3216 bytes"):
        page.open_page(KEYS[0], "agent", CALL, sealed)


def test_the_same_page_is_another_each_time() -> None:
    assert page.seal_for_nobody("agent", CALL) != page.seal_for_nobody("agent", CALL)


def test_what_does_not_fit_is_an_error_and_no_longer_page() -> None:
    with pytest.raises(VaultError, match="at most 1023"):
        page.seal_page("caller", CALL, [], {"text": "x" * page.PAGE_BYTES})


@pytest.mark.parametrize("bad", [bytes(32), bytes([1]) + bytes(31), b"short"])
def test_a_key_that_seals_nothing_leaves_a_page_that_nobody_opens(bad: bytes) -> None:
    sealed = page.seal_page("caller", CALL, [bad], TOLD)
    assert len(sealed) == page.page_size("caller")


def test_the_key_of_a_code_is_its_hkdf() -> None:
    symbols = "0123456789ABCDEFGHJK"
    assert page.key_of_code(symbols) == hkdf_one_block(symbols.encode(), b"mitschnitt/v1/page/caller")


def test_the_key_of_a_signer_is_the_one_that_others_derive() -> None:
    known = {name: bytes.fromhex(value) for name, value in SIGNER.items() if name != "note"}
    assert page.key_of_signer(known["seed"]) == known["x25519_private"]
    assert page.public_of_signer(known["ed25519_public"]) == known["x25519_public"]


@given(st.binary(min_size=32, max_size=32))
def test_both_halves_of_a_signers_key_belong_together(seed: bytes) -> None:
    signer = Ed25519PrivateKey.from_private_bytes(seed)
    opening = X25519PrivateKey.from_private_bytes(page.key_of_signer(seed))
    assert page.public_of_signer(signer.public_key().public_bytes_raw()) == opening.public_key().public_bytes_raw()


@pytest.mark.parametrize(
    "public, told",
    [
        (b"", "32 bytes, got 0"),
        (bytes(31), "32 bytes, got 31"),
        ((1).to_bytes(32, "little"), "no point"),
        ((page.FIELD).to_bytes(32, "little"), "no point"),
        (b"\xff" * 32, "no point"),
    ],
)
def test_what_is_no_signers_key_is_refused(public: bytes, told: str) -> None:
    with pytest.raises(VaultError, match=told):
        page.public_of_signer(public)


def test_a_seed_of_another_length_is_refused() -> None:
    with pytest.raises(VaultError, match="32 bytes, got 31"):
        page.key_of_signer(bytes(31))
