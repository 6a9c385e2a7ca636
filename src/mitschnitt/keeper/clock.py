"""The keeper's clock, read at its edges only, and the one spelling of times in rows, journals and acts."""

from __future__ import annotations

from datetime import UTC, datetime


def wall_clock() -> datetime:
    """Now, in UTC."""
    return datetime.now(UTC)


def rfc3339(at: datetime) -> str:
    """UTC with microseconds and Z."""
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
