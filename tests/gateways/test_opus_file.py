"""Opus goes into Ogg packet by packet as it came; time is exact, and what was not sent is coded silence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from gateways.heard import MS, Door, Party, Said, g711, recording
from mitschnitt.errors import Damaged
from mitschnitt.gateways.new_file import NewFile
from mitschnitt.gateways.opus_file import pass_through, passes
from mitschnitt.gateways.recording import Part, Recording
from mitschnitt.wire import opus
from rtp_files import packets_of
from wire.test_ogg import pages_of

PACKETS = packets_of("codecs/opus-20.bin")
SILENT = {packet for samples in (5_760, 960, 480, 240, 120) for packet, _ in opus.silence(samples)}


def speaking(packets: list[bytes] = PACKETS, *, ms: int = 20, at: float = 0.0) -> list[Said]:
    return [Said(at + ms * n, ms, packet) for n, packet in enumerate(packets)]


def written(path: Path, heard: Recording, part: Part | None = None) -> tuple[float, list[bytes], int, int]:
    """(seconds told, packets, pre-skip, last granule) of the file; its pages are checked on the way."""
    with NewFile(path) as file:
        seconds = pass_through(file, heard, heard.sides("")[0], part or heard.part(None, None), serial=5)
        file.commit()
    pages = pages_of(path.read_bytes())
    head = pages[0][4][0]
    assert head.startswith(b"OpusHead\x01\x01")
    packets = [packet for page in pages[2:] for packet in page[4]]
    return seconds, packets, int.from_bytes(head[10:12], "little"), pages[-1][1]


def test_packets_are_identical_and_in_their_order(tmp_path: Path) -> None:
    seconds, packets, pre_skip, end = written(tmp_path / "a.opus", recording(Party("agent", speaking(), ("OPUS",))))
    assert packets == PACKETS
    assert (pre_skip, end) == (0, 960 * len(PACKETS))
    assert seconds == 0.02 * len(PACKETS)


def test_what_was_not_sent_is_coded_silence_of_its_length_and_time_stays_right(tmp_path: Path) -> None:
    said = [*speaking(PACKETS[:10]), *speaking(PACKETS[10:20], at=1_000), *speaking(PACKETS[20:30], at=1_250)]
    seconds, packets, _, end = written(tmp_path / "a.opus", recording(Party("agent", said, ("OPUS",))))
    assert [packet for packet in packets if packet not in SILENT] == PACKETS[:30]
    assert (seconds, end) == (1.45, 1.45 * 48_000)
    samples, _ = soundfile.read(tmp_path / "a.opus", dtype="int16")
    assert len(samples) == 1.45 * 48_000
    # A decoder fades out for 2.5 ms after a change of mode; then there is nothing at all.
    assert not samples[int(0.21 * 48_000) : int(0.99 * 48_000)].any()
    assert np.abs(samples[int(1.02 * 48_000) : int(1.2 * 48_000)]).max() > 1_000


def test_a_late_start_is_silence_from_the_calls_origin_on(tmp_path: Path) -> None:
    heard = recording(Party("agent", speaking(PACKETS[:10], at=500), ("OPUS",)), Party("caller", g711(5)))
    with NewFile(tmp_path / "a.opus") as file:
        pass_through(file, heard, heard.sides("agent")[0], heard.part(None, None), serial=1)
        file.commit()
    samples, _ = soundfile.read(tmp_path / "a.opus", dtype="int16")
    assert len(samples) == 0.7 * 48_000
    assert not samples[: int(0.499 * 48_000)].any()
    assert samples[int(0.5 * 48_000) :].any()


@pytest.mark.parametrize("begin, end", [(0, 1_000), (133.3, 900.7), (400, 401), (700, 1_193)])
def test_a_part_begins_and_ends_to_the_sample(tmp_path: Path, begin: float, end: float) -> None:
    heard = recording(Party("agent", speaking(), ("OPUS",)))
    part = Part(round(begin * MS), round(end * MS))
    seconds, packets, pre_skip, granule = written(tmp_path / "part.opus", heard, part)
    start, stop = part.samples(48_000)
    assert granule - pre_skip == stop - start == round(seconds * 48_000)
    at = PACKETS.index(packets[0])
    assert packets == PACKETS[at : at + len(packets)]
    assert pre_skip == start - 960 * at
    assert pre_skip >= min(3_840, start), "80 ms for a decoder to come in (RFC 7845, 4.6)"
    written(tmp_path / "whole.opus", heard)
    every, _ = soundfile.read(tmp_path / "whole.opus", dtype="int16")
    found, _ = soundfile.read(tmp_path / "part.opus", dtype="int16")
    assert len(found) == stop - start
    assert np.abs(found.astype(np.int64) - every[start:stop]).max() < 3_000  # a decoder that came in later


def test_a_part_without_a_packet_is_silence(tmp_path: Path) -> None:
    said = [*speaking(PACKETS[:5]), *speaking(PACKETS[5:10], at=5_000)]
    heard = recording(Party("agent", said, ("OPUS",)))
    seconds, packets, _, _ = written(tmp_path / "a.opus", heard, Part(2_000 * MS, 3_000 * MS))
    assert seconds == 1.0
    assert set(packets) <= SILENT


@pytest.mark.thorough
def test_a_long_call_comes_in_blocks_and_no_packet_twice(tmp_path: Path) -> None:
    many = [PACKETS[n % len(PACKETS)] for n in range(4_000)]  # 80 s
    door = Door([Party("agent", speaking(many), ("OPUS",))])
    seconds, packets, _, _ = written(tmp_path / "a.opus", door.recording())
    assert packets == many
    assert seconds == 80.0
    assert len(door.asked) == 3


@pytest.mark.thorough
@pytest.mark.parametrize("drift, most_silence", [(20.01, 0.2), (19.99, 0.0)])
def test_a_senders_skewed_clock_cuts_nothing_and_is_made_up_in_steps_of_10_ms(
    tmp_path: Path, drift: float, most_silence: float
) -> None:
    said = [Said(n * drift, 20, PACKETS[n % len(PACKETS)]) for n in range(2_000)]  # 500 ppm over 40 s: 20 ms
    seconds, packets, _, _ = written(tmp_path / "a.opus", recording(Party("agent", said, ("OPUS",))))
    assert [packet for packet in packets if packet not in SILENT] == [one.payload for one in said]
    assert seconds == pytest.approx(40.0 + max(drift - 20, 0) * 2, abs=0.011)
    assert sum(packet in SILENT for packet in packets) <= most_silence * 100


def test_whoever_sent_anything_else_is_not_passed_through() -> None:
    pairs = [
        (Party("a", speaking(PACKETS[:2]), ("OPUS",)), True),
        (Party("a", [*speaking(PACKETS[:2]), Said(40, 20, b"!", 1)], ("OPUS", "CN")), True),
        (Party("a", speaking(PACKETS[:2]), ("OPUS", "PCMA")), True),
        (Party("a", [*speaking(PACKETS[:2]), *g711(1, at=40, codec=1)], ("OPUS", "PCMA")), False),
        (Party("a", g711(2)), False),
        (Party("a", []), False),
    ]
    assert [passes(recording(party).voices[0]) for party, _ in pairs] == [expected for _, expected in pairs]


def test_comfort_noise_and_nonsense_among_the_packets_are_silence(tmp_path: Path) -> None:
    said = [*speaking(PACKETS[:3]), Said(60, 20, b"!", 1), Said(80, 20, b""), *speaking(PACKETS[3:6], at=100)]
    _, packets, _, end = written(tmp_path / "a.opus", recording(Party("agent", said, ("OPUS", "CN"))))
    assert [packet for packet in packets if packet not in SILENT] == PACKETS[:6]
    assert end == 0.16 * 48_000


def test_damage_leaves_no_file(tmp_path: Path) -> None:
    door = Door([Party("agent", speaking(), ("OPUS",))], error=Damaged("chunk 3 fails its tag"))
    with pytest.raises(Damaged, match="chunk 3"):
        written(tmp_path / "a.opus", door.recording())
    assert list(tmp_path.iterdir()) == []
