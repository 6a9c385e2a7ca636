"""All recording sessions of one call: those that stand, and for a moment those that are over.

Finds whose line it is, and which of several carries a party. Judges nothing; opens and shuts nothing but at the end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

from mitschnitt.recorder.branch import Branch
from mitschnitt.recorder.legs import Leg
from mitschnitt.recorder.media import Line
from mitschnitt.vault.decision import MAX_LADDERS
from mitschnitt.wire.sip.ladder import Ladder

LATE_SECONDS = 1.0  # how long after the end a line still has its session: keys come with the next drains


class Branches:
    """Iterates over those that stand, in order of their INVITEs. Runs on the recorder's loop."""

    def __init__(self) -> None:
        self._standing: list[Branch] = []
        self._left: list[Branch] = []  # over; keys pressed just before are still on their way
        self._seen = 0
        self.ladders: list[Ladder] = []  # also of those that ended, up to `MAX_LADDERS`

    def __iter__(self) -> Iterator[Branch]:
        return iter(self._standing)

    def attach(self, branch: Branch) -> None:
        """A further one: it takes the next number."""
        branch.number, self._seen = self._seen, self._seen + 1
        self._standing.append(branch)
        if len(self.ladders) < MAX_LADDERS:
            self.ladders.append(branch.signalling.ladder)

    def at(self, line: Line) -> tuple[Branch, Leg] | None:
        """Whose line this is; None once it is nobody's."""
        for branch in (*self._standing, *self._left):
            leg = branch.legs.leg_of(line)
            if leg is not None:
                return branch, leg
        return None

    def to_open(self, is_known: Callable[[str], bool]) -> list[tuple[Branch, Leg]]:
        """M-lines that are shut although their party is known and no other m-line carries it.

        A party that one recording session carries is kept from that one only: the same voice twice in one track
        would be played as two. When that session ends, the other's m-line opens.
        """
        carried = {leg.party: branch for branch in self for leg in branch.legs if leg.kept}
        known = [(branch, leg) for branch in self for leg in branch.legs.shut_ones() if is_known(leg.party)]
        return [(branch, leg) for branch, leg in known if carried.setdefault(leg.party, branch) is branch]

    def release_all(self) -> None:
        """Close the lines of all that stand."""
        for branch in self._standing:
            branch.legs.release_all()

    def leave(self, branch: Branch) -> None:
        """This one is over: its lines are closed, and forgotten in a moment."""
        self._standing.remove(branch)
        self._left.append(branch)
        branch.legs.release_all()
        asyncio.get_running_loop().call_later(LATE_SECONDS, self._forget, branch)

    def end(self) -> None:
        """The call is over: all lines are closed, and forgotten in a moment."""
        self.release_all()
        for branch in self._standing:
            asyncio.get_running_loop().call_later(LATE_SECONDS, branch.legs.forget)

    def _forget(self, branch: Branch) -> None:
        branch.legs.forget()
        if branch in self._left:
            self._left.remove(branch)
