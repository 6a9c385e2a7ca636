"""Times on the command line: seconds, m:ss or h:mm:ss, each with or without a fraction."""

from __future__ import annotations

import re

from mitschnitt.errors import ConfigError

SECOND_NS = 1_000_000_000
MAX_CHARS = 24  # of one time; more is a mistake
FORM = re.compile(r"(?:(?:(\d{1,3}):)?(\d{1,3}):)?(\d{1,6})(?:\.(\d{1,9}))?")


def parse_time(text: str, *, option: str) -> int:
    """Nanoseconds. ConfigError names the option, what was found and what was expected."""
    found = FORM.fullmatch(text) if len(text) <= MAX_CHARS else None
    if found is None or not text.isascii():
        raise ConfigError(f"{option}: expected seconds, m:ss or h:mm:ss, such as 90.5 or 1:30; found {text!r}")
    hours, minutes, seconds, fraction = found.groups()
    if minutes is not None and (int(seconds) > 59 or (hours is not None and int(minutes) > 59)):
        raise ConfigError(f"{option}: minutes and seconds behind a colon go to 59; found {text!r}")
    whole = int(hours or 0) * 3_600 + int(minutes or 0) * 60 + int(seconds)
    return whole * SECOND_NS + int((fraction or "").ljust(9, "0"))
