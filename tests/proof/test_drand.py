"""Rounds of drand: recorded ones verify, by two libraries; nothing else does."""

from __future__ import annotations

import hashlib
import json
import struct
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from py_ecc.bls.hash_to_curve import hash_to_G1
from py_ecc.bls.point_compression import compress_G1, compress_G2, decompress_G1, decompress_G2
from py_ecc.bls.typing import G1Compressed, G2Compressed
from py_ecc.optimized_bls12_381.optimized_curve import G2, curve_order, field_modulus, multiply
from py_ecc.optimized_bls12_381.optimized_pairing import pairing

from mitschnitt.errors import ConfigError, NotAllowed, TooLarge
from mitschnitt.proof.drand import (
    DST,
    MAX_FILE_BYTES,
    MAX_ROUND,
    QUICKNET,
    Chain,
    chain_named,
    read_round,
    verify_round,
)

# py_ecc raises it to 100,000 for all of this process; what refuses deep nesting would then run out of stack instead.
sys.setrecursionlimit(1_000)

RECORDED: dict[str, Any] = json.loads(
    (Path(__file__).parent.parent / "vectors" / "drand" / "quicknet.json").read_text()
)
ROUNDS = {item["round"]: bytes.fromhex(item["signature"]) for item in RECORDED["rounds"]}
SIGNATURE = ROUNDS[1000]
SECRET = 0x1234567890ABCDEF % curve_order  # of a chain that tests sign themselves, with py_ecc


def message(number: int) -> bytes:
    return hashlib.sha256(number.to_bytes(8, "big")).digest()


def hashed_by_py_ecc(number: int) -> Any:
    return hash_to_G1(message(number), DST, hashlib.sha256)  # type: ignore[arg-type]  # it calls what it is given


def signed_by_py_ecc(number: int) -> bytes:
    return compress_G1(multiply(hashed_by_py_ecc(number), SECRET)).to_bytes(48, "big")


def own_chain() -> Chain:
    high, low = compress_G2(multiply(G2, SECRET))
    return replace(QUICKNET, name="tests", public_key=high.to_bytes(48, "big") + low.to_bytes(48, "big"))


def refused(number: int, signature: bytes, chain: Chain = QUICKNET) -> tuple[str, str]:
    with pytest.raises(NotAllowed) as info:
        verify_round(chain, number, signature)
    return info.value.rule, str(info.value)


@pytest.mark.parametrize("number", ROUNDS)
def test_a_recorded_round_verifies_and_its_neighbour_does_not(number: int) -> None:
    verify_round(QUICKNET, number, ROUNDS[number])
    assert refused(number + 1, ROUNDS[number])[0] == "draw.round.forged"
    assert refused(number - 1, ROUNDS[number])[0] == "draw.round.forged"


@pytest.mark.parametrize("item", [item for item in RECORDED["rounds"] if "randomness" in item])
def test_recorded_signatures_are_those_that_the_network_told(item: dict[str, Any]) -> None:
    assert hashlib.sha256(bytes.fromhex(item["signature"])).hexdigest() == item["randomness"]


@pytest.mark.thorough
@pytest.mark.parametrize("number", [1000, 657413])
def test_a_second_library_by_another_author_says_the_same(number: int) -> None:
    key = RECORDED["chain"]["public_key"]
    public = decompress_G2(G2Compressed((int(key[:96], 16), int(key[96:], 16))))
    point = decompress_G1(G1Compressed(int.from_bytes(ROUNDS[number], "big")))
    assert pairing(G2, point) == pairing(public, hashed_by_py_ecc(number))


def test_rounds_that_a_second_library_signed_verify_under_its_key_only() -> None:
    signature = signed_by_py_ecc(4711)
    verify_round(own_chain(), 4711, signature)
    assert refused(4711, signature)[0] == "draw.round.forged"
    assert refused(4712, signature, own_chain())[0] == "draw.round.forged"


def test_the_parameters_of_the_chain_hash_to_its_name() -> None:
    told = RECORDED["chain"]
    assert QUICKNET.chain_hash.hex() == told["hash"]
    assert (QUICKNET.public_key.hex(), QUICKNET.genesis, QUICKNET.period) == (
        told["public_key"],
        told["genesis_time"],
        told["period"],
    )
    hashed = struct.pack(">Iq", QUICKNET.period, QUICKNET.genesis) + QUICKNET.public_key
    hashed += bytes.fromhex(told["group_hash"]) + told["beacon_id"].encode()
    assert hashlib.sha256(hashed).digest() == QUICKNET.chain_hash


def test_the_signature_of_another_round_is_refused_by_name() -> None:
    rule, sentence = refused(1000, ROUNDS[1001])
    assert rule == "draw.round.forged"
    assert "not that of round 1000 of quicknet" in sentence


def unreduced(signature: bytes) -> bytes:
    """The same point with its coordinate written as x + p, where that fits its 381 bits."""
    number = int.from_bytes(signature, "big")
    flags, x = number >> 381 << 381, number & ((1 << 381) - 1)
    return (flags | (x + field_modulus) % (1 << 381)).to_bytes(48, "big")


def small_x_point() -> bytes:
    """A signature of the tests' chain whose x is small enough that x + p fits: a second spelling would exist."""
    for factor in range(1, 400):
        data = compress_G1(multiply(hashed_by_py_ecc(1), factor)).to_bytes(48, "big")
        if (int.from_bytes(data, "big") & ((1 << 381) - 1)) + field_modulus < 1 << 381:
            return data
    raise AssertionError("none of 400 points has a small x")


@pytest.mark.parametrize(
    "what, signature",
    [
        ("nothing", b""),
        ("a byte too few", SIGNATURE[:-1]),
        ("a byte too many", SIGNATURE + b"\x00"),
        ("zeros", bytes(48)),
        ("ones", b"\xff" * 48),
        ("the point at infinity", b"\xc0" + bytes(47)),
        ("a point that is not compressed", bytes([SIGNATURE[0] & 0x7F]) + SIGNATURE[1:]),
        ("text", b"not a signature, though it has forty-eight bytes"),
    ],
)
def test_what_is_no_signature_is_refused_in_one_sentence(what: str, signature: bytes) -> None:
    rule, sentence = refused(1000, signature)
    assert rule == "draw.round.form", what
    assert "signature" in sentence


def test_a_second_spelling_of_a_point_is_refused() -> None:
    spelled = small_x_point()
    assert refused(1, spelled)[0] == "draw.round.forged"
    assert refused(1, unreduced(spelled))[0] == "draw.round.form"


def test_a_point_outside_the_subgroup_is_refused() -> None:
    for x in range(1, 40):
        data = bytes([0x80]) + x.to_bytes(47, "big")
        assert refused(1000, data)[0] == "draw.round.form"


@pytest.mark.parametrize("number", [0, -1, MAX_ROUND + 1, 1 << 64])
def test_what_is_no_round_is_refused(number: int) -> None:
    assert refused(number, SIGNATURE)[0] == "draw.round.form"


@given(st.binary(max_size=60), st.integers(1, 1 << 40))
def test_any_bytes_verify_or_are_refused_by_name(signature: bytes, number: int) -> None:
    assert refused(number, signature)[0] in {"draw.round.form", "draw.round.forged"}


def test_a_flipped_bit_anywhere_is_refused() -> None:
    for place in range(0, 384, 7):
        forged = (int.from_bytes(SIGNATURE, "big") ^ 1 << place).to_bytes(48, "big")
        assert refused(1000, forged)[0] in {"draw.round.form", "draw.round.forged"}


@pytest.mark.parametrize("item", RECORDED["rounds"], ids=lambda item: str(item["round"]))
def test_a_round_has_its_moment(item: dict[str, Any]) -> None:
    at = datetime.fromisoformat(item["time"])
    assert QUICKNET.time_of(item["round"]) == at
    assert QUICKNET.first_round(at) == item["round"]
    assert QUICKNET.first_round(at - timedelta(microseconds=1)) == item["round"]
    assert QUICKNET.first_round(at + timedelta(microseconds=1)) == item["round"] + 1


def test_before_the_chain_began_the_first_round_is_the_first() -> None:
    assert QUICKNET.first_round(datetime(2020, 1, 1, tzinfo=UTC)) == 1


@given(st.timedeltas(timedelta(days=9), timedelta(days=60_000)))
def test_the_first_round_at_a_moment_is_not_earlier_and_the_one_before_it_is(later: timedelta) -> None:
    at = QUICKNET.time_of(1) + later
    number = QUICKNET.first_round(at)
    assert QUICKNET.time_of(number) >= at > QUICKNET.time_of(number - 1)


def test_chains_are_known_by_name_only() -> None:
    assert chain_named("quicknet") is QUICKNET
    with pytest.raises(ConfigError, match="chains are quicknet; found 'slownet'"):
        chain_named("slownet")


def test_a_round_is_read_as_the_relays_tell_it() -> None:
    told = {"round": 1000, "randomness": "not read", "signature": SIGNATURE.hex()}
    assert read_round(json.dumps(told).encode()) == (1000, SIGNATURE)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b'{"round": 1000}',
        b'{"round": true, "signature": ""}',
        b'{"round": "1000", "signature": ""}',
        b'{"round": 1000, "signature": "zz"}',
        b'{"round": 1000, "signature": 7}',
        b"\xff\xfe",
        b"[" * 4_000,
    ],
)
def test_what_is_no_round_file_is_refused(data: bytes) -> None:
    with pytest.raises(NotAllowed) as info:
        read_round(data)
    assert info.value.rule == "draw.round.form"


def test_a_file_too_long_for_a_round_is_not_read() -> None:
    with pytest.raises(TooLarge, match="at most 4096 bytes, found 4097"):
        read_round(b" " * (MAX_FILE_BYTES + 1))
