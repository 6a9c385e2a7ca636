"""Telephone events to digits (RFC 4733): one digit per key press, said at its start.

Pure: the state goes in and comes out, `now_ns` is an argument. Whether a digit may mean anything is not
decided here, and durations and volumes are not looked at: nothing but the digit leaves this file.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DIGITS = "0123456789*#ABCD"  # event codes 0 to 15 (RFC 4733, 3.2); flash and tones (16 and above) are no digits
EVENT_BYTES = 4  # event, end bit and volume, duration (RFC 4733, 2.3)
SEGMENT_UNITS = 0xFFFF  # a longer press goes on under a time stamp that is this much higher (2.5.1.3), whatever
#                         the clock: after 8.2 s at 8 kHz, after 1.4 s at 48 kHz
SEGMENT_SLACK = 2880  # units; a sender that counts whole packets turns early, by up to one: 60 ms at 48 kHz
SILENCE_NS = 1_000_000_000  # no packet for so long ends an event whose end packets were lost; senders
#                             repeat at least every 50 ms, and no reordering that we wait for is longer


@dataclass(frozen=True)
class Press:
    """The newest key press of a stream, as far as its packets tell."""

    ssrc: int
    rtp_time: int  # of the newest segment
    event: int
    ended: bool  # an end packet was seen
    seen_ns: int  # when the newest packet of it came
    payload_type: int = 0  # a line may have events of several clocks; each type counts its own time


@dataclass(frozen=True)
class EventPackets:
    """Event packets of one stream in arrival order; one entry per packet."""

    ssrc: NDArray[np.uint32]
    rtp_time: NDArray[np.uint32]
    payload: NDArray[np.uint8]  # (n, 4): the first four payload bytes
    payload_type: NDArray[np.uint8]


def read(press: Press | None, packets: EventPackets, *, now_ns: int) -> tuple[Press | None, str]:
    """(new state, digits that were pressed, oldest first) for one stream.

    Repeated, late and end packets of a press that is known add nothing. Codes above 15 are passed over.
    """
    digits = ""
    for row in _first_of_equals(packets):
        event = int(packets.payload[row, 0])
        if event >= len(DIGITS):
            continue
        ssrc, rtp_time, kind = int(packets.ssrc[row]), int(packets.rtp_time[row]), int(packets.payload_type[row])
        ended = bool(packets.payload[row, 1] & 0x80)
        is_other = press is None or (press.ssrc, press.payload_type) != (ssrc, kind)
        relation = "new" if press is None or is_other else _relation(press, rtp_time, event, now_ns)
        if relation == "old":
            continue
        if relation == "new":
            digits += DIGITS[event]
        elif press is not None and press.rtp_time == rtp_time:
            ended = ended or press.ended
        press = Press(ssrc, rtp_time, event, ended, now_ns, kind)
    return press, digits


def is_held(press: Press | None, *, now_ns: int) -> bool:
    """Whether the key is still down: no end packet yet, and not silent for SILENCE_NS."""
    return press is not None and not press.ended and now_ns - press.seen_ns < SILENCE_NS


def _relation(press: Press, rtp_time: int, event: int, now_ns: int) -> str:
    """`new` press, `same` press (maybe its next segment), or `old`: late, or not to be told apart."""
    newer = (rtp_time - press.rtp_time) & 0xFFFFFFFF
    if newer == 0:
        # Two events under one time stamp: unclear, so the second is not believed.
        return "same" if event == press.event else "old"
    is_next = SEGMENT_UNITS - SEGMENT_SLACK <= newer <= SEGMENT_UNITS
    if is_next and event == press.event and is_held(press, now_ns=now_ns):
        return "same"
    if newer < 0x80000000:
        return "new"
    # Lower time stamps are late packets, unless the line was silent: then the sender set its clock anew,
    # and passing over its digits for ever would swallow a withdrawal.
    return "old" if now_ns - press.seen_ns < SILENCE_NS else "new"


def _first_of_equals(packets: EventPackets) -> NDArray[np.intp]:
    """Rows that differ from the row before in source, payload type, time stamp, code or end bit."""
    if not packets.rtp_time.size:
        return np.zeros(0, np.intp)
    what = packets.payload[:, 0].astype(np.uint16) << 8 | packets.payload[:, 1] & 0x80
    keep = np.ones(what.size, np.bool_)
    keep[1:] = (
        (what[1:] != what[:-1])
        | (packets.rtp_time[1:] != packets.rtp_time[:-1])
        | (packets.ssrc[1:] != packets.ssrc[:-1])
        | (packets.payload_type[1:] != packets.payload_type[:-1])
    )
    return np.flatnonzero(keep)
