"""Vectors: tests/vectors/slices, sealed by another AES-GCM in tests/second/make_slice_vectors.py."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from examples import many
from mitschnitt.errors import Damaged
from mitschnitt.vault import slices
from mitschnitt.vault.derive import Kind, artefact_key
from mitschnitt.vault.slices import SealedSlice, open_slice, parse_head, parse_index

VECTORS = Path(__file__).parent.parent / "vectors"
FRAME = (VECTORS / "slices/frame.bin").read_bytes()
EXPECTED = json.loads((VECTORS / "slices/frame.json").read_text())
PLAIN = (VECTORS / "artefact/slice.bin").read_bytes()


def index_of(frame: bytes) -> slices.Index:
    head = parse_head(frame)
    return parse_index(head, frame[slices.HEAD.size : slices.body_offset(head.rows)])


def test_the_frame_of_the_vector_file_opens_with_its_key() -> None:
    assert parse_head(FRAME).length == len(FRAME)
    cipher, call_id = AESGCM(bytes.fromhex(EXPECTED["key"])), bytes.fromhex(EXPECTED["call"])
    index = index_of(FRAME)
    sealed = index[index["length"] > 0]
    assert sealed["slice"].tolist() == EXPECTED["slices"]
    for row in sealed:
        assert row["call"].tobytes() == call_id
        ciphertext = FRAME[int(row["offset"]) : int(row["offset"]) + int(row["length"])]
        where = (int(row["party"]), int(row["track"]), int(row["slice"]))
        found = open_slice(cipher, SealedSlice(call_id, *where, ciphertext))
        assert (found.track, found.number) == where[1:]
        assert bytes(found.payload) == b"helloworld"
        assert found.runs["count"].tolist() == [2, 1]


def test_the_vector_file_takes_slices_back_and_only_of_its_call() -> None:
    first, count = EXPECTED["revoked"]
    index = index_of(FRAME)
    found = slices.revoked(index, bytes.fromhex(EXPECTED["call"]))
    assert found == [(EXPECTED["party"], EXPECTED["track"], first, count)]
    assert slices.revoked(index, bytes(16)) == []


def test_packing_gives_the_bytes_of_the_vector_file() -> None:
    index = index_of(FRAME)
    start = slices.body_offset(index.size)
    assert slices.pack_head(index, length=len(FRAME)) == FRAME[:start]
    assert slices.TAG_BYTES == 16
    assert (
        AESGCM(bytes.fromhex(EXPECTED["key"])).encrypt(slices.slice_nonce(3, 7), PLAIN, None)
        == (FRAME[start : start + len(PLAIN) + 16])
    )


def test_a_party_has_its_own_journal_key() -> None:
    leaf = bytes(32)
    sealed = slices.journal_cipher(leaf, 2).encrypt(slices.slice_nonce(0, 0), PLAIN, None)
    cipher = AESGCM(artefact_key(leaf, Kind.JOURNAL, 2))
    assert open_slice(cipher, SealedSlice(bytes(16), 2, 0, 0, sealed)).flags == 1
    with pytest.raises(Damaged, match="fails its tag"):
        open_slice(slices.journal_cipher(leaf, 3), SealedSlice(bytes(16), 3, 0, 0, sealed))


def test_a_slice_does_not_open_under_another_number_or_track() -> None:
    cipher = slices.journal_cipher(bytes(32), 0)
    sealed = cipher.encrypt(slices.slice_nonce(1, 1), PLAIN, None)
    for track, number in ((1, 2), (2, 1)):
        with pytest.raises(Damaged, match="fails its tag"):
            open_slice(cipher, SealedSlice(bytes(16), 0, track, number, sealed))


@pytest.mark.parametrize(
    ("at", "byte", "why"),
    [
        (0, b"X", "begins with"),
        (4, b"\2", "version 2"),
        (8, b"\1\0\0\0", "cannot have 3 rows"),
        (11, b"\xff", "cannot have 3 rows"),
        (12, b"\xff\xff", "cannot have 65535 rows"),
    ],
)
def test_a_head_that_is_none_is_damaged(at: int, byte: bytes, why: str) -> None:
    changed = FRAME[:at] + byte + FRAME[at + len(byte) :]
    with pytest.raises(Damaged, match=why):
        parse_head(changed)
    with pytest.raises(Damaged, match="has 24 bytes, got 23"):
        parse_head(FRAME[:23])


def test_an_index_with_one_wrong_bit_is_damaged() -> None:
    head = parse_head(FRAME)
    data = bytearray(FRAME[slices.HEAD.size : slices.body_offset(head.rows)])
    data[5] ^= 1
    with pytest.raises(Damaged, match="fails its check"):
        parse_index(head, bytes(data))
    with pytest.raises(Damaged, match="64 of 96 bytes"):
        parse_index(head, bytes(data[:64]))


@pytest.mark.parametrize(("offset", "length"), [(24, 10), (120, 10_000), (2**32 - 1, 2**32 - 1)])
def test_a_row_that_points_outside_its_frame_is_damaged(offset: int, length: int) -> None:
    index = index_of(FRAME).copy()
    index["offset"][0], index["length"][0] = offset, length
    packed = slices.pack_head(index, length=len(FRAME))
    with pytest.raises(Damaged, match="outside the frame"):
        parse_index(parse_head(packed), packed[slices.HEAD.size :])


@settings(max_examples=many(100), deadline=None)
@given(st.binary(min_size=24, max_size=200))
def test_no_bytes_break_the_reader(data: bytes) -> None:
    for start in (data, FRAME[:8] + data):
        try:
            head = parse_head(start)
            parse_index(head, start[slices.HEAD.size : slices.body_offset(head.rows)])
        except Damaged:
            continue
        assert np.uint64(head.length) >= slices.body_offset(head.rows)
