"""How many random cases a test takes: all of them in CI, a part where somebody waits for the answer."""

from __future__ import annotations

import os

SHARE = 1 if os.environ.get("CI", "") not in ("", "0", "false") else 4  # of every so many one is tried


def many(count: int) -> int:
    """Of `count` cases in CI, those for this run."""
    return count // SHARE
