from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from media_rig import PCMA, T0, Rig, stamp
from mitschnitt.recorder.receiver import Batch


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path)
    yield rig
    rig.close()


def batch_of(packets: list[tuple[int, bytes]], slot: int = 200) -> Batch:
    """Rows as any receiver may bring them: (line, datagram)."""
    rows = np.zeros((len(packets), slot), np.uint8)
    for row, (_, data) in enumerate(packets):
        rows[row, : len(data)] = np.frombuffer(data, np.uint8)
    lengths = np.array([len(data) for _, data in packets], np.int32)
    return Batch(rows, lengths, np.array([line for line, _ in packets], np.int32), len(packets))


def rtp_packet(seq: int, payload: bytes, *, kind: int = 8) -> bytes:
    return bytes((0x80, kind)) + seq.to_bytes(2, "big") + (seq * 160).to_bytes(4, "big") + b"\0\0\0\7" + payload


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
