"""Datagrams that are longer than a slot, through the whole media plane."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from media_rig import CALL, EVENTS, LEAF, Rig, Sender, read_party, stamps_in


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path)
    yield rig
    rig.close()


def test_datagrams_of_every_length_up_to_an_ethernet_frame_are_kept_whole_beside_a_line_of_g711(rig: Rig) -> None:
    wide = rig.media.track(call_id=CALL, party=0, leaf_key=LEAF, codecs={8: ("L16", 44_100)})
    narrow = rig.track(1)
    _, long_voice = rig.open_line(wide)
    _, usual_voice = rig.open_line(narrow)
    payloads = [bytes([size % 251]) * (size - 12) for size in range(12, 1473)]
    for start in range(0, len(payloads), 50):
        for number, payload in enumerate(payloads[start : start + 50], start):
            long_voice.packet(number, payload)
        usual_voice.stamped(range(start, start + 12), first_seq=start)
        rig.tick()
    stamps = [start + place for start in range(0, len(payloads), 50) for place in range(12)]
    assert rig.media.counts.refused == {}
    assert read_party(rig.blobs, rig.finish(wide))[0] == b"".join(payloads)
    assert stamps_in(read_party(rig.blobs, rig.finish(narrow))[0]) == stamps
    assert not any(place.any() for place in rig.media.receiver.places)


def test_long_datagrams_on_a_gated_line_are_cut_like_all_others(rig: Rig) -> None:
    line = rig.media.line(event_types=EVENTS)
    sender = Sender(line.port)
    seen: list[tuple[list[int], bool]] = []
    sender.packet(0, b"STAMP" * 280)
    for _ in rig.media.receiver.drain(
        rig.media.lines.sockets(), lambda batch: seen.append((batch.lengths.tolist(), bool(batch.rows[:, 12:].any())))
    ):
        pass
    assert seen == [([12], False)]
