"""Vectors: tests/vectors/dtmf, written by tests/second/make_rtp_vectors.py (RFC 4733)."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from examples import many
from mitschnitt.wire import dtmf
from rtp_files import VECTORS, packets_of, parsed, rows_of

EVENTS: dict[str, dict[str, Any]] = json.loads((VECTORS / "dtmf/events.json").read_text())
T0 = 1_700_000_000_000_000_000


def events_of(packets: list[bytes]) -> dtmf.EventPackets:
    rows, _ = rows_of(packets)
    headers = parsed(packets)
    return dtmf.EventPackets(headers.ssrc, headers.rtp_time, rows[:, 12:16], headers.payload_type)


def event(rtp_time: int, code: int, *, end: bool, ssrc: int = 1, kind: int = 101) -> dtmf.EventPackets:
    return dtmf.EventPackets(
        np.array([ssrc], np.uint32),
        np.array([rtp_time], np.uint32),
        np.array([[code, 0x80 * end, 0, 160]], np.uint8),
        np.array([kind], np.uint8),
    )


@pytest.mark.parametrize("name", EVENTS)
def test_an_event_file_gives_the_digits_of_its_json(name: str) -> None:
    press, digits = None, ""
    for packet, at in zip(packets_of(f"dtmf/{name}.bin"), EVENTS[name]["at"], strict=True):
        press, new = dtmf.read(press, events_of([packet]), now_ns=T0 + int(at * 1e9))
        digits += new
    assert digits == EVENTS[name]["digits"]


@pytest.mark.parametrize("name", [n for n in EVENTS if EVENTS[n]["at"][-1] < 1])
def test_it_matters_little_whether_packets_come_singly_or_in_one_drain(name: str) -> None:
    _, digits = dtmf.read(None, events_of(packets_of(f"dtmf/{name}.bin")), now_ns=T0)
    assert digits == EVENTS[name]["digits"]


def test_a_digit_is_said_at_its_start_and_the_key_is_held_until_its_end() -> None:
    press, digits = dtmf.read(None, event(800, 1, end=False), now_ns=T0)
    assert digits == "1"
    assert dtmf.is_held(press, now_ns=T0)
    press, digits = dtmf.read(press, event(800, 1, end=True), now_ns=T0 + 1)
    assert digits == ""
    assert not dtmf.is_held(press, now_ns=T0 + 1)


def test_an_end_that_was_seen_stays_seen_when_packets_come_late() -> None:
    press, _ = dtmf.read(None, event(800, 1, end=True), now_ns=T0)
    press, _ = dtmf.read(press, event(800, 1, end=False), now_ns=T0 + 1)
    assert not dtmf.is_held(press, now_ns=T0 + 2)


def test_silence_ends_a_press_whose_end_packets_were_lost() -> None:
    press, _ = dtmf.read(None, event(800, 1, end=False), now_ns=T0)
    assert not dtmf.is_held(press, now_ns=T0 + dtmf.SILENCE_NS)
    assert not dtmf.is_held(None, now_ns=T0)


def test_another_source_presses_anew_under_the_same_time_stamp() -> None:
    press, _ = dtmf.read(None, event(800, 1, end=True), now_ns=T0)
    _, digits = dtmf.read(press, event(800, 1, end=True, ssrc=2), now_ns=T0)
    assert digits == "1"


def test_another_payload_type_counts_a_time_of_its_own() -> None:
    press, _ = dtmf.read(None, event(900_000, 1, end=True, kind=101), now_ns=T0)
    press, digits = dtmf.read(press, event(400, 2, end=False, kind=104), now_ns=T0 + 1)
    assert digits == "2"
    assert dtmf.is_held(press, now_ns=T0 + 1)


@pytest.mark.parametrize("newer, digits", [(0xFFFF, ""), (0xFFFF - 2880, ""), (0xFFFF - 2881, "1"), (0x10000, "1")])
def test_a_press_goes_on_after_the_longest_duration_or_a_packet_less(newer: int, digits: str) -> None:
    press, _ = dtmf.read(None, event(800, 1, end=False), now_ns=T0)
    assert dtmf.read(press, event(800 + newer, 1, end=False), now_ns=T0 + 1)[1] == digits


def test_no_packets_change_nothing() -> None:
    press, _ = dtmf.read(None, event(800, 1, end=True), now_ns=T0)
    none = dtmf.EventPackets(
        np.zeros(0, np.uint32), np.zeros(0, np.uint32), np.zeros((0, 4), np.uint8), np.zeros(0, np.uint8)
    )
    assert dtmf.read(press, none, now_ns=T0) == (press, "")


@settings(max_examples=many(150), deadline=None)
@given(st.lists(st.tuples(st.integers(0, 255), st.integers(0, 2**32 - 1), st.booleans()), max_size=30))
def test_any_events_give_only_digits_and_never_more_than_packets(
    packets: list[tuple[int, int, bool]],
) -> None:
    press, digits = None, ""
    for code, rtp_time, end in packets:
        press, new = dtmf.read(press, event(rtp_time, code, end=end), now_ns=T0)
        assert len(new) <= 1
        digits += new
    assert set(digits) <= set(dtmf.DIGITS)


@settings(max_examples=many(100), deadline=None)
@given(st.lists(st.integers(0, 15), min_size=1, max_size=10), st.data())
def test_every_press_of_which_one_packet_arrives_is_one_digit(codes: list[int], data: st.DataObject) -> None:
    press, digits = None, ""
    for number, code in enumerate(codes):
        packets = [(number * 4000, code, n >= 3) for n in range(6)]
        arrived = data.draw(st.lists(st.sampled_from(packets), min_size=1, max_size=8))
        for rtp_time, arrived_code, end in arrived:
            press, new = dtmf.read(press, event(rtp_time, arrived_code, end=end), now_ns=T0 + number)
            digits += new
    assert digits == "".join(dtmf.DIGITS[code] for code in codes)
