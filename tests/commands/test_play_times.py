"""Times as people write them, to the nanosecond, and what is none."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitschnitt.commands.play_times import SECOND_NS, parse_time
from mitschnitt.errors import ConfigError


@pytest.mark.parametrize(
    "text, seconds",
    [("0", 0), ("90", 90), ("90.5", 90.5), ("1:30", 90), ("01:02:03.25", 3_723.25), ("100:00:00", 360_000)],
)
def test_a_time_is_seconds_or_has_colons(text: str, seconds: float) -> None:
    assert parse_time(text, option="from") == round(seconds * SECOND_NS)


def test_nine_digits_behind_the_point_are_nanoseconds() -> None:
    assert parse_time("1.000000001", option="from") == SECOND_NS + 1


@pytest.mark.parametrize(
    "text", ["", "-1", "1:2:3:4", "1.5:00", "1.", "ten", "1e3", "\u0661", "1:", "9" * 30, " 1", "1.0000000001"]
)
def test_what_is_no_time_names_the_option_and_what_was_found(text: str) -> None:
    with pytest.raises(ConfigError, match="to: expected seconds, m:ss or h:mm:ss, such as 90.5 or 1:30; found"):
        parse_time(text, option="to")


@pytest.mark.parametrize("text", ["1:60", "1:60:00", "0:99:00"])
def test_minutes_and_seconds_behind_a_colon_go_to_59(text: str) -> None:
    with pytest.raises(ConfigError, match="behind a colon go to 59"):
        parse_time(text, option="from")


@given(st.text(max_size=30))
def test_any_text_is_a_time_or_wrong_usage(text: str) -> None:
    with contextlib.suppress(ConfigError):
        assert parse_time(text, option="from") >= 0
