"""Frames: files both ways, every error, any cut of the stream."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitschnitt.errors import MalformedPacket, PeerError, TooLarge
from mitschnitt.wire.frames import MAX_FRAME_BYTES, FrameDecoder, pack_frame

VECTORS = Path(__file__).parents[1] / "vectors" / "frames"
MESSAGES: dict[str, dict[str, Any]] = json.loads((VECTORS / "messages.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", sorted(MESSAGES))
def test_a_file_reads_as_its_message_and_packs_to_its_bytes(name: str) -> None:
    data = (VECTORS / f"{name}.bin").read_bytes()
    assert FrameDecoder().feed(data) == [MESSAGES[name]]
    assert pack_frame(MESSAGES[name]) == data


@pytest.mark.parametrize(
    "name, error, says",
    [
        ("length_above_limit", TooLarge, "announces 1048577 bytes"),
        ("body_not_utf8", MalformedPacket, "not JSON in UTF-8"),
        ("body_is_a_list", MalformedPacket, "must be a JSON object"),
        ("type_missing", MalformedPacket, "must be a JSON object with a text `type`"),
        ("number_is_nan", MalformedPacket, "NaN is no JSON number"),
        ("body_empty", MalformedPacket, "a frame of 0 bytes"),
    ],
)
def test_a_wrong_frame_is_refused_and_ends_the_stream(name: str, error: type[PeerError], says: str) -> None:
    decoder = FrameDecoder()
    with pytest.raises(error, match=says):
        decoder.feed((VECTORS / f"{name}.bin").read_bytes())
    with pytest.raises(MalformedPacket, match="broke before"):
        decoder.feed(pack_frame({"type": "poke"}))


def test_a_message_above_the_limit_is_not_sent() -> None:
    with pytest.raises(TooLarge, match="at most 1048576"):
        pack_frame({"type": "view", "policy": "x" * MAX_FRAME_BYTES})


def test_a_message_without_type_is_not_sent() -> None:
    with pytest.raises(MalformedPacket, match="needs a text `type`"):
        pack_frame({"call": "x"})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
messages = st.dictionaries(st.text(max_size=6), json_values, max_size=4).map(lambda data: {**data, "type": "t"})


@pytest.mark.thorough
@given(st.lists(messages, max_size=4), st.lists(st.integers(0, 300), max_size=6))
def test_messages_survive_any_cut_of_the_stream(sent: list[dict[str, Any]], cuts: list[int]) -> None:
    data = b"".join(pack_frame(message) for message in sent)
    decoder, came, start = FrameDecoder(), [], 0
    for stop in [*sorted(cuts), len(data)]:
        came += decoder.feed(data[start:stop])
        start = max(start, stop)
    assert came == sent


@given(st.binary(max_size=64))
def test_noise_is_a_peer_error_or_nothing(noise: bytes) -> None:
    try:
        came = FrameDecoder().feed(noise)
    except PeerError:
        return
    assert all(isinstance(message["type"], str) for message in came)
