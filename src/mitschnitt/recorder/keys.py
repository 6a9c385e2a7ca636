"""Keys that the parties of one call press, as each recording session hands them on: which act they are, once.

Knows no gate and no line: what may be heard now is an argument. A sequence is spelt within one source; two sources
that hand on one key tell of one act, not of two.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from mitschnitt.core.consent import Act, ActKind
from mitschnitt.core.digits import NOTHING_PRESSED, Pressed, press
from mitschnitt.core.policy import Policy

ECHO = timedelta(seconds=2)  # by which the slower of two clients may hand on a key later; nobody resumes as fast
MAX_HEARD_ACTS = 64  # of one call; more is somebody leaning on a key


class Keys:
    """See the module. A source is the number of a recording session of the call."""

    def __init__(self) -> None:
        self._pressed: dict[tuple[int, str], Pressed] = {}
        self._newest: dict[str, tuple[int, Act]] = {}  # by party
        self._heard = 0

    @property
    def is_full(self) -> bool:
        """Whether so many acts were heard that only a withdrawal still is one: the call must not stay open."""
        return self._heard >= MAX_HEARD_ACTS

    def press(
        self, digit: str, at: datetime, *, party: str, source: int, hears: frozenset[ActKind], policy: Policy
    ) -> Act | None:
        """The act that this key completed, None for most; `hears` as in `core.digits.press`."""
        if self.is_full:
            hears &= {ActKind.WITHDRAW}
        pressed = self._pressed.get((source, party), NOTHING_PRESSED)
        self._pressed[source, party], act = press(pressed, digit, at, party=party, hears=hears, policy=policy)
        if act is None or self._is_echo(act, source):
            return None
        self._newest[party] = source, act
        self._heard += 1
        return act

    def _is_echo(self, act: Act, source: int) -> bool:
        """Whether another source has just told of the same keys. Pause and resume are the same; a withdrawal counts."""
        told_by, newest = self._newest.get(act.party, (source, act))
        if told_by == source or act.kind is ActKind.WITHDRAW or act.at - newest.at > ECHO:
            return False
        return (act.kind is ActKind.DIGIT, act.value) == (newest.kind is ActKind.DIGIT, newest.value)
