from __future__ import annotations

import struct

import numpy as np
import pytest

from mitschnitt.recorder import hold as module
from mitschnitt.recorder.hold import Hold, Kept, Tick
from mitschnitt.vault.artefact import DIGITS_PRESENT, PlainSlice, unpack_slice
from mitschnitt.wire import rtp
from rtp_files import SLOT, rows_of

ONE_PACKET = 400  # bytes of a block that has room for one packet of `pass_second`


def packet(seq: int, payload: bytes, *, kind: int = 8, csrc: int = 0) -> bytes:
    return struct.pack(">BBHII", 0x80 | csrc, kind, seq, seq * 160, 5) + bytes(4 * csrc) + payload


def store(hold: Hold, packets: list[bytes], streams: list[int], events: list[int] | None = None) -> None:
    """Stream n goes into slot n + 100; `events` are rows whose payload is not kept."""
    rows, lengths = rows_of(packets)
    headers = rtp.parse(rows, lengths, np.array(streams, np.int32))
    is_event = None
    if events:
        is_event = np.zeros(len(packets), np.bool_)
        is_event[events] = True
        headers.length[is_event] = 0
    hold.store(Kept(headers, None, is_event), headers.stream + np.int32(100), rows, arrival_ns=77)


def slices_of(tick: Tick) -> dict[int, list[PlainSlice]]:
    found: dict[int, list[PlainSlice]] = {}
    for part in tick.all_parts():
        begin, length = int(part["offset"]), int(part["length"])
        plain = tick.blocks[int(part["block"])].bytes[begin : begin + length].tobytes()
        if plain:
            found.setdefault(int(part["slot"]), []).append(unpack_slice(plain, track=0, number=0))
    return found


@pytest.fixture
def hold() -> Hold:
    hold = Hold()
    hold.begin(1000)
    return hold


def oldest(hold: Hold) -> Tick:
    tick = hold.oldest(not_after_ns=1 << 62)
    assert tick is not None
    return tick


def test_what_is_stored_is_the_plaintext_of_a_slice_per_track(hold: Hold) -> None:
    store(hold, [packet(1, b"a" * 160), packet(2, b"b" * 160), packet(9, b"c" * 80)], [0, 0, 1])
    found = slices_of(oldest(hold))
    [first], [second] = found[100], found[101]
    assert bytes(first.payload) == b"a" * 160 + b"b" * 160
    assert first.runs["count"].tolist() == [2]
    assert set(first.runs["arrival_ns"]) == {77}
    assert bytes(second.payload) == b"c" * 80
    assert first.flags == second.flags == 0


def test_mixed_lengths_offsets_and_runs_of_a_track_keep_their_order(hold: Hold) -> None:
    sizes = [160, 80, 160, 1, 0, 160]
    packets = [packet(2 * n, bytes([65 + n]) * size, csrc=n % 3) for n, size in enumerate(sizes)]
    store(hold, packets, [3] * 6)
    [found] = slices_of(oldest(hold))[103]
    assert bytes(found.payload) == b"".join(bytes([65 + n]) * size for n, size in enumerate(sizes))
    assert found.runs["length"].tolist() == sizes


def test_only_chosen_rows_are_copied(hold: Hold) -> None:
    packets = [packet(n, bytes([65 + n]) * 20) for n in range(6)]
    rows, lengths = rows_of(packets)
    headers = rtp.parse(rows, lengths, np.zeros(6, np.int32))
    chosen = np.array([0, 3, 4])
    hold.store(Kept(headers.where(chosen), chosen, None), np.full(3, 1, np.int32), rows, arrival_ns=1)
    [found] = slices_of(oldest(hold))[1]
    assert bytes(found.payload) == b"A" * 20 + b"D" * 20 + b"E" * 20


def test_events_leave_a_mark_and_their_sequence_numbers_but_no_payload(hold: Hold) -> None:
    packets = [packet(1, b"a" * 9), packet(2, b"\x05\x0a\x00\xa0", kind=101), packet(3, b"b" * 9)]
    store(hold, [*packets, packet(1, b"other")], [0, 0, 0, 1], events=[1])
    found = slices_of(oldest(hold))
    [with_event], [without] = found[100], found[101]
    assert bytes(with_event.payload) == b"a" * 9 + b"b" * 9
    assert with_event.flags == DIGITS_PRESENT
    assert without.flags == 0
    assert with_event.runs["length"].tolist() == [9, 0, 9]
    assert with_event.runs["flags"].tolist() == [0, rtp.EVENT_NOT_KEPT, 0]
    assert not any(b"\x05\x0a\x00\xa0" in block.bytes.tobytes() for block in hold.memory())


def test_batches_share_a_block_until_it_is_full(hold: Hold, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK_BYTES", 4096)
    for number in range(8):
        store(hold, [packet(number, bytes([65 + number]) * 690)], [0])
    tick = oldest(hold)
    assert len(tick.blocks) == 2
    assert [bytes(piece.payload[:1]) for piece in slices_of(tick)[100]] == [bytes([65 + n]) for n in range(8)]


def test_a_tick_is_given_when_it_is_old_enough_and_its_memory_is_zeroed_and_used_again(hold: Hold) -> None:
    store(hold, [packet(1, b"secret" * 20)], [0])
    block = oldest(hold).blocks[0]
    hold.begin(2000)
    assert hold.oldest(not_after_ns=999) is None
    assert hold.newest_ns() == 2000
    hold.forget(oldest(hold))
    assert not block.bytes.any()
    store(hold, [packet(1, b"later")], [0])
    assert oldest(hold).blocks == [block]


def pass_second(hold: Hold, second: int, blocks: int) -> None:
    """A tick that takes so many blocks of ONE_PACKET, and is sealed."""
    at_ns = second * 1_000_000_000 + 2000
    hold.begin(at_ns)
    for number in range(blocks):
        store(hold, [packet(number, bytes(300))], [0])
    hold.forget(oldest(hold))
    hold.forget(oldest(hold))
    hold.begin(at_ns)


def test_memory_that_is_needed_all_the_time_is_never_given_back(hold: Hold, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK_BYTES", ONE_PACKET)
    pass_second(hold, 0, 3)
    warm = set(hold.memory())
    for second in range(1, 300):
        pass_second(hold, second, 3)
    assert set(hold.memory()) == warm


def test_memory_that_one_late_moment_needed_goes_back_when_nobody_needs_it_for_a_minute(
    hold: Hold, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BLOCK_BYTES", ONE_PACKET)
    for second, blocks in enumerate([2, 2, 20, 3, *[2] * 60, *[3] * 60, *[2] * 58]):
        pass_second(hold, second, blocks)
        if second == 2:
            assert len(hold.memory()) == 20
        if second == 60:  # the late moment lies within the minute that was looked at
            assert len(hold.memory()) == 20
    assert len(hold.memory()) == 3


def test_wiping_a_track_zeroes_all_of_it_and_nothing_of_its_neighbours(hold: Hold) -> None:
    for at in (2000, 3000):
        store(hold, [packet(1, b"mine" * 9), packet(1, b"theirs" * 9)], [0, 1])
        hold.begin(at)
    assert hold.wipe(100) == 2 * (4 + 32 + 36)
    memory = b"".join(block.bytes.tobytes() for block in hold.memory())
    assert b"mine" not in memory
    assert memory.count(b"theirs" * 9) == 2
    assert hold.parts_of(100) == []
    assert len(hold.parts_of(101)) == 2
    assert hold.wipe(100) == 0


def test_parts_stored_after_a_look_are_found_too(hold: Hold) -> None:
    store(hold, [packet(1, b"one")], [0])
    assert len(hold.parts_of(100)) == 1
    store(hold, [packet(2, b"two")], [0])
    assert len(hold.parts_of(100)) == 2


def test_sealed_parts_are_zeroed_at_once_and_the_rest_stays(hold: Hold) -> None:
    store(hold, [packet(1, b"sealed"), packet(1, b"sealed"), packet(1, b"waits")], [0, 1, 2])
    tick = oldest(hold)
    hold.wipe_sealed(tick, 0, 2)
    memory = tick.blocks[0].bytes.tobytes()
    assert b"sealed" not in memory
    assert b"waits" in memory
    assert list(slices_of(tick)) == [102]
    hold.wipe_sealed(tick, 2, 3)
    assert not tick.blocks[0].bytes.any()


def test_a_whole_batch_of_full_slots_fits_a_block() -> None:
    assert 4096 * (SLOT - 12 + 4 + 32) < module.BLOCK_BYTES
