"""Call ids: 26 characters that a person can read aloud, one spelling each."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitschnitt.core.call import CALL_ID_BYTES, CALL_ID_CHARS, CROCKFORD, decode_call_id, encode_call_id
from mitschnitt.errors import MalformedPacket


@given(st.binary(min_size=CALL_ID_BYTES, max_size=CALL_ID_BYTES))
def test_an_id_comes_back_as_it_was(raw: bytes) -> None:
    text = encode_call_id(raw)
    assert len(text) == CALL_ID_CHARS
    assert decode_call_id(text) == raw


@pytest.mark.parametrize(
    "raw, text",
    [
        (bytes(16), "0" * 26),
        (bytes(15) + b"\x1f", "0" * 25 + "Z"),
        (b"\xff" * 16, "7" + "Z" * 25),
        (bytes.fromhex("00112233445566778899aabbccddeeff"), "0024H36H2NCSVRH6DAQF6DVVQZ"),
    ],
)
def test_known_ids(raw: bytes, text: str) -> None:
    assert encode_call_id(raw) == text
    assert decode_call_id(text) == raw


def test_the_alphabet_has_no_letters_that_are_mistaken() -> None:
    assert len(set(CROCKFORD)) == 32
    assert not set("ILOU") & set(CROCKFORD)


@pytest.mark.parametrize("raw", [b"", bytes(15), bytes(17)])
def test_ids_of_another_length_are_refused(raw: bytes) -> None:
    with pytest.raises(MalformedPacket, match=f"a call id has 16 bytes, got {len(raw)}"):
        encode_call_id(raw)


@pytest.mark.parametrize("text", ["", "0" * 25, "0" * 27, "0" * 25 + "I", "0" * 25 + "a", "0" * 24 + " 0", "٠" * 26])
def test_only_the_canonical_spelling_is_taken(text: str) -> None:
    with pytest.raises(MalformedPacket, match="a call id has 26 characters"):
        decode_call_id(text)


def test_an_id_above_128_bits_is_refused() -> None:
    with pytest.raises(MalformedPacket, match="this one is larger"):
        decode_call_id("8" + "0" * 25)


@given(st.text(max_size=30))
def test_any_text_is_an_id_or_refused(text: str) -> None:
    try:
        raw = decode_call_id(text)
    except MalformedPacket:
        return
    assert encode_call_id(raw) == text
