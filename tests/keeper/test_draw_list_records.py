"""Records of lists: sorted by draw_id however many runs there were, and each in its eighteen bytes."""

from __future__ import annotations

import hashlib
import io
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitschnitt.keeper import draw_list_records
from mitschnitt.keeper.draw_list_records import PUBLIC, Scratch, SortedById, write_records

ROW = st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.integers(0, 65535))
SMALL_RUN = 3


@pytest.mark.thorough
@given(st.lists(ROW, max_size=40), st.integers(1, 7))
def test_records_come_out_in_order_whatever_the_runs(rows: list[tuple[int, int, int]], at_once: int) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(draw_list_records, "RUN_RECORDS", SMALL_RUN)
        ids = SortedById(io.BytesIO())
        for at in range(0, len(rows), at_once):
            ids.add(np.array(rows[at : at + at_once], PUBLIC))
        found = b"".join(ids.blocks())
    halves = [struct.unpack_from(">QQ", found, at) for at in range(0, len(found), 18)]
    assert halves == sorted((high, low) for high, low, _ in rows)
    packed = sorted(struct.pack(">QQH", *row) for row in rows)
    assert sorted(found[at : at + 18] for at in range(0, len(found), 18)) == packed


def written(*rows: tuple[Any, ...]) -> tuple[bytes, bytes]:
    council, ids = Scratch(io.BytesIO()), SortedById(io.BytesIO())
    assert write_records([rows], ["keeper", "recorder-1"], bytes(32), council, ids) == len(rows)
    council.file.seek(0)
    data = council.file.read()
    assert council.sha256 == hashlib.sha256(data).hexdigest()
    return data, b"".join(ids.blocks())


def test_a_record_of_the_council_says_source_number_class_tag_verdict_and_failure() -> None:
    data, _ = written(
        ("keeper", 1, 2, None, "drawn", b"\x01\x00tag\x00\x00\x00", "failed"),
        ("recorder-1", 70_000, None, 65535, "excluded", None, None),
    )
    assert data[:18] == struct.pack(">HIH8sBB", 0, 1, 2, b"\x01\x00tag\x00\x00\x00", 2, 1)
    assert data[18:] == struct.pack(">HIH8sBB", 1, 70_000, 0xFFFF, bytes(8), 0, 0)


def test_a_public_record_says_draw_id_and_class_and_nothing_else() -> None:
    _, data = written(("keeper", 1, None, 0, "excluded", b"\xff" * 8, None))
    assert len(data) == 18
    # HMAC-SHA256 of "keeper|1" under 32 zero bytes, by openssl
    assert data == bytes.fromhex("1833e888875e62bb4809a6cf54e6d4f6") + b"\x80\x00"
