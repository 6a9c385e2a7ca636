"""TCP streams cut into messages, however the bytes arrive (RFC 3261, 18.3)."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitschnitt.errors import MalformedPacket, PeerError, TooLarge
from mitschnitt.wire.sip.framing import PING, PONG, StreamFramer
from mitschnitt.wire.sip.message import MAX_HEAD_BYTES

VECTORS = Path(__file__).parents[2] / "vectors" / "sip"
NAMES = ["invite-two-lines.sip", "invite-lf-only.sip", "invite-compact-folded.sip", "options-keepalive.sip"]
MESSAGES = [(VECTORS / name).read_bytes() for name in NAMES]


@given(st.lists(st.integers(1, 400), max_size=40))
def test_messages_come_out_whole_however_they_are_cut(cuts: list[int]) -> None:
    stream, framer, got, start = b"".join(MESSAGES), StreamFramer(), [], 0
    for cut in cuts:
        got += framer.feed(stream[start : start + cut])
        start += cut
    got += framer.feed(stream[start:])
    assert got == MESSAGES
    assert framer.waiting == 0


def test_keep_alives_between_messages_are_counted_and_dropped() -> None:
    framer = StreamFramer()
    assert framer.feed(PING) == []
    assert framer.feed(b"\r\n") == []
    assert framer.feed(b"\r\n") == []
    assert framer.pings == 2
    assert framer.feed(b"\r\n" + MESSAGES[0]) == [MESSAGES[0]]
    assert framer.pings == 2


def test_a_single_line_end_is_no_message_that_has_begun() -> None:
    framer = StreamFramer()
    for piece in (b"\r", b"\n", b"\r"):
        assert framer.feed(piece) == []
        assert framer.waiting == 0
    assert framer.feed(b"\n" + MESSAGES[0][:20]) == []
    assert (framer.waiting, framer.pings) == (20, 1)


@pytest.mark.parametrize("behind", [b"", MESSAGES[0]])
def test_after_a_ping_of_ours_a_single_line_end_is_its_answer(behind: bytes) -> None:
    framer = StreamFramer()
    assert framer.feed(PONG) == []
    framer.feed(MESSAGES[0])
    assert framer.pongs == 0, "nobody had asked"
    framer.pinged()
    assert framer.feed(PONG + behind) == [behind] * bool(behind)
    assert (framer.pongs, framer.pings) == (1, 0)
    assert framer.feed(PONG) == []
    assert framer.pongs == 1


def test_a_ping_that_crosses_ours_is_a_ping_and_leaves_the_answer_to_come() -> None:
    framer = StreamFramer()
    framer.pinged()
    assert framer.feed(PING) == []
    assert (framer.pongs, framer.pings) == (0, 1)
    assert framer.feed(PONG) == []
    assert (framer.pongs, framer.pings) == (1, 1)


def test_a_body_may_begin_with_empty_lines() -> None:
    message = b"OPTIONS sip:a SIP/2.0\r\nContent-Length: 8\r\n\r\n\r\n\r\nabcd"
    framer = StreamFramer()
    assert framer.feed(message[:50]) + framer.feed(message[50:]) == [message]
    assert framer.pings == 0


def test_a_stream_without_lengths_or_limits_is_lost() -> None:
    with pytest.raises(MalformedPacket, match="Content-Length"):
        StreamFramer().feed(b"OPTIONS sip:a SIP/2.0\r\nX: y\r\n\r\n")
    framer = StreamFramer()
    assert framer.feed(b"x" * MAX_HEAD_BYTES) == []
    with pytest.raises(TooLarge):
        framer.feed(b"x")
    with pytest.raises(TooLarge):
        StreamFramer().feed(b"X: y\r\n" * MAX_HEAD_BYTES + b"\r\n")


@given(st.lists(st.binary(max_size=50), max_size=8))
def test_no_bytes_make_the_framer_raise_anything_undocumented(pieces: list[bytes]) -> None:
    framer = StreamFramer()
    with contextlib.suppress(PeerError):
        for piece in pieces:
            framer.feed(piece)
        assert framer.waiting <= sum(len(piece) for piece in pieces)


@pytest.mark.thorough
def test_a_flood_of_empty_lines_costs_no_more_than_their_number() -> None:
    # Copying what is left for each of them, as this once did, would move two terabytes.
    framer = StreamFramer()
    assert framer.feed(b"\n" * 2_000_000 + MESSAGES[0]) == [MESSAGES[0]]
    assert framer.waiting == 0
