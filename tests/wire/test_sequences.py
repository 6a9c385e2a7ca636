"""Numbers that wrap, jump and come back, counted on. Vectors: tests/vectors/rtp (tests/second/make_rtp_vectors.py)."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from examples import many
from mitschnitt.wire.sequences import count_on
from rtp_files import VECTORS, packets_of, parsed

SEQUENCES: dict[str, dict[str, Any]] = json.loads((VECTORS / "rtp/sequences.json").read_text())


def counted(
    seq: list[int], sender: list[int] | None = None, ticks: list[int] | None = None, span: int = 160
) -> tuple[list[int], list[int]]:
    count = len(seq)
    told = np.array(ticks) if ticks else np.zeros(count, np.int64)
    stretch, number = count_on(np.array(seq, np.int64), np.array(sender or [1] * count, np.int64), told,
                               np.full(count, span))  # fmt: skip
    return [int(one) for one in stretch], [int(one) for one in number]


@pytest.mark.parametrize("name", SEQUENCES)
def test_a_sequence_file_is_in_the_order_of_its_json(name: str) -> None:
    headers = parsed(packets_of(f"rtp/{name}.bin"))
    seq, ssrc = headers.seq.astype(np.int64), headers.ssrc.astype(np.int64)
    stretch, number = count_on(seq, ssrc, headers.rtp_time.astype(np.int64), np.full(seq.size, 160))
    packets = np.lexsort((number, stretch))
    order, duplicates, epochs = SEQUENCES[name]["order"]
    assert packets.tolist() == order
    assert stretch[packets].tolist() == epochs
    again = [False, *((np.diff(number[packets]) == 0) & (np.diff(stretch[packets]) == 0)).tolist()]
    assert again[: len(order)] == [bool(mark) for mark in duplicates]


def test_numbers_wrap_again_and_again() -> None:
    seq = [number % 65_536 for number in range(65_000, 400_000, 50)]
    stretch, number = counted(seq)
    assert set(stretch) == {0}
    assert number == list(range(65_000, 400_000, 50))


@pytest.mark.parametrize("jump, stretches", [(3000, 1), (3001, 2), (-100, 1), (-101, 2), (30_000, 2)])
def test_a_jump_is_a_restart_as_the_standard_says(jump: int, stretches: int) -> None:
    stretch, _ = counted([10_000, 10_000 + jump, 10_001 + jump])
    assert len(set(stretch)) == stretches


def test_a_jump_as_far_as_the_time_says_is_loss_and_no_restart() -> None:
    assert counted([1, 6001], ticks=[160, 960_160]) == ([0, 0], [1, 6001])


def test_sources_that_alternate_are_numbered_by_first_arrival() -> None:
    assert counted([50_000, 1, 10], [9, 2, 9]) == ([0, 1, 2], [50_000, 1, 10])


def test_what_a_sender_sent_elsewhere_is_not_missing() -> None:
    stretch, _ = counted([1, 700, 501], [1, 2, 1])
    assert stretch == [0, 1, 2]


def test_nothing_is_counted_as_nothing() -> None:
    assert counted([], []) == ([], [])


@settings(max_examples=many(100), deadline=None)
@given(st.integers(0, 65_535), st.lists(st.integers(0, 60), min_size=1, max_size=60))
def test_any_small_disorder_is_put_right(start: int, positions: list[int]) -> None:
    stretch, number = counted([(start + position) % 65_536 for position in positions])
    assert set(stretch) == {0}
    assert [one - number[0] for one in number] == [one - positions[0] for one in positions]
