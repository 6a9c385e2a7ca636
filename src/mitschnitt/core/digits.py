"""Which act a pressed key is. Digits live here for seconds at most; a sequence that means nothing is forgotten."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from mitschnitt.core.consent import Act, ActKind
from mitschnitt.core.policy import Policy

SEQUENCE_TIMEOUT = timedelta(seconds=4)  # between two keys of one sequence; a slower one starts anew


@dataclass(frozen=True, slots=True)
class Pressed:
    """What a party has begun to press: at most the beginning of a sequence."""

    text: str = ""
    last_at: datetime | None = None


NOTHING_PRESSED = Pressed()


def press(
    pressed: Pressed, digit: str, at: datetime, *, party: str, hears: frozenset[ActKind], policy: Policy
) -> tuple[Pressed, Act | None]:
    """The new beginning of a sequence, and the act that this key completed (None for most).

    `hears` says what can be meant now; an answer is one key, withdrawal and pause are sequences that begin with *.
    """
    if not hears:
        return NOTHING_PRESSED, None
    stale = pressed.last_at is None or at - pressed.last_at > SEQUENCE_TIMEOUT
    text = ("" if stale or digit == "*" else pressed.text) + digit
    if not text.startswith("*"):
        answers = ActKind.DIGIT in hears and text in (policy.yes, policy.no)
        return NOTHING_PRESSED, Act(party, ActKind.DIGIT, text, at, in_band=True) if answers else None
    if text == policy.withdraw:
        act = Act(party, ActKind.WITHDRAW, "", at, in_band=True) if ActKind.WITHDRAW in hears else None
        return NOTHING_PRESSED, act
    if text == policy.pause:
        kind = ActKind.RESUME if ActKind.RESUME in hears else ActKind.PAUSE
        return NOTHING_PRESSED, Act(party, kind, "", at, in_band=True) if kind in hears else None
    begins = any(sequence.startswith(text) for sequence in (policy.withdraw, policy.pause))
    return (Pressed(text, at) if begins else NOTHING_PRESSED), None
