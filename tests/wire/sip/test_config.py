"""Names and limits of a user agent."""

from __future__ import annotations

import pytest

from mitschnitt.wire.sip.config import METHODS, AgentConfig


def test_what_is_allowed_is_known() -> None:
    assert set(AgentConfig().allow) <= METHODS


@pytest.mark.parametrize(
    "content_type, taken",
    [
        ("application/sdp", True),
        ("Application/SDP;x=y", True),
        ("", True),
        ("multipart/related;boundary=b", True),
        ("application/rs-metadata", True),
        ("text/plain", False),
    ],
)
def test_bodies_are_taken_by_type(content_type: str, taken: bool) -> None:
    assert AgentConfig().takes(content_type) is taken


def test_headers_say_what_we_are() -> None:
    config = AgentConfig()
    assert config.allow_headers.get("Allow") == "INVITE, ACK, BYE, CANCEL, OPTIONS, UPDATE, INFO"
    assert config.options_headers.get("Supported") == "siprec, timer"
    assert config.options_headers.get("Accept") == config.accept


@pytest.mark.parametrize("dice, seconds", [(0.0, "3"), (0.999, "5"), (0.5, "4")])
def test_whoever_is_refused_comes_back_after_a_time_that_is_spread(dice: float, seconds: str) -> None:
    assert AgentConfig(retry_after_s=3, retry_spread_s=2).retry_after(dice) == ("Retry-After", seconds)
