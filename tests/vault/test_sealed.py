"""Twin of vault/sealed: known answers, two other implementations, every damage refused, ranges as slices."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.cobblestone import Cobblestone256Decryptor, Cobblestone256Encryptor
from hypothesis import given, settings
from hypothesis import strategies as st

from mitschnitt.errors import Damaged, VaultError
from mitschnitt.vault.sealed import (
    CHUNK_BYTES,
    HEADER_BYTES,
    MAX_CHUNKS,
    SEALED_CHUNK_BYTES,
    TAG_BYTES,
    Opener,
    Sealer,
    plain_size,
    read_range,
    sealed_size,
)
from second import cobblestone
from second.make_vectors import SIZES, all_files, stream

VECTORS = Path(__file__).parent.parent / "vectors"
KEY, SALT, CONTEXT = stream("key", 32), stream("salt", 24), b"a context"
SETTINGS = settings(max_examples=60, deadline=None)


def sealed(plain: bytes, *, key: bytes = KEY, salt: bytes = SALT, context: bytes = CONTEXT) -> bytes:
    sealer = Sealer(key, salt=salt, context=context)
    return sealer.header + sealer.update(plain) + sealer.finish()


def opened(data: bytes, start: int, stop: int, *, key: bytes = KEY, context: bytes = CONTEXT) -> bytes:
    opener = Opener(key, header=data[:HEADER_BYTES], context=context)
    return read_range(opener, lambda a, b: data[a:b], size=len(data), start=start, stop=stop)


PLAIN = stream("three chunks and a bit", 3 * CHUNK_BYTES + 777)
FILE = sealed(PLAIN)


@pytest.mark.parametrize("size", SIZES)
def test_known_answers(size: int) -> None:
    vector: dict[str, Any] = json.loads((VECTORS / f"sealed/{size}.json").read_text())
    key, salt, context = (bytes.fromhex(vector[name]) for name in ("key", "salt", "context"))
    plain = stream(vector["plaintext"]["stream"], vector["plaintext"]["bytes"])
    file = sealed(plain, key=key, salt=salt, context=context)
    assert file[:HEADER_BYTES].hex() == vector["header"]
    assert len(file) == vector["sealed_bytes"]
    assert hashlib.sha256(file).hexdigest() == vector["sealed_sha256"]
    assert file.hex() == vector.get("sealed", file.hex())
    assert opened(file, 0, size, key=key, context=context) == plain


def test_making_the_vectors_again_gives_the_committed_bytes() -> None:
    made = all_files()
    assert {name: (VECTORS / name).read_bytes() for name in made} == made


@pytest.mark.parametrize("size", [*SIZES, 100_000])
def test_the_second_implementation_opens_ours_and_seals_the_same(size: int) -> None:
    plain = stream("crossed", size)
    assert cobblestone.seal(KEY, SALT, CONTEXT, plain) == sealed(plain)
    assert cobblestone.unseal(KEY, CONTEXT, sealed(plain)) == plain


@pytest.mark.parametrize("size", [*SIZES, 100_000])
def test_the_librarys_own_streams_open_ours_and_ours_opens_theirs(size: int) -> None:
    plain = stream("library", size)
    decryptor = Cobblestone256Decryptor(KEY, CONTEXT)
    assert decryptor.update(sealed(plain)) + decryptor.finalize() == plain
    encryptor = Cobblestone256Encryptor(KEY, CONTEXT)
    assert opened(encryptor.update(plain) + encryptor.finalize(), 0, size) == plain


@given(st.lists(st.integers(0, 40_000), max_size=6))
@SETTINGS
def test_how_the_plaintext_is_cut_into_updates_makes_no_difference(lengths: list[int]) -> None:
    plain = stream("updates", sum(lengths))
    sealer = Sealer(KEY, salt=SALT, context=CONTEXT)
    parts, at = [sealer.header], 0
    for length in lengths:
        parts.append(sealer.update(memoryview(plain)[at : at + length]))
        at += length
    assert b"".join([*parts, sealer.finish()]) == sealed(plain)


@given(st.integers(0, len(PLAIN) + 9), st.integers(0, len(PLAIN) + 9))
@SETTINGS
def test_any_range_equals_the_slice(start: int, stop: int) -> None:
    assert opened(FILE, start, stop) == PLAIN[start:stop]


@pytest.mark.parametrize("size", SIZES)
def test_ranges_at_the_edges_of_chunks_equal_the_slice(size: int) -> None:
    plain = stream("edges", size)
    file = sealed(plain)
    marks = [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES, size, size + 1]
    got = {(start, stop): opened(file, start, stop) for start in marks for stop in marks}
    assert got == {(start, stop): plain[start:stop] for start in marks for stop in marks}


def test_a_range_fetches_only_the_chunks_that_it_touches() -> None:
    fetched: list[tuple[int, int]] = []

    def fetch(start: int, stop: int) -> bytes:
        fetched.append((start, stop))
        return FILE[start:stop]

    opener = Opener(KEY, header=FILE[:HEADER_BYTES], context=CONTEXT)
    middle = read_range(opener, fetch, size=len(FILE), start=CHUNK_BYTES, stop=2 * CHUNK_BYTES)
    assert middle == PLAIN[CHUNK_BYTES : 2 * CHUNK_BYTES]
    assert fetched == [(HEADER_BYTES + SEALED_CHUNK_BYTES, HEADER_BYTES + 2 * SEALED_CHUNK_BYTES)]


def test_the_end_is_authenticated_even_where_the_last_chunk_is_empty() -> None:
    file = sealed(stream("full", CHUNK_BYTES))
    broken = file[:-1] + bytes([file[-1] ^ 1])
    assert opened(broken, 0, CHUNK_BYTES - 1) == stream("full", CHUNK_BYTES)[:-1]
    with pytest.raises(Damaged, match="chunk 1 fails its tag"):
        opened(broken, 0, CHUNK_BYTES)
    with pytest.raises(Damaged, match="chunk 1 fails its tag"):
        opened(broken, CHUNK_BYTES, CHUNK_BYTES)


@given(st.integers(0, len(FILE) - 1))
@SETTINGS
def test_a_truncated_file_is_damaged(length: int) -> None:
    with pytest.raises(Damaged):
        opened(FILE[:length], 0, len(PLAIN))


@pytest.mark.parametrize("chunks", [0, 1, 2, 3])
def test_a_file_cut_between_chunks_is_damaged(chunks: int) -> None:
    with pytest.raises(Damaged, match="the last chunk is cut or missing"):
        opened(FILE[: HEADER_BYTES + chunks * SEALED_CHUNK_BYTES], 0, 1)


@given(st.binary(min_size=1, max_size=40))
@SETTINGS
def test_an_extended_file_is_damaged(more: bytes) -> None:
    with pytest.raises(Damaged):
        opened(FILE + more, 0, len(PLAIN) + len(more))


@given(st.integers(0, 8 * len(FILE) - 1))
@SETTINGS
def test_a_flipped_bit_anywhere_is_damaged(bit: int) -> None:
    broken = bytearray(FILE)
    broken[bit // 8] ^= 1 << bit % 8
    with pytest.raises(Damaged):
        opened(bytes(broken), 0, len(PLAIN))


def chunks_of(file: bytes) -> list[bytes]:
    return [file[at : at + SEALED_CHUNK_BYTES] for at in range(HEADER_BYTES, len(file), SEALED_CHUNK_BYTES)]


@given(st.permutations(range(4)).filter(lambda order: order != [0, 1, 2, 3]))
@SETTINGS
def test_swapped_chunks_are_damaged(order: list[int]) -> None:
    chunks = chunks_of(FILE)
    swapped = FILE[:HEADER_BYTES] + b"".join(chunks[number] for number in order)
    with pytest.raises(Damaged):
        opened(swapped, 0, len(PLAIN))


@given(st.integers(0, 3), st.integers(0, 4))
@SETTINGS
def test_a_duplicated_chunk_is_damaged(number: int, at: int) -> None:
    chunks = chunks_of(FILE)
    chunks.insert(at, chunks[number])
    data = FILE[:HEADER_BYTES] + b"".join(chunks)
    with pytest.raises(Damaged):
        opened(data, 0, len(data))


@given(st.integers(0, 3))
@SETTINGS
def test_a_chunk_of_another_file_under_the_same_key_is_damaged(number: int) -> None:
    other = chunks_of(sealed(PLAIN, salt=stream("other salt", 24)))
    chunks = chunks_of(FILE)
    chunks[number] = other[number]
    with pytest.raises(Damaged, match=f"chunk {number} fails its tag"):
        opened(FILE[:HEADER_BYTES] + b"".join(chunks), 0, len(PLAIN))


@given(st.binary(min_size=32, max_size=32).filter(lambda key: key != KEY))
@SETTINGS
def test_another_key_is_damaged_before_any_chunk_is_opened(key: bytes) -> None:
    with pytest.raises(Damaged, match="the key commitment does not match"):
        Opener(key, header=FILE[:HEADER_BYTES], context=CONTEXT)


@given(st.binary(max_size=64).filter(lambda context: context != CONTEXT))
@SETTINGS
def test_another_context_is_damaged_before_any_chunk_is_opened(context: bytes) -> None:
    with pytest.raises(Damaged, match="the key commitment does not match"):
        Opener(KEY, header=FILE[:HEADER_BYTES], context=context)


def test_a_fetch_that_gives_too_little_is_damaged() -> None:
    opener = Opener(KEY, header=FILE[:HEADER_BYTES], context=CONTEXT)
    with pytest.raises(Damaged, match="expected 16400"):
        read_range(opener, lambda a, b: FILE[a : b - 1], size=len(FILE), start=0, stop=1)


@given(st.integers(0, 200_000))
@SETTINGS
def test_sizes_are_inverse(size: int) -> None:
    assert plain_size(sealed_size(size)) == size


def test_sizes_are_those_of_real_files() -> None:
    assert [sealed_size(size) for size in SIZES] == [len(sealed(bytes(size))) for size in SIZES]


@pytest.mark.parametrize("rest", [*range(TAG_BYTES), -1, -HEADER_BYTES])
def test_sizes_that_no_whole_file_has_are_damaged(rest: int) -> None:
    with pytest.raises(Damaged, match="no whole sealed file has"):
        plain_size(HEADER_BYTES + rest)
    with pytest.raises(Damaged, match="no whole sealed file has"):
        plain_size(HEADER_BYTES + 7 * SEALED_CHUNK_BYTES + min(max(rest, 0), TAG_BYTES - 1))


def test_a_full_chunk_is_never_the_last() -> None:
    opener = Opener(KEY, header=FILE[:HEADER_BYTES], context=CONTEXT)
    full = chunks_of(FILE)[0]
    assert opener.chunk(0, full, last=False) == PLAIN[:CHUNK_BYTES]
    with pytest.raises(Damaged, match="chunk 0 has 16400 bytes, expected 16 to 16399"):
        opener.chunk(0, full, last=True)
    with pytest.raises(Damaged, match="chunk 3 has 793 bytes, expected 16400 to 16400"):
        opener.chunk(3, chunks_of(FILE)[3], last=False)


def test_a_header_of_another_length_is_damaged() -> None:
    with pytest.raises(Damaged, match="begins with 56 bytes of header, got 55"):
        Opener(KEY, header=FILE[:55], context=CONTEXT)


def test_nothing_is_sealed_behind_the_last_chunk() -> None:
    sealer = Sealer(KEY, salt=SALT, context=CONTEXT)
    sealer.finish()
    with pytest.raises(VaultError, match="finished"):
        sealer.update(b"more")
    with pytest.raises(VaultError, match="finished"):
        sealer.finish()


def test_chunk_numbers_end_where_the_specification_ends_them() -> None:
    opener = Opener(KEY, header=FILE[:HEADER_BYTES], context=CONTEXT)
    with pytest.raises(VaultError, match="at most 274877906944 chunks"):
        opener.chunk(MAX_CHUNKS, bytes(TAG_BYTES), last=True)


@pytest.mark.parametrize(("key", "salt"), [(KEY[:31], SALT), (KEY, SALT[:23]), (b"", SALT), (KEY, b"")])
def test_keys_and_salts_of_other_lengths_are_refused(key: bytes, salt: bytes) -> None:
    with pytest.raises(VaultError, match=r"has (32|24) bytes, got"):
        Sealer(key, salt=salt, context=CONTEXT)


@pytest.mark.parametrize(("start", "stop"), [(-1, 1), (0, -1)])
def test_negative_positions_are_refused(start: int, stop: int) -> None:
    with pytest.raises(VaultError, match="positions in a file are 0 or more"):
        opened(FILE, start, stop)
