"""Runs unfold into the packets that they stand for, in order of arrival."""

from __future__ import annotations

import numpy as np
import pytest

from mitschnitt.errors import MalformedPacket
from mitschnitt.wire.packets import MAX_CLOCK, UNKNOWN_SPAN, unfold
from mitschnitt.wire.rtp import EVENT_NOT_KEPT, RUN

CODECS = {8: ("PCMA", 8000), 111: ("OPUS", 48_000)}


def test_a_run_is_its_packets_one_by_one_over_both_wraps() -> None:
    runs = np.array([(7, 2**32 - 160, 160, 65535, 3, 160, 8, 0, 9, 0), (8, 5, 0, 2, 1, 40, 111, 0, 9, 0)], RUN)
    found = unfold(runs, CODECS)
    assert found.seq.tolist() == [65535, 0, 1, 2]
    assert found.rtp_time.tolist() == [2**32 - 160, 0, 160, 5]
    assert found.offset.tolist() == [0, 160, 320, 480]
    assert found.length.tolist() == [160, 160, 160, 40]
    assert found.clock.tolist() == [8000, 8000, 8000, 48_000]
    assert [found.codecs[index] for index in found.codec] == ["PCMA", "PCMA", "PCMA", "OPUS"]
    assert found.span.tolist() == [160, 160, 160, UNKNOWN_SPAN]
    assert found.arrival_ns.tolist() == [7, 7, 7, 8]


def test_an_event_is_marked_and_a_type_that_nobody_named_has_no_coding() -> None:
    runs = np.array([(7, 0, 0, 1, 2, 0, 101, EVENT_NOT_KEPT, 9, 0)], RUN)
    found = unfold(runs, CODECS)
    assert found.is_event.tolist() == [True, True]
    assert [found.codecs[index] for index in found.codec] == ["", ""]


@pytest.mark.thorough
def test_runs_that_count_more_packets_than_a_day_has_are_refused() -> None:
    runs = np.zeros(133, RUN)
    runs["count"] = 65_535
    with pytest.raises(MalformedPacket, match="at most 8640000 packets, the runs count 8716155"):
        unfold(runs, CODECS)


@pytest.mark.parametrize("number, hertz", [(128, 8000), (-1, 8000), (8, 0), (8, MAX_CLOCK + 1)])
def test_a_header_that_names_an_impossible_type_or_clock_is_refused(number: int, hertz: int) -> None:
    with pytest.raises(MalformedPacket, match="payload types are 0 to 127"):
        unfold(np.zeros(0, RUN), {number: ("PCMA", hertz)})
