from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from media_rig import PCMA, T0, Rig, read_party, stamp
from mitschnitt.recorder.receiver import Batch


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path)
    yield rig
    rig.close()


def batch_of(packets: list[tuple[int, bytes]], slot: int = 400) -> Batch:
    """Rows as any receiver may bring them: (line, datagram)."""
    rows = np.zeros((len(packets), slot), np.uint8)
    for row, (_, data) in enumerate(packets):
        rows[row, : len(data)] = np.frombuffer(data, np.uint8)
    lengths = np.array([len(data) for _, data in packets], np.int32)
    return Batch(rows, lengths, np.array([line for line, _ in packets], np.int32), len(packets))


def rtp_packet(seq: int, payload: bytes, *, kind: int = 8) -> bytes:
    return bytes((0x80, kind)) + seq.to_bytes(2, "big") + (seq * 160).to_bytes(4, "big") + b"\0\0\0\7" + payload


def kept_of(rig: Rig, codecs: dict[int, Any], *packets: bytes) -> tuple[bytes, list[list[int]], bool]:
    """What an open line with these codecs keeps: (media, [payload type, count, length] of each run, digits present)."""
    line, track = rig.media.line(event_types={101: 8000, 104: 48000}), rig.track()
    track.codecs = codecs
    rig.media.keep(line, track)
    rig.media.hold.begin(T0)
    rig.media._intake.take(batch_of([(line.number, packet) for packet in packets]), T0)
    rig.media._deliver()
    media, timeline = read_party(rig.blobs, rig.finish(track))
    runs = [[int(run[name]) for name in ("payload_type", "count", "length")] for run in timeline.runs]
    return media, runs, bool(timeline.header["digits"])


REDUNDANT = {8: ("PCMA", 8000), 121: ("red", 8000)}
EVENT = bytes((1, 0x0A, 0, 160))


def copies(primary: int, data: bytes, *before: tuple[int, bytes]) -> bytes:
    heads = b"".join(bytes((0x80 | kind, 2, 0x80 | len(copy) >> 8, len(copy) & 255)) for kind, copy in before)
    return heads + bytes([primary]) + b"".join(copy for _, copy in before) + data


def test_of_redundant_audio_the_newest_block_is_kept_under_its_own_type(rig: Rig) -> None:
    first, second = stamp(1), stamp(2)
    packets = [rtp_packet(1, copies(8, first), kind=121), rtp_packet(2, copies(8, second, (8, first)), kind=121)]
    media, runs, digits = kept_of(rig, REDUNDANT, *packets)
    assert (media, runs, digits) == (first + second, [[8, 2, 160]], False)


def test_events_within_redundant_audio_are_digits_and_never_kept(rig: Rig) -> None:
    packets = [
        rtp_packet(1, copies(101, EVENT, (8, stamp(1))), kind=121),
        rtp_packet(2, copies(8, stamp(2), (101, EVENT)), kind=121),
    ]
    media, runs, digits = kept_of(rig, REDUNDANT, *packets)
    assert (media, runs, digits) == (stamp(2), [[101, 1, 0], [8, 1, 160]], True)
    assert [digit for _, digit, _ in rig.digits] == ["1"]
    assert not rig.holds(EVENT)


def test_redundant_audio_that_is_cut_or_of_unknown_types_is_not_kept(rig: Rig) -> None:
    packets = [
        rtp_packet(1, copies(8, b"", (8, stamp(1)))[:9], kind=121),
        rtp_packet(2, copies(121, copies(8, stamp(2))), kind=121),
        rtp_packet(3, copies(77, stamp(3)), kind=121),
    ]
    assert kept_of(rig, REDUNDANT, *packets) == (b"", [], False)


def test_audio_that_goes_on_under_a_held_key_is_kept_and_events_of_two_clocks_are_not(rig: Rig) -> None:
    packets = []
    for number in range(3):
        packets.append(rtp_packet(2 * number, stamp(number)))
        packets.append(rtp_packet(2 * number + 1, bytes((5, 0x0A, 0, 160)), kind=104 if number == 2 else 101))
    media, runs, digits = kept_of(rig, {8: ("PCMA", 8000)}, *packets)
    assert (media, digits) == (stamp(0) + stamp(1) + stamp(2), True)
    assert [run for run in runs if run[0] != 8] == [[101, 1, 0], [101, 1, 0], [104, 1, 0]]


@pytest.mark.thorough
def test_every_row_of_a_batch_finds_its_place(rig: Rig) -> None:
    gated, line = rig.media.line(), rig.media.line(event_types={101: 8000})
    track = rig.track()
    track.codecs = PCMA
    rig.media.keep(line, track)
    rig.media.hold.begin(T0)
    rig.media._intake.take(
        batch_of(
            [
                (gated.number, rtp_packet(1, b"")),
                (line.number, rtp_packet(1, stamp(1))),
                (line.number, rtp_packet(2, bytes((1, 0x8A, 1, 0x40)), kind=101)),
                (line.number, rtp_packet(3, b"unknown", kind=97)),
                (line.number, b"\x40" + rtp_packet(4, stamp(4))[1:]),
                (line.number, b"\x80\x08short"),
            ]
        ),
        T0,
    )
    rig.media._deliver()
    counts = rig.media.counts
    assert (counts.received, counts.kept, counts.events, counts.strange) == (6, 2, 1, 1)
    assert counts.refused == {"VERSION": 1, "SHORT": 1}
    assert list(rig.media.watch.leaks()) == [(gated, 1)]
    assert rig.digits == [(line.number, "1", T0)]
    assert rig.holds(stamp(1))
    assert not rig.holds(stamp(4))
