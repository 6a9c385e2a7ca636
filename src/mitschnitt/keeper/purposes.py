"""Further purposes of a kept call, as its recorder journalled them: read strictly, for they widen who may hear it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from mitschnitt.core.policy import Policy
from mitschnitt.core.purpose import Purpose
from mitschnitt.core.purposes import NEVER_AGREED


def purposes_in(data: Mapping[str, Any], policy: Policy) -> tuple[Purpose, ...]:
    """The purposes by name; what the policy does not name, or nobody can agree to, was never agreed to."""
    told = data.get("also")
    if not isinstance(told, list):
        return ()
    allowed = set(policy.purposes) - {policy.purpose} - NEVER_AGREED
    return tuple(sorted({Purpose(one) for one in told if isinstance(one, str) and one in allowed}))


def due_of(policy: Policy, also: Iterable[Purpose], kept_at: datetime) -> datetime:
    """When the recording must be gone: of all purposes that were agreed to the shortest period wins."""
    return min(policy.purposes[purpose].retention.after(kept_at) for purpose in (policy.purpose, *also))
