"""Times have one spelling."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

from mitschnitt.keeper.clock import rfc3339, wall_clock


def test_times_are_utc_with_microseconds_and_z() -> None:
    at = datetime(2026, 11, 23, 10, 0, tzinfo=timezone(timedelta(hours=1)))
    assert rfc3339(at) == "2026-11-23T09:00:00.000000Z"


def test_the_clock_names_its_zone() -> None:
    assert wall_clock().tzinfo is UTC
