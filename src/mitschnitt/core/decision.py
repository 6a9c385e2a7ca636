"""What a rule says, and which rule said it. Never a bare bool: people are told why."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """What the gate is told to do about one live call, given all facts so far."""

    OPEN = "open"  # every reported party agreed: keep
    WAIT = "wait"  # a question is out, or a party joined that was not asked yet
    REFUSE = "refuse"  # a party said no, or said nothing
    EXCLUDE = "exclude"  # not to be asked: unmatched, unbound, no policy, stale view
    PAUSE = "pause"  # a party asked for a pause
    WITHDRAW = "withdraw"  # a party took consent back (Art. 7(3) GDPR)
    FAIL = "fail"  # we can no longer keep: disk, sockets


@dataclass(frozen=True, slots=True)
class Decision:
    """A verdict with the dotted name of the rule that made it, and the party it is about ("" = the call)."""

    verdict: Verdict
    rule: str
    party: str = ""
