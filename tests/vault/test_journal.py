"""Twin of vault/journal: known answers, the one spelling, torn tails against broken middles."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from examples import many
from mitschnitt.core.call import encode_call_id
from mitschnitt.errors import Damaged, VaultError
from mitschnitt.vault.journal import FRAME, MAX_BODY_BYTES, Entry, pack_entry, placed_entries, unpack_entries
from second import journal as second

VECTORS = Path(__file__).parent.parent / "vectors/journal"
THREE: dict[str, Any] = json.loads((VECTORS / "three.json").read_text())
WHOLE = (VECTORS / "three.jnl").read_bytes()
TORN = (VECTORS / "torn.jnl").read_bytes()
ENDS: list[int] = THREE["ends"]
CALL = encode_call_id(bytes(range(16)))
AT = "2026-03-01T09:00:00.000000Z"
SETTINGS = settings(max_examples=many(100), deadline=None)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
ENTRIES = st.builds(
    Entry,
    st.integers(0, 10**12 - 1),
    st.datetimes().map(lambda at: at.strftime("%Y").zfill(4) + at.strftime("-%m-%dT%H:%M:%S.%fZ")),
    st.binary(min_size=16, max_size=16).map(encode_call_id),
    st.sampled_from(["arrived", "track", "shred", "sealed", "closed"]),
    st.dictionaries(st.text(max_size=6), JSON, max_size=4),
)


def entry(seq: int = 7, data: dict[str, Any] | None = None) -> Entry:
    return Entry(seq, AT, CALL, "track", data or {})


def framed(body: bytes) -> bytes:
    return FRAME.pack(len(body), zlib.crc32(body)) + body


def as_json(found: Entry) -> dict[str, Any]:
    own = {"v": 1, "seq": found.seq, "at": found.at, "call": found.call}
    return {**own, "type": found.type, "data": dict(found.data)}


def test_known_answers_are_read_and_written() -> None:
    entries, used = unpack_entries(WHOLE)
    assert [as_json(found) for found in entries] == THREE["entries"]
    assert used == len(WHOLE)
    assert b"".join(pack_entry(found) for found in entries) == WHOLE


def test_the_torn_file_holds_all_but_its_last_entry() -> None:
    entries, used = unpack_entries(TORN)
    assert ([found.seq for found in entries], used) == ([41, 42], ENDS[1])


def test_every_entry_comes_with_its_end() -> None:
    assert [end for _, end in placed_entries(WHOLE)] == ENDS


@given(st.lists(ENTRIES, max_size=5))
@SETTINGS
def test_what_is_packed_unpacks(entries: list[Entry]) -> None:
    data = b"".join(pack_entry(one) for one in entries)
    assert unpack_entries(data) == (entries, len(data))


@given(ENTRIES.filter(lambda one: all(ord(char) < 0xD800 for key in one.data for char in key)))
@SETTINGS
def test_the_second_implementation_spells_entries_the_same(one: Entry) -> None:
    assert pack_entry(one) == second.frame(as_json(one))


@given(st.integers(0, len(WHOLE)))
@SETTINGS
def test_a_file_cut_anywhere_gives_the_entries_before_the_cut(length: int) -> None:
    entries, used = unpack_entries(WHOLE[:length])
    whole = [end for end in ENDS if end <= length]
    assert (len(entries), used) == (len(whole), whole[-1] if whole else 0)


@given(st.integers(0, 8 * ENDS[1] - 1))
@SETTINGS
def test_a_flipped_bit_before_the_last_entry_is_damaged(bit: int) -> None:
    broken = bytearray(WHOLE)
    broken[bit // 8] ^= 1 << bit % 8
    with pytest.raises(Damaged, match="whole entries follow"):
        unpack_entries(bytes(broken))


@given(st.integers(8 * ENDS[1], 8 * ENDS[2] - 1))
@SETTINGS
def test_a_flipped_bit_in_the_last_entry_makes_it_a_torn_tail(bit: int) -> None:
    broken = bytearray(WHOLE)
    broken[bit // 8] ^= 1 << bit % 8
    entries, used = unpack_entries(bytes(broken))
    assert ([found.seq for found in entries], used) == ([41, 42], ENDS[1])


@given(st.binary(max_size=300))
@SETTINGS
def test_any_bytes_behind_whole_entries_are_a_torn_tail(tail: bytes) -> None:
    entries, used = unpack_entries(WHOLE + tail)
    assert ([found.seq for found in entries], used) == ([41, 42, 43], len(WHOLE))


@pytest.mark.parametrize("zeros", [1, 7, 8, 9, 4096])
def test_a_tail_of_zeros_holds_no_entries(zeros: int) -> None:
    assert unpack_entries(WHOLE + bytes(zeros))[1] == len(WHOLE)


def test_an_entry_inside_the_data_of_another_is_not_taken_for_a_frame() -> None:
    inner = entry(8, {"at": AT, "nested": {"at": AT}})
    torn = pack_entry(inner)[:-1]
    assert unpack_entries(torn) == ([], 0)


def test_a_missing_frame_length_in_the_middle_is_damaged() -> None:
    with pytest.raises(Damaged, match=f"broken at byte {ENDS[0]}: whole entries follow from byte {ENDS[1]} on"):
        unpack_entries(WHOLE[: ENDS[0]] + bytes(8) + WHOLE[ENDS[0] + 8 :])


BODY = {"at": AT, "call": CALL, "data": {}, "seq": 7, "type": "track", "v": 1}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param({"v": 2}, "and v 1", id="version"),
        pytest.param({"v": True}, "canonical", id="version as a truth"),
        pytest.param({"more": 1}, "has the fields", id="another field"),
        pytest.param({"seq": -1}, "seq of an entry is 0 to", id="negative seq"),
        pytest.param({"seq": 10**12}, "seq of an entry is 0 to", id="seq of 13 digits"),
        pytest.param({"seq": True}, "seq of an entry is 0 to", id="seq as a truth"),
        pytest.param({"seq": "7"}, "seq of an entry is 0 to", id="seq as text"),
        pytest.param({"type": ""}, "lower case letters", id="empty type"),
        pytest.param({"type": "Track"}, "lower case letters", id="upper case type"),
        pytest.param({"type": None}, "lower case letters", id="no type"),
        pytest.param({"data": []}, "object as data", id="list as data"),
        pytest.param({"data": {"n": 2**53}}, "canonical", id="large integer"),
        pytest.param({"at": "2026-03-01T09:00:00Z"}, "with microseconds", id="no microseconds"),
        pytest.param({"at": "2026-03-01T09:00:00.000000+00:00"}, "with microseconds", id="offset"),
        pytest.param({"at": "2026-02-30T09:00:00.000000Z"}, "a time that exists", id="30 February"),
        pytest.param({"at": 1}, "with microseconds", id="time as a number"),
        pytest.param({"call": CALL.lower()}, "names a call id", id="lower case call"),
        pytest.param({"call": list(CALL)}, "has a call", id="call as a list"),
        pytest.param({"call": None}, "has a call", id="no call"),
    ],
)
def test_a_frame_that_checks_but_holds_no_entry_is_damaged(change: dict[str, Any], words: str) -> None:
    body = json.dumps({**BODY, **change}, sort_keys=True, separators=(",", ":")).encode()
    with pytest.raises(Damaged, match=words):
        unpack_entries(framed(body))


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(json.dumps(BODY, sort_keys=True).encode(), id="spaces"),
        pytest.param(json.dumps(BODY, separators=(",", ":")).encode().replace(b'"v":1', b'"v":1.0'), id="1.0"),
        pytest.param(json.dumps(dict(reversed(BODY.items())), separators=(",", ":")).encode(), id="order"),
        pytest.param(b'{"at":"x",' + json.dumps(BODY, separators=(",", ":")).encode()[1:], id="twice"),
        pytest.param(b'{"at":' + b"[" * 100_000, id="deep and broken"),
        pytest.param(b"not json", id="not JSON"),
        pytest.param(b"\xff\xfe", id="not UTF-8"),
        pytest.param(b"[]", id="a list"),
        pytest.param(b"1" * 5000, id="a huge number"),
    ],
)
def test_other_spellings_are_damaged(body: bytes) -> None:
    with pytest.raises(Damaged):
        unpack_entries(framed(body))


@pytest.mark.parametrize(
    ("one", "words"),
    [
        pytest.param(entry(data={"n": 2**53}), "integers below 2\\^53", id="large integer"),
        pytest.param(entry(data={"n": float("nan")}), "is JSON", id="not a number"),
        pytest.param(entry(data={"b": b"bytes"}), "is JSON", id="bytes"),
        pytest.param(entry(data={"s": "\ud800"}), "is JSON", id="half a surrogate"),
        pytest.param(entry(-1), "seq of an entry", id="negative seq"),
        pytest.param(Entry(7, "2026-03-01 09:00", CALL, "track", {}), "with microseconds", id="time"),
        pytest.param(Entry(7, AT, "CALL", "track", {}), "names a call id", id="call"),
        pytest.param(Entry(7, AT, CALL, "Track", {}), "lower case letters", id="type"),
        pytest.param(entry(data={"s": "x" * MAX_BODY_BYTES}), "at most 262144 bytes, got", id="too long"),
    ],
)
def test_an_entry_that_no_reader_would_take_is_not_packed(one: Entry, words: str) -> None:
    with pytest.raises(VaultError, match=words):
        pack_entry(one)


def test_a_length_above_the_limit_is_no_frame() -> None:
    body = b'{"at":"' + b"x" * MAX_BODY_BYTES
    assert unpack_entries(framed(body)) == ([], 0)
    with pytest.raises(Damaged, match="broken at byte 0"):
        unpack_entries(framed(body) + WHOLE)
