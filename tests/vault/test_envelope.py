"""Twin of vault/envelope: opened with a fixed key, sealed for the second implementation's key, padding."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mitschnitt.errors import Damaged, VaultError
from mitschnitt.vault.envelope import ENVELOPE_OVERHEAD, open_with, pad, seal_to, unpad
from second import hpke
from second.make_vectors import stream

OFFICER: dict[str, Any] = json.loads((Path(__file__).parent.parent / "vectors/envelope/officer.json").read_text())
PRIVATE, PUBLIC = bytes.fromhex(OFFICER["private_key"]), bytes.fromhex(OFFICER["public_key"])
CONTEXT = b"mitschnitt/v1/decision"
SETTINGS = settings(max_examples=40, deadline=None)


@pytest.mark.parametrize("case", OFFICER["cases"], ids=lambda case: case["name"])
def test_known_answers_open(case: dict[str, Any]) -> None:
    padded = open_with(PRIVATE, bytes.fromhex(case["sealed"]), context=bytes.fromhex(case["context"]))
    assert len(padded) == case["padded"]
    assert unpad(padded).hex() == case["plaintext"]


def test_the_second_implementation_knows_the_answers_of_rfc_7748() -> None:
    # RFC 7748, section 5.2, first vector
    scalar = bytes.fromhex("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4")
    point = bytes.fromhex("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c")
    assert hpke.x25519(scalar, point).hex() == ("c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552")


@given(st.binary(max_size=2000), st.binary(max_size=60))
@SETTINGS
def test_what_is_sealed_opens_and_is_as_much_longer(plaintext: bytes, context: bytes) -> None:
    sealed = seal_to(PUBLIC, plaintext, context=context)
    assert len(sealed) == len(plaintext) + ENVELOPE_OVERHEAD
    assert open_with(PRIVATE, sealed, context=context) == plaintext


def test_the_same_content_is_sealed_differently_each_time() -> None:
    assert seal_to(PUBLIC, b"same", context=CONTEXT) != seal_to(PUBLIC, b"same", context=CONTEXT)


@given(st.data())
@SETTINGS
def test_any_flipped_bit_is_damaged(data: st.DataObject) -> None:
    sealed = bytearray.fromhex(OFFICER["cases"][1]["sealed"])
    sealed[data.draw(st.integers(0, len(sealed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(Damaged, match="does not open"):
        open_with(PRIVATE, bytes(sealed), context=bytes.fromhex(OFFICER["cases"][1]["context"]))


def test_another_context_or_key_does_not_open() -> None:
    sealed = seal_to(PUBLIC, b"rule", context=CONTEXT)
    with pytest.raises(Damaged, match="does not open"):
        open_with(PRIVATE, sealed, context=CONTEXT + b"2")
    with pytest.raises(Damaged, match="does not open"):
        open_with(stream("another", 32), sealed, context=CONTEXT)


@pytest.mark.parametrize("length", [0, 1, ENVELOPE_OVERHEAD - 1])
def test_what_is_too_short_is_damaged(length: int) -> None:
    with pytest.raises(Damaged, match=f"an envelope has at least 48 bytes, got {length}"):
        open_with(PRIVATE, bytes(length), context=CONTEXT)


def test_an_envelope_with_a_key_of_small_order_is_damaged() -> None:
    with pytest.raises(Damaged, match="does not open"):
        open_with(PRIVATE, bytes(100), context=CONTEXT)


@pytest.mark.parametrize("public", [bytes(32), (1).to_bytes(32, "little"), (2**255 - 19).to_bytes(32, "little")])
def test_keys_of_small_order_are_refused(public: bytes) -> None:
    with pytest.raises(VaultError, match="small order"):
        seal_to(public, b"x", context=CONTEXT)


@pytest.mark.parametrize("length", [0, 31, 33])
def test_keys_of_other_lengths_are_refused(length: int) -> None:
    with pytest.raises(VaultError, match=f"public key has 32 bytes, got {length}"):
        seal_to(bytes(length), b"x", context=CONTEXT)
    with pytest.raises(VaultError, match=f"private key has 32 bytes, got {length}"):
        open_with(bytes(length), bytes(100), context=CONTEXT)


@given(st.binary(max_size=63))
@SETTINGS
def test_padding_has_one_size_and_comes_off_again(plaintext: bytes) -> None:
    assert len(pad(plaintext, 64)) == 64
    assert unpad(pad(plaintext, 64)) == plaintext


def test_content_that_leaves_no_room_for_the_mark_is_refused() -> None:
    with pytest.raises(VaultError, match="64 bytes of padding hold at most 63, got 64"):
        pad(bytes(64), 64)


@pytest.mark.parametrize("padded", [b"", bytes(64), b"content" + bytes(9)])
def test_padding_without_its_mark_is_damaged(padded: bytes) -> None:
    with pytest.raises(Damaged, match="ends with 0x80 and zeros"):
        unpad(padded)
