"""Any stretch of a layout as samples, at the rate that is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from mitschnitt.wire.codecs import Int64s, Samples
from mitschnitt.wire.layout import Layout
from mitschnitt.wire.render import MAX_HOLE_BYTES, render

MS = 1_000_000


@dataclass
class Counting:
    """Decodes each byte to its value times 100, at its rate; remembers what it was given."""

    rate: int = 8000
    bytes_per_sample: int = 1
    preroll: int = 0

    def decode(
        self, payload: NDArray[np.uint8], lengths: NDArray[np.int64]
    ) -> tuple[NDArray[np.int16], NDArray[np.int64]]:
        return payload.astype(np.int16) * np.int16(100), lengths


def layout(first_ms: list[int], *, length: int = 160, offset: list[int] | None = None, epoch: list[int] | None = None,
           span_ns: int = 20 * MS) -> Layout:  # fmt: skip
    count = len(first_ms)
    return Layout(
        0,
        first=np.array(first_ms) * MS,
        span=np.full(count, span_ns),
        offset=np.array(offset or [number * length for number in range(count)]),
        length=np.full(count, length),
        codec=np.zeros(count, np.int64),
        epoch=np.array(epoch or [0] * count),
        codecs=("X",),
    )


def media(values: list[int], length: int = 160) -> bytes:
    return b"".join(bytes([value]) * length for value in values)


def samples_of(place: Layout, data: bytes, decoders: Mapping[str, type[Counting]], rate: int = 8000) -> list[int]:
    found = render(place, lambda start, stop: data[start:stop], decoders, 0, place.samples(rate), rate)
    return [int(value) for value in found]


def test_a_gap_is_silence_and_nobodys_samples_move() -> None:
    assert samples_of(layout([0, 40]), media([1, 2]), {"X": Counting}) == [100] * 160 + [0] * 160 + [200] * 160


def test_a_coding_without_decoder_is_silence() -> None:
    assert samples_of(layout([0]), media([1]), {}) == [0] * 160


def test_two_epochs_at_once_are_added_and_never_wrap_around() -> None:
    both = layout([0, 10], epoch=[0, 1])
    assert samples_of(both, media([1, 2]), {"X": Counting}) == [100] * 80 + [300] * 80 + [200] * 80
    loud = layout([0] * 2, epoch=[0, 1])
    assert samples_of(loud, media([255, 255]), {"X": Counting})[0] == 32767


def test_a_packet_sounds_no_longer_than_the_layout_lets_it() -> None:
    short = layout([0, 30], span_ns=10 * MS)
    assert samples_of(short, media([1, 2]), {"X": Counting}) == [100] * 80 + [0] * 160 + [200] * 80


def test_nothing_of_what_was_said_before_a_gap_rings_behind_it() -> None:
    found = samples_of(layout([0, 40]), media([250, 0]), {"X": Counting}, 16_000)
    assert max(found[:320]) >= 25_000
    assert not any(found[320:])


def test_packets_far_apart_in_the_media_are_fetched_each_on_its_own() -> None:
    asked = []

    def fetch(start: int, stop: int) -> bytes:
        asked.append((start, stop))
        return bytes([7]) * (stop - start)

    far = 10 * MAX_HOLE_BYTES
    found = render(layout([0, 20], offset=[far, 0]), fetch, {"X": Counting}, 0, 320, 8000)
    assert asked == [(0, 160), (far, far + 160)]
    assert (found == 700).all()


@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_a_lower_rate_is_raised_without_moving(rate: int) -> None:
    found = samples_of(layout([0, 20, 60]), media([5, 5, 5]), {"X": Counting}, rate)
    times = rate // 8000
    assert len(found) == 640 * times
    assert found[: 300 * times : times] == [500] * 300
    assert not any(found[330 * times : 470 * times])


def test_blocks_of_a_stretched_call_fit_without_a_seam() -> None:
    span = 20_010_000  # 500 ppm slow
    data = (np.rint(100 + 20 * np.sin(np.arange(160 * 50) / 9))).astype(np.uint8).tobytes()
    place = Layout(0, first=np.arange(50) * span, span=np.full(50, span), offset=np.arange(50) * 160,
                   length=np.full(50, 160), codec=np.zeros(50, np.int64), epoch=np.zeros(50, np.int64),
                   codecs=("X",))  # fmt: skip
    whole = render(place, lambda start, stop: data[start:stop], {"X": Counting}, 0, 8000, 8000)
    blocks = [
        render(place, lambda start, stop: data[start:stop], {"X": Counting}, at, at + 37, 8000)
        for at in range(0, 7992, 37)
    ]
    assert (np.concatenate(blocks) == whole[: 37 * len(blocks)]).all()
    assert np.abs(np.diff(whole[20:].astype(np.int64))).max() < 400


def test_a_decoder_that_needs_what_came_before_gets_it() -> None:
    given: list[int] = []

    class Warming(Counting):
        def decode(self, payload: NDArray[np.uint8], lengths: Int64s) -> tuple[Samples, Int64s]:
            given.append(lengths.size)
            return super().decode(payload, lengths)

    place = layout([0, 20, 40, 60])
    data = media([1, 2, 3, 4])
    found = render(place, lambda a, b: data[a:b], {"X": lambda: Warming(preroll=2)}, 480, 640, 8000)
    assert given == [3]
    assert (found == 400).all()
